"""Episodes by seed, the record of what happened, random latents."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import envs
from safer_tf.common import errors
from safer_tf.common import labels
from safer_tf.evaluation import rollouts
from tests.data import fakes


def _scripted(env, seed):
  """A fixed sequence of actions that reaches down and closes."""
  rng = np.random.default_rng(seed)

  def policy(_):
    return rng.uniform(-0.9, 0.9, 6).astype(np.float32)

  return policy


def _records(seeds):
  recorder = rollouts.Recorder(envs.load_task(envs.ALL[0]), envs.ALL[0])
  found = list(
      rollouts.roll_out(recorder, recorder, _scripted(recorder, 0), seeds)
  )
  recorder.close()
  return found


@pytest.fixture(scope='module')
def records():
  return _records([3, 4])


def test_a_record_gives_the_episode_back(records):
  env = envs.load_task(envs.ALL[0])
  for record in records:
    env.seed(record.seed)
    time_step = env.reset()
    unsafe, total = [], 0.0
    for action in record.actions:
      assert not time_step.is_last()
      time_step = env.step(action)
      unsafe.append(bool(env.get_info()['unsafe']))
      total += float(time_step.reward)
    assert time_step.is_last()
    assert unsafe == record.unsafe.tolist()
    assert total == pytest.approx(record.total_reward)
    assert record.success == (record.total_reward > -len(record.actions))
  env.close()


def test_episodes_depend_on_their_seed_alone():
  recorder = rollouts.Recorder(envs.load_task(envs.ALL[0]), envs.ALL[0])
  seen = []

  def policy(time_step):
    if time_step.is_first():
      seen.append(time_step.observation)
    return np.array([0.3, 0.9, -0.9, 0, 0, 0.8], np.float32)

  first, other, again = rollouts.roll_out(
      recorder, recorder, policy, [3, 4, 3]
  )
  recorder.close()
  np.testing.assert_array_equal(seen[2], seen[0])
  assert (seen[1] != seen[0]).any()
  assert again.to_json() == first.to_json()
  assert (first.seed, other.seed) == (3, 4)


def test_an_environment_that_never_ends_is_told(monkeypatch):
  monkeypatch.setattr(labels, 'LONGEST_EPISODE', 2)
  with pytest.raises(errors.UserError, match='not ended after 2 steps'):
    _records([3])


def test_seeds_differ_by_purpose_and_prolong_each_other():
  first = rollouts.episode_seeds(0, 50, 1)
  assert len(set(first)) == 50 and min(first) >= 0 and max(first) < 2**31
  assert not set(first) & set(rollouts.episode_seeds(0, 50, 2))
  assert not set(first) & set(rollouts.episode_seeds(1, 50, 1))
  np.testing.assert_array_equal(rollouts.episode_seeds(0, 20, 1), first[:20])


@pytest.mark.parametrize('bound', [0.05, 1.0, 8.0])
def test_random_latents_are_a_truncated_normal(bound):
  policy = rollouts.random_latents(6, bound, seed=0)
  drawn = np.concatenate([policy(None) for _ in range(1500)])
  assert drawn.dtype == np.float32 and np.abs(drawn).max() <= bound
  expected = stats.truncnorm(-bound, bound)
  assert stats.kstest(drawn, expected.cdf).pvalue > 1e-3


def test_zero_latents():
  np.testing.assert_array_equal(rollouts.zero_latents(4)(None), np.zeros(4))


def test_random_latents_follow_their_seed():
  one, same, other = (
      rollouts.random_latents(6, 1.0, seed)(None) for seed in (1, 1, 2)
  )
  np.testing.assert_array_equal(one, same)
  assert (one != other).all()


def test_an_environment_without_labels_is_told():
  with pytest.raises(errors.UserError, match='task left cannot be used'):
    rollouts.Recorder(fakes.UnlabelledEnv('left'), 'left')


def test_a_success_stays_one_whatever_comes_later():
  class Leaves(fakes.PointEnv):
    def get_info(self):
      return {'unsafe': False, 'success': self._steps == 3}

    def _step(self, action):
      time_step = super()._step(action)
      return time_step._replace(
          step_type=np.array(2 if self._steps == 5 else 1, np.int32)
      )

  recorder = rollouts.Recorder(Leaves('left'), 'left')
  record, = rollouts.roll_out(
      recorder, recorder, rollouts.zero_latents(2), np.array([0])
  )
  assert record.success and len(record.actions) == 5


def test_a_record_keeps_actions_whose_array_is_used_again():
  recorder = rollouts.Recorder(fakes.PointEnv('left'), 'left')
  action = np.zeros(2, np.float32)
  recorder.reset()
  for value in (0.25, 0.5):
    action[:] = value
    recorder.step(action)
  np.testing.assert_array_equal(
      recorder.record(0).actions, [[0.25, 0.25], [0.5, 0.5]]
  )
