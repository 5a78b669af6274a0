"""Small environments and priors that the tests of this room share."""

from __future__ import annotations

import numpy as np
from tf_agents.environments import py_environment
from tf_agents.specs import array_spec
from tf_agents.trajectories import time_step as ts

from safer_tf.prior import export
from safer_tf.prior import skill_prior

TIME_LIMIT = 15
WINDOW = 4


class ReachEnv(py_environment.PyEnvironment):
  """A point in the plane reaches a goal; touching the border is unsafe."""

  def __init__(self, images: bool = False, goal_radius: float = 0.25):
    super().__init__()
    self._images = images
    self._radius = goal_radius
    self._info = {'unsafe': False, 'success': False}
    self.seed(0)

  def observation_spec(self):
    if self._images:
      return array_spec.BoundedArraySpec((16, 16, 3), np.uint8, 0, 255)
    return array_spec.ArraySpec((4,), np.float32)

  def action_spec(self):
    return array_spec.BoundedArraySpec((2,), np.float32, -1.0, 1.0)

  def seed(self, seed):
    self._random = np.random.default_rng(seed)
    self._current_time_step = None
    return seed

  def get_info(self):
    return dict(self._info)

  def get_state(self):
    return (
        self._position.copy(), self._goal.copy(), self._steps,
        self._random.bit_generator.state, self._current_time_step,
    )

  def set_state(self, state):
    position, goal, self._steps, random, self._current_time_step = state
    self._position, self._goal = position.copy(), goal.copy()
    self._random.bit_generator.state = random

  def _reset(self):
    self._position, self._goal = self._random.uniform(-0.8, 0.8, (2, 2))
    self._steps = 0
    self._info = {'unsafe': False, 'success': False}
    return ts.restart(self._observe())

  def _step(self, action):
    if self._current_time_step is None or self._current_time_step.is_last():
      return self.reset()
    assert np.all(np.abs(action) <= 1), action
    self._position = self._position + 0.3 * np.asarray(action)
    unsafe = bool(np.abs(self._position).max() > 1)
    self._position = np.clip(self._position, -1, 1)
    self._steps += 1
    success = np.linalg.norm(self._position - self._goal) < self._radius
    self._info = {'unsafe': unsafe, 'success': bool(success)}
    if success:
      return ts.termination(self._observe(), np.float32(1))
    if self._steps >= TIME_LIMIT:
      return ts.truncation(self._observe(), np.float32(-1), np.float32(1))
    return ts.transition(self._observe(), np.float32(-1))

  def _observe(self):
    if not self._images:
      return np.concatenate([self._position, self._goal]).astype(np.float32)
    image = np.zeros((16, 16, 3), np.uint8)
    for channel, point in enumerate((self._position, self._goal)):
      row, column = ((np.asarray(point) + 1) * 7.5).astype(int)
      image[row, column, channel] = 255
    return image


def export_prior(directory: str, images: bool = False) -> str:
  """Exports an untrained prior for `ReachEnv`; its path."""
  shape = (16, 16, 3) if images else (4,)
  prior = skill_prior.SkillPrior(shape, 2, window=WINDOW, context_dim=3)
  for variable in prior.trainable_variables:
    if variable.shape.rank == 2:  # Away from an identity flow.
      variable.assign_add(
          0.05 * np.random.default_rng(1).normal(size=variable.shape)
      )
  dtype = 'uint8' if images else 'float32'
  export.export_prior(prior, directory, 'safer', dtype, {})
  return directory
