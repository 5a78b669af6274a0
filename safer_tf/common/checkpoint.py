"""What checkpoints a directory of TensorFlow's holds, and reading them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from safer_tf.common import errors

if TYPE_CHECKING:
  import tensorflow as tf

_STATE = 'checkpoint'  # TensorFlow's list of the checkpoints beside it.


def latest(directory: str, owner: str) -> str | None:
  """Finds the latest checkpoint.

  Args:
    directory: of the checkpoints.
    owner: directory that is to be deleted where they are damaged.

  Returns:
    Its path; None where none was taken.

  Raises:
    UserError: there is a list of checkpoints that names none: TensorFlow would
      take it for none taken, and what there is would be overwritten.
  """
  state = os.path.join(directory, _STATE)
  if not os.path.exists(state):
    return None
  import tensorflow as tf  # pylint: disable=g-import-not-at-top

  try:
    found, reason = tf.train.latest_checkpoint(directory), ''
  except (ValueError, tf.errors.OpError) as error:
    found, reason = None, f' ({error})'
  if found is None:
    raise errors.UserError(
        f'{state} names no checkpoint that is there{reason}: it is damaged. '
        f'Put it back, or delete {owner} to train anew.'
    )
  return found


def restore(saved: tf.train.Checkpoint, path: str, owner: str) -> None:
  """Gives objects the values of a checkpoint, each of them or none.

  Args:
    saved: the objects. What they make later, as optimizers do, follows then.
    path: of the checkpoint.
    owner: directory that is to be deleted if it cannot be read.

  Raises:
    UserError: it is damaged, or an object is not in it.
  """
  try:
    saved.restore(path).assert_existing_objects_matched()
  except Exception as error:  # TensorFlow's many ways to say damaged.
    reason = str(error)
    if isinstance(error, AssertionError):  # Pages of variables.
      reason = 'it does not hold all that this release restores'
    raise errors.UserError(
        f'Checkpoint {path} cannot be read ({reason}). Delete {owner} to train '
        'anew.'
    ) from error
