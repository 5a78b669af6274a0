"""Which tasks a prior is trained on: the paper's protocol, and a harder one."""

from __future__ import annotations

from typing import Optional, Sequence

import gin

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
  """
  if names is not None:
    return tuple(names)
  import envs  # pylint: disable=g-import-not-at-top

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
  if not tasks:
    return None
  import envs  # pylint: disable=g-import-not-at-top

  return None if tasks == tuple(envs.EVALUATION) else sorted(tasks)


def training_store(data_dir: str, protocol: str) -> store_lib.EpisodeStore:
  """The episodes that a prior and its bound may see.

  Args:
    data_dir: directory of the dataset.
    protocol: one of `NAMES`.

  Returns:
    The dataset without the new tasks of the protocol.

  Raises:
    UserError: there is no such protocol, nobody said which tasks of one's own
      are the new ones, or the dataset is missing, damaged or of these alone.
  """
  store = store_lib.EpisodeStore(data_dir, without=new_tasks(protocol))
  if protocol == HELD_OUT:
    _check_new_tasks_are_its_own(store)
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


def _check_new_tasks_are_its_own(store: store_lib.EpisodeStore) -> None:
  import envs  # pylint: disable=g-import-not-at-top

  known = set(store.index.task)
  if not known & {*envs.ALL, *held_out_tasks()}:
    raise errors.UserError(
        f'{HELD_OUT} leaves out {", ".join(held_out_tasks())}; the data are of '
        f'{", ".join(sorted(known))}. Name those of them to leave out in '
        'held_out_tasks.names.'
    )
