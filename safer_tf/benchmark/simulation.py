"""Row 1: how fast the tasks are simulated."""

from __future__ import annotations

import random
import statistics
import time
from typing import NamedTuple, Sequence
from unittest import mock

import numpy as np
import pybullet

import envs
from envs import scene
from envs import scripted
from safer_tf.benchmark import measurement
from safer_tf.benchmark import sizes as sizes_lib
from safer_tf.benchmark import timing
from safer_tf.data import rollout

BARE = 'stepSimulation and getCameraImage alone'


class _Counted(NamedTuple):
  """Steps and the seconds that they took."""

  steps: int
  seconds: float

  @property
  def rate(self) -> float:
    return self.steps / self.seconds


def measure(
    root_dir: str, sizes: sizes_lib.Sizes, full: bool
) -> list[measurement.Measurement]:
  """Measures row 1.

  Args:
    root_dir: run directory of the benchmark.
    sizes: how much of each measure is run.
    full: measures wholes instead of scaling parts up.

  Returns:
    The measurements.
  """
  del root_dir, full
  found = timing.alone(
      'safer_tf.benchmark.simulation:rates', sizes.simulation_steps,
      sizes.kuka_episodes, core=0,
  )
  baseline = 'PyBullet KukaDiverseObjectEnv, 48x48'
  return [
      measurement.Measurement(
          1, 'simulation, one core, mean of 40 tasks', found.ours, 'steps/s',
          baseline, found.kuka,
          (
              measurement.Target('value', '>=', 450),
              measurement.Target('ratio', '>=', 35),
          ), found.bare, f'{BARE}, in the same scenes',
          note='resets, labels at every substep and the script are included; '
          'both environments as they are shipped',
      ),
      measurement.Measurement(
          1, 'the same, physics substeps', scene.SUBSTEPS * found.ours,
          'substeps/s', baseline, found.kuka_substeps, (),
          scene.SUBSTEPS * found.bare, f'{BARE}, in the same scenes',
          note=f'a step of ours simulates {scene.SUBSTEPS}, one of theirs '
          f'{found.kuka_substeps / found.kuka:.0f}, a share of resets and '
          'grasps included: most of the line above is this',
      ),
  ]


class Rates(NamedTuple):
  """What is simulated in a second.

  Attributes:
    ours: steps of our tasks, the mean over them.
    bare: the same of bare simulation and rendering in the tasks' scenes.
    kuka: steps of `KukaDiverseObjectEnv`.
    kuka_substeps: its physics substeps.
  """

  ours: float
  bare: float
  kuka: float
  kuka_substeps: float


def rates(num_steps: int, kuka_episodes: int) -> Rates:
  """Rates of our tasks, of PyBullet's own, and of the bare calls.

  The tasks, and the episodes of PyBullet's own between them, take turns.

  Args:
    num_steps: of each task.
    kuka_episodes: of `KukaDiverseObjectEnv`.

  Returns:
    Means over tasks and episodes.
  """
  ours: list[_Counted] = []
  bare: list[_Counted] = []
  kuka: list[tuple[_Counted, int]] = []
  between = max(1, len(envs.ALL) // kuka_episodes)
  other = _kuka()
  for number, task in enumerate(envs.ALL):
    env = envs.load_task(task)
    ours.append(_scripted(env, task, num_steps))
    bare.append(_bare(env.scene, num_steps))
    env.close()
    if number % between == 0 and len(kuka) < kuka_episodes:
      kuka.append(_kuka_episode(other))
  return Rates(
      statistics.mean(part.rate for part in ours),
      statistics.mean(part.rate for part in bare),
      statistics.mean(part.rate for part, _ in kuka),
      statistics.mean(substeps / part.seconds for part, substeps in kuka),
  )


def bare_seconds(tasks: Sequence[str], num_steps: int) -> float:
  """Seconds of a bare step, the mean over some tasks' scenes.

  Args:
    tasks: names of tasks.
    num_steps: of each.

  Returns:
    Seconds of simulating and rendering one step, without anything else.
  """
  found = []
  for task in tasks:
    env = envs.load_task(task)
    env.reset()
    found.append(1 / _bare(env.scene, num_steps).rate)
    env.close()
  return sum(found) / len(found)


def _scripted(env, task: str, num_steps: int) -> _Counted:
  """Episodes as they are collected, resets included."""
  policy = scripted.ScriptedPolicy(env)
  start = time.perf_counter()
  steps = sum(len(episode) for episode in rollout.episodes_of_shard(
      env, policy, task, 0, 0, num_steps, scripted.NOISE_LEVELS
  ))
  return _Counted(steps, time.perf_counter() - start)


def _bare(world: scene.Scene, num_steps: int) -> _Counted:
  """What no environment with this physics and image can do without."""
  # The scene's own world and camera, without the scene's own Python.
  # pylint: disable=protected-access
  client = {'physicsClientId': world._client}
  view, projection = scene._camera(1.0)
  start = time.perf_counter()
  for _ in range(num_steps):
    for _ in range(scene.SUBSTEPS):
      pybullet.stepSimulation(**client)
    pybullet.getCameraImage(
        48, 48, view, projection, shadow=0,
        renderer=pybullet.ER_TINY_RENDERER,
        flags=pybullet.ER_NO_SEGMENTATION_MASK, **client,
    )
  return _Counted(num_steps, time.perf_counter() - start)


def _kuka():
  # It calls PyBullet without naming a client, and so takes the first one.
  from pybullet_envs.bullet import kuka_diverse_object_gym_env as kuka

  random.seed(0)
  np.random.seed(0)  # Both are what it draws its objects from.
  env = kuka.KukaDiverseObjectEnv(width=48, height=48, renders=False)
  env.action_space.seed(0)
  return env


def _kuka_episode(env) -> tuple[_Counted, int]:
  """An episode, and the physics substeps that it took."""
  substeps = 0
  step = pybullet.stepSimulation

  def counted(*arguments):
    nonlocal substeps
    substeps += 1
    return step(*arguments)

  with mock.patch.object(pybullet, 'stepSimulation', counted):
    start = time.perf_counter()
    env.reset()
    steps, done = 0, False
    while not done:
      _, _, done, _ = env.step(env.action_space.sample())
      steps += 1
    return _Counted(steps, time.perf_counter() - start), substeps
