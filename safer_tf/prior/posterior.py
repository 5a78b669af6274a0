"""The safety variable's posterior: a transformer over the window of states."""

from __future__ import annotations

import math

import gin
import tensorflow as tf

from safer_tf.common import errors

_layers = tf.keras.layers

# Score of a state that does not exist; its attention weight is exactly 0.
_MASKED = -1e9


@gin.configurable
class TransformerPosterior(tf.Module):
  """q(c | Lambda), a diagonal Gaussian (Section 4.2).

  A pre-norm transformer layer, of which only the current state's output is
  wanted: that state alone asks, all states of its window answer. Positions
  enter through keys and values (Shaw et al., 2018), not through the states, so
  that a state's key and value serve all windows it stands in. They are counted
  from the window's end: the current state stands at the same position however
  short the history.
  """

  def __init__(
      self, window: int, embedding_dim: int, context_dim: int,
      width: int = 64, num_heads: int = 4, feedforward: int = 128,
      min_stddev: float = 0.01, name: str = 'posterior',
  ):
    """Builds the posterior.

    Args:
      window: W, states in a window, the current one included.
      embedding_dim: E, size of a state's embedding.
      context_dim: C, components of the safety variable.
      width: D, size of a token; a multiple of `num_heads`.
      num_heads: H, attention heads.
      feedforward: hidden units of the feed-forward part.
      min_stddev: smallest standard deviation of a component.
      name: name of the module.

    Raises:
      UserError: a size or deviation is out of range.
    """
    errors.require_sizes(
        'TransformerPosterior', width=width, num_heads=num_heads,
        feedforward=feedforward,
    )
    if width % num_heads or not 0 < min_stddev < 1:
      raise errors.UserError(
          f'TransformerPosterior has width {width}, num_heads {num_heads}, '
          f'min_stddev {min_stddev}: expected a multiple of num_heads, and a '
          'deviation between 0 and 1.'
      )
    super().__init__(name=name)
    self._heads = [num_heads, width // num_heads]
    self._min_stddev = min_stddev
    # softplus(0 + this) + min_stddev is 1.
    self._stddev_shift = math.log(math.expm1(1 - min_stddev))
    self._token = _mlp(embedding_dim, [width])
    self._norm = _layers.LayerNormalization()
    self._norm.build([None, width])
    self._query = _mlp(width, [width])
    # A key's bias would shift all scores alike and so do nothing.
    self._key = _mlp(width, [width], use_bias=False)
    self._value = _mlp(width, [width])
    with tf.name_scope(self.name):
      self._key_positions = tf.Variable(
          tf.random.normal([window, width], stddev=0.02), name='key_positions'
      )
      self._value_positions = tf.Variable(
          tf.random.normal([window, width], stddev=0.02),
          name='value_positions',
      )
    self._attended = _mlp(width, [width])
    self._feedforward = _mlp(width, [feedforward, width], norm=True)
    # Small at first: the posterior starts near the prior N(0, I).
    self._head = _mlp(
        width, [2 * context_dim], norm=True,
        kernel_initializer=tf.keras.initializers.VarianceScaling(0.01),
    )

  def __call__(
      self, embeddings: tf.Tensor, window: tf.Tensor, valid: tf.Tensor
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Infers the safety variable of each window.

    Args:
      embeddings: [N, E] float32, states that windows may share.
      window: [B, W] int32, the states of each window, oldest first, the
        current one last.
      valid: [B, W] bool; false where the window reaches before the episode.

    Returns:
      Mean [B, C] and standard deviation [B, C].
    """
    tokens = self._token(embeddings)
    normed = self._norm(tokens)
    current = window[:, -1]
    query = self._split(tf.gather(self._query(normed), current))
    length = window.shape[1]
    keys = self._split(
        tf.gather(self._key(normed), window) + self._key_positions[-length:]
    )
    values = self._split(
        tf.gather(self._value(normed), window)
        + self._value_positions[-length:]
    )
    exists = valid[..., tf.newaxis]
    # Products and sums: thousands of tiny matrix products would take longer.
    scores = tf.reduce_sum(keys * query[:, tf.newaxis], axis=-1)
    scores *= 1 / math.sqrt(self._heads[1])
    weights = tf.nn.softmax(tf.where(exists, scores, _MASKED), axis=1)
    # Zero times infinity is no number: what does not exist is left out.
    values = tf.where(exists[..., tf.newaxis], values, 0.0)
    attended = tf.reduce_sum(weights[..., tf.newaxis] * values, axis=1)
    residual = tf.gather(tokens, current) + self._attended(
        tf.reshape(attended, [-1, self._heads[0] * self._heads[1]])
    )
    residual += self._feedforward(residual)
    mean, raw = tf.split(self._head(residual), 2, axis=-1)
    return mean, self._min_stddev + tf.nn.softplus(raw + self._stddev_shift)

  def _split(self, values: tf.Tensor) -> tf.Tensor:
    """[..., D] to [..., H, D / H]."""
    return tf.reshape(
        values, tf.concat([tf.shape(values)[:-1], self._heads], axis=0)
    )


def _mlp(
    inputs: int, units: list[int], norm: bool = False, **last
) -> tf.keras.Sequential:
  """Dense layers, ReLU between them; `last` are the last one's arguments."""
  return tf.keras.Sequential(
      [tf.keras.Input([inputs])]
      + ([_layers.LayerNormalization()] if norm else [])
      + [_layers.Dense(count, activation='relu') for count in units[:-1]]
      + [_layers.Dense(units[-1], **last)]
  )
