"""Index arithmetic of windows and runs.

A run is L consecutive steps of one episode plus the W - 1 frames before them.
Each frame of a run is embedded once, and the windows of its steps look at those
embeddings: at most L + W - 1 frames instead of L * W.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Runs(NamedTuple):
  """R runs by index.

  Attributes:
    episode: int64 [R] number of the episode.
    start: int64 [R] first step, from -(L - 1) to T - 1.
  """

  episode: np.ndarray
  start: np.ndarray


class Placements:
  """All placements of a run that overlap a wanted step.

  Every wanted step is overlapped by exactly L placements, so that a uniform
  draw of placements makes every wanted step equally likely.
  """

  def __init__(
      self, episodes: np.ndarray, lengths: np.ndarray, wanted: np.ndarray,
      run_length: int,
  ):
    """Finds the placements.

    Args:
      episodes: int [n] numbers of the episodes.
      lengths: int [n] their steps T.
      wanted: bool [sum(lengths)] their wanted steps, episode after episode.
      run_length: L.
    """
    self._episodes = episodes
    self._run_length = run_length
    spans = lengths + run_length - 1
    self._base = np.concatenate([[0], np.cumsum(spans)])
    # Each episode's steps with L - 1 unwanted ones before them; a placement's
    # position is that of its first step there.
    padded = np.zeros(self._base[-1] + run_length, np.int64)
    first = np.repeat(self._base[:-1] + run_length - 1, lengths)
    within = np.arange(len(wanted)) - np.repeat(
        np.cumsum(lengths) - lengths, lengths
    )
    padded[first + within] = wanted
    total = np.concatenate([[0], np.cumsum(padded)])
    overlap = total[run_length:] - total[:-run_length]
    self._positions = np.flatnonzero(overlap[:self._base[-1]])

  def __len__(self) -> int:
    return len(self._positions)

  @property
  def episodes(self) -> np.ndarray:
    """Numbers of the episodes that have a wanted step, in order."""
    row = np.searchsorted(self._base, self._positions, side='right') - 1
    return self._episodes[np.unique(row)]

  def sample(self, generator: np.random.Generator, count: int) -> Runs:
    """Draws placements uniformly, with replacement.

    Args:
      generator: of the random numbers.
      count: number of runs R.

    Returns:
      R runs.
    """
    drawn = generator.integers(len(self._positions), size=count)
    position = self._positions[drawn]
    row = np.searchsorted(self._base, position, side='right') - 1
    start = position - self._base[row] - (self._run_length - 1)
    return Runs(self._episodes[row], start)


def needed_frames(weighted: np.ndarray, valid: np.ndarray) -> np.ndarray:
  """Frames of runs that stand in the window of a step that counts.

  Args:
    weighted: bool [R, L] the steps that count.
    valid: bool [R, W-1+L] whether the frame exists; slot W-1+l is that of
      step l.

  Returns:
    bool [R, W-1+L].
  """
  before = valid.shape[1] - weighted.shape[1]
  padded = np.pad(weighted, ((0, 0), (before, before)))
  return valid & sliding(padded, before + 1).any(axis=-1)


def sliding(values: np.ndarray, window: int) -> np.ndarray:
  """Windows of a run's slots.

  Args:
    values: [R, W-1+L].
    window: W.

  Returns:
    [R, L, W], a view.
  """
  return np.lib.stride_tricks.sliding_window_view(values, window, axis=1)
