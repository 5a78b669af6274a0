"""What earlier runs recorded is kept, replaced or skipped, never mixed."""

from __future__ import annotations

import os

import numpy as np
import pytest

import envs
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.evaluation import recorded
from safer_tf.evaluation import tables

_TASK = envs.EVALUATION[0]


_CONFIG = recorded.Config(
    50_000, 100, 5000, 20, {('a', 0.0), ('a', 1.0)}, 'exact', 0.0,
    (0.0, 0.15), 0.95, 30, 40, 1.5
)
_UNASSURED = {'assurance_mode': '', 'max_unsafe_fraction': float('nan')}


def _row(method='safer', seed=0, **other):
  return {
      'protocol': 'seen', 'task': _TASK, 'method': method,
      'variant': 'default', 'seed': seed, 'env_steps': 50_000,
      'eval_success_rate': 0.5, 'eval_episodes': 100, 'violations': 7,
      'max_unsafe_fraction': 0.0, 'assurance_mode': 'exact',
      'git_revision': 'abc', **other,
  }


def _violations(directory):
  return {
      (row['method'], row['seed']): row['violations']
      for row in tables.read(str(directory), 'table1')
  }


def _merge(directory, name, rows):
  recorded.merge(str(directory), str(directory), name, rows)


def test_new_rows_replace_their_own_and_keep_others(tmp_path):
  tables.write(str(tmp_path), 'table1', [_row(), _row(seed=1)])
  _merge(tmp_path, 'table1', [_row(violations=9), _row('sac')])
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
  _merge(tmp_path, 'curves', [
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
  _merge(tmp_path, 'table1', tables.read(str(tmp_path), 'table1'))
  assert (tmp_path / 'table1.csv').read_text() == before


def test_a_table_that_has_become_empty_is_gone(tmp_path):
  for name, rows in (('calibration', [
      {**_row(), 'prior': 'safer', 'mode': 'exact', 'steps': 9}
  ]), (recorded.REPLAYS, [_row(kind='safe')])):
    recorded.merge(None, str(tmp_path), name, rows)
    assert recorded._read(str(tmp_path), name)
    recorded.merge(None, str(tmp_path), name, [])
    assert not recorded._read(str(tmp_path), name)
    recorded.merge(None, str(tmp_path), name, [])


def test_replays_of_a_method_are_replaced_together(tmp_path):
  def replay(kind, variant='default'):
    return {
        'protocol': 'seen', 'task': _TASK, 'method': 'safer', 'kind': kind,
        'variant': variant,
    }

  _merge(tmp_path, recorded.REPLAYS, [
      replay('safe', 'old'), replay('unsafe', 'old')
  ])
  _merge(tmp_path, recorded.REPLAYS, [replay('safe')])
  found = files.read_json(str(tmp_path / recorded.REPLAYS), 'replays')
  assert found == [replay('safe')]


def test_a_later_adoption_replaces_an_earlier_one(tmp_path):
  for violations in (1, 2):
    source = str(tmp_path / f'source{violations}')
    tables.write(source, 'table1', [_row(violations=violations)])
    with recorded.adopting(source, str(tmp_path)) as copy:
      assert _violations(copy) == {('safer', 0): violations}
  with pytest.raises(errors.UserError):
    tables.write(source, 'table1', [_row(violations=3)])
    with recorded.adopting(source, str(tmp_path)):
      raise errors.UserError('refused')
  copy = recorded.base_dir(str(tmp_path), True)
  assert _violations(copy) == {('safer', 0): 2}


def test_a_runs_own_results_are_no_base_of_it(tmp_path):
  # Or rows of deleted agents would stay in the tables for good.
  assert recorded.base_dir(str(tmp_path), True) is None
  assert recorded.base_dir(str(tmp_path), False) == layout.results_dir(
      str(tmp_path)
  )


def test_adopting_the_copy_itself_keeps_it(tmp_path):
  source = str(tmp_path / 'source')
  tables.write(source, 'table1', [_row(violations=1)])
  for given in (source, recorded.copy_dir(str(tmp_path))):
    with recorded.adopting(given, str(tmp_path)):
      pass
  copy = recorded.copy_dir(str(tmp_path))
  assert _violations(copy) == {('safer', 0): 1}


def test_adopting_from_nowhere_is_an_error(tmp_path):
  with pytest.raises(errors.UserError, match='holds no recorded results'):
    with recorded.adopting(str(tmp_path), str(tmp_path / 'new')):
      pass


@pytest.mark.parametrize('name, row, counts', [
    ('table1', _row(), True),
    ('table1', _row(eval_episodes=float('nan')), False),
    ('table1', _row(eval_episodes=50), False),
    ('table1', _row(env_steps=8000), False),
    ('table1', _row(max_unsafe_fraction=0.02), False),
    ('table1', _row(assurance_mode='certified'), False),
    ('table1', _row('sac', max_unsafe_fraction=float('nan'),
                    assurance_mode=''), True),
    ('table1', _row('safer_prior_zero', env_steps=0), True),
    ('tradeoff', _row(variant='tradeoff_0.02', max_unsafe_fraction=0.02), True),
    ('tradeoff', _row(variant='tradeoff_0.02'), False),
    ('tradeoff', _row(variant='tradeoff_range_1', latent_bound=1,
                      **_UNASSURED), True),
    ('tradeoff', _row(variant='tradeoff_range_1', latent_bound=2,
                      **_UNASSURED), False),
    ('table1', _row(variant='own_range', latent_bound=1.5, **_UNASSURED), True),
    ('table1', _row(variant='own_range', latent_bound=1, **_UNASSURED), False),
    ('table1', _row(variant='own_range', **_UNASSURED), False),
])
def test_cells_count_if_run_with_the_same_config(tmp_path, name, row, counts):
  tables.write(str(tmp_path), name, [row])
  run = f'seen/{_TASK}/{row["method"]}/{row["variant"]}/seed0'
  assert recorded.finished_cells(str(tmp_path), _CONFIG) == (
      {f'agent/{run}', f'evaluate/{run}'} if counts else set()
  )


@pytest.mark.parametrize('change, counts', [
    ({}, True), ({'steps': 600}, False), ({'mode': 'certified'}, False),
    ({'max_unsafe_fraction': 0.3}, False),
    ({'unsafe_fraction_upper': np.nan}, False),  # Of an earlier release.
])
def test_calibration_counts_if_every_target_is_there(tmp_path, change, counts):
  row = {
      'protocol': 'seen', 'prior': 'safer', 'task': _TASK, 'seed': 0,
      'mode': 'exact', 'max_unsafe_fraction': 0.0, 'steps': 5003,
      'unsafe_fraction_upper': 0.1,
  }
  tables.write(str(tmp_path), 'calibration', [
      row, {**row, 'max_unsafe_fraction': 0.15, **change}
  ])
  assert recorded.finished_cells(str(tmp_path), _CONFIG) == (
      {f'calibrate/seen/safer/{_TASK}'} if counts else set()
  )


@pytest.mark.parametrize('change, counts', [
    ({}, True), ({'episodes': 19}, False), ({'latent_range': 0.5}, False),
    ({'task': 'b'}, False), ({'prior': 'parrot'}, False),
])
def test_rollouts_of_a_prior_count_if_all_are_there(tmp_path, change, counts):
  row = {
      'protocol': 'seen', 'prior': 'safer', 'task': 'a', 'seed': 0,
      'episodes': 20, 'latent_range': 0.0,
  }
  tables.write(str(tmp_path), 'prior_rollouts', [
      row, {**row, 'latent_range': 1.0, **change}
  ])
  assert recorded.finished_cells(str(tmp_path), _CONFIG) == (
      {'rollouts/seen/safer'} if counts else set()
  )


def test_recorded_rollouts_know_their_prior(tmp_path):
  files.write_json(str(tmp_path / recorded.PROVENANCE), [
      {'stage': 'priors/seen/safer/rollouts',
       'inputs': {layout.PRIOR_SPEC: 'abc'}},
      {'stage': 'priors/seen/safer', 'inputs': {}},
  ])
  assert recorded.made_from(str(tmp_path)) == {'rollouts/seen/safer': 'abc'}


def test_a_target_whose_bound_admits_nothing_needs_no_calibration(tmp_path):
  row = {
      'protocol': 'seen', 'prior': 'safer', 'mode': 'exact', 'seed': 0,
      'max_unsafe_fraction': 0.15, 'steps': 5003, 'task': _TASK,
      'unsafe_fraction_upper': 0.1,
  }
  tables.write(str(tmp_path), 'calibration', [row])
  for bound, found in (
      (0.0, {f'calibrate/seen/safer/{_TASK}'}), (0.3, set())
  ):
    tables.write(str(tmp_path), 'assurance', [
        {**row, 'max_unsafe_fraction': 0.0, 'latent_bound': bound},
        {**row, 'latent_bound': 1.5},
    ])
    assert recorded.finished_cells(str(tmp_path), _CONFIG) == found


def test_a_prior_of_the_sweep_counts_if_trained_as_long(tmp_path):
  row = {'protocol': 'seen', 'prior': 'sweep_a', 'num_steps': 40, 'seed': 0}
  tables.write(str(tmp_path), 'prior_sweep', [
      row, {**row, 'prior': 'sweep_b', 'num_steps': 39}
  ])
  assert recorded.finished_cells(str(tmp_path), _CONFIG) == {
      'prior/seen/sweep_a'
  }


def test_what_is_damaged_is_told_of_the_source(tmp_path):
  source = tmp_path / 'given'
  source.mkdir()
  (source / recorded.PROVENANCE).write_text('[{}]')
  with pytest.raises(errors.UserError, match=f'{source}.*is damaged'):
    with recorded.adopting(str(source), str(tmp_path / 'run')):
      pass
  assert not os.path.exists(recorded.copy_dir(str(tmp_path / 'run')))
