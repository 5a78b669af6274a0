"""Which tasks a prior is trained on: the paper's protocol, and a harder one."""

from __future__ import annotations

from safer_tf.common import errors

SEEN = 'seen'  # All tasks, the evaluated ones among them: the paper's.
HELD_OUT = 'held_out'  # None of the tasks that are evaluated.
NAMES = (SEEN, HELD_OUT)


def training_tasks(protocol: str) -> tuple[str, ...] | None:
  """Tasks whose episodes a prior and its bound may see.

  Args:
    protocol: one of `NAMES`.

  Returns:
    Names of tasks, or None for all tasks of the dataset.

  Raises:
    UserError: there is no such protocol.
  """
  if protocol == SEEN:
    return None
  if protocol == HELD_OUT:
    import envs  # pylint: disable=g-import-not-at-top

    return tuple(name for name in envs.ALL if name not in envs.EVALUATION)
  raise errors.UserError(
      f'There is no protocol {protocol!r}: expected {" or ".join(NAMES)}.'
  )


def new_tasks(protocol: str) -> tuple[str, ...]:
  """Evaluated tasks that a prior of the protocol never saw; none if `SEEN`."""
  training = training_tasks(protocol)
  if training is None:
    return ()
  import envs  # pylint: disable=g-import-not-at-top

  return tuple(name for name in envs.EVALUATION if name not in training)
