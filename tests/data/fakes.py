"""A small environment, a policy and episodes, for tests of the data."""

from __future__ import annotations

import numpy as np
from tf_agents.environments import py_environment
from tf_agents.specs import array_spec
from tf_agents.trajectories import time_step as ts

from safer_tf.data import schema

VECTOR_SPEC = schema.EpisodeSpec((3,), 'float32', 2)
IMAGE_SPEC = schema.EpisodeSpec((4, 4, 3), 'uint8', 2)
TASKS = ('left', 'right')
_TIME_LIMIT = 12


class PointEnv(py_environment.PyEnvironment):
  """A point that walks to 1; unsafe beyond 0.8 to the side."""

  def __init__(self, task):
    super().__init__()
    self._sign = {'left': -1.0, 'right': 1.0}[task]
    self.seed(0)

  def observation_spec(self):
    return array_spec.ArraySpec((3,), np.float32)

  def action_spec(self):
    return array_spec.BoundedArraySpec((2,), np.float32, -1, 1)

  def seed(self, seed):
    self._generator = np.random.default_rng(seed)

  def get_info(self):
    return {
        'unsafe': bool(abs(self._state[1]) > 0.8),
        'success': bool(self._state[0] > 1),
    }

  def _reset(self):
    self._state = self._generator.normal(0, 0.1, 3)
    self._steps = 0
    return ts.restart(self._observation())

  def _step(self, action):
    if self._current_time_step.is_last():
      return self.reset()
    self._state[:2] += np.asarray(action) * 0.3
    self._steps += 1
    if self.get_info()['success']:
      return ts.termination(self._observation(), 1.0)
    if self._steps == _TIME_LIMIT:
      return ts.truncation(self._observation(), -1.0, 1.0)
    return ts.transition(self._observation(), -1.0)

  def _observation(self):
    return (self._sign * self._state).astype(np.float32)


class UnlabelledEnv(PointEnv):
  """An environment that tells nothing about safety."""

  def get_info(self):
    raise NotImplementedError('get_info')


class PointPolicy:
  """Walks forwards, more or less."""

  def __init__(self, env):
    del env

  def reset(self, seed, noise):
    self._generator = np.random.default_rng(seed)
    self._noise = noise

  def action(self):
    noise = self._noise * self._generator.standard_normal(2)
    return np.clip([0.4, 0.0] + noise, -1, 1)


class IdlePolicy(PointPolicy):
  """Has no action, but for None."""

  def action(self):
    return None


def no_policy(env):
  """Makes something else than a policy."""
  return [env]


def random_episodes(count, spec, seed=0, max_length=20):
  """Episodes of noise whose frames tell their number and step."""
  generator = np.random.default_rng(seed)
  for number in range(count):
    steps = int(generator.integers(1, max_length + 1))
    observation = np.zeros((steps,) + spec.observation_shape)
    # Never zero, so that padding can be told from a frame.
    observation.reshape(steps, -1)[:, 0] = 1 + number % 200
    observation.reshape(steps, -1)[:, 1] = 1 + np.arange(steps)
    yield schema.Episode(
        observation=observation.astype(spec.observation_dtype),
        action=generator.uniform(
            -1, 1, (steps, spec.action_size)
        ).astype(np.float32),
        reward=np.full(steps, -1, np.float32),
        unsafe=generator.random(steps) < 0.3,
        success=bool(generator.random() < 0.7),
        task=TASKS[number % 2], noise=0.15, seed=number, index=number,
    )


def assert_same(one, other):
  """Asserts that two episodes are equal."""
  for name in ('observation', 'action', 'reward', 'unsafe'):
    left, right = getattr(one, name), getattr(other, name)
    assert left.dtype == right.dtype
    np.testing.assert_array_equal(left, right)
  for name in ('success', 'task', 'noise', 'seed', 'index'):
    assert getattr(one, name) == getattr(other, name)
