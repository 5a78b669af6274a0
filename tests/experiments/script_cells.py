"""Cells that run lines of Python, for tests of what runs cells."""

from __future__ import annotations

import dataclasses
import sys
import time

from safer_tf.experiments import cells


@dataclasses.dataclass(frozen=True)
class ScriptCell(cells.Cell):
  """A cell that runs a line of Python."""

  script: str = ''

  @property
  def command(self):
    return [sys.executable, '-c', self.script]


def cell(tmp_path, name, script='', needs=(), **kwargs):
  """Appends its name to `order` when it ends and leaves its file."""
  finished = str(tmp_path / f'{name}.done')
  record = (
      f'open({str(tmp_path / "order")!r}, "a").write({name!r} + "\\n");'
      f'open({finished!r}, "w").close()'
  )
  return ScriptCell(
      name, 'none', (), finished, tuple(needs), 1.0,
      script=f'{script}\n{record}', **kwargs,
  )


def wait_for(condition, seconds=20):
  """Waits until it is met."""
  end = time.time() + seconds
  while not condition():
    assert time.time() < end, 'waited in vain'
    time.sleep(0.05)
