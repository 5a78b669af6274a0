"""Whether finished agents are those that the config asks for."""

from __future__ import annotations

import json
import os

import gin
import pytest

from safer_tf.common import config
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.experiments import builder
from safer_tf.experiments import cells
from safer_tf.experiments import in_force
from safer_tf.experiments import matrix
from safer_tf.experiments import recorded_cells
from safer_tf.experiments import wanted_agents

_TOP = os.path.dirname(config.config_dir())
_SIZES = builder.Sizes(1000, 10, 10, 2, 10, 3)


def test_agents_of_another_configuration_are_not_taken_for_finished(
    finished, tmp_path
):
  found = {
      'method': 'safer', 'variant': 'default', 'env_steps': 50_000,
      'eval_episodes': 100, 'assurance_mode': 'exact',
      'max_unsafe_fraction': 0.15, 'latent_bound': 0.5,
  }
  free = {'max_unsafe_fraction': None, 'assurance_mode': None}
  ranged = {**found, **free, 'method': 'parrot', 'variant': 'own_range'}
  for changed in (
      {'env_steps': 400}, {'eval_episodes': 5}, {'max_unsafe_fraction': 0.3},
      {'assurance_mode': 'paper'}, ranged,
  ):
    with pytest.raises(errors.UserError, match='another --root_dir'):
      finished('evaluate/a', 'evaluation.json', {**found, **changed})
  for fine in (
      found, {**found, **free, 'method': 'sac'}, {**ranged, 'latent_bound': 1.0}
  ):
    assert finished('evaluate/a', 'evaluation.json', fine).endswith('report')
  # One that is trained but not evaluated yet.
  del found['eval_episodes']
  for steps, message in ((50_000, None), (400, '400 steps')):
    (tmp_path / 'result.json').write_text(
        json.dumps({**found, 'env_steps': steps})
    )
    if message is None:
      assert finished('agent/a', 'stage.json', {}).endswith('report')
    else:
      with pytest.raises(errors.UserError, match=message):
        finished('agent/a', 'stage.json', {})


def test_an_agent_of_a_replaced_prior_is_not_taken_for_finished(
    finished, tmp_path
):
  root = str(tmp_path)
  card = os.path.join(
      layout.export_dir(root, 'seen', 'safer'), layout.PRIOR_SPEC
  )
  files.write_text(card, 'card')
  (tmp_path / layout.SETTINGS).write_text(
      json.dumps({'prior_spec': files.sha256(card)})
  )
  found = {
      'method': 'safer', 'variant': 'default', 'env_steps': 50_000,
      'eval_episodes': 100, 'assurance_mode': 'exact',
      'max_unsafe_fraction': 0.15, 'latent_bound': 0.5, 'prior': 'safer',
      'protocol': 'seen',
  }

  def again():
    return finished(
        'evaluate/a', 'evaluation.json', found, (f'--root_dir={root}',)
    )

  assert again().endswith('report')
  files.write_text(card, 'another card')
  with pytest.raises(errors.UserError, match='trained with another prior'):
    again()


def test_an_agent_of_a_replaced_box_is_not_taken_for_finished(
    finished, tmp_path
):
  found = {
      'method': 'parrot', 'variant': 'default', 'env_steps': 50_000,
      'eval_episodes': 100, 'assurance_mode': 'exact',
      'max_unsafe_fraction': 0.15, 'latent_bound': 0.5, 'prior': 'parrot',
      'protocol': 'seen',
  }
  (tmp_path / layout.SETTINGS).write_text(json.dumps({
      'latent_bound': 'assurance', 'bound_prior': 'safer',
      'bound_protocol': None,
  }))
  path = os.path.join(
      layout.export_dir(str(tmp_path), 'seen', 'safer'), layout.ASSURANCE
  )

  def again(bound):
    files.write_json(path, {'table': [{
        'mode': 'exact', 'max_unsafe_fraction': 0.15, 'latent_bound': bound,
    }]})
    return finished(
        'evaluate/a', 'evaluation.json', found, (f'--root_dir={tmp_path}',)
    )

  assert again(0.5).endswith('report')
  with pytest.raises(errors.UserError, match='0.5, where .* now gives 0.7'):
    again(0.7)


def test_an_agent_that_learnt_otherwise_is_not_taken_for_finished(
    finished, tmp_path
):
  (tmp_path / layout.SETTINGS).write_text(json.dumps({
      'make_agent': {'gamma': 0.9, 'hidden_units': [128, 128]},
      'encoder': 'own', 'batch_size': 64, 'ImageEncoder': {'features': 128},
      'make_env': 'safer_tf.data.collect.collect_data',
  }))
  found = {
      'method': 'safer', 'variant': 'default', 'env_steps': 50_000,
      'eval_episodes': 100, 'assurance_mode': 'exact',
      'max_unsafe_fraction': 0.15, 'latent_bound': 0.5,
  }

  def again(
      gamma, encoder='own', features=128, make_env='collect_data',
      penalty=None,
  ):
    return finished('agent/a', 'result.json', found, (
        f'--root_dir={tmp_path}', '--gin_file=methods/safer.gin',
        f'--gin_file=encoders/{encoder}.gin',
        f'--gin_bindings=make_agent.gamma = {gamma}',
        f'--gin_bindings=ImageEncoder.features = {features}',
        f'--gin_bindings=train_agent.make_env = @{make_env}',
        f'--gin_bindings=train_agent.violation_penalty = {penalty}',
    ))

  assert again(0.9).endswith('report')
  with pytest.raises(errors.UserError, match='gamma was 0.9, is now 0.8'):
    again(0.8)
  with pytest.raises(errors.UserError, match="was 'own', is now 'prior'"):
    again(0.9, 'batch_64')
  with pytest.raises(errors.UserError, match='features was 128, is now 64'):
    again(0.9, features=64)
  with pytest.raises(errors.UserError, match='make_env was .* is now'):
    again(0.9, make_env='train_agent')
  # Its settings are from before there was such a value.
  with pytest.raises(errors.UserError, match='penalty was None, is now 1.0'):
    again(0.9, penalty=1.0)


def test_the_recorded_agents_learnt_as_the_experiment_asks():
  gin_files = ['experiments/paper.gin']
  config.parse(gin_files, [])
  todo = builder.Builder('/runs/a', 0, gin_files, [], _SIZES).build(
      matrix.Matrix()
  )
  learnt = recorded_cells.learning(f'{_TOP}/results')
  known = [
      cell.name.partition('/')[2] for cell in todo
      if cell.kind == 'agent' and cell.name.partition('/')[2] in learnt
  ]
  assert len(known) > 200
  for name in ('make_agent.gamma', 'train_agent.encoder'):
    assert all(name in learnt[run] for run in known)
  try:
    assert not wanted_agents.learnt_otherwise(todo, learnt, gin_files, [])
  finally:
    gin.clear_config()


def test_each_of_some_agents_alike_is_compared():
  todo = [
      cells.Cell(f'agent/{run}', 'none', ('--gin_file=methods/sac.gin',), 'x')
      for run in 'abc'
  ]
  learnt = {
      run: {'make_agent.gamma': gamma}
      for run, gamma in (('a', 0.95), ('b', 0.5), ('c', 0.6))
  }
  try:
    found = wanted_agents.learnt_otherwise(todo, learnt, [], [])
    assert set(found) == {'b', 'c'}
    assert in_force.value('train_agent.method', None) is None  # As it was.
  finally:
    gin.clear_config()


_FOUND = {
    'method': 'safer', 'variant': 'default', 'env_steps': 50_000,
    'eval_episodes': 100, 'assurance_mode': 'exact', 'latent_bound': 0.5,
    'max_unsafe_fraction': 0.15, 'prior': 'safer', 'protocol': 'seen',
}


def _assurance(root, protocol, bound):
  path = os.path.join(
      layout.export_dir(str(root), protocol, 'safer'), layout.ASSURANCE
  )
  files.write_json(path, {'table': [{
      'mode': 'exact', 'max_unsafe_fraction': 0.15, 'latent_bound': bound,
  }]})


@pytest.mark.parametrize('learns', [False, True])
def test_a_box_of_another_protocol_is_looked_up_there(
    finished, tmp_path, learns
):
  found = {**_FOUND, 'protocol': 'held_out', 'bound_protocol': 'seen'}
  if learns:
    (tmp_path / layout.SETTINGS).write_text(json.dumps({
        'latent_bound': 'assurance', 'bound_prior': 'safer',
        'bound_protocol': 'seen',
    }))
  else:
    found |= {'method': 'safer_prior_zero', 'env_steps': 0}
  _assurance(tmp_path, 'held_out', 0.9)

  def again(bound):
    _assurance(tmp_path, 'seen', bound)
    return finished(
        'evaluate/a', 'evaluation.json', found, (f'--root_dir={tmp_path}',)
    )

  assert again(0.5)
  with pytest.raises(errors.UserError, match='0.5, where .*seen.* gives 0.51'):
    again(0.51)
