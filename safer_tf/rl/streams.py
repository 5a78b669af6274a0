"""Random numbers as a function of (seed, stream, step), for exact resume."""

from __future__ import annotations

import numpy as np

EPISODE, REPLAY, EXPLORE, MIXTURE = range(4)


def generator(seed: int, stream: int, step: int) -> np.random.Generator:
  """A generator that depends on its arguments alone.

  Args:
    seed: the run's seed, not negative.
    stream: what the numbers are for, one of this module's constants.
    step: which draw it is.

  Returns:
    A fresh generator; those of other arguments never overlap with it.
  """
  # Philox counts up its lowest word; the upper ones keep the streams apart.
  return np.random.Generator(
      np.random.Philox(key=seed, counter=[0, 0, step, stream])
  )


def episode_seed(seed: int, episode: int) -> int:
  """Seed of the environment for one training episode."""
  return int(generator(seed, EPISODE, episode).integers(2**31))
