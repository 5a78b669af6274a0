"""Conditional RealNVP: an invertible map from latents to actions (Eq. 1)."""

from __future__ import annotations

import math
from typing import Optional, Sequence

import gin
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from safer_tf.common import errors

tfb = tfp.bijectors

# Share of the limit within which an action still has a finite latent.
_INSIDE = 1 - 1e-6


class _Conditioner(tf.Module):
  """Shift and log-scale of a coupling's free half.

  TFP's own `real_nvp_default_template` takes no condition and hides its
  variables; here they are the module's.
  """

  def __init__(
      self, num_masked: int, num_free: int, hidden: Sequence[int],
      log_scale_bound: float, name: str,
  ):
    super().__init__(name=name)
    self._log_scale_bound = log_scale_bound
    # The condition's part of the first layer comes ready, bias included.
    self._first = tf.keras.layers.Dense(hidden[0], use_bias=False)
    self._first.build([None, num_masked])
    self._rest = tf.keras.Sequential(
        [tf.keras.Input([hidden[0]])]
        + [tf.keras.layers.Dense(units, 'relu') for units in hidden[1:]]
        # Small at first: the flow starts near the identity.
        + [
            tf.keras.layers.Dense(
                2 * num_free,
                kernel_initializer=tf.keras.initializers.VarianceScaling(0.01),
            )
        ]
    )

  def __call__(
      self, masked: tf.Tensor, num_free: int, features: tf.Tensor
  ) -> tuple[tf.Tensor, tf.Tensor]:
    del num_free  # Known when built.
    hidden = tf.nn.relu(self._first(masked) + features)
    shift, raw = tf.split(self._rest(hidden), 2, axis=-1)
    # Bounded, or one extreme input could overflow the exponential.
    return shift, self._log_scale_bound * tf.tanh(raw)


@gin.configurable
class ConditionalRealNVP(tf.Module):
  """a = f(z; s, c), with exact log-likelihood (Eq. 1; Dinh et al., 2017).

  Couplings come in pairs that swap the fixed and the free half; between pairs
  one fixed permutation interleaves the halves.
  """

  def __init__(
      self, action_dim: int, condition_dim: int, num_couplings: int = 4,
      hidden: Sequence[int] = (128, 128), log_scale_bound: float = 1.0,
      action_limit: Optional[float] = None, name: str = 'flow',
  ):
    """Builds the flow.

    Args:
      action_dim: A, size of an action and of a latent; at least 2.
      condition_dim: size of what the flow is conditioned on.
      num_couplings: coupling layers.
      hidden: units of each hidden layer of a coupling's conditioner.
      log_scale_bound: a coupling scales by at most exp(this), either way.
      action_limit: all density lies within it in each dimension, through a last
        tanh; a little above the largest action. None: actions are unbounded,
        and the contrastive term then drives density out to where no data are.
      name: name of the module.

    Raises:
      UserError: a size or bound is none, or the limit cuts actions off.
    """
    errors.require_sizes(
        'ConditionalRealNVP', num_couplings=num_couplings, hidden=hidden
    )
    if not log_scale_bound > 0 or (
        action_limit is not None and not action_limit >= 1
    ):
      raise errors.UserError(
          f'ConditionalRealNVP has log_scale_bound {log_scale_bound}, '
          f'action_limit {action_limit}: expected a bound above 0, and a limit '
          'of at least 1 (actions lie in [-1, 1]) or None.'
      )
    super().__init__(name=name)
    self._action_dim = action_dim
    self._action_limit = action_limit
    self._num_couplings = num_couplings
    num_masked = action_dim // 2
    # One product serves all couplings, forward and density alike.
    self._condition = tf.keras.layers.Dense(num_couplings * hidden[0])
    self._condition.build([None, condition_dim])
    self._conditioners = []
    bijectors = []
    for i in range(num_couplings):
      swapped = i % 2 == 1
      masked = action_dim - num_masked if swapped else num_masked
      conditioner = _Conditioner(
          masked, action_dim - masked, hidden, log_scale_bound,
          name=f'conditioner_{i}',
      )
      self._conditioners.append(conditioner)
      bijectors.append(
          tfb.RealNVP(
              num_masked=-masked if swapped else masked,
              shift_and_log_scale_fn=conditioner,
              # `Chain` hands arguments on by this name, and silently gives
              # none to a bijector that it does not find.
              name=f'coupling_{i}',
          )
      )
      if swapped and i + 1 < num_couplings:
        bijectors.append(tfb.Permute(_interleaved(action_dim)))
    if action_limit is not None:
      bijectors = [tfb.Scale(action_limit), tfb.Tanh(), *bijectors]
    self._bijector = tfb.Chain(bijectors)

  def forward(self, latent: tf.Tensor, condition: tf.Tensor) -> tf.Tensor:
    """Maps latents [B, A] to actions [B, A], given conditions [B, K]."""
    return self._bijector.forward(latent, **self._arguments(condition))

  def inverse(self, action: tf.Tensor, condition: tf.Tensor) -> tf.Tensor:
    """Maps actions [B, A] to latents [B, A], given conditions [B, K]."""
    return self._bijector.inverse(
        self._inside(action), **self._arguments(condition)
    )

  def inverse_log_det_jacobian(
      self, action: tf.Tensor, condition: tf.Tensor
  ) -> tf.Tensor:
    """log |det d inverse / d action| at actions [B, A]; [B]."""
    return self._bijector.inverse_log_det_jacobian(
        self._inside(action), event_ndims=1, **self._arguments(condition)
    )

  def log_prob(self, action: tf.Tensor, condition: tf.Tensor) -> tf.Tensor:
    """Exact log-density of actions (Eq. 1).

    Args:
      action: [B, A] float32.
      condition: [B, K] float32.

    Returns:
      [B] float32, in nats.
    """
    arguments = self._arguments(condition)
    action = self._inside(action)
    latent = self._bijector.inverse(action, **arguments)
    return unit_normal_log_prob(latent) + (
        self._bijector.inverse_log_det_jacobian(
            action, event_ndims=1, **arguments
        )
    )

  def _inside(self, action: tf.Tensor) -> tf.Tensor:
    """Actions moved to where they have a latent: any may be asked about."""
    if self._action_limit is None:
      return action
    largest = self._action_limit * _INSIDE
    return tf.clip_by_value(action, -largest, largest)

  def _arguments(self, condition: tf.Tensor) -> dict[str, dict[str, tf.Tensor]]:
    features = tf.split(
        self._condition(condition), self._num_couplings, axis=-1
    )
    return {
        f'coupling_{i}': {'features': part} for i, part in enumerate(features)
    }


def unit_normal_log_prob(latent: tf.Tensor) -> tf.Tensor:
  """Log-density of latents [B, A] under N(0, I); [B]."""
  size = latent.shape[-1]
  return -0.5 * (
      tf.reduce_sum(tf.square(latent), axis=-1) + size * math.log(2 * math.pi)
  )


def _interleaved(size: int) -> np.ndarray:
  """Even places first, then odd: mixes the two halves of the pair before."""
  return np.concatenate([np.arange(0, size, 2), np.arange(1, size, 2)])
