"""One gradient step of a skill prior on a batch of tuples (Algorithm 2)."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Mapping

import tensorflow as tf

from safer_tf.common import errors
from safer_tf.data import pipeline
from safer_tf.prior import objective
from safer_tf.prior import skill_prior

_OPTIMIZERS = ('adam', 'sgd')


@dataclasses.dataclass(frozen=True)
class Settings:
  """What a gradient step depends on; see `objective.safer_objective`.

  Attributes:
    unsafe_weight: lambda of Eq. 4.
    kl_weight: weight of the KL terms; 1 is Eq. 4.
    unsafe_floor: nats.
    freeze_below: nats.
    sample_context: draws c from its posterior; else takes the mean, which is
      the deterministic ablation of Appendix C.
    max_gradient_norm: gradients are clipped to this global norm.
    seed: of the samples of c.
    anchor_weight: of `objective.anchor_distance`; 0 is Eq. 4.
  """

  unsafe_weight: float
  kl_weight: float
  unsafe_floor: float
  freeze_below: float
  sample_context: bool
  max_gradient_norm: float
  seed: int
  anchor_weight: float = 0.0


def make_optimizer(
    name: str, learning_rate: float, final_learning_rate: float,
    momentum: float, num_steps: int,
) -> tf.keras.optimizers.legacy.Optimizer:
  """An optimizer whose learning rate goes down on a half cosine.

  Args:
    name: `adam` or `sgd`.
    learning_rate: at the first step.
    final_learning_rate: at the last step; the same for a constant rate.
    momentum: of `sgd`.
    num_steps: steps of the whole training.

  Returns:
    The optimizer.

  Raises:
    UserError: there is no optimizer of that name.
  """
  if name not in _OPTIMIZERS:
    raise errors.UserError(
        f'train_prior.optimizer is {name!r}: expected one of '
        f'{", ".join(_OPTIMIZERS)}.'
    )
  schedule = tf.keras.optimizers.schedules.CosineDecay(
      learning_rate, num_steps, alpha=final_learning_rate / learning_rate
  )
  # The legacy ones update each variable by one fused operation.
  if name == 'adam':
    return tf.keras.optimizers.legacy.Adam(schedule)
  return tf.keras.optimizers.legacy.SGD(schedule, momentum=momentum)


class Learner(tf.Module):
  """A prior, its optimizer and its step counter: all that a resume needs."""

  def __init__(
      self, prior: skill_prior.SkillPrior,
      optimizer: tf.keras.optimizers.legacy.Optimizer, settings: Settings,
      flow_only: bool = False,
  ):
    """Builds the learner.

    Args:
      prior: prior to train, in place.
      optimizer: its optimizer.
      settings: of the gradient step.
      flow_only: leaves the encoder and the posterior as they are.
    """
    super().__init__(name='learner')
    self.prior = prior
    self.optimizer = optimizer
    self.step = tf.Variable(0, dtype=tf.int64, name='step', trainable=False)
    self._settings = settings
    self._flow_only = flow_only
    self._traced: Any = None  # `_train_step`, once a batch has been seen.

  def terms(self, batch: pipeline.TupleBatch) -> objective.Terms:
    """The objective of a batch.

    Every frame of a run is embedded once, however many windows it stands in.

    Args:
      batch: tuples of kind 0 are the safe ones, of kind 1 the unsafe ones.

    Returns:
      The loss and its terms.
    """
    prior = self.prior
    embeddings = prior.embed(batch.observation)
    mean, stddev = prior.infer_windows(embeddings, batch.window, batch.valid)
    current = tf.gather(embeddings, batch.window[:, -1])
    context = self._context(mean, stddev)
    log_prob = prior.log_prob(batch.action, current, context)
    terms = self.weigh(log_prob, mean, stddev, batch.kind)
    if not self._settings.anchor_weight:
      return terms
    centre = prior.decode(tf.zeros_like(batch.action), current, context)
    safe = tf.cast(batch.kind == 0, tf.float32)
    distance = objective.anchor_distance(centre, batch.action, safe)
    return terms._replace(
        loss=terms.loss + self._settings.anchor_weight * distance,
        anchor=distance,
    )

  def weigh(
      self, log_prob: tf.Tensor, mean: tf.Tensor, stddev: tf.Tensor,
      kind: tf.Tensor,
  ) -> objective.Terms:
    """The objective of likelihoods and posteriors.

    Args:
      log_prob: float32 [B], nats.
      mean: float32 [B, C] of the posterior.
      stddev: float32 [B, C].
      kind: int32 [B] as in `terms`.

    Returns:
      The loss and its terms.
    """
    settings = self._settings
    safe, unsafe = (tf.cast(kind == each, tf.float32) for each in (0, 1))
    return objective.safer_objective(
        log_prob, objective.kl_to_prior(mean, stddev), safe, unsafe,
        unsafe_weight=settings.unsafe_weight, kl_weight=settings.kl_weight,
        unsafe_floor=settings.unsafe_floor,
        freeze_below=settings.freeze_below,
    )

  def _context(self, mean: tf.Tensor, stddev: tf.Tensor) -> tf.Tensor:
    if not self._settings.sample_context:
      return mean
    # The reparameterisation trick (Section 4.2). Keyed by the step: a resumed
    # run draws what the uninterrupted one would have drawn.
    seed = tf.stack([tf.constant(self._settings.seed, tf.int64), self.step])
    return mean + stddev * tf.random.stateless_normal(tf.shape(mean), seed)

  def train_step(self, batch: pipeline.TupleBatch) -> dict[str, tf.Tensor]:
    """Takes one gradient step.

    Args:
      batch: as in `terms`; batches may differ in their counts of frames and
        tuples.

    Returns:
      Scalars: the objective's terms, `gradient_norm` before clipping, and
      `tuples`, the count of those that weighed.
    """
    if self._traced is None:
      # One trace for all counts.
      signature = type(batch)(*(
          tf.TensorSpec([None, *part.shape[1:]], part.dtype) for part in batch
      ))
      self._traced = tf.function(self._train_step, [signature])
    return self._traced(batch)

  def _train_step(self, batch: pipeline.TupleBatch) -> dict[str, tf.Tensor]:
    variables = (
        self.prior.flow_variables if self._flow_only
        else self.prior.trainable_variables
    )
    with tf.GradientTape() as tape:
      terms = self.terms(batch)
    gradients, norm = tf.clip_by_global_norm(
        tape.gradient(terms.loss, variables),
        self._settings.max_gradient_norm,
    )
    self.optimizer.apply_gradients(zip(gradients, variables))
    self.step.assign_add(1)
    return {
        **terms._asdict(), 'gradient_norm': norm,
        'tuples': tf.math.count_nonzero(batch.kind >= 0, dtype=tf.float32),
    }


def is_finite(metrics: Mapping[str, tf.Tensor]) -> bool:
  """Whether a step's loss and gradient are numbers."""
  return math.isfinite(metrics['loss']) and math.isfinite(
      metrics['gradient_norm']
  )
