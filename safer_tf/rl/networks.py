"""Actor, twin critics and the image encoder that they share."""

from __future__ import annotations

import math
from typing import Any, Sequence

import gin
import numpy as np
import tensorflow as tf
from tf_agents.agents.sac import sac_agent
from tf_agents.agents.sac import tanh_normal_projection_network
from tf_agents.networks import network
from tf_agents.specs import tensor_spec

_LOG_2 = math.log(2.0)
_HALF_LOG_2_PI = 0.5 * math.log(2.0 * math.pi)


@gin.configurable
class ImageEncoder(tf.keras.layers.Layer):
  """Features of an image: strided convolutions, a dense layer, LayerNorm.

  The layout of pixel SAC (Yarats et al. 2021, DrQ) with cheaper convolutions.
  """

  def __init__(
      self,
      filters: Sequence[int] = (16, 32, 64),
      features: int = 128,
      name: str = 'image_encoder',
  ):
    """Builds the layers.

    Args:
      filters: channels of each 3x3 convolution of stride 2.
      features: size F of the output.
      name: name of the layer.
    """
    super().__init__(name=name)
    self._convolutions = [
        tf.keras.layers.Conv2D(count, 3, 2, 'same', activation='relu')
        for count in filters
    ]
    self._flatten = tf.keras.layers.Flatten()
    self._dense = tf.keras.layers.Dense(features)
    self._norm = tf.keras.layers.LayerNormalization()

  def call(self, observation: tf.Tensor) -> tf.Tensor:
    """Encodes images.

    Args:
      observation: uint8 [B, height, width, channels].

    Returns:
      float32 [B, F] in (-1, 1).
    """
    hidden = tf.cast(observation, tf.float32) * (1.0 / 255.0) - 0.5
    for convolution in self._convolutions:
      hidden = convolution(hidden)
    return tf.tanh(self._norm(self._dense(self._flatten(hidden))))


class VectorEncoder(tf.keras.layers.Layer):
  """Passes a vector on, e.g. the prior's embedding, as float32 [B, F]."""

  def call(self, observation: tf.Tensor) -> tf.Tensor:
    return tf.cast(observation, tf.float32)


def make_encoder(observation_spec: tensor_spec.TensorSpec) -> Any:
  """The encoder that suits an observation: images by CNN, vectors as is."""
  if len(observation_spec.shape) == 3:
    return ImageEncoder()
  return VectorEncoder()


class Actor(network.Network):
  """Tanh-squashed diagonal Gaussian over the action spec's box."""

  def __init__(
      self,
      input_tensor_spec: tensor_spec.TensorSpec,
      action_spec: tensor_spec.BoundedTensorSpec,
      encoder: tf.keras.layers.Layer,
      hidden_units: Sequence[int],
      name: str = 'Actor',
  ):
    """Builds the layers.

    Args:
      input_tensor_spec: spec of one observation.
      action_spec: spec of one action [A]; its bounds set the box.
      encoder: layer shared with the critics; takes no gradient from here.
      hidden_units: sizes of the hidden layers.
      name: name of the network.
    """
    super().__init__(input_tensor_spec, state_spec=(), name=name)
    self._encoder = encoder
    self._hidden = [
        tf.keras.layers.Dense(units, activation='relu')
        for units in hidden_units
    ]
    # The projection's own default is a bare exp, which overflows.
    self._projection = (
        tanh_normal_projection_network.TanhNormalProjectionNetwork(
            action_spec, std_transform=sac_agent.std_clip_transform
        )
    )

  def call(
      self, observation, step_type=(), network_state=(), training=False
  ) -> Any:
    del step_type, training
    features = tf.stop_gradient(self._encoder(observation))
    return self.distribution(features), network_state

  def distribution(self, features: tf.Tensor) -> Any:
    """Distribution over actions [B, A] for features [B, F]."""
    hidden = features
    for layer in self._hidden:
      hidden = layer(hidden)
    return self._projection(hidden, outer_rank=1)[0]

  def sample(
      self, features: tf.Tensor, noise: tf.Tensor
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Reparameterised actions from given noise.

    Args:
      features: float32 [B, F].
      noise: standard normal float32 [B, A].

    Returns:
      Actions scaled to [-1, 1] (the spec's box as the unit box) [B, A], and
      their log-density in that unit box [B].
    """
    gaussian = self.distribution(features).input_distribution
    stddev = gaussian.stddev()
    raw = gaussian.mean() + stddev * noise
    # log(1 - tanh(x)^2) in a form that holds for large |x|.
    log_slope = 2.0 * (_LOG_2 - raw - tf.nn.softplus(-2.0 * raw))
    log_prob = (
        -0.5 * tf.square(noise) - tf.math.log(stddev) - _HALF_LOG_2_PI
        - log_slope
    )
    return tf.tanh(raw), tf.reduce_sum(log_prob, axis=-1)

  def policy_variables(self) -> list[tf.Variable]:
    """What the actor's loss trains: all but the shared encoder."""
    shared = {id(variable) for variable in self._encoder.variables}
    return [v for v in self.trainable_variables if id(v) not in shared]


class TwinCritic(tf.keras.layers.Layer):
  """Two critics with LayerNorm, evaluated as one batched computation.

  Every weight holds both critics along its first axis, so a layer is one
  batched product instead of two.
  """

  def __init__(
      self,
      encoder: tf.keras.layers.Layer,
      action_spec: tensor_spec.BoundedTensorSpec,
      hidden_units: Sequence[int],
      name: str = 'twin_critic',
  ):
    """Builds the layers.

    Args:
      encoder: layer that turns observations into features [B, F].
      action_spec: spec of one action [A].
      hidden_units: sizes of the hidden layers.
      name: name of the layer.
    """
    super().__init__(name=name)
    self.encoder = encoder
    self.centre, self.half_range = _box(action_spec)
    self._hidden = [_TwinDense(units, norm=True) for units in hidden_units]
    self._value = _TwinDense(1, norm=False)

  def call(self, observation: tf.Tensor, action: tf.Tensor) -> tf.Tensor:
    """Values [2, B] of actions in the spec's units."""
    unit = (action - self.centre) / self.half_range
    return self.values(self.encoder(observation), unit)

  def values(self, features: tf.Tensor, unit_action: tf.Tensor) -> tf.Tensor:
    """Values of both critics.

    Args:
      features: float32 [B, F].
      unit_action: actions with the spec's box as [-1, 1], float32 [B, A].

    Returns:
      float32 [2, B].
    """
    hidden = tf.concat([features, unit_action], axis=-1)[tf.newaxis]
    for layer in self._hidden:
      hidden = layer(hidden)
    return self._value(hidden)[..., 0]


class CriticView(network.Network):
  """One of the twin critics, as the critic network TF-Agents expects."""

  def __init__(
      self,
      input_tensor_spec: Any,
      twin: TwinCritic,
      member: int,
      name: str = 'Critic',
  ):
    """Wraps one critic.

    Args:
      input_tensor_spec: specs of (observation, action).
      twin: both critics.
      member: 0 or 1.
      name: name of the network.
    """
    super().__init__(input_tensor_spec, state_spec=(), name=name)
    self._twin = twin
    self._member = member

  def call(self, inputs, step_type=(), network_state=(), training=False):
    del step_type, training
    observation, action = inputs
    return self._twin(observation, action)[self._member], network_state


class _TwinDense(tf.keras.layers.Layer):
  """Two dense layers side by side; LayerNorm and ReLU if `norm`."""

  def __init__(self, units: int, norm: bool):
    super().__init__()
    self._units = units
    self._norm = norm

  def build(self, input_shape):
    size = int(input_shape[-1])
    limit = math.sqrt(6.0 / (size + self._units))  # Glorot, for each critic.
    self._kernel = self.add_weight(
        'kernel', (2, size, self._units),
        initializer=tf.keras.initializers.RandomUniform(-limit, limit),
    )
    self._bias = self.add_weight(
        'bias', (2, 1, self._units), initializer='zeros'
    )
    if self._norm:
      self._gain = self.add_weight(
          'gain', (2, 1, self._units), initializer='ones'
      )
    super().build(input_shape)

  def call(self, inputs: tf.Tensor) -> tf.Tensor:
    hidden = tf.matmul(inputs, self._kernel)
    if not self._norm:
      return hidden + self._bias
    mean, variance = tf.nn.moments(hidden, axes=-1, keepdims=True)
    hidden = (hidden - mean) * (tf.math.rsqrt(variance + 1e-5) * self._gain)
    return tf.nn.relu(hidden + self._bias)


def _box(
    spec: tensor_spec.BoundedTensorSpec,
) -> tuple[np.ndarray, np.ndarray]:
  """Centre and half range [A] of a spec's box."""
  low = np.broadcast_to(spec.minimum, spec.shape).astype(np.float32)
  high = np.broadcast_to(spec.maximum, spec.shape).astype(np.float32)
  return 0.5 * (low + high), 0.5 * (high - low)
