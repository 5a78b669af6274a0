"""What of a matrix recorded results make unnecessary."""

from __future__ import annotations

import pytest

from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.evaluation import recorded
from safer_tf.evaluation import tables
from safer_tf.experiments import recorded_cells
from tests.evaluation import runs

_TASK = runs.TASK
_row = runs.recorded_row

_CONFIG = recorded_cells.Config(
    50_000, 100, 5000, 20, {('a', 0.0), ('a', 1.0)}, 'exact', 0.0,
    (0.0, 0.15), 0.95, 30, 40, 1.5
)
_UNASSURED = {'assurance_mode': '', 'max_unsafe_fraction': float('nan')}


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
  assert recorded_cells.finished_cells(str(tmp_path), _CONFIG) == (
      {f'agent/{run}', f'evaluate/{run}'} if counts else set()
  )


@pytest.mark.parametrize('change, counts', [
    ({}, True), ({'steps': 600}, False), ({'mode': 'certified'}, False),
    ({'max_unsafe_fraction': 0.3}, False),
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
  assert recorded_cells.finished_cells(str(tmp_path), _CONFIG) == (
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
  assert recorded_cells.finished_cells(str(tmp_path), _CONFIG) == (
      {'rollouts/seen/safer'} if counts else set()
  )


def test_recorded_rollouts_know_their_prior(tmp_path):
  files.write_json(str(tmp_path / recorded.PROVENANCE), [
      {'stage': 'priors/seen/safer/rollouts',
       'inputs': {layout.PRIOR_SPEC: 'abc'}},
      {'stage': 'priors/seen/safer', 'inputs': {}},
  ])
  assert recorded_cells.made_from(str(tmp_path)) == {
      'rollouts/seen/safer': 'abc'
  }


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
    assert recorded_cells.finished_cells(str(tmp_path), _CONFIG) == found


def test_a_prior_of_the_sweep_counts_if_trained_as_long(tmp_path):
  row = {'protocol': 'seen', 'prior': 'sweep_a', 'num_steps': 40, 'seed': 0}
  tables.write(str(tmp_path), 'prior_sweep', [
      row, {**row, 'prior': 'sweep_b', 'num_steps': 39}
  ])
  assert recorded_cells.finished_cells(str(tmp_path), _CONFIG) == {
      'prior/seen/sweep_a'
  }


def test_all_that_says_how_an_agent_learnt_is_read(tmp_path):
  values = {
      'train_agent.action_space': 'latent', 'train_agent.batch_size': 64,
      'train_agent.encoder': 'own', 'train_agent.initial_steps': 9,
      'train_agent.latent_bound': 'unbounded', 'make_agent.gamma': 0.9,
      'train_agent.prior_probability': 0.5, 'ImageEncoder.features': 64,
  }
  files.write_json(str(tmp_path / recorded.PROVENANCE), [{
      'stage': 'agents/a', 'config': '\n'.join(
          f'{name} = {value!r}' for name, value in values.items()
      ),
  }])
  assert recorded_cells.learning(str(tmp_path)) == {'a': values}


def test_a_stated_bound_is_that_to_six_digits():
  row = _row(variant='own_range', **_UNASSURED)
  assert recorded_cells.is_of({**row, 'latent_bound': 1.500001}, _CONFIG)
  assert not recorded_cells.is_of({**row, 'latent_bound': 1.49}, _CONFIG)
