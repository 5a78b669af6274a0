"""The skill prior: encoder, posterior and flow behind six functions."""

from __future__ import annotations

from typing import Callable, Sequence

import gin
import numpy as np
import tensorflow as tf

from safer_tf.common import errors
from safer_tf.prior import encoders
from safer_tf.prior import flow
from safer_tf.prior import posterior


@gin.configurable
class SkillPrior(tf.Module):
  """f(z; s, c) and q(c | Lambda) of Section 4.

  Shapes: B batch, W window, E embedding, C safety variable ("context"), A
  action and latent.
  """

  def __init__(
      self, observation_shape: Sequence[int], action_dim: int,
      window: int = 16, context_dim: int = 8, uses_context: bool = True,
      make_encoder: Callable[[Sequence[int]], tf.keras.Model] = (
          encoders.default_encoder
      ),
      name: str = 'skill_prior',
  ):
    """Builds the prior and all its variables.

    Args:
      observation_shape: shape of one observation.
      action_dim: A.
      window: W, states in a window, the current one included.
      context_dim: C.
      uses_context: false for a prior without a safety variable, which takes
        and ignores a context of size C.
      make_encoder: makes an encoder for an observation shape.
      name: name of the module.

    Raises:
      UserError: a size is less than 1, the encoder is no model of one
        observation in and one embedding out, or a layer `Standardise` of it
        stands where nothing can be told it.
    """
    errors.require_sizes(
        'SkillPrior', window=window, context_dim=context_dim
    )
    super().__init__(name=name)
    self.observation_shape = tuple(observation_shape)
    self.action_dim = action_dim
    self.window = window
    self.context_dim = context_dim
    self.uses_context = uses_context
    self._encoder = make_encoder(self.observation_shape)
    self.embedding_dim = encoders.embedding_dim(
        self._encoder, self.observation_shape
    )
    self._check_standardising()
    self._posterior = None
    condition_dim = self.embedding_dim
    if uses_context:
      self._posterior = posterior.TransformerPosterior(
          window, self.embedding_dim, context_dim
      )
      condition_dim += context_dim
    self._flow = flow.ConditionalRealNVP(action_dim, condition_dim)

  @property
  def flow_variables(self) -> tuple[tf.Variable, ...]:
    """The trainable variables of f(z; s, c) alone."""
    return self._flow.trainable_variables

  @property
  def standardises(self) -> bool:
    """Whether the encoder has a layer that `adapt` is for."""
    return bool(self._standardising())

  def adapt(self, observations: np.ndarray) -> None:
    """Tells the encoder the observations' mean and standard deviation.

    Args:
      observations: [N, ...]; uint8 is scaled to [0, 1], as by `embed`.
    """
    scale = 255 if observations.dtype == np.uint8 else 1
    for layer in self._standardising():
      layer.adapt(observations / scale)

  def _standardising(self) -> list[encoders.Standardise]:
    return [
        part for part in self._encoder.submodules
        if isinstance(part, encoders.Standardise)
    ]

  def _check_standardising(self) -> None:
    """What is told of observations suits a layer that they come to first."""
    first = [
        layer for layer in self._encoder.layers
        if not isinstance(layer, tf.keras.layers.InputLayer)
    ][:1]
    found = self._standardising()
    if found and (found != first or len(self.observation_shape) != 1):
      raise errors.UserError(
          'SkillPrior.make_encoder gives a model with a layer Standardise that '
          'is not its first, or not of vectors: expected it first, or not at '
          'all.'
      )

  def on_embeddings(self) -> SkillPrior:
    """This prior's posterior and flow, for embeddings in place of observations.

    Returns:
      A prior that shares them: to train it is to train them.
    """
    other = SkillPrior(
        (self.embedding_dim,), self.action_dim, self.window, self.context_dim,
        self.uses_context, encoders.no_encoder,
    )
    other._posterior, other._flow = self._posterior, self._flow
    return other

  def take_features(self, variables: Sequence[tf.Variable]) -> None:
    """Takes over the encoder and the posterior of another prior.

    Args:
      variables: all of the other's, in the order of its `variables`; its flow
        may be of another size.

    Raises:
      ValueError: they are not those of such an encoder and posterior.
    """
    # A module's variables come in the order of its attributes' names, so that
    # the flow's stand between the encoder's and the posterior's.
    flow_ = {variable.ref() for variable in self._flow.variables}
    is_flow = [variable.ref() in flow_ for variable in self.variables]
    before, after = is_flow.index(True), is_flow[::-1].index(True)
    if len(variables) < before + after:
      raise ValueError(f'{len(variables)} variables are too few')
    kept = self.variables
    for ours, theirs in zip(
        (*kept[:before], *kept[len(kept) - after:]),
        (*variables[:before], *variables[len(variables) - after:]),
    ):
      ours.assign(theirs)

  def embed(self, observation: tf.Tensor) -> tf.Tensor:
    """Embeds observations.

    Args:
      observation: [B, ...]; uint8 is scaled to [0, 1] here.

    Returns:
      [B, E] float32.
    """
    scale = 1 / 255 if observation.dtype == tf.uint8 else 1.0
    return self._encoder(tf.cast(observation, tf.float32) * scale)

  def infer_context(
      self, embeddings: tf.Tensor, valid: tf.Tensor
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Infers the safety variable, q(c | Lambda).

    Args:
      embeddings: [B, W, E] float32, oldest first, current state last.
      valid: [B, W] bool; false where the window reaches before the episode.

    Returns:
      Mean [B, C] and standard deviation [B, C]; those of p(c) = N(0, I) for a
      prior without a safety variable.
    """
    if self._posterior is None:
      zeros = tf.zeros([tf.shape(valid)[0], self.context_dim])
      return zeros, zeros + 1.0
    states = tf.reshape(embeddings, [-1, self.embedding_dim])
    window = tf.reshape(tf.range(tf.size(valid)), [-1, valid.shape[1]])
    return self._posterior(states, window, valid)

  def infer_windows(
      self, embeddings: tf.Tensor, window: tf.Tensor, valid: tf.Tensor
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Infers the safety variable from windows that share states.

    Equals `infer_context` on the gathered embeddings, but does the work on a
    single state once, however many windows it stands in.

    Args:
      embeddings: [N, E] float32.
      window: [B, W] int32, the states of each window.
      valid: [B, W] bool.

    Returns:
      Mean [B, C] and standard deviation [B, C].
    """
    if self._posterior is None:
      return self.infer_context(embeddings, valid)
    return self._posterior(embeddings, window, valid)

  def decode(
      self, latent: tf.Tensor, embedding: tf.Tensor, context: tf.Tensor
  ) -> tf.Tensor:
    """a = f(z; s, c). It may lie beyond the action range: clip it.

    Args:
      latent: [B, A] float32.
      embedding: [B, E] float32 of the current state.
      context: [B, C] float32.

    Returns:
      Action [B, A] float32.
    """
    return self._flow.forward(latent, self._condition(embedding, context))

  def encode(
      self, action: tf.Tensor, embedding: tf.Tensor, context: tf.Tensor
  ) -> tf.Tensor:
    """z = f^-1(a; s, c); shapes as in `decode`."""
    return self._flow.inverse(action, self._condition(embedding, context))

  def log_prob(
      self, action: tf.Tensor, embedding: tf.Tensor, context: tf.Tensor
  ) -> tf.Tensor:
    """log p(a | s, c) in nats (Eq. 1), [B]; arguments as in `encode`."""
    return self._flow.log_prob(action, self._condition(embedding, context))

  def observe(
      self, observation: tf.Tensor, embeddings: tf.Tensor, valid: tf.Tensor
  ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Takes in one new state: what acting needs, in one call (Algorithm 1).

    Args:
      observation: [B, ...] the new current state.
      embeddings: [B, W, E] float32, the window so far, zeros where empty.
      valid: [B, W] bool.

    Returns:
      Embedding [B, E]; the window moved on by one: embeddings [B, W, E] and
      valid [B, W]; context mean [B, C] and standard deviation [B, C].
    """
    embedding = self.embed(observation)
    embeddings = tf.concat(
        [embeddings[:, 1:], embedding[:, tf.newaxis]], axis=1
    )
    valid = tf.concat([valid[:, 1:], tf.ones_like(valid[:, :1])], axis=1)
    mean, stddev = self.infer_context(embeddings, valid)
    return embedding, embeddings, valid, mean, stddev

  def _condition(self, embedding: tf.Tensor, context: tf.Tensor) -> tf.Tensor:
    if not self.uses_context:
      return embedding
    return tf.concat([embedding, context], axis=-1)


def windows(frames: tf.Tensor, window: int) -> tf.Tensor:
  """The window of every step of runs.

  Args:
    frames: [R, W-1+L, ...] what belongs to each state.
    window: W.

  Returns:
    [R * L, W, ...], oldest first, current state last.
  """
  steps = frames.shape[1] - window + 1
  index = tf.range(steps)[:, tf.newaxis] + tf.range(window)
  gathered = tf.gather(frames, index, axis=1)
  return tf.reshape(gathered, [-1, window, *frames.shape[2:]])
