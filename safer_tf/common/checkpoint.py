"""What checkpoints a directory of TensorFlow's holds."""

from __future__ import annotations

import os

from safer_tf.common import errors

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
