"""Tables read back as written; the better variant is quoted."""

from __future__ import annotations

import csv
import math

import pytest

import envs
from safer_tf.common import errors
from safer_tf.evaluation import tables

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


def _run(method, success, violations, variant='default', seed=0, **values):
  return {
      'protocol': 'seen', 'task': envs.EVALUATION[0], 'method': method,
      'variant': variant, 'seed': seed, 'eval_success_rate': success,
      'encoder': 'prior',
      'train_success_rate': success, 'violations': violations,
      'eval_episodes': 100, 'eval_unsafe_episodes': 0, **values,
  }


def test_the_promised_columns_are_there():
  for name, columns in _PROMISED.items():
    assert set(columns.split()) <= set(tables.COLUMNS[name]), name


def test_a_table_reads_back_as_written(tmp_path):
  row = _run(
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


def test_the_better_variant_of_a_method_is_quoted():
  rows = [
      _run('parrot', 0.4, 100, seed=0), _run('parrot', 0.6, 300, seed=1),
      _run('parrot', 0.7, 900, variant='own_range'),
      _run('safer', 0.5, 40), _run('safer', 0.5, 20, variant='tight'),
  ]
  parrot, safer = _quoted(rows)
  assert (parrot.method, parrot.variant) == ('parrot', 'own_range')
  assert safer.variant == 'tight' and safer.violations.mean == 20
  # All others are told too.
  assert [(q.label, q.quoted) for q in tables.outcomes(rows)] == [
      ('PARROT', False), ('PARROT (own range)', True),
      ('SAFER', False), ('SAFER (tight)', True),
  ]
  without = [row for row in rows if row['variant'] != 'own_range']
  parrot, _ = _quoted(without)
  assert parrot.success.n == 2 and parrot.success.mean == pytest.approx(0.5)
  assert parrot.violations.deviation == pytest.approx(141.42, abs=0.01)


def test_variants_are_compared_on_what_all_were_run_on():
  other = envs.EVALUATION[1]
  rows = [
      _run('parrot', 0.4, 100), _run('parrot', 0.9, 100, task=other),
      _run('parrot', 0.5, 900, variant='own_range'),
  ]
  assert {q.variant for q in _quoted(rows)} == {'own_range'}
  rows[1]['seed'] = rows[0]['seed'] = 1
  assert {q.variant for q in _quoted(rows)} == {tables.USUAL}


def test_common_runs_are_tasks_and_seeds_that_all_have():
  other = envs.EVALUATION[1]
  rows = [
      _run('safer', 0.4, 1), _run('safer', 0.4, 2, seed=1),
      _run('safer', 0.4, 3, task=other), _run('parrot', 0.1, 4, seed=1),
      _run('parrot', 0.1, 5, task=other),
  ]
  found = tables.on_common_runs(rows, 'method')
  assert [row['violations'] for row in found] == [2, 3, 4, 5]
  assert tables.on_common_runs(rows, 'task') == []
  assert tables.on_common_runs([], 'method') == []


def test_a_span_of_counts():
  assert tables.span([3]) == tables.span([3, 3]) == '3'
  assert tables.span([3, 1, 2]) == '1-3'


def test_own_encoders_do_not_compete():
  rows = [
      _run('sac', 0.0, 900),
      {**_run('sac', 0.9, 0, variant='own_encoder'), 'encoder': 'own'},
      _run('sac', 0.9, 0, variant=tables.SMALL_BATCH),
  ]
  assert [q.variant for q in tables.outcomes(rows)] == [tables.USUAL]


def _quoted(rows):
  return [found for found in tables.outcomes(rows) if found.quoted]


def test_the_printed_table_lines_up():
  text = tables.render([
      _run('safer', 0.5, 1204), _run('safer_prior_zero', 0.1, None),
  ])
  lines = text.splitlines()
  assert '50.0%' in lines[2] and '1,204' in lines[2]
  assert '10.0%' in lines[3] and '–' in lines[3]
  assert lines[2].index('Task 1') == lines[3].index('Task 1')
