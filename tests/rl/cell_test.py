"""The loop of a cell: learning, resume, and its files."""

from __future__ import annotations

import glob
import json
import os

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.specs import array_spec
from tf_agents.trajectories import time_step as ts

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import labels
from safer_tf.common import layout
from safer_tf.prior import export
from safer_tf.rl import agent as sac
from safer_tf.rl import latent_env
from safer_tf.rl import policies
from tests.rl import fakes
from tests.rl import small_cell

pytestmark = pytest.mark.usefixtures('small_networks')


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


def _shown(directory):
  """Tag and step of the scalars that TensorBoard shows."""
  found = []
  for path in glob.glob(os.path.join(directory, layout.TENSORBOARD_DIR, '*')):
    for event in tf.compat.v1.train.summary_iterator(path):
      found += [
          (value.tag, event.step) for value in event.summary.value
          if '/' in value.tag
      ]
  return sorted(found)


class _Killed(Exception):
  pass


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
    small_cell.train(root, lambda name: _CountingEnv(dies_at=30), num_steps=50)
  assert 'starts anew' not in capsys.readouterr().out
  env = _CountingEnv()
  small_cell.train(root, lambda name: env, num_steps=50)
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
  whole = small_cell.train(roots[0])
  with pytest.raises(_Killed):
    small_cell.train(roots[1], lambda name: _CountingEnv(dies_at=120))
  env = _CountingEnv()
  killed = small_cell.train(roots[1], lambda name: env)
  assert 0 < env.actions < 230  # It did go on, and not from the start.
  assert small_cell.curve(whole) == small_cell.curve(killed)
  assert len(_shown(whole)) > 50
  assert _shown(whole) == _shown(killed)  # None twice.
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
  directory = small_cell.train(root, lambda name: env, assurance_mode='paper')
  shown = capsys.readouterr()
  # Without a terminal progress is a line every 30 seconds, not one an episode.
  assert 1 <= shown.err.count('Training agent') <= 3
  rows = small_cell.curve(directory)
  result = files.read_json(os.path.join(directory, layout.RESULT), 'it')
  assert (
      f'{directory}: {result["violations"]:,} violations in '
      f'{result["env_steps"]:,} steps'
  ) in shown.out
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
  assert directory == small_cell.train(
      root, lambda name: again, assurance_mode='paper'
  )
  assert again.actions == 0
  with pytest.raises(errors.UserError, match='batch_size was 16, is now 8'):
    small_cell.train(
        root, lambda name: again, batch_size=8, assurance_mode='paper'
    )
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
      action, again = (
          policy.action(batched, ()).action.numpy()[0] for _ in range(2)
      )
      assert np.abs(action).max() <= 0.9
      assert np.array_equal(action, again) == (name == policies.GREEDY)
      time_step = env.step(action)
  with pytest.raises(errors.UserError, match='cannot be loaded'):
    policies.load(directory, 'none')


@pytest.mark.parametrize('radius, discounts', [(0.0, {1.0}), (9.0, {0.0})])
def test_an_episode_ends_in_value_only_where_it_truly_ends(
    root, radius, discounts
):
  directory = small_cell.train(
      root, lambda name: fakes.ReachEnv(goal_radius=radius),
      num_steps=2 * fakes.TIME_LIMIT, initial_steps=30,
  )
  rows = small_cell.curve(directory)
  assert len(rows) == (2 if radius == 0 else 30)
  found = []
  for path in glob.glob(
      os.path.join(directory, layout.CHECKPOINTS_DIR, 'replay-*')
  ):
    with np.load(path) as chunk:
      found += chunk['discount'].tolist()
  assert len(found) == 30 and set(found) == discounts


class _PenalisedEnv(fakes.ReachEnv):

  def _step(self, action):
    time_step = super()._step(action)
    reward = np.float32(time_step.reward - 2.0 * self._info['unsafe'])
    return time_step._replace(reward=reward)


def test_a_penalty_is_what_the_environments_own_would_be(root):
  told, plain = (
      small_cell.train(root, variant=name, violation_penalty=penalty)
      for name, penalty in (('told', 2.0), ('plain', None))
  )
  own = small_cell.train(root, lambda name: _PenalisedEnv(), variant='own')
  expected = _weights(own)
  for name, value in _weights(told).items():
    np.testing.assert_array_equal(value, expected[name], err_msg=name)
  assert any(
      not np.array_equal(value, expected[name])
      for name, value in _weights(plain).items()
  )
  for directory, penalty in ((told, 2.0), (plain, None)):
    result = files.read_json(os.path.join(directory, layout.RESULT), 'it')
    assert result['violation_penalty'] == penalty
  # The return is the environment's, whatever the agent was told.
  for ours, theirs in zip(small_cell.curve(told), small_cell.curve(own)):
    unsafe = float(ours['violations'])
    assert float(ours['episode_return']) == (
        float(theirs['episode_return']) + 2 * unsafe)
  assert sum(int(row['violations']) for row in small_cell.curve(told)) > 0


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
  small_cell.train(
      root, lambda name: Env(), method='prior_explore', action_space='raw',
      prior_probability=probability, latent_bound=0.5, num_steps=60,
  )
  assert len(taken) == 60 and len(chosen) == count
  for taken_one, chosen_one in zip(taken, chosen):
    np.testing.assert_array_equal(taken_one, chosen_one)


@pytest.mark.parametrize('channels', [1, 2, 12])
def test_frames_of_any_number_of_channels(root, channels):
  class Env(fakes.ReachEnv):

    def observation_spec(self):
      return array_spec.BoundedArraySpec((16, 16, channels), np.uint8, 0, 255)

    def _observe(self):
      return np.repeat(super()._observe()[..., :1], channels, axis=-1)

  directory = small_cell.train(
      root, lambda name: Env(images=True), method='sac', action_space='raw',
      encoder='own', prior=None, num_steps=40, initial_steps=30, batch_size=4,
      variant=f'channels{channels}',
  )
  assert os.path.exists(os.path.join(directory, layout.STAGE))


def test_divergence_names_the_step_and_the_checkpoint(root, monkeypatch):
  def diverged(self, *batch):
    del batch
    return tf.fill([len(sac.Diagnostics._fields)], np.nan)

  monkeypatch.setattr(sac.LatentSacAgent, '_update', diverged)
  with pytest.raises(errors.UserError, match='step 40.*: none yet'):
    small_cell.train(root)
  # Nothing is there that other settings would have to make way for.
  with pytest.raises(errors.UserError, match='step 80.*/checkpoints/ckpt-'):
    small_cell.train(root, initial_steps=80)
  with pytest.raises(errors.UserError, match='initial_steps was 80'):
    small_cell.train(root)


def test_a_run_shorter_than_an_episode_has_no_success_rate(root):
  directory = small_cell.train(root, num_steps=3, initial_steps=2)
  with open(os.path.join(directory, layout.RESULT), encoding='utf-8') as file:
    found = json.load(file, parse_constant=_no_json)
  assert found['train_success_rate'] is None


def test_an_environment_without_a_time_limit_is_told(root, monkeypatch):
  monkeypatch.setattr(labels, 'LONGEST_EPISODE', 2)
  with pytest.raises(errors.UserError, match='has not ended after 2 steps'):
    small_cell.train(root)


def _no_json(text):
  raise ValueError(f'JSON knows no {text}')


def test_a_full_disk_is_told_and_leaves_no_result(root, monkeypatch):
  def full(self, checkpoint_number):
    del self, checkpoint_number
    raise tf.errors.ResourceExhaustedError(None, None, 'No space left')

  monkeypatch.setattr(tf.train.CheckpointManager, 'save', full)
  with pytest.raises(errors.UserError, match='Cannot write.*No space left'):
    small_cell.train(root)
  assert not small_cell.results(root)


def test_a_damaged_checkpoint_is_told(root):
  directory = small_cell.train(root, num_steps=60)
  os.remove(os.path.join(directory, layout.STAGE))
  latest = tf.train.latest_checkpoint(
      os.path.join(directory, layout.CHECKPOINTS_DIR)
  )
  os.truncate(f'{latest}.index', 20)
  with pytest.raises(errors.UserError, match='ckpt-.* cannot be read'):
    small_cell.train(root, num_steps=60)


def test_a_checkpoint_that_lacks_weights_is_told(root):
  directory = small_cell.train(root, num_steps=60)
  os.remove(os.path.join(directory, layout.STAGE))
  # As one of a release whose agent had other parts.
  tf.train.CheckpointManager(
      tf.train.Checkpoint(episodes=tf.Variable(4, dtype=tf.int64)),
      os.path.join(directory, layout.CHECKPOINTS_DIR), max_to_keep=1,
  ).save()
  with pytest.raises(errors.UserError, match='read .it does not hold all.*D'):
    small_cell.train(root, num_steps=60)
