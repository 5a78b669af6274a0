"""The scripted policy that collects offline data.

After PARROT's (Singh et al., 2021): it seeks the object by proportional
control, does not descend while it is off to the side, closes near the grasp and
lifts. It reads the simulator's state, which no learner sees.
"""

from __future__ import annotations

import numpy as np

from envs import extraction
from envs import rotations
from envs import scene

# Standard deviation of the actuation noise of an episode of the offline data;
# actions lie in [-1, 1]. No level is so small that its actions would
# form a spike in the density, nor so large that |z| alone would tell it apart.
NOISE_LEVELS = (0.3, 0.5, 0.7)

_GAIN = 0.9
# The noiseless command stays inside this, so that the noise has room on both
# sides and no spike of saturated actions forms at +-1.
_COMMAND_LIMIT = 0.8
_ACTION_LIMIT = 0.99
_HOVER = 0.02  # m above the rim while the tool is off to the side
_ALIGNED = 0.015  # m
_ALIGNED_ANGLE = 0.2  # rad
_STRAYED = 0.030  # m; beyond this a descent is given up
_AT_GRASP = 0.006  # m
_LIFT = 0.02  # m above what extraction needs
_OPEN, _CLOSE = 0.8, -0.8
# The gripper's command is a threshold at +-0.5; this share of the noise may
# turn a command into `hold`, seldom into its opposite.
_GRIPPER_NOISE = 0.5


class ScriptedPolicy:
  """Grasps the object and lifts it, with noise."""

  def __init__(self, env: extraction.ExtractionEnv):
    """Watches an environment.

    Args:
      env: whose simulator state it reads.
    """
    self._env = env
    self.reset(0, 0.0)

  def reset(self, seed: int, noise: float) -> None:
    """Starts an episode.

    Args:
      seed: of its noise.
      noise: standard deviation of the noise, before it is truncated; the
        gripper has half of it.
    """
    self._generator = np.random.default_rng(seed)
    self._noise = noise * np.array([1.0] * 5 + [_GRIPPER_NOISE])
    self._closing = 0
    self._grasped = False
    self._descending = False

  def action(self) -> np.ndarray:
    """The next action.

    Returns:
      float32 [6] strictly inside (-1, 1).
    """
    command = np.clip(self._command(), -_COMMAND_LIMIT, _COMMAND_LIMIT)
    return self._noisy(command).astype(np.float32)

  def _noisy(self, command: np.ndarray) -> np.ndarray:
    # Truncated by drawing again, for clipping would pile actions up at +-1.
    action = command + self._noise * self._generator.standard_normal(6)
    for _ in range(100):
      outside = np.abs(action) > _ACTION_LIMIT
      if not outside.any():
        break
      again = self._noise * self._generator.standard_normal(6)
      action = np.where(outside, command + again, action)
    return np.clip(action, -_ACTION_LIMIT, _ACTION_LIMIT)

  def _command(self) -> np.ndarray:
    world, task = self._env.scene, self._env.task
    tool = np.asarray(world.tool_pose())
    position, orientation = world.object_state()
    floor, rim = scene.WALL, scene.WALL + task.height
    heading = rotations.turned(orientation, task.rest_orientation)
    target = np.array([
        position[0], position[1], 0.0, extraction.POINTING_DOWN,
        np.clip(heading, -0.5, 0.5),
    ])
    error = target - tool
    aside = float(np.hypot(error[0], error[1]))
    grip = floor + task.grip_height
    if self._grasped:
      target[2] = rim + task.grip_height + _LIFT
      # A lift goes straight up from the grasp; the object now turns with the
      # hand, so that its heading is no target any more.
      error[:2] = self._lift_from[:2] - tool[:2]
      error[4] = self._lift_from[4] - tool[4]
    else:
      limit = _STRAYED if self._descending else _ALIGNED
      self._descending = aside < limit and (
          self._descending or abs(error[4]) < _ALIGNED_ANGLE
      )
      hover = rim + 0.5 * task.grip_height + _HOVER
      target[2] = grip if self._descending else max(
          hover, min(tool[2], extraction.HOVER)
      )
    error[2] = target[2] - tool[2]
    command = np.empty(6)
    command[:3] = _GAIN * error[:3] / extraction.STEP_POSITION
    command[3:5] = _GAIN * error[3:] / extraction.STEP_ANGLE
    command[5] = self._gripper(error, world, tool)
    return command

  def _gripper(self, error, world, tool) -> float:
    if self._grasped:
      return _CLOSE
    if self._descending and abs(error[2]) < _AT_GRASP:
      self._closing = max(self._closing, 1)
    if not self._closing:
      return _OPEN
    self._closing += 1
    if self._closing > 4:
      if world.held():
        self._grasped = True
        self._lift_from = tool.copy()
      elif self._closing > 7:
        self._closing = 0
        return _OPEN
    return _CLOSE
