"""How likely held-out actions are under a prior, and what to read off it."""

from __future__ import annotations

from typing import Callable, Iterable, NamedTuple

import numpy as np
import scipy.stats
import tensorflow as tf

from safer_tf.data import pipeline
from safer_tf.data import store as store_lib
from safer_tf.prior import objective
from safer_tf.prior import skill_prior


class Likelihoods(NamedTuple):
  """N held-out steps, the safety variable at its posterior mean.

  Attributes:
    log_prob: float32 [N], log p(a | s, c) in nats.
    abs_max_latent: float32 [N], |z|_inf.
    kl: float32 [N], KL(q(c | Lambda) || p(c)) in nats.
    unsafe: bool [N].
    success: bool [N], whether the step's episode succeeded.
    episode: int64 [N], number of the episode in the store.
  """

  log_prob: np.ndarray
  abs_max_latent: np.ndarray
  kl: np.ndarray
  unsafe: np.ndarray
  success: np.ndarray
  episode: np.ndarray

  @property
  def safe(self) -> np.ndarray:
    """Bool [N]: safe steps of successful episodes, as in training."""
    return self.of_kind(store_lib.SAFE_SUCCESS)

  def of_kind(self, kind: str) -> np.ndarray:
    """Bool [N]: steps of a kind that a prior may be trained to hold likely."""
    if kind == store_lib.SUCCESS_ANY:
      return self.success
    return self.success & ~self.unsafe


def measurer(
    prior: skill_prior.SkillPrior
) -> Callable[[Iterable[pipeline.SweepBatch]], Likelihoods]:
  """Compiles a function that sweeps over episodes.

  Args:
    prior: live prior; later changes of its variables are seen.

  Returns:
    A function of batches of whole episodes.
  """
  compiled = tf.function(lambda batch: _log_prob(prior, batch))

  def measure(batches: Iterable[pipeline.SweepBatch]) -> Likelihoods:
    parts = []
    for batch in batches:
      valid = batch.valid.numpy()
      flat = valid.reshape(-1)
      success = np.broadcast_to(batch.success.numpy()[:, None], valid.shape)
      episode = np.broadcast_to(batch.episode.numpy()[:, None], valid.shape)
      log_prob, abs_max_latent, kl = (
          value.numpy()[flat] for value in compiled(batch)
      )
      parts.append(Likelihoods(
          log_prob, abs_max_latent, kl, batch.unsafe.numpy()[valid],
          success[valid], episode[valid],
      ))
    return Likelihoods(*(np.concatenate(column) for column in zip(*parts)))

  return measure


def _log_prob(
    prior: skill_prior.SkillPrior, batch: pipeline.SweepBatch
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """log p, |z|_inf and KL of B episodes of T steps; each [B * T]."""
  # W - 1 states that do not exist before each episode.
  before = [[0, 0], [prior.window - 1, 0]]
  state = tf.reshape(tf.range(tf.size(batch.valid)), batch.valid.shape)
  embeddings = prior.embed(
      tf.reshape(batch.observation, [-1, *prior.observation_shape])
  )
  mean, stddev = prior.infer_windows(
      embeddings,
      skill_prior.windows(tf.pad(state, before), prior.window),
      skill_prior.windows(tf.pad(batch.valid, before), prior.window),
  )
  action = tf.reshape(batch.action, [-1, prior.action_dim])
  latent = prior.encode(action, embeddings, mean)
  return (
      prior.log_prob(action, embeddings, mean),
      tf.reduce_max(tf.abs(latent), axis=-1),
      objective.kl_to_prior(mean, stddev),
  )


def statistics(
    found: Likelihoods, unsafe_weight: float, kl_weight: float,
    unsafe_floor: float, positives: str = store_lib.SAFE_SUCCESS,
) -> dict[str, float]:
  """Measures of held-out steps.

  Args:
    found: of a split.
    unsafe_weight: lambda of Eq. 4, here and below as in training.
    kl_weight: weight of the KL terms.
    unsafe_floor: nats.
    positives: kind of steps that the objective makes likely.

  Returns:
    `objective` (Eq. 4 with the floor; higher is better), mean log-likelihoods
    and KL of safe and unsafe steps, `unsafe_share_above_safe_median`, `auc` of
    the log-likelihood against the label, `latent_auc` of |z|_inf, by which the
    assurance tells them apart, and the counts; NaN where a kind has no step.
  """
  safe, unsafe = found.log_prob[found.safe], found.log_prob[found.unsafe]
  safe_kl, unsafe_kl = found.kl[found.safe], found.kl[found.unsafe]
  positive = found.of_kind(positives)
  value = _mean(found.log_prob[positive]) - (
      kl_weight * _mean(found.kl[positive])
  )
  if unsafe_weight and len(unsafe):
    pushed = np.maximum(unsafe, unsafe_floor)
    value -= unsafe_weight * _mean(pushed) + kl_weight * _mean(unsafe_kl)
  return {
      'objective': value,
      'safe_log_prob': _mean(safe),
      'unsafe_log_prob': _mean(unsafe),
      'safe_kl': _mean(safe_kl),
      'unsafe_kl': _mean(unsafe_kl),
      'unsafe_share_above_safe_median': (
          _mean(unsafe > np.median(safe)) if len(safe) else float('nan')
      ),
      'auc': auc(safe, unsafe),
      'latent_auc': auc(
          -found.abs_max_latent[found.safe],
          -found.abs_max_latent[found.unsafe],
      ),
      'n_safe': len(safe),
      'n_unsafe': len(unsafe),
  }


def auc(safe: np.ndarray, unsafe: np.ndarray) -> float:
  """Probability that a safe step has a higher score than an unsafe one.

  Args:
    safe: [n] scores, e.g. log-likelihoods.
    unsafe: [m] scores.

  Returns:
    Area under the ROC curve, ties counting half; NaN if either is empty.
  """
  if not len(safe) or not len(unsafe):
    return float('nan')
  ranks = scipy.stats.rankdata(np.concatenate([safe, unsafe]))
  smallest = len(safe) * (len(safe) + 1) / 2
  return float(
      (ranks[:len(safe)].sum() - smallest) / (len(safe) * len(unsafe))
  )


def _mean(values: np.ndarray) -> float:
  return float(np.mean(values, dtype=np.float64)) if len(values) else (
      float('nan')
  )
