"""Observation encoders: one observation in, one embedding out.

An encoder factory takes the observation's shape and returns a built Keras
model from float32 observations [B, ...] to embeddings [B, E]. Point the gin
value `SkillPrior.make_encoder` at a factory of your own to plug one in. If its
first layer is `Standardise`, that is adapted to the training data (vectors
only). It is called as in
inference, in training too: dropout does nothing, and batch normalisation keeps
its first statistics.
"""

from __future__ import annotations

from typing import Sequence

import gin
import numpy as np
import tensorflow as tf

from safer_tf.common import errors

_layers = tf.keras.layers

# A component that varies by less than this share of its size is a constant.
_CONSTANT = 1e-6


class Standardise(tf.keras.layers.Layer):
  """Takes vectors to mean 0 and standard deviation 1, once it is told theirs.

  Keras' own `Normalization` keeps what it adapted to as constants, which a
  restored checkpoint does not replace.
  """

  def build(self, input_shape: tf.TensorShape) -> None:
    """Makes its variables: it leaves vectors as they are."""
    self.mean, self.stddev = (
        self.add_weight(
            name, (input_shape[-1],), tf.float32, initial, trainable=False
        ) for name, initial in (('mean', 'zeros'), ('stddev', 'ones'))
    )
    super().build(input_shape)

  def call(self, vectors: tf.Tensor) -> tf.Tensor:
    """Standardises vectors [B, size]."""
    return (vectors - self.mean) / self.stddev

  def adapt(self, vectors: np.ndarray) -> None:
    """Takes over the mean and the standard deviation of vectors.

    Args:
      vectors: float [N, size]; a component that is the same in all of them is
        centred alone.
    """
    mean, stddev = vectors.mean(0, np.float64), vectors.std(0, np.float64)
    constant = stddev <= _CONSTANT * np.abs(mean)
    self.mean.assign(mean)
    self.stddev.assign(np.where(constant, 1.0, stddev))


@gin.configurable
def image_encoder(
    shape: Sequence[int], filters: Sequence[int] = (16, 32, 64),
    embedding_dim: int = 128,
) -> tf.keras.Model:
  """A small CNN of 3x3 stride-2 convolutions and one dense layer.

  Args:
    shape: [height, width, channels] of an observation.
    filters: output channels of each convolution.
    embedding_dim: E, size of the embedding.

  Returns:
    A model from images scaled to [0, 1], [B, height, width, channels], to
    embeddings [B, E].

  Raises:
    UserError: a size is less than 1.
  """
  errors.require_sizes(
      'image_encoder', filters=filters, embedding_dim=embedding_dim
  )
  return tf.keras.Sequential(
      [tf.keras.Input(shape)]
      + [
          _layers.Conv2D(
              count, 3, strides=2, padding='same', activation='relu'
          ) for count in filters
      ]
      + [_layers.Flatten(), _layers.Dense(embedding_dim, activation='relu')],
      name='image_encoder',
  )


@gin.configurable
def vector_encoder(
    shape: Sequence[int], hidden: Sequence[int] = (128,),
    embedding_dim: int = 128,
) -> tf.keras.Model:
  """An MLP for observations that are vectors, which it standardises.

  Args:
    shape: [size] of an observation.
    hidden: units of each hidden layer.
    embedding_dim: E, size of the embedding.

  Returns:
    A model from vectors [B, size] to embeddings [B, E].

  Raises:
    UserError: a size is less than 1.
  """
  errors.require_sizes('vector_encoder', embedding_dim=embedding_dim)
  if hidden:
    errors.require_sizes('vector_encoder', hidden=hidden)
  units = (*hidden, embedding_dim)
  return tf.keras.Sequential(
      [tf.keras.Input(shape), Standardise(name='standardise')]
      + [_layers.Dense(count, activation='relu') for count in units],
      name='vector_encoder',
  )


@gin.configurable
def default_encoder(shape: Sequence[int]) -> tf.keras.Model:
  """The CNN for images, the MLP for vectors.

  Args:
    shape: shape of one observation.

  Returns:
    A model from observations [B, ...] to embeddings [B, E].

  Raises:
    UserError: the observation is neither an image nor a vector.
  """
  if len(shape) == 3:
    return image_encoder(shape)
  if len(shape) == 1:
    return vector_encoder(shape)
  raise errors.UserError(
      f'No default encoder for observations of shape {list(shape)}: expected '
      '[height, width, channels] or [size]. Set SkillPrior.make_encoder to an '
      'encoder of your own.'
  )


def embedding_dim(encoder: tf.keras.Model, shape: Sequence[int]) -> int:
  """Size E of the embeddings that an encoder gives.

  Args:
    encoder: what a factory gave for observations of `shape`.
    shape: shape of one observation.

  Returns:
    E.

  Raises:
    UserError: it is no Keras model from float32 [B, ...] to float32 [B, E].
  """
  told = type(encoder).__name__
  if isinstance(encoder, tf.keras.Model):
    found = encoder(tf.zeros((1, *shape)))
    if tf.is_tensor(found):
      if found.shape.rank == 2 and found.dtype == tf.float32:
        return int(found.shape[-1])
      told += f' to {found.dtype.name} {found.shape.as_list()}'
  raise errors.UserError(
      f'SkillPrior.make_encoder gives a {told} for an observation of shape '
      f'{list(shape)}; expected a Keras model from float32 [B, ...] to '
      'embeddings, float32 [B, E].'
  )


def no_encoder(shape: Sequence[int]) -> tf.keras.Model:
  """Leaves what it is given as it is: for observations that are embeddings.

  Args:
    shape: [E] of an embedding.

  Returns:
    A model from embeddings [B, E] to themselves.
  """
  given = tf.keras.Input(shape)
  return tf.keras.Model(given, given, name='no_encoder')
