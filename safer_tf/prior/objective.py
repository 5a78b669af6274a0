"""The SAFER contrastive objective (Eq. 4, Algorithm 2) as pure functions."""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

# Nats below the uniform density over the action range at which an unsafe tuple
# is left alone: -8 nats for 6 actions.
_FLOOR_DEPTH = 8.0 - 6 * math.log(2)


class Terms(NamedTuple):
  """Terms of the objective; each a scalar mean over weighted tuples."""

  loss: tf.Tensor  # What is minimised.
  safe_log_prob: tf.Tensor  # Nats.
  unsafe_log_prob: tf.Tensor  # Nats, before the floor.
  safe_kl: tf.Tensor  # Nats.
  unsafe_kl: tf.Tensor  # Nats.
  unsafe_frozen: tf.Tensor  # 1 while the unsafe term is frozen, else 0.
  unsafe_floored: tf.Tensor  # Share of unsafe tuples at the floor.
  anchor: tf.Tensor | float = 0.0  # `anchor_distance`, where it has a weight.


def kl_to_prior(mean: tf.Tensor, stddev: tf.Tensor) -> tf.Tensor:
  """KL(q(c | Lambda) || N(0, I)) in nats.

  Args:
    mean: [B, C] float32.
    stddev: [B, C] float32, positive.

  Returns:
    [B] float32.
  """
  return 0.5 * tf.reduce_sum(
      tf.square(mean) + tf.square(stddev) - 1.0 - 2.0 * tf.math.log(stddev),
      axis=-1,
  )


def weighted_mean(values: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
  """Mean of values [B] under weights [B]; 0 where all weights are 0."""
  return tf.math.divide_no_nan(
      tf.reduce_sum(values * weight), tf.reduce_sum(weight)
  )


def default_unsafe_floor(action_size: int) -> float:
  """The floor where none is set.

  It goes with the uniform density, -ln 2 nats for each action in [-1, 1]: one
  that is fit for few actions lies above that of many, and nothing is pushed.

  Args:
    action_size: A.

  Returns:
    Nats; -8 for 6 actions.
  """
  return round(-_FLOOR_DEPTH - action_size * math.log(2), 9)


def anchor_distance(
    centre: tf.Tensor, action: tf.Tensor, safe: tf.Tensor
) -> tf.Tensor:
  """How far the actions at z = 0 are from the safe ones.

  The likelihood says how much density an action has, not at which latent it
  lies: z = 0, about which every latent bound is, may decode to an action beside
  most safe ones. In each state the nearest is the mean of its safe actions.

  Args:
    centre: [B, A] float32, f(0; s, c).
    action: [B, A] float32.
    safe: [B] float32, 1 for the safe tuples that count, else 0.

  Returns:
    Mean squared distance over the safe tuples, a scalar.
  """
  return weighted_mean(
      tf.reduce_sum(tf.math.squared_difference(centre, action), axis=-1), safe
  )


def safer_objective(
    log_prob: tf.Tensor, kl: tf.Tensor, safe: tf.Tensor, unsafe: tf.Tensor,
    unsafe_weight: float, kl_weight: float, unsafe_floor: float,
    freeze_below: float,
) -> Terms:
  """Negative of Eq. 4, with the safeguards that Section 4.2 asks for.

  Minimising log p(a_unsafe) is unbounded below. Two freezes keep it from
  running away, neither of which touches the safe term:

  - each unsafe tuple whose log-likelihood is below `unsafe_floor` is left
    alone, having been pushed far enough (its KL term is not);
  - the whole unsafe term is left out of the loss while its batch mean is below
    `freeze_below`, the sign that it diverges, and returns when it recovers.

  Args:
    log_prob: [B] float32, log p(a | s, c) of each tuple, in nats.
    kl: [B] float32, KL of each tuple's q(c | Lambda) to p(c).
    safe: [B] float32, 1 for the safe tuples that count, else 0.
    unsafe: [B] float32, 1 for the unsafe tuples that count, else 0.
    unsafe_weight: lambda of Eq. 4; 0 where there are no unsafe tuples.
    kl_weight: weight of both KL terms; 1 is Eq. 4.
    unsafe_floor: nats.
    freeze_below: nats.

  Returns:
    The loss and its terms.
  """
  safe_log_prob = weighted_mean(log_prob, safe)
  unsafe_log_prob = weighted_mean(log_prob, unsafe)
  pushed = weighted_mean(tf.maximum(log_prob, unsafe_floor), unsafe)
  frozen = tf.cast(unsafe_log_prob < freeze_below, tf.float32)
  safe_kl = weighted_mean(kl, safe)
  unsafe_kl = weighted_mean(kl, unsafe)
  # Algorithm 2: NLL = -(L_safe - lambda L_unsafe - KL_safe - KL_unsafe).
  loss = -(
      safe_log_prob - unsafe_weight * (1.0 - frozen) * pushed
      - kl_weight * (safe_kl + unsafe_kl)
  )
  at_floor = tf.cast(log_prob < unsafe_floor, tf.float32)
  return Terms(
      loss, safe_log_prob, unsafe_log_prob, safe_kl, unsafe_kl, frozen,
      weighted_mean(at_floor, unsafe),
  )
