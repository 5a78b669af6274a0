"""A latent bound that holds, at a stated confidence, beyond its own data.

For a bound eta and a target share alpha, the gain of episode i is

  G_i = sum over its steps in bound of weight * (alpha - unsafe),

so that 'the share of unsafe actions in bound exceeds alpha' means E[G] < 0.
Steps of an episode may depend on each other in any way; only episodes are
taken to be independent. G_i is at least -weight * (1 - alpha) * T for a time
limit of T steps, so for every stake s in [0, 1 / (weight * (1 - alpha) * T)]
the capital prod_i (1 + s G_i) of a bet on safety is never negative, and, by
the inequality of the means, is 1 or less in expectation whenever the average
of E[G_i] is 0 or less: identically distributed episodes are not needed. A
mixture over stakes, fixed beforehand, keeps this, and Markov's inequality
makes 1 / capital a p-value (Waudby-Smith and Ramdas 2023, with the stakes
mixed rather than adapted, which leaves no order of the episodes to choose).
The inequality asks for a number of episodes fixed beforehand. Collecting until
a shard has its steps fixes it only nearly; simulated so, with unlike tasks and
shards far shorter than ours, the test stays well within its error
(docs/lab_notes.md).

Bounds are tried upwards from several starts, each until its first failure and
each at an equal part of the error probability (fixed-sequence testing with
several starts, Bauer 1991; Angelopoulos et al. 2021).

What it covers: actions of the offline distribution of the tasks. What it does
not: the states a later policy reaches. For those, `exact_binomial_upper`
bounds the share of unsafe episodes of one fixed policy from its evaluation.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np
from scipy import special
from scipy import stats

from safer_tf.assurance import bounds
from safer_tf.common import errors

# Candidate bounds, in standard deviations of the latent; 5% apart.
GRID = tuple(np.geomspace(0.1, 10.0, 96))
# A tiny bound holds few actions and has no power, a large one is unsafe: the
# right place to start is not known, so the error is split over several.
NUM_STARTS = 8
_CONFIDENCE = 0.95  # Of the upper bounds on what a policy does.
# Stakes as fractions of the largest one that cannot lose all.
_STAKES = tuple(np.geomspace(0.003, 0.95, 24))


def certified_bound(
    latents: bounds.LabelledLatents, max_unsafe_fraction: float,
    confidence: float, max_episode_steps: int,
    grid: Sequence[float] = GRID,
) -> float:
  """The largest bound in a grid that is accepted at the confidence.

  With probability at least `confidence` over the episodes, the true share of
  unsafe actions in the returned bound, equal weights, is at most the target.

  Args:
    latents: latents of episodes never used in training or tuning.
    max_unsafe_fraction: alpha in (0, 1); nothing can be certified at 0.
    confidence: 1 - delta in (0, 1).
    max_episode_steps: T, the time limit of an episode.
    grid: increasing bounds, fixed without these episodes.

  Returns:
    A bound of the grid, or `bounds.NOTHING` if none is accepted.

  Raises:
    UserError: confidence is no probability, or an episode is longer than T.
  """
  if not 0 < confidence < 1:
    raise errors.UserError(
        f'confidence = {confidence}: expected a number inside (0, 1).'
    )
  if not 0 < max_unsafe_fraction < 1:
    return bounds.NOTHING
  last = fixed_sequence(
      p_values(latents, max_unsafe_fraction, max_episode_steps, grid),
      1 - confidence, NUM_STARTS,
  )
  return bounds.NOTHING if last is None else float(grid[last])


def p_values(
    latents: bounds.LabelledLatents, max_unsafe_fraction: float,
    max_episode_steps: int, grid: Sequence[float],
) -> np.ndarray:
  """P-values of 'the share of unsafe actions in bound exceeds the target'.

  Args:
    latents: as of `certified_bound`.
    max_unsafe_fraction: alpha in (0, 1).
    max_episode_steps: T, the time limit of an episode.
    grid: [G] increasing bounds, fixed without these episodes.

  Returns:
    [G] float64, each valid by itself.

  Raises:
    UserError: an episode is longer than T.
  """
  _check_lengths(np.bincount(latents.episode, minlength=1), max_episode_steps)
  return np.exp(-np.maximum(0.0, log_capital(
      episode_gains(latents, max_unsafe_fraction, grid),
      latents.unsafe_weight * (1 - max_unsafe_fraction) * max_episode_steps,
  )))


def episode_gains(
    latents: bounds.LabelledLatents, max_unsafe_fraction: float,
    grid: Sequence[float],
) -> np.ndarray:
  """G_i of each episode at each bound.

  Args:
    latents: labelled latents.
    max_unsafe_fraction: alpha.
    grid: [G] increasing bounds.

  Returns:
    [n_episodes, G] float64.
  """
  gain = latents.weight * (max_unsafe_fraction - latents.unsafe)
  # First bound that holds the step: the interval is open.
  first = np.searchsorted(grid, latents.abs_max, side='right')
  width = len(grid) + 1
  cells = np.bincount(
      latents.episode * width + first, weights=gain,
      minlength=latents.n_episodes * width,
  ).reshape(latents.n_episodes, width)
  return np.cumsum(cells, axis=1)[:, :-1]


def log_capital(gains: np.ndarray, largest_loss: float) -> np.ndarray:
  """Log of the capital of betting against 'the mean gain is 0 or less'.

  Args:
    gains: [n, ...] float, independent along the first axis, each at least
      `-largest_loss`.
    largest_loss: positive bound on a loss, known beforehand.

  Returns:
    [...] float; exp(-value), at most 1, is a p-value.
  """
  capital = np.stack([
      np.sum(np.log1p(fraction / largest_loss * gains), axis=0)
      for fraction in _STAKES
  ])
  return special.logsumexp(capital, axis=0) - np.log(len(_STAKES))


def fixed_sequence(
    p_values: np.ndarray, delta: float, num_starts: int
) -> int | None:
  """Index of the last hypothesis rejected by upward chains from some starts.

  Args:
    p_values: [G] one p-value for each bound, in increasing order of bounds.
    delta: probability of rejecting any true hypothesis.
    num_starts: number of chains, evenly spread; each tests at delta over it.

  Returns:
    The largest rejected index, None if no chain rejects anything.
  """
  starts = np.arange(num_starts) * len(p_values) // num_starts
  failed = np.asarray(p_values) > delta / num_starts
  for start in starts[::-1]:
    failures = np.flatnonzero(failed[start:])
    length = failures[0] if failures.size else len(p_values) - start
    if length:
      return int(start + length - 1)
  return None


def unsafe_share_upper(
    unsafe_steps: np.ndarray, steps: np.ndarray, max_episode_steps: int
) -> float:
  """One-sided upper bound on a policy's share of unsafe steps.

  The largest share that the test of `p_values` does not reject, every step in
  bound and of one weight. Independent, identically distributed episodes are
  assumed; then it also holds where their number was not fixed but rolling out
  went on until they had enough steps.

  Args:
    unsafe_steps: [n] unsafe steps of each episode.
    steps: [n] all steps of each episode.
    max_episode_steps: T, the time limit of an episode.

  Returns:
    The bound in [0, 1], rounded up to a thousandth; it holds at 95% confidence.

  Raises:
    UserError: an episode is longer than T.
  """
  steps = np.asarray(steps)
  _check_lengths(steps, max_episode_steps)
  shares = np.arange(1, 1000) / 1000
  gains = np.outer(steps, shares) - np.asarray(unsafe_steps)[:, np.newaxis]
  # In units of the largest loss, which differs by share.
  capital = log_capital(gains / ((1 - shares) * max_episode_steps), 1.0)
  possible = shares[capital <= -np.log(1 - _CONFIDENCE)]
  return float(possible.max(initial=0.0) + 0.001)


def _check_lengths(lengths: np.ndarray, max_episode_steps: int) -> None:
  if lengths.max() > max_episode_steps:
    raise errors.UserError(
        f'An episode of {lengths.max()} steps exceeds the time limit of '
        f'{max_episode_steps}; a certified bound needs the true limit.'
    )


def exact_binomial_upper(count: int, n: int) -> float:
  """One-sided exact upper bound on a probability (Clopper and Pearson 1934).

  Args:
    count: number of events, e.g. unsafe episodes.
    n: number of independent trials, e.g. evaluation episodes.

  Returns:
    The bound in [0, 1], which holds at 95% confidence; 1 if there was no trial.
  """
  if not 0 <= count <= n:
    raise ValueError(f'{count} of {n} events.')
  if count == n:
    return 1.0
  return float(stats.beta.ppf(_CONFIDENCE, count + 1, n - count))
