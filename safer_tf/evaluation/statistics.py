"""Summaries of runs, and aggregates over tasks with their intervals."""

from __future__ import annotations

from typing import Callable, NamedTuple, Sequence

import numpy as np


class Summary(NamedTuple):
  """Mean, sample standard deviation (NaN for one value) and count."""

  mean: float
  deviation: float
  n: int


def summarise(values: Sequence[float]) -> Summary:
  """Summary of the finite values among those given."""
  finite = np.asarray(values, float)
  finite = finite[np.isfinite(finite)]
  if not finite.size:
    return Summary(float('nan'), float('nan'), 0)
  deviation = finite.std(ddof=1) if finite.size > 1 else float('nan')
  return Summary(float(finite.mean()), float(deviation), finite.size)


def interquartile_mean(scores: Sequence[np.ndarray]) -> float:
  """Mean of the middle half of all scores, runs and tasks pooled.

  Args:
    scores: one array of runs for each task.

  Returns:
    The interquartile mean (Agarwal et al. 2021).
  """
  pooled = np.sort(np.concatenate(scores))
  cut = pooled.size // 4
  return float(pooled[cut:pooled.size - cut].mean())


def bootstrap_interval(
    scores: Sequence[np.ndarray],
    statistic: Callable[[Sequence[np.ndarray]], float] = interquartile_mean,
    confidence: float = 0.95,
    repeats: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
  """Percentile interval of a statistic by stratified bootstrap.

  Runs are drawn with replacement within each task, so every resample holds
  every task as often as the scores do.

  Args:
    scores: one array of runs for each task.
    statistic: function of such scores.
    confidence: share of the resamples inside the interval.
    repeats: number of resamples.
    seed: seed of the resampling.

  Returns:
    Lower and upper end.
  """
  rng = np.random.default_rng(seed)
  resampled = [
      statistic([
          runs[rng.integers(len(runs), size=len(runs))] for runs in scores
      ])
      for _ in range(repeats)
  ]
  tail = (1 - confidence) / 2
  low, high = np.quantile(resampled, (tail, 1 - tail))
  return float(low), float(high)
