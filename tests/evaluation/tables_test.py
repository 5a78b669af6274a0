"""Tables read back as written."""

from __future__ import annotations

import csv
import math

import pytest

from safer_tf.common import errors
from safer_tf.evaluation import tables
from tests.evaluation import runs

# The columns that others rely on, as agreed.
_PROMISED = {
    'table1': 'protocol task method encoder max_unsafe_fraction '
    'assurance_mode latent_bound seed env_steps train_success_rate '
    'eval_success_rate eval_episodes violations clip_rate wall_seconds '
    'git_revision',
    'calibration': 'task mode max_unsafe_fraction latent_bound rollout steps '
    'unsafe_fraction git_revision seed',
    'likelihood': 'method split unsafe_share_above_safe_median n_safe n_unsafe '
    'git_revision seed',
    'assurance': 'mode max_unsafe_fraction confidence latent_bound '
    'in_bound_unsafe_fraction in_bound_unsafe_fraction_natural '
    'safe_actions_in_bound n_episodes git_revision seed',
}
_PROMISED['ablations'] = _PROMISED['tradeoff'] = _PROMISED['table1']


def test_the_promised_columns_are_there():
  for name, columns in _PROMISED.items():
    assert set(columns.split()) <= set(tables.COLUMNS[name]), name


def test_a_table_reads_back_as_written(tmp_path):
  row = runs.row(
      'safer', 0.25, 12, git_revision='12e45678', latent_bound=None,
      clip_rate=float('nan'), wall_seconds=1.5,
  )
  tables.write(str(tmp_path), 'table1', [row])
  found, = tables.read(str(tmp_path), 'table1')
  assert found['git_revision'] == '12e45678'  # Text, though like a number.
  assert found['violations'] == 12 and isinstance(found['violations'], int)
  assert found['eval_success_rate'] == 0.25 and found['wall_seconds'] == 1.5
  assert math.isnan(found['latent_bound']) and math.isnan(found['clip_rate'])
  with open(tmp_path / 'table1.csv', encoding='utf-8') as file:
    assert next(csv.reader(file)) == list(tables.COLUMNS['table1'])


def test_missing_tables_are_empty_and_damaged_ones_an_error(tmp_path):
  assert tables.read(str(tmp_path), 'tradeoff') == []
  (tmp_path / 'tradeoff.csv').write_text('task,method\na,b\n')
  with pytest.raises(errors.UserError, match='lacks the columns'):
    tables.read(str(tmp_path), 'tradeoff')
  tables.write(str(tmp_path), 'tradeoff', [{'violations': '1,204'}])
  with pytest.raises(errors.UserError, match="column violations: '1,204'"):
    tables.read(str(tmp_path), 'tradeoff')


@pytest.mark.parametrize('change, message', [
    (lambda rows: [*rows, rows[-1]], 'seen/.*/safer/default/0 more than once'),
    (lambda rows: [rows[0], rows[1] + ',1'], 'row 1 has more or fewer cells'),
    (lambda rows: [rows[0], 'seen,a'], 'row 1 has more or fewer cells'),
    (lambda rows: [rows[0] + '\udcff'], 'is no table'),
])
def test_a_damaged_table_is_named(tmp_path, change, message):
  path = tmp_path / 'table1.csv'
  tables.write(str(tmp_path), 'table1', [runs.row('safer', 0.25, 12)])
  rows = change(path.read_text().splitlines())
  path.write_bytes('\n'.join(rows).encode('utf-8', 'surrogateescape'))
  with pytest.raises(errors.UserError, match=f'{path}.*{message}'):
    tables.read(str(tmp_path), 'table1')
