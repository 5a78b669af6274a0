"""Object extraction as a TF-Agents environment."""

from __future__ import annotations

import math
import os
import tempfile
from typing import Any, Mapping, NamedTuple

import numpy as np
import pybullet
from tf_agents.environments import py_environment
from tf_agents.specs import array_spec
from tf_agents.trajectories import time_step as ts

from envs import errors
from envs import kinematics
from envs import rotations
from envs import scene
from envs import tasks

IMAGE_SIZE = 48  # pixels
TIME_LIMIT = 30  # steps; 1.5 s
STEP_POSITION = 0.025  # m that an action of 1 moves the tool
STEP_ANGLE = 0.15  # rad that an action of 1 turns it
GRIPPER_THRESHOLD = 0.5  # above: opens; below its negative: closes; else holds
POINTING_DOWN = math.pi / 2

# The commanded pose stays in this box about the container (x, y, z, pitch,
# yaw), inside the arm's reach and joint limits.
_LOWER = (0.19, -0.09, 0.010, POINTING_DOWN - 0.3, -0.8)
_UPPER = (0.355, 0.09, 0.155, POINTING_DOWN + 0.15, 0.8)
# A blocked hand's command runs ahead of it by this much at most, so that it
# answers at once when the way is free.
_LEAD = (0.03, 0.03, 0.03, 0.3, 0.3)
HOVER = 0.13  # m, height of the tool at the start of an episode
_START_SPREAD = (0.03, 0.03, 0.012)  # m
_YAW_SPREAD = 0.12  # rad, of the object
_SETTLE_SUBSTEPS = 24
_GAP = 0.0005  # m, beside the height at which the object is let go
_SCALE = np.array([STEP_POSITION] * 3 + [STEP_ANGLE] * 2)


class State(NamedTuple):
  """A saved environment; see `ExtractionEnv.get_state`.

  Attributes:
    world: PyBullet's own state, as bytes.
    command: [5] commanded tool pose.
    opening: commanded finger opening, metres.
    steps: since the reset.
    unsafe: label of the last step.
    success: label of the last step.
    time_step: the last one returned, or None.
    generator: state of the random generator.
  """

  world: bytes
  command: tuple[float, ...]
  opening: float
  steps: int
  unsafe: bool
  success: bool
  time_step: Any
  generator: Mapping[str, Any]


class ExtractionEnv(py_environment.PyEnvironment):
  """A 5-joint arm lifts an object out of a narrow container.

  Observation: uint8 [48, 48, 3] from one fixed camera. Action: float32 [6] in
  [-1, 1]: dx, dy, dz, pitch, roll of the tool and the gripper. Reward: +1 at
  extraction, which ends the episode, else -1 a step; after `TIME_LIMIT` steps
  the episode is truncated (LAST, discount 1). `get_info()['unsafe']` tells
  whether any link of the arm touched the container during the last step.

  Source: the paper's Section 5.1; its decisions left open are in
  `docs/deviations.md`.
  """

  def __init__(self, task: tasks.Task, seed: int = 0):
    """Builds the task's world.

    Args:
      task: constants of the task.
      seed: of the episodes' random draws.
    """
    super().__init__()
    self.task = task
    self.scene = scene.Scene(task)
    self._observation_spec = array_spec.BoundedArraySpec(
        (IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8, 0, 255, name='image'
    )
    self._action_spec = array_spec.BoundedArraySpec(
        (6,), np.float32, -1.0, 1.0, name='action'
    )
    self._command = np.zeros(5)
    self._opening = scene.FINGER_TRAVEL
    self._steps = 0
    self._unsafe = False
    self._success = False
    self.seed(seed)

  def observation_spec(self) -> array_spec.BoundedArraySpec:
    """Spec of the image."""
    return self._observation_spec

  def action_spec(self) -> array_spec.BoundedArraySpec:
    """Spec of the action."""
    return self._action_spec

  def seed(self, seed: int) -> int:
    """Makes the next episodes a pure function of a seed.

    Args:
      seed: any non-negative integer.

    Returns:
      The same seed.
    """
    self._generator = np.random.default_rng(seed)
    self._current_time_step = None
    return seed

  def get_info(self) -> dict[str, np.bool_]:
    """Labels of the last step: `unsafe` and `success`; false after a reset."""
    return {
        'unsafe': np.bool_(self._unsafe), 'success': np.bool_(self._success)
    }

  def close(self) -> None:
    """Frees the world."""
    self.scene.close()

  @property
  def command(self) -> np.ndarray:
    """[5] the commanded tool pose: x, y, z (m), pitch, yaw (rad)."""
    return self._command.copy()

  def _reset(self) -> ts.TimeStep:
    draw = self._generator.uniform
    x, y = scene.CONTAINER_CENTER
    yaw = draw(-_YAW_SPREAD, _YAW_SPREAD)
    position = (
        x + self.task.slack_x * draw(-1, 1),
        y + self.task.slack_y * draw(-1, 1),
        scene.WALL + self.task.rest_height + _GAP,
    )
    _, orientation = pybullet.multiplyTransforms(
        (0, 0, 0), rotations.yaw_quaternion(yaw),
        (0, 0, 0), self.task.rest_orientation,
    )
    spread = np.asarray(_START_SPREAD) * draw(-1, 1, 3)
    self._command = np.array(
        [x + spread[0], y + spread[1], HOVER + spread[2], POINTING_DOWN, 0.0]
    )
    self._opening = scene.FINGER_TRAVEL
    self._steps, self._unsafe, self._success = 0, False, False
    self.scene.reset(self._command, position, orientation)
    self.scene.advance(_SETTLE_SUBSTEPS)
    return ts.restart(self._observe())

  def _step(self, action) -> ts.TimeStep:
    if self._current_time_step is None or self._current_time_step.is_last():
      return self.reset()
    self._drive(self._checked(action))
    self._unsafe = self.scene.advance()
    self._success = self._extracted()
    self._steps += 1
    observation = self._observe()
    if self._success:
      return ts.termination(observation, reward=1.0)
    if self._steps >= TIME_LIMIT:
      return ts.truncation(observation, reward=-1.0, discount=1.0)
    return ts.transition(observation, reward=-1.0, discount=1.0)

  def _checked(self, action) -> np.ndarray:
    action = np.asarray(action, np.float64)
    if action.shape != (6,):
      raise errors.EnvError(
          f'{self.task.name}: an action of shape {action.shape}; expected [6].'
      )
    # A NaN fails this comparison too.
    if not np.all(np.abs(action) <= 1.0 + 1e-6):
      raise errors.EnvError(
          f'{self.task.name}: action {action.tolist()} is not in [-1, 1]; clip '
          'it, or find where a NaN comes from.'
      )
    return action

  def _drive(self, action: np.ndarray) -> None:
    actual = np.asarray(self.scene.tool_pose())
    wanted = self._command + _SCALE * action[:5]
    wanted = np.clip(wanted, actual - _LEAD, actual + _LEAD)
    self._command = np.clip(wanted, _LOWER, _UPPER)
    if action[5] > GRIPPER_THRESHOLD:
      self._opening = scene.FINGER_TRAVEL
    elif action[5] < -GRIPPER_THRESHOLD:
      self._opening = 0.0
    self.scene.drive(kinematics.inverse(*self._command), self._opening)

  def _extracted(self) -> bool:
    rim = scene.WALL + self.task.height
    return self.scene.object_lowest() > rim and self.scene.held()

  def _observe(self) -> np.ndarray:
    return self.scene.image(IMAGE_SIZE, IMAGE_SIZE)

  def render(
      self, mode: str = 'rgb_array', height: int = 256, width: int = 256
  ) -> np.ndarray:
    """Renders the fixed camera's view at any size.

    Args:
      mode: only `rgb_array`.
      height: pixels.
      width: pixels.

    Returns:
      uint8 [height, width, 3].

    Raises:
      EnvError: another mode was asked for.
    """
    if mode != 'rgb_array':
      raise errors.EnvError(
          f'Render mode {mode!r} is not known; use \'rgb_array\'.'
      )
    return self.scene.image(height, width)

  def get_state(self) -> State:
    """Saves the environment.

    Returns:
      A picklable state for `set_state` of an environment of the same task.
      The step after a restore equals the step after the save bit for bit, or,
      where the hand was in contact, to about 1e-4 m; contacts after it may
      drift apart, for PyBullet's files leave out the solver's warm start.
    """
    with tempfile.TemporaryDirectory() as folder:
      path = os.path.join(folder, 'world.bullet')
      self.scene.save(path)
      with open(path, 'rb') as file:
        world = file.read()
    return State(
        world, tuple(self._command), self._opening, self._steps, self._unsafe,
        self._success, self._current_time_step,
        self._generator.bit_generator.state,
    )

  def set_state(self, state: State) -> None:
    """Restores what `get_state` saved.

    Args:
      state: of an environment of the same task.
    """
    with tempfile.TemporaryDirectory() as folder:
      path = os.path.join(folder, 'world.bullet')
      with open(path, 'wb') as file:
        file.write(state.world)
      self.scene.restore(path)
    self._command = np.asarray(state.command)
    self._opening, self._steps = state.opening, state.steps
    self._unsafe, self._success = state.unsafe, state.success
    self._current_time_step = state.time_step
    self._generator = np.random.default_rng()
    self._generator.bit_generator.state = state.generator
    # PyBullet's files hold no motor targets.
    self.scene.drive(kinematics.inverse(*self._command), self._opening)
