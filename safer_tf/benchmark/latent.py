"""Row 5: what the latent environment adds to a step of the simulator."""

from __future__ import annotations

import os
import statistics
import time
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tf_agents.environments import wrappers
from tf_agents.trajectories import time_step as ts

import envs
from safer_tf.benchmark import measurement
from safer_tf.benchmark import sizes as sizes_lib
from safer_tf.benchmark import timing
from safer_tf.common import config
from safer_tf.prior import export
from safer_tf.prior import skill_prior
from safer_tf.rl import latent_env

_BLOCK = 20  # Steps.
_WARM_BLOCKS = 2
_BOUND = 0.5


class Costs(NamedTuple):
  """Milliseconds of a step beyond the simulator, medians.

  Attributes:
    step: of the latent environment.
    plain: embedding the whole window anew, then posterior and decoder.
    floor: embedding one frame in one call.
  """

  step: float
  plain: float
  floor: float


def measure(
    root_dir: str, sizes: sizes_lib.Sizes, full: bool
) -> list[measurement.Measurement]:
  """Measures row 5.

  Args:
    root_dir: run directory of the benchmark; priors are exported there.
    sizes: how much of each measure is run.
    full: no difference here.

  Returns:
    The measurements.
  """
  del full
  small, usual, large = sizes.windows
  here = 'safer_tf.benchmark.latent'
  for window in sizes.windows:
    timing.alone(
        f'{here}:untrained_prior', _prior_path(root_dir, window), window
    )
  costs = dict(zip(sizes.windows, timing.alone(
      f'{here}:costs', root_dir, sizes.windows, sizes.latent_steps
  )))
  in_place = dict(zip(sizes.windows, timing.alone(
      f'{here}:in_place', root_dir, sizes.windows, sizes.latent_steps
  )))
  wide = (
      measurement.Target('value', '<=', 1.0),
      measurement.Target('ratio', '<=', 1.5),
  )
  return [
      measurement.Measurement(
          5, f'latent step beyond the simulator, w = {usual}',
          costs[usual].step, 'ms', 'embedding the whole window at every step',
          costs[usual].plain, (measurement.Target('value', '<=', 1.0),),
          costs[usual].floor, 'embedding one frame, one call',
          note='the simulator stands still',
      ),
      measurement.Measurement(
          5, f'the same in turn with the simulator, w = {usual}',
          in_place[usual], 'ms', 'with the simulator standing still',
          costs[usual].step, (measurement.Target('value', '<=', 1.0),),
          costs[usual].floor, 'embedding one frame, one call',
          note='what an agent sees: the simulator empties the caches',
      ),
      measurement.Measurement(
          5, f'the simulator standing still, w = {large}', costs[large].step,
          'ms', f'w = {small}', costs[small].step, wide, costs[large].floor,
          'embedding one frame, one call',
      ),
      measurement.Measurement(
          5, f'in turn with the simulator, w = {large}', in_place[large], 'ms',
          f'w = {small}', in_place[small], wide, costs[large].floor,
          'embedding one frame, one call',
      ),
  ]


def untrained_prior(path: str, window: int = 16) -> None:
  """Exports a SAFER prior of random weights: it costs what a trained one does.

  Args:
    path: directory to make or replace.
    window: W.
  """
  config.parse(['methods/safer.gin'], [])
  tf.keras.utils.set_random_seed(0)
  prior = skill_prior.SkillPrior((48, 48, 3), 6, window)
  export.export_prior(prior, path, 'safer', 'uint8', {'untrained': True})


def _prior_path(root_dir: str, window: int) -> str:
  return os.path.join(root_dir, 'untrained', f'w{window}')


class _Timed(wrappers.PyEnvironmentBaseWrapper):
  """Adds up the time that the simulator takes."""

  spent = 0.0

  def _step(self, action):
    start = time.perf_counter()
    time_step = self._env.step(action)
    self.spent += time.perf_counter() - start
    return time_step


class _Still(wrappers.PyEnvironmentBaseWrapper):
  """Shows the first image for ever and simulates nothing."""

  def _reset(self):
    self._observation = self._env.reset().observation
    return ts.restart(self._observation)

  def _step(self, action):
    del action
    return ts.transition(self._observation, -1.0)


def costs(
    root_dir: str, windows: tuple[int, ...], num_steps: int
) -> list[Costs]:
  """Steps latent environments of several windows by turns.

  Args:
    root_dir: where the priors stand.
    windows: W of each.
    num_steps: of each.

  Returns:
    For each window; nothing is simulated.
  """
  stages = [_Stage(root_dir, window, still=True) for window in windows]
  kinds = ('step', 'plain_step', 'embed')
  found: list[dict[str, list[float]]] = [
      {kind: [] for kind in kinds} for _ in stages
  ]
  # In blocks, as the kinds empty one another's caches, by as much as a window
  # is long: so all windows' turns of a kind stand together. The first warm up.
  for _ in range(_WARM_BLOCKS + -(-num_steps // _BLOCK)):
    for kind in kinds:
      for stage, times in zip(stages, found):
        times[kind] += [getattr(stage, kind)() for _ in range(_BLOCK)]
  warm = _WARM_BLOCKS * _BLOCK
  return [
      Costs(*(1e3 * statistics.median(times[kind][warm:]) for kind in kinds))
      for times in found
  ]


def in_place(
    root_dir: str, windows: tuple[int, ...], num_steps: int
) -> list[float]:
  """Median milliseconds beyond the simulator while that runs too.

  Args:
    root_dir: where the priors stand.
    windows: W of each; they take turns.
    num_steps: steps of each.

  Returns:
    Milliseconds of a step for each window.
  """
  stages = [_Stage(root_dir, window, still=False) for window in windows]
  found: list[list[float]] = [[] for _ in stages]
  for _ in range(_WARM_BLOCKS + -(-num_steps // _BLOCK)):
    for stage, times in zip(stages, found):
      times += [stage.step() for _ in range(_BLOCK)]
  warm = _WARM_BLOCKS * _BLOCK
  return [1e3 * statistics.median(times[warm:]) for times in found]


class _Stage:
  """One window's environment, and the plain way to do the same."""

  def __init__(self, root_dir: str, window: int, still: bool):
    self._prior = export.load_prior(_prior_path(root_dir, window))
    self._embed_one = self._prior.for_one('embed')
    simulator = envs.load_task(envs.EVALUATION[0])
    self._simulator = _Timed(_Still(simulator) if still else simulator)
    self._env = latent_env.LatentActionEnvironment(
        self._simulator, self._prior, _BOUND
    )
    self._random = np.random.default_rng(0)
    self._env.reset()
    self._frames = tf.zeros((window, 48, 48, 3), tf.uint8)

  def _latent(self) -> np.ndarray:
    return self._random.uniform(-_BOUND, _BOUND, 6).astype(np.float32)

  def step(self) -> float:
    """Seconds that a step takes beyond the simulator."""
    if self._env.current_time_step().is_last():
      self._env.reset()
    latent, before = self._latent(), self._simulator.spent
    took = timing.seconds(lambda: self._env.step(latent))
    return took - (self._simulator.spent - before)

  def plain_step(self) -> float:
    """Seconds of the same work with the whole window embedded anew."""
    latent = self._latent()
    return timing.seconds(lambda: self._plain(latent))

  def embed(self) -> float:
    """Seconds of embedding one frame."""
    frame = self._frames[-1:]
    return timing.seconds(lambda: self._embed_one(frame).numpy())

  def _plain(self, latent: np.ndarray) -> np.ndarray:
    prior = self._prior
    frame = tf.constant(self._env.frame[np.newaxis])
    self._frames = tf.concat([self._frames[1:], frame], axis=0)
    embeddings = prior.embed(self._frames)
    valid = tf.ones((1, len(embeddings)), tf.bool)
    mean, _ = prior.for_one('infer_context')(embeddings[tf.newaxis], valid)
    return prior.for_one('decode')(
        tf.constant(latent[np.newaxis]), embeddings[-1:], mean
    ).numpy()
