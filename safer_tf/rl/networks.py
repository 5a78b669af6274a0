"""Actor, critics and the image encoder that they share."""

from __future__ import annotations

import math
from typing import Any, Callable, Sequence

import gin
import numpy as np
import tensorflow as tf
from tf_agents.agents.sac import sac_agent
from tf_agents.agents.sac import tanh_normal_projection_network
from tf_agents.networks import network
from tf_agents.specs import tensor_spec

from safer_tf.common import errors

LOG_2 = math.log(2.0)
_HALF_LOG_2_PI = 0.5 * math.log(2.0 * math.pi)
VARIANCE_FLOOR = 1e-5  # Of LayerNorm.


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

    Raises:
      UserError: a size is less than 1.
    """
    errors.require_sizes('ImageEncoder', filters=filters, features=features)
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
      observation: [B, height, width, channels]; uint8 is scaled to [0, 1],
        as a prior's encoder does.

    Returns:
      float32 [B, F] in (-1, 1).
    """
    scale = 1.0 / 255.0 if observation.dtype == tf.uint8 else 1.0
    hidden = tf.cast(observation, tf.float32) * scale - 0.5
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
    log_slope = 2.0 * (LOG_2 - raw - tf.nn.softplus(-2.0 * raw))
    log_prob = (
        -0.5 * tf.square(noise) - tf.math.log(stddev) - _HALF_LOG_2_PI
        - log_slope
    )
    return tf.tanh(raw), tf.reduce_sum(log_prob, axis=-1)

  def policy_variables(self) -> list[tf.Variable]:
    """What the actor's loss trains: all but the shared encoder."""
    shared = {id(variable) for variable in self._encoder.variables}
    return [v for v in self.trainable_variables if id(v) not in shared]


class Critic(tf.Module):
  """Value of an action by the shared encoder's features; with LayerNorm."""

  def __init__(
      self, features: int, actions: int, hidden_units: Sequence[int], name: str
  ):
    """Builds the layers.

    Args:
      features: size F of what the shared encoder gives.
      actions: size A of an action.
      hidden_units: sizes of the hidden layers, at least one.
      name: name of the layer.
    """
    super().__init__(name=name)
    first, *others = hidden_units
    # One layer on [features, action], as two products.
    self._from_features = _Linear(features, first, features + actions)
    self._from_action = _Linear(actions, first, features + actions)
    self._norms = [_NormRelu(units) for units in hidden_units]
    self._hidden = [
        _Linear(size, units, size)
        for size, units in zip(hidden_units, others)
    ]
    self._value = _Linear(hidden_units[-1], 1, hidden_units[-1])
    self._bias = tf.Variable(0.0, name='bias')

  def project(self, features: tf.Tensor) -> tf.Tensor:
    """The features' share of the first layer, for `value`.

    Apart from `value`, as one product serves all actions of the same states.

    Args:
      features: float32 [B, F].

    Returns:
      float32 [B, units].
    """
    return self._from_features(features)

  def value(self, projected: tf.Tensor, unit_action: tf.Tensor) -> tf.Tensor:
    """Values of actions.

    Args:
      projected: what `project` made of the features.
      unit_action: actions with the spec's box as [-1, 1], float32 [B, A].

    Returns:
      float32 [B].
    """
    hidden = self._norms[0](projected + self._from_action(unit_action))
    for layer, norm in zip(self._hidden, self._norms[1:]):
      hidden = norm(layer(hidden))
    return self._value(hidden)[:, 0] + self._bias


class CriticNetwork(network.Network):
  """A critic as the network of (observation, action) TF-Agents expects.

  The shared encoder is used, not owned: it is no variable of the network.
  """

  def __init__(
      self,
      input_tensor_spec: Any,
      value: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
      critic: Critic,
      name: str = 'CriticNetwork',
  ):
    """Wraps a critic.

    Args:
      input_tensor_spec: specs of (observation, action).
      value: function of observations and actions to values [B].
      critic: what `value` calls; its variables are the network's.
      name: name of the network.
    """
    super().__init__(input_tensor_spec, state_spec=(), name=name)
    self._of = value
    self._critic = critic

  def call(self, inputs, step_type=(), network_state=(), training=False):
    del step_type, training
    return self._of(*inputs), network_state


class _Linear(tf.keras.layers.Layer):
  """A linear map [B, size] to [B, units], without a bias."""

  def __init__(self, size: int, units: int, fan_in: int):
    super().__init__()
    limit = math.sqrt(6.0 / (fan_in + units))  # Glorot.
    self._kernel = self.add_weight(
        'kernel', (size, units),
        initializer=tf.keras.initializers.RandomUniform(-limit, limit),
    )

  def call(self, inputs: tf.Tensor) -> tf.Tensor:
    return tf.matmul(inputs, self._kernel)


class _NormRelu(tf.keras.layers.Layer):
  """LayerNorm and ReLU of [B, units]."""

  def __init__(self, units: int):
    super().__init__()
    self._gain = self.add_weight('gain', (units,), initializer='ones')
    self._bias = self.add_weight('bias', (units,), initializer='zeros')

  def call(self, inputs: tf.Tensor) -> tf.Tensor:
    return norm_relu(
        inputs, tf.convert_to_tensor(self._gain),
        tf.convert_to_tensor(self._bias),
    )


@tf.custom_gradient
def norm_relu(
    inputs: tf.Tensor, gain: tf.Tensor, bias: tf.Tensor
) -> tuple[tf.Tensor, Callable[..., Any]]:
  """relu(LayerNorm(inputs)) (Ba et al. 2016).

  With its derivative in closed form, which takes half the passes over the
  batch that differentiating each step takes.

  Args:
    inputs: float32 [B, N].
    gain: float32 [N].
    bias: float32 [N].

  Returns:
    float32 [B, N].
  """

  def mean(values):
    return tf.reduce_mean(values, axis=-1, keepdims=True)

  centred = inputs - mean(inputs)
  scale = tf.math.rsqrt(mean(tf.square(centred)) + VARIANCE_FLOOR)
  normal = centred * scale
  outputs = tf.nn.relu(normal * gain + bias)

  def gradient(upstream):
    upstream = tf.raw_ops.ReluGrad(gradients=upstream, features=outputs)
    inward = upstream * gain
    inward = inward - mean(inward) - normal * mean(inward * normal)
    return (
        inward * scale, tf.reduce_sum(upstream * normal, axis=0),
        tf.reduce_sum(upstream, axis=0),
    )

  return outputs, gradient


def box(
    spec: tensor_spec.BoundedTensorSpec,
) -> tuple[np.ndarray, np.ndarray]:
  """Centre [A] and half range [A] of an action spec's box."""
  low = np.broadcast_to(spec.minimum, spec.shape).astype(np.float32)
  high = np.broadcast_to(spec.maximum, spec.shape).astype(np.float32)
  return 0.5 * (low + high), 0.5 * (high - low)
