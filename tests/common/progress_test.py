"""Progress bars where there is no terminal, as in a log."""

from __future__ import annotations

import pytest

from safer_tf.common import progress
from safer_tf.experiments import process


def test_a_log_tells_how_far_all_processes_together_are(tmp_path, capsys):
  with progress.bar(200, 'Training safer', 'step', initial=100) as bar:
    bar.update(50)
  said = capsys.readouterr().err
  assert 'Training safer' in said and said.isascii()
  log = tmp_path / 'log'
  log.write_text(said)
  assert process.fraction(str(log)) == 0.75


@pytest.mark.parametrize('seconds, least, most', [
    ('0', 5, 10), ('1000', 1, 2), (None, 1, 2),
])
def test_a_watched_log_is_written_to_as_often_as_asked_for(
    monkeypatch, capsys, seconds, least, most
):
  monkeypatch.delenv(progress.SECONDS_VARIABLE, raising=False)
  if seconds:
    monkeypatch.setenv(progress.SECONDS_VARIABLE, seconds)
  with progress.bar(5, 'Training', 'step') as bar:
    for _ in range(5):
      bar.update()
  assert least <= capsys.readouterr().err.count('Training') <= most
