"""The safety variable's posterior: a transformer over the window of states."""

from __future__ import annotations

import math

import gin
import tensorflow as tf

_layers = tf.keras.layers


class _Block(tf.Module):
  """One pre-norm transformer layer: attention, then a feed-forward part."""

  def __init__(
      self, window: int, width: int, num_heads: int, feedforward: int,
      name: str,
  ):
    super().__init__(name=name)
    self._attention_norm = _layers.LayerNormalization()
    self._attention = _layers.MultiHeadAttention(num_heads, width // num_heads)
    self._feedforward_norm = _layers.LayerNormalization()
    self._feedforward = tf.keras.Sequential([
        tf.keras.Input([None, width]),
        _layers.Dense(feedforward, activation='relu'),
        _layers.Dense(width),
    ])
    self(  # Builds the layers.
        tf.zeros([1, window, width]), tf.ones([1, window], tf.bool),
        current_only=True,
    )

  def __call__(
      self, tokens: tf.Tensor, valid: tf.Tensor, current_only: bool
  ) -> tf.Tensor:
    """Attends from every position, or from the current one alone.

    Args:
      tokens: [B, W, D] float32.
      valid: [B, W] bool; other positions are never attended to.
      current_only: whether only the last position's output is wanted.

    Returns:
      Tokens [B, W, D], or [B, 1, D] of the current position.
    """
    normed = self._attention_norm(tokens)
    query = normed[:, -1:] if current_only else normed
    residual = tokens[:, -1:] if current_only else tokens
    residual += self._attention(
        query, normed, attention_mask=valid[:, tf.newaxis, :]
    )
    return residual + self._feedforward(self._feedforward_norm(residual))


@gin.configurable
class TransformerPosterior(tf.Module):
  """q(c | Lambda), a diagonal Gaussian (Section 4.2).

  The window ends with the current state, and positions are counted from that
  end, so that the current state stands at the same position however short the
  history. The last layer asks for the current position only: its cost hardly
  grows with the window.
  """

  def __init__(
      self, window: int, embedding_dim: int, context_dim: int,
      width: int = 64, num_heads: int = 4, num_layers: int = 1,
      feedforward: int = 128, min_stddev: float = 0.01,
      name: str = 'posterior',
  ):
    """Builds the posterior.

    Args:
      window: W, states in a window, the current one included.
      embedding_dim: E, size of a state's embedding.
      context_dim: C, components of the safety variable.
      width: D, size of a token; a multiple of `num_heads`.
      num_heads: attention heads.
      num_layers: transformer layers.
      feedforward: hidden units of a layer's feed-forward part.
      min_stddev: smallest standard deviation of a component.
      name: name of the module.
    """
    super().__init__(name=name)
    self._min_stddev = min_stddev
    # softplus(0 + this) + min_stddev is 1.
    self._stddev_shift = math.log(math.expm1(1 - min_stddev))
    self._project = _layers.Dense(width, name='project')
    self._project.build([None, embedding_dim])
    with tf.name_scope(self.name):
      self._positions = tf.Variable(
          tf.random.normal([window, width], stddev=0.02), name='positions'
      )
    self._blocks = [
        _Block(window, width, num_heads, feedforward, name=f'block_{i}')
        for i in range(num_layers)
    ]
    self._norm = _layers.LayerNormalization()
    self._norm.build([None, width])
    # Small at first: the posterior starts near the prior N(0, I).
    self._head = _layers.Dense(
        2 * context_dim, name='head',
        kernel_initializer=tf.keras.initializers.VarianceScaling(0.01),
    )
    self._head.build([None, width])

  def __call__(
      self, embeddings: tf.Tensor, valid: tf.Tensor
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Infers the safety variable of each window.

    Args:
      embeddings: [B, W, E] float32, oldest first, current state last.
      valid: [B, W] bool; false where the window reaches before the episode.

    Returns:
      Mean [B, C] and standard deviation [B, C].
    """
    return self.read(self.tokens(embeddings), valid)

  def tokens(self, embeddings: tf.Tensor) -> tf.Tensor:
    """Projects embeddings [..., E] to tokens [..., D], each on its own.

    Windows that share states may share their tokens: project every state once,
    gather, then `read`.
    """
    return self._project(embeddings)

  def read(
      self, tokens: tf.Tensor, valid: tf.Tensor
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Infers the safety variable from windows of tokens.

    Args:
      tokens: [B, W, D] float32.
      valid: [B, W] bool.

    Returns:
      Mean [B, C] and standard deviation [B, C].
    """
    # Masked positions get no weight, yet zero times infinity is no number.
    tokens = tf.where(valid[..., tf.newaxis], tokens, 0.0)
    tokens += self._positions[-tokens.shape[1]:]
    for i, block in enumerate(self._blocks):
      last = i == len(self._blocks) - 1
      tokens = block(tokens, valid, current_only=last)
    mean, raw = tf.split(self._head(self._norm(tokens[:, -1])), 2, axis=-1)
    return mean, self._min_stddev + tf.nn.softplus(raw + self._stddev_shift)
