"""The cell: learning, resume, files, and what it refuses."""

from __future__ import annotations

import csv
import glob
import json
import os

import gin
import numpy as np
import pytest
import tensorflow as tf
from tf_agents.specs import array_spec
from tf_agents.trajectories import time_step as ts
from tf_agents.utils import common

import envs
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.prior import export
from safer_tf.prior import skill_prior
from safer_tf.rl import agent as sac
from safer_tf.rl import latent_env
from safer_tf.rl import policies
from safer_tf.rl import train_agent
from tests.rl import fakes

_SMALL = {
    'num_steps': 230, 'initial_steps': 40, 'batch_size': 16,
    'checkpoint_steps': 60,
}


@pytest.fixture(autouse=True)
def _clear_gin():
  with gin.unlock_config():
    gin.parse_config('make_agent.hidden_units = (32, 32)')
  yield
  gin.clear_config()


@pytest.fixture(scope='module', name='prior_dir')
def _prior_dir(tmp_path_factory):
  path = str(tmp_path_factory.mktemp('run') / 'export')
  return fakes.export_prior(path)


@pytest.fixture(name='root')
def _root(tmp_path, prior_dir):
  path = layout.export_dir(str(tmp_path), 'seen', 'safer')
  os.makedirs(os.path.dirname(path))
  os.symlink(prior_dir, path)
  return str(tmp_path)


def _train(root, make_env=lambda name: fakes.ReachEnv(), **changes):
  arguments = dict(
      _SMALL, task='reach', method='safer', prior='safer', latent_bound=0.9,
      make_env=make_env, seed=4,
  )
  arguments.update(changes)
  return train_agent.train_agent(root, **arguments)


def _curve(directory):
  with open(os.path.join(directory, layout.CURVE), encoding='utf-8') as file:
    return list(csv.DictReader(file))


def _results(root):
  return glob.glob(
      os.path.join(root, 'agents', '**', layout.RESULT), recursive=True
  )


def _weights(directory):
  latest = tf.train.latest_checkpoint(
      os.path.join(directory, layout.CHECKPOINTS_DIR)
  )
  reader = tf.train.load_checkpoint(latest)
  return {
      name: reader.get_tensor(name)
      for name in reader.get_variable_to_shape_map()
      if 'wall_seconds' not in name and 'OBJECT' not in name
      and 'save_counter' not in name
  }


class _Killed(Exception):
  pass


class _SilentEnv(fakes.ReachEnv):
  """As Gym's wrapper after a reset."""

  def get_info(self):
    return None


class _SilentLaterEnv(fakes.ReachEnv):
  """Whose labels are text after a step."""

  def get_info(self):
    labels = super().get_info()
    return {**labels, 'unsafe': 'False'} if self._steps else labels


class _DoubleEnv(fakes.ReachEnv):
  """Gives what NumPy computes, which is not what its spec says."""

  def _observe(self):
    return super()._observe().astype(np.float64)


class _BadRewardEnv(fakes.ReachEnv):

  def _step(self, action):
    return super()._step(action)._replace(reward=np.float32('nan'))


class _CountingEnv(fakes.ReachEnv):
  """Counts what happened, and dies at a given step."""

  def __init__(self, dies_at=None):
    super().__init__()
    self.actions = 0
    self.unsafe = 0
    self._dies_at = dies_at

  def _step(self, action):
    if self.actions == self._dies_at:
      raise _Killed
    self.actions += 1
    time_step = super()._step(action)
    self.unsafe += self._info['unsafe']
    return time_step


def test_what_no_checkpoint_holds_is_told_to_begin_anew(root, capsys):
  with pytest.raises(_Killed):
    _train(root, lambda name: _CountingEnv(dies_at=30), num_steps=50)
  assert 'starts anew' not in capsys.readouterr().out
  env = _CountingEnv()
  _train(root, lambda name: env, num_steps=50)
  assert 'before its first checkpoint' in capsys.readouterr().out
  assert env.actions == 50


def test_resumed_run_equals_an_uninterrupted_one(tmp_path, prior_dir):
  """Killed between two checkpoints."""
  roots = []
  for name in ('whole', 'killed'):
    root = str(tmp_path / name)
    path = layout.export_dir(root, 'seen', 'safer')
    os.makedirs(os.path.dirname(path))
    os.symlink(prior_dir, path)
    roots.append(root)
  whole = _train(roots[0])
  with pytest.raises(_Killed):
    _train(roots[1], lambda name: _CountingEnv(dies_at=120))
  env = _CountingEnv()
  killed = _train(roots[1], lambda name: env)
  assert 0 < env.actions < 230  # It did go on, and not from the start.
  assert _curve(whole) == _curve(killed)
  expected, found = _weights(whole), _weights(killed)
  assert expected.keys() == found.keys()
  for name, value in expected.items():
    np.testing.assert_array_equal(value, found[name], err_msg=name)
  results = [
      files.read_json(os.path.join(d, layout.RESULT), 'a result')
      for d in (whole, killed)
  ]
  for result in results:
    assert result.pop('wall_seconds') > 0
  assert results[0] == results[1]


def test_counts_every_step_and_writes_all_files(root, prior_dir, capsys):
  env = _CountingEnv()
  directory = _train(root, lambda name: env, assurance_mode='paper')
  # Without a terminal progress is a line every 30 seconds, not one an episode.
  assert 1 <= capsys.readouterr().err.count('Training agent') <= 3
  rows = _curve(directory)
  result = files.read_json(os.path.join(directory, layout.RESULT), 'it')
  assert env.unsafe > 0
  assert result['violations'] == env.unsafe
  assert int(rows[-1]['cumulative_violations']) == env.unsafe
  assert sum(int(row['violations']) for row in rows) == env.unsafe
  assert result['env_steps'] == int(rows[-1]['env_steps']) == env.actions
  assert sum(int(row['length']) for row in rows) == 230
  complete = [row for row in rows if row['complete'] == '1']
  assert len(complete) >= len(rows) - 1
  assert result['train_success_rate'] == pytest.approx(
      np.mean([int(row['success']) for row in complete])
  )
  for row in complete:
    # +1 at success, -1 a step else.
    assert float(row['episode_return']) == -int(row['length']) + (
        2 * int(row['success'])
    )
  assert rows[0]['critic_loss'] == 'nan' and rows[-1]['critic_loss'] != 'nan'
  # A bound set by hand is no assurance's.
  assert result['latent_bound'] == 0.9
  assert result['assurance_mode'] is None
  assert (result['task'], result['method'], result['encoder']) == (
      'reach', 'safer', 'prior'
  )
  assert os.path.exists(os.path.join(directory, layout.STAGE))
  events = glob.glob(os.path.join(directory, 'tensorboard', '*'))
  tags = set()
  for path in events:
    for event in tf.compat.v1.train.summary_iterator(path):
      tags.update(value.tag for value in event.summary.value)
  assert {
      'episode/success', 'episode/return', 'safety/cumulative_violations',
      'loss/critic', 'sac/alpha', 'sac/entropy', 'gin',
  } <= tags
  again = _CountingEnv()
  # Finished: skipped.
  assert directory == _train(
      root, lambda name: again, assurance_mode='paper'
  )
  assert again.actions == 0
  with pytest.raises(errors.UserError, match='batch_size was 16, is now 8'):
    _train(root, lambda name: again, batch_size=8, assurance_mode='paper')
  _check_policies(os.path.join(directory, layout.POLICIES_DIR), prior_dir)


def _check_policies(directory, prior_dir):
  """The saved policies act in the latent environment."""
  env = latent_env.wrap(
      fakes.ReachEnv(), export.load_prior(prior_dir), 0.9, 'prior'
  )
  for name in (policies.GREEDY, policies.COLLECT):
    policy = policies.load(directory, name)
    time_step = env.reset()
    while not time_step.is_last():
      batched = ts.TimeStep(*(np.asarray(field)[None] for field in time_step))
      action = policy.action(batched, ()).action.numpy()[0]
      assert np.abs(action).max() <= 0.9
      time_step = env.step(action)
  with pytest.raises(errors.UserError, match='cannot be loaded'):
    policies.load(directory, 'none')


@pytest.mark.parametrize('changes', [
    # SAC from pixels of its own; Prior-Explore on the prior's embedding.
    {'method': 'sac', 'action_space': 'raw', 'encoder': 'own', 'prior': None,
     'make_env': lambda name: fakes.ReachEnv(images=True)},
    {'method': 'prior_explore', 'action_space': 'raw',
     'prior_probability': 0.9, 'latent_bound': 'unbounded'},
])
def test_raw_action_methods(root, changes):
  directory = _train(root, **{'num_steps': 90, **changes})
  result = files.read_json(os.path.join(directory, layout.RESULT), 'it')
  assert result['latent_bound'] is None
  assert result['env_steps'] == 90
  assert result['action_space'] == 'raw'


@pytest.mark.parametrize('radius, discounts', [(0.0, {1.0}), (9.0, {0.0})])
def test_an_episode_ends_in_value_only_where_it_truly_ends(
    root, radius, discounts
):
  directory = _train(
      root, lambda name: fakes.ReachEnv(goal_radius=radius),
      num_steps=2 * fakes.TIME_LIMIT, initial_steps=30,
  )
  rows = _curve(directory)
  assert len(rows) == (2 if radius == 0 else 30)
  found = []
  for path in glob.glob(
      os.path.join(directory, layout.CHECKPOINTS_DIR, 'replay-*')
  ):
    with np.load(path) as chunk:
      found += chunk['discount'].tolist()
  assert len(found) == 30 and set(found) == discounts


@pytest.mark.parametrize('probability, count', [(1.0, 60), (0.0, 0)])
def test_prior_explore_takes_the_priors_actions(
    root, monkeypatch, probability, count
):
  taken = []

  class Env(fakes.ReachEnv):

    def _step(self, action):
      taken.append(action)
      return super()._step(action)

  chosen = []
  prior_action = latent_env.PriorEnvironment.prior_action

  def spied(self, latent):
    assert np.abs(latent).max() < 0.5
    chosen.append(prior_action(self, latent))
    return chosen[-1]

  monkeypatch.setattr(latent_env.PriorEnvironment, 'prior_action', spied)
  _train(
      root, lambda name: Env(), method='prior_explore', action_space='raw',
      prior_probability=probability, latent_bound=0.5, num_steps=60,
  )
  assert len(taken) == 60 and len(chosen) == count
  for taken_one, chosen_one in zip(taken, chosen):
    np.testing.assert_array_equal(taken_one, chosen_one)


def test_a_finished_agent_is_known_again(root, capsys):
  directory = _train(root, num_steps=90)
  path = os.path.join(directory, layout.SETTINGS)
  settings = files.read_json(path, 'its settings')
  # As an earlier release wrote it, which had no such setting.
  assert settings.pop('bound_protocol', 0) is None
  files.write_json(path, settings)
  assert _train(root, num_steps=90) == directory
  assert 'nothing to do' in capsys.readouterr().out
  with pytest.raises(errors.UserError, match='batch_size was .*, is now 9'):
    _train(root, num_steps=90, batch_size=9)


def test_one_process_at_a_time(root):
  directory = _train(root, num_steps=40, initial_steps=30)
  with files.locked(os.path.join(directory, layout.LOCK)):
    # Finished: nothing is written, whoever else is there.
    assert _train(root, num_steps=40, initial_steps=30) == directory
    os.remove(os.path.join(directory, layout.STAGE))
    with pytest.raises(errors.UserError, match='Another process is at work'):
      _train(root, num_steps=40, initial_steps=30)
  assert _train(root, num_steps=40, initial_steps=30) == directory
  assert os.path.exists(os.path.join(directory, layout.STAGE))


def test_a_bound_computed_again_is_the_same_bound(root, prior_dir, capsys):
  def assured(bound, finished):
    files.write_json(os.path.join(prior_dir, layout.ASSURANCE), {
        'table': [{
            'mode': 'exact', 'max_unsafe_fraction': 0.15,
            'latent_bound': bound,
        }],
        'provenance': {'finished': finished},
    })
    return _train(
        root, num_steps=40, initial_steps=30, latent_bound='assurance',
        variant='assured',
    )

  first = assured(0.8, 'yesterday')
  capsys.readouterr()
  assert assured(0.8, 'today') == first
  assert 'nothing to do' in capsys.readouterr().out
  with pytest.raises(errors.UserError, match='computed_bound was 0.8.*0.7'):
    assured(0.7, 'today')
  os.remove(os.path.join(prior_dir, layout.ASSURANCE))


@pytest.mark.parametrize('channels', [1, 2, 12])
def test_frames_of_any_number_of_channels(root, channels):
  class Env(fakes.ReachEnv):

    def observation_spec(self):
      return array_spec.BoundedArraySpec((16, 16, channels), np.uint8, 0, 255)

    def _observe(self):
      return np.repeat(super()._observe()[..., :1], channels, axis=-1)

  directory = _train(
      root, lambda name: Env(images=True), method='sac', action_space='raw',
      encoder='own', prior=None, num_steps=40, initial_steps=30, batch_size=4,
      variant=f'channels{channels}',
  )
  assert os.path.exists(os.path.join(directory, layout.STAGE))


def test_trains_in_the_simulator_from_pixels(tmp_path):
  prior = skill_prior.SkillPrior((48, 48, 3), 6, window=2)
  export.export_prior(
      prior, layout.export_dir(str(tmp_path), 'seen', 'safer'), 'safer',
      'uint8', {},
  )
  directory = _train(
      str(tmp_path), envs.load_task, task=envs.ALL[0], encoder='own',
      num_steps=40, initial_steps=30, batch_size=4,
  )
  result = files.read_json(os.path.join(directory, layout.RESULT), 'it')
  assert result['env_steps'] == 40
  assert 0 <= result['violations'] <= 40


def test_learns_a_trivial_task(root):
  """Raw actions, seconds: success rises from chance to nearly always."""
  gin.parse_config("""
      make_agent.hidden_units = (64, 64)
      make_agent.actor_learning_rate = 1e-3
      make_agent.critic_learning_rate = 1e-3
      make_agent.target_entropy_per_dimension = -0.5
      make_agent.gamma = 0.9
      make_agent.target_update_tau = 0.02
  """)
  directory = _train(
      root, action_space='raw', encoder='own', prior=None, num_steps=2000,
      initial_steps=300, batch_size=64, checkpoint_steps=2000,
  )
  complete = [row for row in _curve(directory) if row['complete'] == '1']
  success = np.array([int(row['success']) for row in complete])
  assert success[:20].mean() < 0.8
  assert success[-40:].mean() > 0.9


@pytest.mark.parametrize('changes, message', [
    ({'latent_bound': 0.0}, 'admits no action'),
    ({'latent_bound': 'assurance'}, 'compute_assurance'),
    ({'prior': 'parrot'}, 'prior_spec.json'),
    ({'prior': None}, 'prior is not set'),
    ({'action_space': 'letent'}, 'action_space'),
    ({'encoder': 'pixels'}, 'encoder'),
    ({'batch_size': 0}, 'batch_size is 0'),
    ({'num_steps': '9'}, "num_steps is '9'"),
    ({'prior_probability': 0.9}, 'prior_probability'),
    ({'make_env': lambda name: fakes.ReachEnv(images=True)}, 'observations'),
    ({'make_env': lambda name: _SilentEnv()}, 'unsafe.*data.md'),
    ({'make_env': lambda name: _DoubleEnv()}, 'float64, by its spec of'),
    ({'make_env': lambda name: _BadRewardEnv()}, 'reward of .* is nan'),
    ({'make_env': lambda name: _SilentLaterEnv()}, "gives unsafe = 'False'"),
])
def test_refuses_bad_config_and_leaves_no_result(root, changes, message):
  with pytest.raises(errors.UserError, match=message):
    _train(root, **changes)
  assert not _results(root)


def test_divergence_names_the_step_and_the_checkpoint(root, monkeypatch):
  def diverged(self, *batch):
    del batch
    return tf.fill([len(sac.Diagnostics._fields)], np.nan)

  monkeypatch.setattr(sac.LatentSacAgent, '_update', diverged)
  with pytest.raises(errors.UserError, match='step 40.*: none yet'):
    _train(root)
  # Nothing is there that other settings would have to make way for.
  with pytest.raises(errors.UserError, match='step 80.*/checkpoints/ckpt-'):
    _train(root, initial_steps=80)
  with pytest.raises(errors.UserError, match='initial_steps was 80'):
    _train(root)


def test_no_hidden_layer_is_an_error(root):
  with gin.unlock_config():
    gin.parse_config('make_agent.hidden_units = ()')
  with pytest.raises(errors.UserError, match='hidden_units is empty'):
    _train(root)


def test_a_run_shorter_than_an_episode_has_no_success_rate(root):
  directory = _train(root, num_steps=3, initial_steps=2)
  with open(os.path.join(directory, layout.RESULT), encoding='utf-8') as file:
    found = json.load(file, parse_constant=_no_json)
  assert found['train_success_rate'] is None


def _no_json(text):
  raise ValueError(f'JSON knows no {text}')


def test_refuses_a_prior_of_another_method(root, prior_dir):
  path = layout.export_dir(root, 'seen', 'parrot')
  os.makedirs(os.path.dirname(path))
  os.symlink(prior_dir, path)
  with pytest.raises(errors.UserError, match='method safer, expected parrot'):
    _train(root, prior='parrot')


def test_a_full_disk_is_told_and_leaves_no_result(root, monkeypatch):
  def full(self, step):
    del self, step
    raise tf.errors.ResourceExhaustedError(None, None, 'No space left')

  monkeypatch.setattr(common.Checkpointer, 'save', full)
  with pytest.raises(errors.UserError, match='Cannot write.*No space left'):
    _train(root)
  assert not _results(root)


def test_a_damaged_checkpoint_is_told(root):
  directory = _train(root, num_steps=60)
  os.remove(os.path.join(directory, layout.STAGE))
  latest = tf.train.latest_checkpoint(
      os.path.join(directory, layout.CHECKPOINTS_DIR)
  )
  os.truncate(f'{latest}.index', 20)
  with pytest.raises(errors.UserError, match='checkpoints cannot be read'):
    _train(root, num_steps=60)
