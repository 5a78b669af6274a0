"""Whether what is recorded and what is here share their priors."""

from __future__ import annotations

import dataclasses
import json
import os

import gin
import pytest

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.experiments import cells
from safer_tf.experiments import recorded_cells
from safer_tf.experiments import reproduce
from safer_tf.experiments import wanted
from safer_tf.experiments import wanted_agents


def _recorded_and_wanted(tmp_path):
  """A recorded agent, its prior's cell, and an agent that is still to run."""
  directory = layout.export_dir(str(tmp_path), 'seen', 'safer')
  prior = cells.Cell('prior/seen/safer', 'none', (), str(tmp_path / 'stage'))
  agents = [
      cells.Cell(
          f'agent/{name}', 'none', (), str(tmp_path / name), (prior.name,),
          recorded=name == 'old',
      ) for name in ('old', 'new')
  ]
  return directory, prior, agents


def _give_prior(directory, prior, text):
  files.write_text(os.path.join(directory, layout.PRIOR_SPEC), text)
  files.write_text(prior.finished_file, '')
  return files.sha256(os.path.join(directory, layout.PRIOR_SPEC))


def test_recorded_agents_need_their_own_prior_beside_new_ones(tmp_path):
  directory, prior, (old, new) = _recorded_and_wanted(tmp_path)
  # None is there, and training one anew would mix two priors in a table.
  with pytest.raises(errors.UserError, match='would hold'):
    wanted.check_priors([prior, old, new], str(tmp_path), {old.name: 'a'})
  # Nothing is to run: none is needed, though its bound is not there either.
  assurance = cells.Cell(
      'assurance/seen/safer', 'none', (), str(tmp_path / 'x'), (prior.name,)
  )
  bounded = dataclasses.replace(old, needs=(prior.name, assurance.name))
  wanted.check_priors(
      [prior, assurance, bounded], str(tmp_path), {old.name: 'a'}
  )
  found = _give_prior(directory, prior, 'card')
  wanted.check_priors([prior, old, new], str(tmp_path), {old.name: found})
  with pytest.raises(errors.UserError, match='another prior'):
    wanted.check_priors([prior, old, new], str(tmp_path), {old.name: 'a'})


def test_what_is_here_is_compared_though_it_is_recorded(tmp_path):
  path = tmp_path / 'evaluation.json'
  path.write_text(json.dumps({
      'method': 'safer', 'variant': 'default', 'env_steps': 50_000,
      'eval_episodes': 5, 'assurance_mode': 'exact', 'latent_bound': 0.5,
      'max_unsafe_fraction': 0.15, 'prior': None, 'protocol': 'seen',
  }))
  cell = cells.Cell('evaluate/a', 'none', (), str(path), recorded=True)
  with pytest.raises(errors.UserError, match='evaluated for 5 episodes'):
    wanted.check([cell], reproduce._config(), [], [])


def test_data_and_priors_of_another_seed_are_refused(tmp_path):
  todo = [
      cells.Cell(name, 'none', (f'--seed={seed}',), 'x')
      for name, seed in (('data', 7), ('prior/seen/safer_second', 8))
  ]
  directory = str(tmp_path)
  files.write_json(f'{directory}/provenance.json', [
      {'stage': 'data', 'seed': 7},
      {'stage': 'priors/seen/safer_second', 'seed': 8},
      {'stage': 'priors/seen/safer_second/calibration', 'seed': 0},
      {'stage': 'agents/seen/a/sac/default/seed0', 'seed': 0},
  ])
  seeds = recorded_cells.seeds(directory)
  assert seeds == {'data': 7, 'prior/seen/safer_second': 8}
  wanted.check_seeds(todo, directory, seeds)
  for name in seeds:
    with pytest.raises(errors.UserError, match=f'{name} is recorded with see'):
      wanted.check_seeds(todo, directory, {**seeds, name: 0})


def test_recorded_calibrations_are_of_the_bounds_that_are_here(tmp_path):
  root = str(tmp_path)
  cell = cells.Cell(
      'calibrate/seen/safer/a', 'none', (f'--root_dir={root}',), 'x',
      recorded=True,
  )
  row = {
      'protocol': 'seen', 'prior': 'safer', 'mode': 'exact',
      'max_unsafe_fraction': 0.15, 'latent_bound': 2.4,
  }
  groups = {('seen', 'safer', 'a'): [row]}
  wanted.check_recorded_calibrations([cell], groups)  # None is here.
  path = os.path.join(
      layout.export_dir(root, 'seen', 'safer'), layout.ASSURANCE
  )
  for bound, same in ((2.4, True), (2.1, False)):
    files.write_json(path, {'table': [{**row, 'latent_bound': bound}]})
    if same:
      wanted.check_recorded_calibrations([cell], groups)
    else:
      with pytest.raises(errors.UserError, match='now gives 2.1'):
        wanted.check_recorded_calibrations([cell], groups)
  unmarked = dataclasses.replace(cell, recorded=False)
  wanted.check_recorded_calibrations([unmarked], groups)


def test_a_prior_of_the_sweep_has_the_values_of_its_row():
  gin.clear_config()
  row = {
      'protocol': 'seen', 'prior': 'sweep_a', 'unsafe_weight': 0.25,
      'optimizer': 'adam', 'learning_rate': 2e-3,
  }

  def check(value, recorded=True):
    wanted.check_recorded_sweep([cells.Cell(
        'prior/seen/sweep_a', 'none', (
            '--gin_file=methods/safer.gin',
            f'--gin_bindings=train_prior.unsafe_weight = {value}',
        ), 'x', recorded=recorded,
    )], [row], [], [])

  check(0.25)
  check(3.0, recorded=False)
  with pytest.raises(errors.UserError, match='unsafe_weight 0.25.* is 3.0'):
    check(3.0)
  gin.clear_config()


def test_an_agent_that_is_here_is_not_joined_by_those_of_a_new_prior(tmp_path):
  _, prior, (old, new) = _recorded_and_wanted(tmp_path)
  old = dataclasses.replace(
      old, recorded=False, finished_file=str(tmp_path / 'old' / layout.STAGE)
  )
  files.write_json(old.finished_file, {})
  files.write_json(
      str(tmp_path / 'old' / layout.SETTINGS), {'prior_spec': 'a'}
  )
  made_from = wanted_agents.made_from([prior, old, new])
  assert made_from == {old.name: 'a'}
  with pytest.raises(errors.UserError, match='choose another --root_dir'):
    wanted.check_priors([prior, old, new], str(tmp_path), made_from)
  wanted.check_priors([prior, old], str(tmp_path), made_from)  # Nothing to run.
