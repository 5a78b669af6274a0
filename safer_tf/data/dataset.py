"""What turns a folder of shards into a dataset: its spec and its index.

The index holds the labels of every step and where every episode lies, so that
sampling never opens an episode it does not use.
"""

from __future__ import annotations

import dataclasses
import glob
import numbers
import os
from typing import Any, Iterable, Iterator, Mapping, Sequence

import numpy as np

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.common import provenance
from safer_tf.data import card
from safer_tf.data import schema
from safer_tf.data import shards

# Fields of an episode that hold a value for each step.
_OF_STEPS = ('observation', 'action', 'reward', 'unsafe')
_ROUNDING = 1e-5  # What scaling in float32 may leave.
_OWN = 'episodes'  # How shards of data of one's own are named.


@dataclasses.dataclass(frozen=True)
class Index:
  """Where N episodes lie, and the labels of all their S steps, in order.

  Attributes:
    shard_names: str [F] file names.
    shard: int32 [N] shard of each episode, as an index into `shard_names`.
    offset: int64 [N] bytes before the episode in its shard.
    size: int64 [N] bytes of the episode in its shard.
    length: int64 [N] steps.
    task: str [N].
    success: bool [N].
    noise: float64 [N].
    seed: int64 [N].
    index: int64 [N].
    unsafe: bool [S].
    reward: float32 [S].
  """

  shard_names: np.ndarray
  shard: np.ndarray
  offset: np.ndarray
  size: np.ndarray
  length: np.ndarray
  task: np.ndarray
  success: np.ndarray
  noise: np.ndarray
  seed: np.ndarray
  index: np.ndarray
  unsafe: np.ndarray
  reward: np.ndarray

  def __len__(self) -> int:
    return len(self.length)


_PER_EPISODE = {
    'length': np.int64, 'task': np.str_, 'success': np.bool_,
    'noise': np.float64, 'seed': np.int64, 'index': np.int64,
}


def index_shard(path: str, spec: schema.EpisodeSpec) -> Index:
  """Verifies a shard and makes its index.

  Args:
    path: of the shard.
    spec: of its dataset.

  Returns:
    The index of that shard alone.

  Raises:
    UserError: the shard is damaged.
  """
  entries, rows, unsafe, reward = [], [], [], []
  for entry, episode in shards.scan_shard(path, spec):
    entries.append(entry)
    rows.append((
        len(episode), episode.task, episode.success, episode.noise,
        episode.seed, episode.index,
    ))
    unsafe.append(episode.unsafe)
    reward.append(episode.reward)
  if not rows:
    raise errors.UserError(
        f'Shard {path} holds no episode; delete that file and collect again '
        'with the same config.'
    )
  columns: dict[str, Any] = {
      name: np.array(values, dtype) for (name, dtype), values
      in zip(_PER_EPISODE.items(), zip(*rows))
  }
  return Index(
      shard_names=np.array([os.path.basename(path)]),
      shard=np.zeros(len(rows), np.int32),
      offset=np.array([entry.offset for entry in entries], np.int64),
      size=np.array([entry.size for entry in entries], np.int64),
      unsafe=np.concatenate(unsafe), reward=np.concatenate(reward), **columns,
  )


def join(parts: Sequence[Index]) -> Index:
  """The index of several shards, in the order given."""
  columns = {
      field.name: np.concatenate([getattr(part, field.name) for part in parts])
      for field in dataclasses.fields(Index)
  }
  counts = [len(part) for part in parts]
  columns['shard'] = np.repeat(np.arange(len(parts), dtype=np.int32), counts)
  return Index(**columns)


def write_spec(
    data_dir: str, spec: schema.EpisodeSpec,
    origin: dict[str, Any] | None = None,
) -> None:
  """Writes a dataset's spec, which comes before its shards.

  Args:
    data_dir: directory of the dataset.
    spec: of its episodes.
    origin: how the episodes come about; JSON values.
  """
  files.write_json(os.path.join(data_dir, layout.EPISODE_SPEC), {
      'format_version': schema.FORMAT_VERSION, **spec.to_json(),
      'origin': origin or {},
  })


def read_spec(data_dir: str) -> tuple[schema.EpisodeSpec, dict[str, Any]]:
  """Reads what `write_spec` wrote.

  Args:
    data_dir: directory of the dataset.

  Returns:
    The spec and the origin.

  Raises:
    UserError: there is no dataset, or it has another format.
  """
  path = os.path.join(data_dir, layout.EPISODE_SPEC)
  value = files.read_json(
      path, 'the spec of a dataset, which bin/collect_data.py writes. Run it '
      f'with {os.path.dirname(data_dir) or "."} for its --root_dir, once this '
      f'file and {layout.STAGE} beside it are deleted if they are there',
      ['format_version']
  )
  version = value['format_version']
  if version != schema.FORMAT_VERSION:
    raise errors.UserError(
        f'{path}: the dataset has format version {version}, expected '
        f'{schema.FORMAT_VERSION}. Collect it with this release into '
        'another --root_dir, or use the release that wrote it.'
    )
  try:
    return schema.EpisodeSpec.from_json(value), value['origin']
  except (KeyError, TypeError) as error:
    raise errors.UserError(
        f'{path}: the field {error} is missing or wrong; delete that file '
        f'and {layout.STAGE} beside it, and collect again.'
    ) from error


def finish(
    data_dir: str, index: Index, seed: int = 0, **extra: Any
) -> None:
  """Completes a dataset whose spec and shards are written.

  Args:
    data_dir: directory of the dataset.
    index: of all its shards.
    seed: of the whole dataset.
    **extra: further JSON values for its provenance.
  """
  index_path = os.path.join(data_dir, layout.DATA_INDEX)
  with files.replacing(index_path) as beside:
    with open(beside, 'wb') as file:
      np.savez_compressed(file, **dataclasses.asdict(index))
  files.write_json(
      os.path.join(data_dir, layout.DATA_CARD), card.data_card(index)
  )
  files.write_json(
      os.path.join(data_dir, layout.STAGE),
      provenance.record(
          seed, provenance.hashes({layout.DATA_INDEX: index_path}), **extra
      ),
  )


def read_index(data_dir: str) -> Index:
  """Reads a dataset's index.

  Args:
    data_dir: directory of the dataset.

  Returns:
    The index.

  Raises:
    UserError: there is none, or it is damaged.
  """
  path = os.path.join(data_dir, layout.DATA_INDEX)
  try:
    with np.load(path, allow_pickle=False) as columns:
      return Index(**columns)
  except FileNotFoundError as error:
    raise errors.UserError(
        f'{path} is missing: the dataset is not finished. Run '
        'bin/collect_data.py again with the same config; it goes on where it '
        'stopped. Data of your own: write them again.'
    ) from error
  except files.DAMAGED_ARRAYS as error:
    raise errors.UserError(
        f'{path} is damaged ({error}); delete it and {layout.STAGE} beside it '
        'and run bin/collect_data.py again with the same config. Data of your '
        'own: write them again.'
    ) from error


def write_dataset(
    data_dir: str, spec: schema.EpisodeSpec,
    episodes: Iterable[schema.Episode], episodes_per_shard: int = 100,
) -> None:
  """Writes episodes from any source as a dataset, for data of one's own.

  Args:
    data_dir: directory to make, e.g. `layout.data_dir(root_dir)`. What an
      earlier call left that stopped at an error is replaced.
    spec: of the episodes.
    episodes: consumed a shard at a time.
    episodes_per_shard: size of a shard.

  Raises:
    UserError: there is a dataset already, an episode does not suit the spec or
      is named twice, or nothing can be written.
  """
  if os.path.exists(os.path.join(data_dir, layout.STAGE)):
    raise errors.UserError(
        f'{data_dir} holds a dataset already. Choose another directory, or '
        'delete that one.'
    )
  here = glob.escape(data_dir)
  for name in (f'{_OWN}-*', layout.DATA_INDEX, layout.DATA_CARD):
    for left in glob.glob(os.path.join(here, name)):
      os.remove(left)
  write_spec(data_dir, spec)
  parts = []
  checked = _named_once(check(episode, spec) for episode in episodes)
  for number, shard in enumerate(_groups(checked, episodes_per_shard)):
    path = os.path.join(data_dir, layout.shard(_OWN, number))
    shards.write_shard(path, shard)
    parts.append(index_shard(path, spec))
  if not parts:
    raise errors.UserError(f'No episodes were given to write to {data_dir}.')
  finish(data_dir, join(parts))


def check(
    episode: schema.Episode, spec: schema.EpisodeSpec
) -> schema.Episode:
  """Returns an episode, of arrays, if it suits a spec.

  Args:
    episode: one to be written; its fields may be sequences.
    spec: of the dataset.

  Returns:
    The episode.

  Raises:
    UserError: it does not suit the spec.
  """
  if not isinstance(episode, schema.Episode):
    raise errors.UserError(
        f'{type(episode).__name__} is no episode: expected schema.Episode.'
    )
  try:
    arrays = {name: np.asarray(getattr(episode, name)) for name in _OF_STEPS}
  except ValueError as error:
    wrong = f'its fields are ragged ({error})'
  else:
    wrong = _misnamed(episode) or _misfit(arrays, spec)
  if wrong:
    raise errors.UserError(
        f'Episode {episode.index} of {episode.task} does not suit the dataset '
        f'({spec}): {wrong}.'
    )
  return dataclasses.replace(
      episode, observation=arrays['observation'], action=arrays['action'],
      reward=arrays['reward'], unsafe=arrays['unsafe'].astype(bool),
      success=bool(episode.success), noise=float(episode.noise),
      seed=int(episode.seed), index=int(episode.index),
  )


def _misnamed(episode: schema.Episode) -> str:
  """What is wrong with what an episode has one of; empty if nothing is."""
  for name, kind, expected in (
      ('task', str, 'its name'), ('seed', numbers.Integral, 'a whole number'),
      ('index', numbers.Integral, 'a whole number'),
      ('noise', numbers.Real, 'a number, 0 if none is known'),
  ):
    given = getattr(episode, name)
    if not isinstance(given, kind) or given != given:  # A NaN.
      return f'{name} is {given!r}; expected {expected}'
  if not episode.task or episode.task.startswith('.') or '/' in episode.task:
    return f'task is {episode.task!r}; expected a name without / or leading .'
  for name in ('seed', 'index'):
    if abs(getattr(episode, name)) >= 1 << 63:
      return f'{name} is {getattr(episode, name)}; expected at most 63 bits'
  success = np.asarray(episode.success)
  if success.shape or success.item() not in (0, 1):
    return f'success is {episode.success!r}; expected one label, 0 or 1'
  return ''


def _misfit(
    arrays: Mapping[str, np.ndarray], spec: schema.EpisodeSpec
) -> str:
  """What is wrong with an episode's arrays; empty if nothing is."""
  steps = arrays['reward'].shape[:1]
  if steps in ((), (0,)):
    return 'it has no rewards, so no step'
  shapes = {
      'observation': steps + spec.observation_shape,
      'action': steps + (spec.action_size,), 'reward': steps, 'unsafe': steps,
  }
  for name, array in arrays.items():
    if array.shape != shapes[name]:
      return (
          f'{name} has shape {array.shape}; expected {shapes[name]}, as there '
          f'are {len(arrays["reward"])} rewards'
      )
    if array.dtype.kind not in 'biuf':
      return f'{name} is {array.dtype}; expected numbers'
    if array.dtype.kind == 'f' and not np.isfinite(array).all():
      return f'{name} holds a NaN or an infinity'
  if arrays['observation'].dtype != spec.observation_dtype:
    return (
        f'observation is {arrays["observation"].dtype}; expected '
        f'{spec.observation_dtype}'
    )
  largest = np.abs(arrays['action']).max()
  if largest > 1 + _ROUNDING:
    return (
        f'action holds a component of {largest:.7g} in absolute value; scale '
        'actions to [-1, 1]'
    )
  if not np.isin(arrays['unsafe'], (0, 1)).all():
    return 'unsafe holds other values than 0 and 1; it is a label, not a risk'
  return ''


def _named_once(
    episodes: Iterable[schema.Episode]
) -> Iterator[schema.Episode]:
  """Passes episodes on; their names decide their splits, so none may repeat."""
  names = set()
  for episode in episodes:
    name = (episode.task, episode.seed, episode.index)
    if name in names:
      raise errors.UserError(
          f'Two episodes are named task {name[0]!r}, seed {name[1]}, index '
          f'{name[2]}: that decides the split. Number the episodes of a task.'
      )
    names.add(name)
    yield episode


def _groups(
    episodes: Iterable[schema.Episode], size: int
) -> Iterable[list[schema.Episode]]:
  group = []
  for episode in episodes:
    group.append(episode)
    if len(group) == size:
      yield group
      group = []
  if group:
    yield group
