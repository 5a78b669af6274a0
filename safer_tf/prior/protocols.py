"""Which tasks a prior is trained on: the paper's protocol, and a harder one."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

import gin

import envs
from safer_tf.common import errors
from safer_tf.data import store as store_lib

SEEN = 'seen'  # All tasks, the evaluated ones among them: the paper's.
HELD_OUT = 'held_out'  # None of the tasks that are evaluated.
NAMES = (SEEN, HELD_OUT)


@gin.configurable
def held_out_tasks(names: Optional[Sequence[str]] = None) -> tuple[str, ...]:
  """The tasks that priors of `held_out`, and their bounds, never see.

  Args:
    names: of the tasks; None for those that this project evaluates.

  Returns:
    Their names.

  Raises:
    UserError: there are none.
  """
  if names is not None:
    if not names:
      raise errors.UserError(
          f'held_out_tasks.names is empty: expected the tasks that {HELD_OUT} '
          'leaves out.'
      )
    return tuple(names)
  return tuple(envs.EVALUATION)


def new_tasks(protocol: str) -> tuple[str, ...]:
  """Tasks that a prior of the protocol never saw.

  Args:
    protocol: one of `NAMES`.

  Returns:
    Their names; none if `seen`.

  Raises:
    UserError: there is no such protocol.
  """
  if protocol not in NAMES:
    raise errors.UserError(
        f'There is no protocol {protocol!r}: expected {" or ".join(NAMES)}.'
    )
  return held_out_tasks() if protocol == HELD_OUT else ()


def own_tasks(protocol: str) -> Optional[list[str]]:
  """The new tasks as records have them: None for those of this project."""
  tasks = new_tasks(protocol)
  return None if set(tasks) in (set(), set(envs.EVALUATION)) else sorted(tasks)


def training_store(data_dir: str, protocol: str) -> store_lib.EpisodeStore:
  """The episodes that a prior and its bound may see.

  Args:
    data_dir: directory of the dataset.
    protocol: one of `NAMES`.

  Returns:
    The dataset without the new tasks of the protocol.

  Raises:
    UserError: there is no such protocol, the dataset does not have the tasks
      that are named to be left out, or it is missing, damaged or of these
      alone.
  """
  store = store_lib.EpisodeStore(data_dir, without=new_tasks(protocol))
  if protocol == HELD_OUT:
    _check_named(set(store.index.task), own_tasks(protocol))
  return store


def new_store(
    store: store_lib.EpisodeStore, data_dir: str, protocol: str
) -> Optional[store_lib.EpisodeStore]:
  """The episodes of tasks that a prior of the protocol never saw.

  Args:
    store: the dataset.
    data_dir: its directory.
    protocol: one of `NAMES`.

  Returns:
    The dataset of those new tasks that it has; None if it has none.

  Raises:
    UserError: there is no such protocol.
  """
  tasks = [task for task in new_tasks(protocol) if task in store.index.task]
  return store_lib.EpisodeStore(data_dir, tasks) if tasks else None


def check_left_out(
    record: Mapping[str, Any], protocol: str, directory: str
) -> None:
  """Checks that a prior left out the tasks that are left out now.

  Args:
    record: the provenance of its card.
    protocol: one of `NAMES`.
    directory: of the prior, for the message.

  Raises:
    UserError: they are others.
  """
  settings = record.get('settings', {}).get('train_prior', {})
  left_out, wanted = settings.get('held_out_tasks'), own_tasks(protocol)
  if left_out != wanted:
    raise errors.UserError(
        f'The prior {directory} was trained without {_words(left_out)}, and '
        f'held_out_tasks.names is now {_words(wanted)}: give the gin file that '
        'it was trained with.'
    )


def _check_named(known: set[str], named: Optional[Sequence[str]]) -> None:
  """Tells names that leave nothing out, instead of training on all."""
  if named is None:
    missing = [] if known & set(envs.ALL) else list(envs.EVALUATION)
  else:
    missing = sorted(set(named) - known)
  if missing:
    raise errors.UserError(
        f'{HELD_OUT} leaves out {", ".join(missing)}, of which there are no '
        f'episodes; the data are of {", ".join(sorted(known))}. Name those to '
        'leave out in held_out_tasks.names.'
    )


def _words(tasks: Optional[Sequence[str]]) -> str:
  return ', '.join(tasks) if tasks else 'the evaluated tasks'
