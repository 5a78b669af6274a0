"""What earlier runs recorded is kept, replaced or skipped, never mixed."""

from __future__ import annotations

import pytest

import envs
from safer_tf.common import errors
from safer_tf.evaluation import recorded
from safer_tf.evaluation import tables

_TASK = envs.EVALUATION[0]


def _row(method='safer', seed=0, **other):
  return {
      'protocol': 'seen', 'task': _TASK, 'method': method,
      'variant': 'default', 'seed': seed, 'env_steps': 50_000,
      'eval_success_rate': 0.5, 'violations': 7, 'git_revision': 'abc',
      **other,
  }


def _violations(directory):
  return {
      (row['method'], row['seed']): row['violations']
      for row in tables.read(str(directory), 'table1')
  }


def test_new_rows_replace_their_own_and_keep_others(tmp_path):
  tables.write(str(tmp_path), 'table1', [_row(), _row(seed=1)])
  recorded.merge(
      str(tmp_path), 'table1', [_row(violations=9), _row('sac')]
  )
  assert _violations(tmp_path) == {
      ('sac', 0): 7, ('safer', 0): 9, ('safer', 1): 7
  }
  # The order of tables, whatever came first.
  assert [r['method'] for r in tables.read(str(tmp_path), 'table1')] == [
      'sac', 'safer', 'safer'
  ]


def test_a_curve_is_replaced_as_a_whole(tmp_path):
  tables.write(str(tmp_path), 'curves', [
      _row(env_steps=step) for step in (1000, 2000, 3000)
  ])
  recorded.merge(str(tmp_path), 'curves', [
      _row(env_steps=step, violations=1) for step in (1000, 2000)
  ])
  found = tables.read(str(tmp_path), 'curves')
  assert [(r['env_steps'], r['violations']) for r in found] == [
      (1000, 1), (2000, 1)
  ]


def test_merging_a_table_with_itself_changes_no_letter(tmp_path):
  rows = [
      _row(seed=seed, wall_seconds=400.649 + seed, clip_rate=0.07294)
      for seed in (0, 1)
  ]
  tables.write(str(tmp_path), 'table1', rows)
  before = (tmp_path / 'table1.csv').read_text()
  recorded.merge(
      str(tmp_path), 'table1', tables.read(str(tmp_path), 'table1')
  )
  assert (tmp_path / 'table1.csv').read_text() == before


def test_adopted_rows_yield_to_those_that_are_there(tmp_path):
  here, there = tmp_path / 'here', tmp_path / 'there'
  tables.write(str(here), 'table1', [_row(violations=1)])
  tables.write(str(there), 'table1', [_row(violations=2), _row(seed=1)])
  recorded.adopt(str(there), str(here))
  assert _violations(here) == {('safer', 0): 1, ('safer', 1): 7}


def test_adopting_from_nowhere_is_an_error(tmp_path):
  with pytest.raises(errors.UserError, match='holds no recorded results'):
    recorded.adopt(str(tmp_path), str(tmp_path / 'new'))


def test_cells_count_once_evaluated_and_of_the_same_length(tmp_path):
  tables.write(str(tmp_path), 'table1', [
      _row(), _row('parrot', eval_success_rate=float('nan')),
      _row('sac', env_steps=8000),
      _row('safer_prior_zero', env_steps=0),
  ])
  tables.write(str(tmp_path), 'calibration', [
      {'protocol': 'seen', 'prior': 'safer', 'task': _TASK, 'seed': 0}
  ])
  assert recorded.finished_cells(str(tmp_path), 50_000) == {
      f'agent/seen/{_TASK}/safer/default/seed0',
      f'evaluate/seen/{_TASK}/safer/default/seed0',
      f'agent/seen/{_TASK}/safer_prior_zero/default/seed0',
      f'evaluate/seen/{_TASK}/safer_prior_zero/default/seed0',
      f'calibrate/seen/safer/{_TASK}',
  }
