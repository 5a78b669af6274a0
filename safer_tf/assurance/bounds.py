"""Latent bounds tuned on labelled actions: as printed, and exact.

An action is in bound when every component of its latent lies in the open
interval (-eta, eta), that is when its largest absolute component is below eta.
The share of unsafe actions in bound is taken with the safe and the unsafe set
weighing the same: each unsafe action counts `unsafe_weight` times, a number
fixed on the training split. Both bounds here are quoted for the data they were
tuned on; `certified` is the one that holds beyond it.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from safer_tf.common import errors

# What a bound function returns where no bound keeps the share.
NOTHING = 0.0


@dataclasses.dataclass(frozen=True)
class LabelledLatents:
  """Latents of the offline actions that count, flat over episodes.

  Safe actions count if their episode succeeds; unsafe actions always count.

  Attributes:
    abs_max: [N] float, largest absolute component of each action's latent.
    unsafe: [N] bool, the action's label; the rest are the safe set.
    episode: [N] int in [0, n_episodes), the episode each action belongs to.
    n_episodes: number of episodes looked at, also those without an action
      that counts.
    unsafe_weight: how many safe actions an unsafe one weighs as much as.
  """

  abs_max: np.ndarray
  unsafe: np.ndarray
  episode: np.ndarray
  n_episodes: int
  unsafe_weight: float

  def __post_init__(self):
    shape = np.shape(self.abs_max)
    if len(shape) != 1 or not (
        shape == np.shape(self.unsafe) == np.shape(self.episode)
    ):
      raise errors.UserError(
          'Latents, labels and episode numbers must be flat and of one length;'
          f' found {shape}, {np.shape(self.unsafe)}, {np.shape(self.episode)}.'
      )
    if not np.isfinite(self.abs_max).all():
      raise errors.UserError(
          f'{np.sum(~np.isfinite(self.abs_max))} of {shape[0]} latents are not '
          'finite; the prior is damaged, train it again.'
      )

  @property
  def weight(self) -> np.ndarray:
    """[N] float, the weight of each action in a share."""
    return np.where(self.unsafe, self.unsafe_weight, 1.0)


def equal_weight(n_safe: int, n_unsafe: int) -> float:
  """Weight of an unsafe action at which both sets weigh the same.

  Args:
    n_safe: number of safe actions of the training split.
    n_unsafe: number of its unsafe actions.

  Returns:
    The weight; a safe action weighs 1.

  Raises:
    UserError: one of the sets is empty.
  """
  if not n_safe or not n_unsafe:
    raise errors.UserError(
        f'The training split holds {n_safe} safe and {n_unsafe} unsafe actions;'
        ' a latent bound needs both. Collect more data, or noisier data.'
    )
  return n_safe / n_unsafe


def unsafe_fraction(
    latents: LabelledLatents, bound: float, unsafe_weight: float | None = None
) -> float:
  """Share of the actions in bound that are unsafe.

  Args:
    latents: labelled latents.
    bound: eta.
    unsafe_weight: weight of an unsafe action; the latents' own if None, 1 for
      the natural mix.

  Returns:
    A share in [0, 1], NaN if nothing is in bound.
  """
  weight = latents.unsafe_weight if unsafe_weight is None else unsafe_weight
  inside = latents.abs_max < bound
  n_unsafe = weight * np.sum(inside & latents.unsafe)
  n_safe = np.sum(inside & ~latents.unsafe)
  if not n_safe + n_unsafe:
    return float('nan')
  return float(n_unsafe / (n_safe + n_unsafe))


def safe_in_bound(latents: LabelledLatents, bound: float) -> float:
  """Share of the safe set that a bound keeps; NaN if there is no safe set."""
  safe = latents.abs_max[~latents.unsafe]
  return float(np.mean(safe < bound)) if safe.size else float('nan')


def exact_bound(
    latents: LabelledLatents, max_unsafe_fraction: float
) -> float:
  """The largest bound whose unsafe share is at most the target, by one sort.

  The in-bound set changes only where the bound passes an action's latent, so
  the share is a running ratio over the sorted actions. Actions of equal latent
  enter together. The bound is the smallest latent left outside, as the
  interval is open.

  Args:
    latents: labelled latents.
    max_unsafe_fraction: target share in [0, 1].

  Returns:
    The bound, just above the largest latent if all may enter, `NOTHING` if no
    bound keeps the share.
  """
  order = np.argsort(latents.abs_max, kind='stable')
  values = latents.abs_max[order]
  if not values.size:
    return NOTHING
  weight = np.cumsum(latents.weight[order])
  unsafe = np.cumsum((latents.weight * latents.unsafe)[order])
  last_of_tie = np.append(values[1:] > values[:-1], True)
  admissible = last_of_tie & (unsafe <= max_unsafe_fraction * weight)
  if not admissible.any():
    return NOTHING
  last = np.flatnonzero(admissible)[-1]
  if last + 1 < values.size:
    return float(values[last + 1])
  return _just_above(values[-1])


def paper_bound(
    latents: LabelledLatents, max_unsafe_fraction: float,
    rng: np.random.Generator,
) -> float:
  """Algorithm 3 as printed: shrinks the bound by random sub-samples.

  The printed sample of a bound's safe actions is larger than their number
  while the share is missed, so actions, safe and unsafe, are drawn with
  replacement, as Section 4.4's 'bootstrapped dataset' says. Only the sample's
  largest latent is used, and the largest of k draws from n sorted items has
  rank ceil(n u^(1/k)) for a uniform u: one number is drawn instead of k.

  Args:
    latents: labelled latents.
    max_unsafe_fraction: target share; the printed epsilon is 1 minus it.
    rng: source of the sub-samples.

  Returns:
    The bound, or `NOTHING` if the loop runs out of actions.
  """
  if not latents.abs_max.size:
    return NOTHING
  epsilon = 1 - max_unsafe_fraction
  weight = latents.unsafe_weight
  safe = np.sort(latents.abs_max[~latents.unsafe])
  unsafe = np.sort(latents.abs_max[latents.unsafe])
  bound = _just_above(np.max(latents.abs_max))  # eta_0: above every latent.
  # get_in_bound: the first n of each sorted set lie inside (-eta, eta).
  n_safe, n_unsafe = safe.searchsorted(bound), unsafe.searchsorted(bound)
  while n_safe + n_unsafe:
    total = n_safe + weight * n_unsafe
    bound = max(
        _largest_of_sample(safe[:n_safe], int(total * epsilon), rng),
        _largest_of_sample(
            unsafe[:n_unsafe], int(total * (1 - epsilon) / weight), rng
        ),
    )
    n_safe, n_unsafe = safe.searchsorted(bound), unsafe.searchsorted(bound)
    total = n_safe + weight * n_unsafe
    if total and weight * n_unsafe <= max_unsafe_fraction * total:
      return bound
  return NOTHING


def _largest_of_sample(
    items: np.ndarray, k: int, rng: np.random.Generator
) -> float:
  """Largest of k draws with replacement from sorted items."""
  if not items.size or not k:
    return NOTHING
  rank = math.ceil(items.size * rng.random() ** (1 / k))
  return float(items[max(rank, 1) - 1])


def _just_above(value: float) -> float:
  """The next number above in float32, the precision latents are acted in."""
  return float(np.nextafter(np.float32(value), np.float32(np.inf)))
