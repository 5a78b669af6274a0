"""Latents of labelled offline actions, by one ordered sweep over a split."""

from __future__ import annotations

from typing import Optional

import numpy as np
import tensorflow as tf

from safer_tf.assurance import bounds
from safer_tf.common import progress
from safer_tf.data import pipeline
from safer_tf.data import store as store_lib
from safer_tf.prior import export
from safer_tf.prior import skill_prior


def labelled_latents(
    prior: export.LoadedPrior, store: store_lib.EpisodeStore, split: str,
    unsafe_weight: Optional[float] = None,
) -> bounds.LabelledLatents:
  """Inverts the prior on the actions of a split (`get_in_bound`, Algorithm 3).

  Each frame is embedded once; the safety variable is its posterior mean.

  Args:
    prior: exported prior.
    store: dataset, limited to the tasks that count.
    split: e.g. `calibration`.
    unsafe_weight: of an unsafe step; fixed on the training split if None.

  Returns:
    Latents of the split's safe steps of successful episodes and of its unsafe
    steps.
  """
  numbers = store.split(split)
  abs_max, unsafe, episode = [], [], []
  with progress.bar(len(numbers), 'Latents', 'episode') as bar:
    for batch in pipeline.sweep(store, split):
      largest = _abs_max_latents(prior, batch)
      label = batch.unsafe.numpy()
      successful = batch.success.numpy()[:, np.newaxis]
      counts = batch.valid.numpy() & (label | successful)
      number = batch.episode.numpy()
      abs_max.append(largest[counts])
      unsafe.append(label[counts])
      episode.append(
          np.broadcast_to(number[:, np.newaxis], counts.shape)[counts]
      )
      bar.update(int(np.sum(number >= 0)))
  return bounds.LabelledLatents(
      np.concatenate(abs_max), np.concatenate(unsafe),
      np.searchsorted(numbers, np.concatenate(episode)), len(numbers),
      training_weight(store) if unsafe_weight is None else unsafe_weight,
  )


def training_weight(store: store_lib.EpisodeStore) -> float:
  """Weight of an unsafe action that evens out the sets of the training split.

  Args:
    store: dataset, limited to the tasks that count.

  Returns:
    As `bounds.equal_weight`.
  """
  training = np.zeros(len(store), bool)
  training[store.split('train')] = True
  training = np.repeat(training, store.index.length)
  return bounds.equal_weight(
      int(np.sum(store.wanted(store_lib.SAFE_SUCCESS) & training)),
      int(np.sum(store.wanted(store_lib.UNSAFE) & training)),
  )


def _abs_max_latents(
    prior: export.LoadedPrior, batch: pipeline.SweepBatch
) -> np.ndarray:
  """|z|_inf of each step of B episodes, [B, T] float32."""
  spec = prior.spec
  count, steps = batch.valid.shape
  flat = [count * steps]
  embedding = prior.embed(
      tf.reshape(batch.observation, flat + list(spec.observation_shape))
  )
  # W - 1 empty states before each episode.
  before = [[0, 0], [spec.window - 1, 0]]
  embeddings = tf.pad(
      tf.reshape(embedding, [count, steps, -1]), before + [[0, 0]]
  )
  context, _ = prior.infer_context(
      skill_prior.windows(embeddings, spec.window),
      skill_prior.windows(tf.pad(batch.valid, before), spec.window),
  )
  # z = f^-1(a; s, E[c]), the inverse of Eq. 1's flow.
  latent = prior.encode(
      tf.reshape(batch.action, flat + [spec.action_dim]), embedding, context
  )
  return np.abs(latent.numpy()).max(axis=-1).reshape(count, steps)
