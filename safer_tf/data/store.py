"""A finished dataset: labels in memory, frames on disk."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import os
from typing import Mapping, Sequence

import numpy as np

from safer_tf.common import errors
from safer_tf.data import dataset
from safer_tf.data import schema
from safer_tf.data import shards
from safer_tf.data import splits

# Kinds of steps that a method can learn from.
SAFE_SUCCESS = 'safe_success'  # Safe steps of successful episodes.
SUCCESS_ANY = 'success_any'  # All steps of successful episodes.
UNSAFE = 'unsafe'  # Unsafe steps of any episode.
POSITIVE_KINDS = (SAFE_SUCCESS, SUCCESS_ANY)  # A prior may hold them likely.
KINDS = (*POSITIVE_KINDS, UNSAFE)
# What an index says of where an episode is, rather than what it is.
_PLACE = frozenset(('shard_names', 'shard', 'offset', 'size'))


class EpisodeStore:
  """Reads episodes by number; holds a few bytes a step in memory.

  Or all of some, where it was made by `holding`.

  Attributes:
    spec: `EpisodeSpec` of all episodes.
    index: `dataset.Index` of all episodes, the labels included.
    step_offset: int64 [N + 1] steps before each episode, into `index.unsafe`.
  """

  def __init__(
      self, data_dir: str, tasks: Sequence[str] | None = None,
      without: Sequence[str] = (),
  ):
    """Opens a dataset.

    Args:
      data_dir: its directory.
      tasks: tasks that `split` is limited to; all if None.
      without: tasks that it leaves out, where they are there.

    Raises:
      UserError: the dataset is missing, unfinished or damaged, has no episodes
        of some of the tasks, or none but those left out.
    """
    self._data_dir = data_dir
    self.spec, _ = dataset.read_spec(data_dir)
    self.index = dataset.read_index(data_dir)
    self.step_offset = np.concatenate([[0], np.cumsum(self.index.length)])
    self._split = splits.split_of(self.index)
    self._held: Mapping[int, schema.Episode] | None = None
    self._chosen = np.ones(len(self.index), bool)
    if tasks is not None:
      missing = sorted(set(tasks) - set(self.index.task))
      if missing:
        raise errors.UserError(
            f'{data_dir} has no episodes of {", ".join(missing)}: it holds '
            f'{", ".join(sorted(set(self.index.task)))}. Collect those tasks '
            'or leave them out.'
        )
      self._chosen = np.isin(self.index.task, list(tasks))
    self._chosen &= ~np.isin(self.index.task, list(without))
    if without and not self._chosen.any():
      raise errors.UserError(
          f'{data_dir} has no episodes of tasks other than '
          f'{", ".join(without)}, which are left out.'
      )

  def __len__(self) -> int:
    return len(self.index)

  def split(self, name: str) -> np.ndarray:
    """Numbers of the episodes of a split, in order.

    Args:
      name: one of `splits.NAMES`, or `splits.ALL`.

    Returns:
      int64 [n], only of the tasks this store was opened for.

    Raises:
      UserError: there is no such split or it is empty.
    """
    if name == splits.ALL:
      return np.flatnonzero(self._chosen)
    if name not in splits.NAMES:
      raise errors.UserError(
          f'There is no split {name!r}: expected {", ".join(splits.NAMES)}.'
      )
    chosen = self._chosen & (self._split == splits.NAMES.index(name))
    if not chosen.any():
      raise errors.UserError(
          f'The {name} split of {self._data_dir} is empty: its '
          f'{int(self._chosen.sum())} episodes are too few. Collect more '
          '(collect_data.num_steps), or, of data of your own, write more; each '
          'needs a (task, seed, index) of its own, which decides the split.'
      )
    return np.flatnonzero(chosen)

  def read(self, number: int) -> schema.Episode:
    """Reads one episode from its shard, or from memory.

    Args:
      number: of the episode, below `len(store)`.

    Returns:
      The episode, verified.

    Raises:
      UserError: its shard is missing or damaged.
    """
    if self._held is not None:
      return self._held[int(number)]
    index = self.index
    path = os.path.join(
        self._data_dir, str(index.shard_names[index.shard[number]])
    )
    entry = shards.Entry(int(index.offset[number]), int(index.size[number]))
    return shards.read_episode(path, entry, self.spec, int(number))

  def holding(
      self, episodes: Mapping[int, schema.Episode], spec: schema.EpisodeSpec
  ) -> EpisodeStore:
    """This dataset with other episodes, in memory, in place of its own.

    Args:
      episodes: by number, those that will be read; their labels are as here.
      spec: of these episodes.

    Returns:
      A store of the same index and splits.
    """
    other = copy.copy(self)
    other.spec, other._held = spec, episodes
    return other

  def wanted(self, kind: str) -> np.ndarray:
    """Which steps are of a kind.

    Args:
      kind: one of `KINDS`.

    Returns:
      bool [S] over all steps of all episodes, as in `index.unsafe`.
    """
    success = np.repeat(self.index.success, self.index.length)
    if kind == SAFE_SUCCESS:
      return success & ~self.index.unsafe
    if kind == SUCCESS_ANY:
      return success
    if kind == UNSAFE:
      return self.index.unsafe
    raise errors.UserError(
        f'There is no kind of steps {kind!r}: expected {", ".join(KINDS)}.'
    )

  def require(self, spec: schema.EpisodeSpec, user: str) -> None:
    """Checks that the dataset suits what is to be made of it.

    Args:
      spec: expected.
      user: what expects it, e.g. `prior runs/a/priors/seen/safer`.

    Raises:
      UserError: the dataset has another spec.
    """
    if self.spec != spec:
      raise errors.UserError(
          f'{self._data_dir} does not suit {user}: expected {spec}, found '
          f'{self.spec}. Use the dataset it was made from, or make it anew.'
      )

  def fingerprint(self) -> str:
    """Hash by which priors name their dataset.

    Of all labels, and of all that the first and the last episode hold. Not of
    the files: compression libraries write the same data in other bytes.
    """
    found = hashlib.sha256()
    for name, values in sorted(dataclasses.asdict(self.index).items()):
      if name in _PLACE:
        continue
      if values.dtype.kind == 'U':  # As wide as its longest entry, by chance.
        values = np.char.encode(values, 'utf-8').astype('S64')
      found.update(name.encode() + values.tobytes())
    for number in (0, len(self) - 1):
      episode = self.read(number)
      found.update(episode.observation.tobytes() + episode.action.tobytes())
    return found.hexdigest()
