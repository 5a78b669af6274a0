"""Checkpoints of a prior's training: the latest to resume, the best to export.
"""

from __future__ import annotations

import os

import tensorflow as tf

from safer_tf.common import checkpoint
from safer_tf.common import files
from safer_tf.prior import learner as learner_lib

_LATEST = 'latest'
_BEST = 'best'


def are_there(directory: str) -> bool:
  """Whether there is a checkpoint to resume from in a directory of them.

  Raises:
    UserError: their list is damaged.
  """
  return _listed(directory, _LATEST) is not None


def _listed(directory: str, which: str) -> str | None:
  return checkpoint.latest(
      os.path.join(directory, which), os.path.dirname(directory)
  )


class Checkpoints:
  """Writes and restores the learner, and the best prior so far."""

  def __init__(
      self, learner: learner_lib.Learner, directory: str, num_best: int
  ):
    """Opens a directory of checkpoints.

    Args:
      learner: what is saved and restored.
      directory: made if needed; in that of the prior.
      num_best: how often, at most, weights may be the best so far between two
        calls of `save`.

    Raises:
      UserError: a list of checkpoints is damaged.
    """
    for which in (_LATEST, _BEST):
      _listed(directory, which)
    self._owner = os.path.dirname(directory)
    self._learner = learner
    self._best_objective = tf.Variable(
        float('-inf'), dtype=tf.float64, trainable=False
    )
    self._best_step = tf.Variable(0, dtype=tf.int64, trainable=False)
    self._seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False)
    self._latest = tf.train.CheckpointManager(
        tf.train.Checkpoint(
            learner=learner, best_objective=self._best_objective,
            best_step=self._best_step, seconds=self._seconds,
        ),
        os.path.join(directory, _LATEST), max_to_keep=2,
    )
    self._best = tf.train.CheckpointManager(
        tf.train.Checkpoint(prior=learner.prior),
        # What either of the latest two names as its best has to stay.
        os.path.join(directory, _BEST), max_to_keep=2 * num_best + 1,
    )

  @property
  def latest(self) -> str | None:
    """Path of the latest checkpoint, None before the first."""
    return self._latest.latest_checkpoint

  @property
  def best_step(self) -> int:
    """Step after which the best prior was kept; 0 if none was."""
    return int(self._best_step)

  def restore_latest(self) -> None:
    """Goes back to the latest checkpoint, if there is one.

    Raises:
      UserError: it cannot be read.
    """
    if self.latest is None:
      return
    # The optimizer's own variables follow once it has made them.
    checkpoint.restore(self._latest.checkpoint, self.latest, self._owner)

  @property
  def seconds(self) -> float:
    """Time that the training had taken at the checkpoint restored."""
    return float(self._seconds)

  def save(self, seconds: float) -> None:
    """Writes a checkpoint to resume from.

    Args:
      seconds: time that the training has taken.
    """
    self._seconds.assign(seconds)
    with files.writing_by_tensorflow(self._latest.directory):
      self._latest.save(checkpoint_number=int(self._learner.step))

  def keep_if_best(self, objective: float) -> bool:
    """Keeps the prior's weights if they are the best so far.

    Args:
      objective: validation objective; higher is better.

    Returns:
      Whether they were.
    """
    if not objective > float(self._best_objective):
      return False
    self._best_objective.assign(objective)
    self._best_step.assign(self._learner.step)
    with files.writing_by_tensorflow(self._best.directory):
      self._best.save(checkpoint_number=self.best_step)
    return True

  def restore_best(self) -> None:
    """Gives the prior its best weights, if any were kept.

    Raises:
      UserError: they cannot be read.
    """
    if self.best_step:
      checkpoint.restore(
          self._best.checkpoint,
          f'{self._best.directory}/ckpt-{self.best_step}', self._owner,
      )
