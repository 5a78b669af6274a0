"""Row 5: what the latent environment adds to a step of the simulator."""

from __future__ import annotations

import os
import statistics
import time
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tf_agents.environments import wrappers

import envs
from safer_tf.benchmark import measurement
from safer_tf.benchmark import sizes as sizes_lib
from safer_tf.benchmark import timing
from safer_tf.prior import export
from safer_tf.prior import skill_prior
from safer_tf.rl import latent_env

_WARM = 40  # Steps; more than an episode.
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
  costs = dict(zip(sizes.windows, timing.alone(
      'safer_tf.benchmark.latent:costs', root_dir, sizes.windows,
      sizes.latent_steps,
  )))
  return [
      measurement.Measurement(
          5, f'latent step beyond the simulator, w = {usual}',
          costs[usual].step, 'ms', 'embedding the whole window at every step',
          costs[usual].plain, (measurement.Target('value', '<=', 1.0),),
          costs[usual].floor, 'embedding one frame, one call',
      ),
      measurement.Measurement(
          5, f'the same, w = {large}', costs[large].step, 'ms',
          f'w = {small}', costs[small].step,
          (
              measurement.Target('value', '<=', 1.0),
              measurement.Target('ratio', '<=', 1.5),
          ), costs[large].floor, 'embedding one frame, one call',
      ),
  ]


def untrained_prior(path: str, window: int = 16) -> str:
  """Exports a SAFER prior of random weights: it costs what a trained one does.

  Args:
    path: directory to make, unless it is there.
    window: W.

  Returns:
    The same path.
  """
  if not os.path.exists(path):
    tf.keras.utils.set_random_seed(0)
    prior = skill_prior.SkillPrior((48, 48, 3), 6, window)
    export.export_prior(prior, path, 'safer', 'uint8', {'untrained': True})
  return path


class _Timed(wrappers.PyEnvironmentBaseWrapper):
  """Adds up the time that the simulator takes."""

  spent = 0.0

  def _step(self, action):
    start = time.perf_counter()
    time_step = self._env.step(action)
    self.spent += time.perf_counter() - start
    return time_step


def costs(
    root_dir: str, windows: tuple[int, ...], num_steps: int
) -> list[Costs]:
  """Steps environments of several windows by turns.

  Args:
    root_dir: where priors are exported to.
    windows: W of each.
    num_steps: of each.

  Returns:
    For each window.
  """
  stages = [_Stage(root_dir, window) for window in windows]
  for number in range(_WARM + num_steps):
    for stage in stages:
      stage.step(keep=number >= _WARM)
  return [
      Costs(*(1e3 * statistics.median(times) for times in zip(*stage.found)))
      for stage in stages
  ]


class _Stage:
  """One window's environment and the times of its steps."""

  def __init__(self, root_dir: str, window: int):
    path = untrained_prior(
        os.path.join(root_dir, 'untrained', f'w{window}'), window
    )
    self._prior = export.load_prior(path)
    self._simulator = _Timed(envs.load_task(envs.EVALUATION[0]))
    self._env = latent_env.LatentActionEnvironment(
        self._simulator, self._prior, _BOUND
    )
    self._random = np.random.default_rng(0)
    self._env.reset()
    self._frames = tf.zeros((window, 48, 48, 3), tf.uint8)
    self.found: list[tuple[float, float, float]] = []

  def step(self, keep: bool) -> None:
    """Takes one step and the same work done plainly."""
    latent = self._random.uniform(-_BOUND, _BOUND, 6).astype(np.float32)
    before = self._simulator.spent
    step = timing.seconds(lambda: self._env.step(latent))
    times = (
        step - (self._simulator.spent - before),
        timing.seconds(lambda: self._plain(latent)),
        timing.seconds(
            lambda: self._prior.embed(self._frames[-1:]).numpy()
        ),
    )
    if keep and not self._env.current_time_step().is_first():
      self.found.append(times)

  def _plain(self, latent: np.ndarray) -> np.ndarray:
    prior = self._prior
    frame = tf.constant(self._env.frame[np.newaxis])
    self._frames = tf.concat([self._frames[1:], frame], axis=0)
    embeddings = prior.embed(self._frames)
    valid = tf.ones((1, len(embeddings)), tf.bool)
    mean, _ = prior.infer_context(embeddings[tf.newaxis], valid)
    return prior.decode(
        tf.constant(latent[np.newaxis]), embeddings[-1:], mean
    ).numpy()
