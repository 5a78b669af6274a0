"""What of a batch of runs counts: each needed frame and weighted tuple once.

A run reaches over the ends of its episode, and holds steps that are not of the
wanted kind. Frames that no weighted tuple looks at would cost most of the
training's time if they were embedded.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from safer_tf.data import pipeline
from safer_tf.prior import skill_prior

# Counts are rounded up to a multiple of this: convolutions are set up anew for
# every batch size that they have not met.
_MULTIPLE = 32


class CompactBatch(NamedTuple):
  """N frames and B tuples.

  Attributes:
    observation: [N, ...] frames.
    window: int32 [B, W] the frames of each tuple's window, oldest first, the
      current one last.
    valid: bool [B, W] whether the frame exists.
    action: float32 [B, A].
    safe: float32 [B] 1 for tuples of safe runs; both are 0 for filling.
    unsafe: float32 [B] 1 for tuples of unsafe runs.
  """

  observation: tf.Tensor
  window: tf.Tensor
  valid: tf.Tensor
  action: tf.Tensor
  safe: tf.Tensor
  unsafe: tf.Tensor


def compact(
    batch: pipeline.RunBatch, window: int, safe_runs: int
) -> CompactBatch:
  """Leaves out of a batch what has no influence on the loss.

  Args:
    batch: R runs of L steps.
    window: W.
    safe_runs: the first runs are safe ones, the others unsafe.

  Returns:
    The weighted tuples and the frames of their windows.
  """
  runs, frames = batch.valid.shape
  steps = batch.weight.shape[1]
  frame = tf.reshape(tf.range(runs * frames), [runs, frames])
  tuples, count = chosen(tf.reshape(batch.weight > 0, [-1]))
  # [B, W] in the numbering of all frames.
  window_frames = tf.gather(skill_prior.windows(frame, window), tuples)
  valid = tf.gather(skill_prior.windows(batch.valid, window), tuples)
  needed = tf.scatter_nd(
      tf.reshape(window_frames, [-1, 1]),
      tf.reshape(tf.cast(valid, tf.int32), [-1]), [runs * frames],
  ) > 0
  kept, _ = chosen(needed)
  # Place of each needed frame among the kept ones.
  place = tf.maximum(tf.cumsum(tf.cast(needed, tf.int32)) - 1, 0)
  weight = tf.where(
      tf.range(tf.size(tuples)) < count,
      tf.gather(tf.reshape(batch.weight, [-1]), tuples), 0.0,
  )
  is_safe = tuples < safe_runs * steps
  return CompactBatch(
      tf.gather(_flat(batch.observation), kept),
      tf.gather(place, window_frames), valid,
      tf.gather(_flat(batch.action), tuples),
      tf.where(is_safe, weight, 0.0), tf.where(is_safe, 0.0, weight),
  )


def chosen(mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
  """Where a mask is true.

  Args:
    mask: bool [N].

  Returns:
    int32 indices, filled up with 0 to a multiple of 32, and their count.
  """
  index = tf.cast(tf.where(mask)[:, 0], tf.int32)
  count = tf.size(index)
  return tf.pad(index, [[0, -count % _MULTIPLE]]), count


def _flat(values: tf.Tensor) -> tf.Tensor:
  return tf.reshape(values, [-1, *values.shape[2:]])
