"""Batches for training and ordered sweeps for evaluation.

Episodes are read and inflated by a background thread (ISA-L frees the
interpreter's lock), which also hands the arrays to TensorFlow; the consumer's
thread only takes what is ready.
"""

from __future__ import annotations

import collections
import concurrent.futures
import functools
import itertools
from typing import (
  Any,
  Callable,
  Generator,
  Iterable,
  NamedTuple,
  Sequence,
  TypeVar,
)

import numpy as np
import tensorflow as tf

from safer_tf.common import errors
from safer_tf.data import store as store_lib
from safer_tf.data import windows

_T = TypeVar('_T')
_MULTIPLE = 32  # Of a batch's frames and tuples.

# Frames of a sweep's batch, zeros included: 32 episodes of our own tasks.
FRAMES = 1_024


class TupleBatch(NamedTuple):
  """N frames, each once a run, and B tuples that look at them.

  Attributes:
    observation: [N, ...] frames.
    window: int32 [B, W] the frames of each tuple's window, oldest first, the
      current one last.
    valid: bool [B, W] whether the frame exists.
    action: float32 [B, A].
    kind: int32 [B] which of the sampler's kinds the tuple was drawn as; -1 for
      filling.
  """

  observation: tf.Tensor
  window: tf.Tensor
  valid: tf.Tensor
  action: tf.Tensor
  kind: tf.Tensor


class RunSampler:
  """Batches of tuples from runs, each a pure function of the seed and its step.

  Every step of a wanted kind in the split is equally likely. A run reaches over
  the ends of its episode and holds steps that are not of the wanted kind: of
  those, and of frames that no wanted step looks at, nothing is handed on.
  """

  def __init__(
      self, store: store_lib.EpisodeStore, split: str,
      kinds: Sequence[tuple[str, int]], window: int, run_length: int,
      seed: int,
  ):
    """Prepares the draw.

    Args:
      store: dataset.
      split: e.g. `train`.
      kinds: kinds of steps (`store.KINDS`) and runs of each in a batch, in
        the order in which they stand in it.
      window: W frames, the current one included.
      run_length: L steps.
      seed: of the draw.

    Raises:
      UserError: a value is wrong, or the split has no step of some kind.
    """
    errors.require_sizes('train_prior', window=window, run_length=run_length)
    self._store = store
    self._window, self._run_length = window, run_length
    self._seed = seed
    self._wanted = np.stack([store.wanted(kind) for kind, _ in kinds])
    self._counts = [count for _, count in kinds]
    episodes = store.split(split)
    lengths = store.index.length[episodes]
    in_split = np.zeros(len(store), bool)
    in_split[episodes] = True
    in_split = np.repeat(in_split, store.index.length)
    self._placements = []
    for (kind, _), wanted in zip(kinds, self._wanted):
      placements = windows.Placements(
          episodes, lengths, wanted[in_split], run_length
      )
      if not len(placements):
        raise errors.UserError(
            f'The {split} split has no {kind} steps to learn from. Collect '
            'more (collect_data.num_steps, noise_levels), or, of data of your '
            'own, check the labels in data_card.json.'
        )
      self._placements.append(placements)

  @property
  def episodes(self) -> np.ndarray:
    """Int [n] numbers of the episodes that batches are drawn from."""
    return functools.reduce(
        np.union1d, (each.episodes for each in self._placements)
    )

  def batch(self, step: int) -> TupleBatch:
    """The batch of a training step.

    Args:
      step: number of the training step.

    Returns:
      NumPy arrays; N and B are multiples of 32, as convolutions are set up
      anew for every batch size that they have not met.

    Raises:
      UserError: a shard is missing or damaged.
    """
    runs, kind = self._draw(step)
    slots, valid, weighted = self._laid_out(runs, kind)
    needed = windows.needed_frames(weighted, valid)
    # Place of each needed frame among the needed ones; any for the others.
    place = np.maximum(np.cumsum(needed) - 1, 0).reshape(needed.shape)
    tuples = np.count_nonzero(weighted)
    size = _rounded_up(tuples)
    batch = TupleBatch(
        np.zeros(
            (_rounded_up(needed.sum()),) + self._store.spec.observation_shape,
            self._store.spec.observation_dtype,
        ),
        np.zeros((size, self._window), np.int32),
        np.zeros((size, self._window), bool),
        np.zeros((size, self._store.spec.action_size), np.float32),
        np.full(size, -1, np.int32),
    )
    batch.window[:tuples] = windows.sliding(place, self._window)[weighted]
    batch.valid[:tuples] = windows.sliding(valid, self._window)[weighted]
    batch.kind[:tuples] = np.broadcast_to(
        kind[:, np.newaxis], weighted.shape
    )[weighted]
    frame = row = 0
    for run, number in enumerate(runs.episode):
      episode = self._store.read(number)
      looked_at = slots[run, needed[run]]
      acted = slots[run, self._window - 1:][weighted[run]]
      batch.observation[frame:frame + len(looked_at)] = (
          episode.observation[looked_at]
      )
      batch.action[row:row + len(acted)] = episode.action[acted]
      frame, row = frame + len(looked_at), row + len(acted)
    return batch

  def _laid_out(
      self, runs: windows.Runs, kind: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The steps of runs.

    Args:
      runs: R runs.
      kind: int [R] that each was drawn for.

    Returns:
      Steps of the episode [R, W-1+L], slot W-1+l that of the run's step l;
      whether each exists; and whether a run's step [R, L] is of its kind.
    """
    store = self._store
    slots = np.arange(1 - self._window, self._run_length)
    slots = runs.start[:, np.newaxis] + slots
    length = store.index.length[runs.episode, np.newaxis]
    valid = (slots >= 0) & (slots < length)
    number = store.step_offset[runs.episode, np.newaxis] + slots
    wanted = valid & self._wanted[
        kind[:, np.newaxis], np.where(valid, number, 0)
    ]
    return slots, valid, wanted[:, self._window - 1:]

  def _draw(self, step: int) -> tuple[windows.Runs, np.ndarray]:
    """R runs and the kind [R] that each was drawn for."""
    generator = np.random.default_rng((self._seed, step))
    drawn = [
        placements.sample(generator, count)
        for placements, count in zip(self._placements, self._counts)
    ]
    kind = np.repeat(np.arange(len(drawn)), self._counts)
    return windows.Runs(*map(np.concatenate, zip(*drawn))), kind


def _rounded_up(count: int) -> int:
  return int(count + -count % _MULTIPLE)


def training_batches(
    sampler: RunSampler, first_step: int = 0
) -> Generator[TupleBatch, None, None]:
  """Endless batches of tensors, made ahead in the background.

  Args:
    sampler: what makes the batches.
    first_step: training step to go on from.

  Yields:
    The batch of `first_step`, the next step's, and so on.
  """
  return prefetched(
      lambda step: to_tensors(sampler.batch(step)),
      itertools.count(first_step),
  )


class SweepBatch(NamedTuple):
  """B episodes of at most T steps.

  Attributes:
    observation: [B, T, ...] zeros where no step exists.
    valid: bool [B, T] whether the step exists.
    action: float32 [B, T, A].
    unsafe: bool [B, T].
    success: bool [B] of the whole episode.
    episode: int64 [B] numbers in the store, -1 where the last batch is filled
      up.
  """

  observation: tf.Tensor
  valid: tf.Tensor
  action: tf.Tensor
  unsafe: tf.Tensor
  success: tf.Tensor
  episode: tf.Tensor


def episodes_of(
    store: store_lib.EpisodeStore, split: str, max_episodes: int | None = None
) -> np.ndarray:
  """Numbers of the episodes of a split that a sweep goes through.

  Args:
    store: dataset.
    split: e.g. `calibration`.
    max_episodes: an evenly spaced part of the split, if given.

  Returns:
    Int [n], in order.
  """
  episodes = store.split(split)
  if max_episodes is None or max_episodes >= len(episodes):
    return episodes
  spaced = np.linspace(0, len(episodes) - 1, max_episodes)
  return episodes[np.round(spaced).astype(int)]


def sweep(
    store: store_lib.EpisodeStore, split: str, batch_size: int = 32,
    max_episodes: int | None = None,
) -> Generator[SweepBatch, None, None]:
  """Every episode of a split once, in order, in batches of few shapes.

  Args:
    store: dataset.
    split: e.g. `calibration`.
    batch_size: episodes B, fewer where they are long.
    max_episodes: an evenly spaced part of the split, if given.

  Yields:
    Batches of tensors; T is the longest episode of the split, or the power of
    two that holds the batch's.
  """
  episodes = episodes_of(store, split, max_episodes)
  groups = _grouped(episodes, store.index.length[episodes], batch_size)
  return prefetched(
      lambda group: to_tensors(_sweep_batch(store, *group)), groups
  )


def _grouped(
    episodes: np.ndarray, lengths: np.ndarray, batch_size: int
) -> list[tuple[np.ndarray, tuple[int, int]]]:
  """Neighbouring episodes that share a batch, and its shape (B, T).

  One long episode must not make every batch as long as it is.
  """
  steps = np.minimum(2 ** np.ceil(np.log2(lengths)).astype(int), lengths.max())
  groups: list[tuple[np.ndarray, tuple[int, int]]] = []
  first = 0
  while first < len(episodes):
    # What the batch would measure if it ended with each of the next episodes.
    longest_of = np.maximum.accumulate(steps[first:first + batch_size])
    fits = np.arange(1, len(longest_of) + 1) * longest_of <= FRAMES
    count = max(1, int(np.sum(fits)))
    longest = int(longest_of[count - 1])
    groups.append((
        episodes[first:first + count],
        (min(batch_size, max(1, FRAMES // longest)), longest),
    ))
    first += count
  return groups


def _sweep_batch(
    store: store_lib.EpisodeStore, numbers: np.ndarray, shape: tuple[int, int]
) -> SweepBatch:
  spec = store.spec
  batch = SweepBatch(
      np.zeros(shape + spec.observation_shape, spec.observation_dtype),
      np.zeros(shape, bool),
      np.zeros(shape + (spec.action_size,), np.float32),
      np.zeros(shape, bool),
      np.zeros(shape[0], bool),
      np.full(shape[0], -1, np.int64),
  )
  for row, number in enumerate(numbers):
    episode = store.read(number)
    batch.observation[row, :len(episode)] = episode.observation
    batch.valid[row, :len(episode)] = True
    batch.action[row, :len(episode)] = episode.action
    batch.unsafe[row, :len(episode)] = episode.unsafe
    batch.success[row] = episode.success
    batch.episode[row] = number
  return batch


def to_tensors(batch):
  """A named tuple of arrays as one of tensors."""
  return type(batch)(*(tf.convert_to_tensor(array) for array in batch))


def prefetched(
    make: Callable[[Any], _T], items: Iterable, depth: int = 4
) -> Generator[_T, None, None]:
  """Maps a function over items in a background thread, a few ahead.

  Args:
    make: called in another thread, in order.
    items: its arguments; may be endless.
    depth: number of results made ahead.

  Yields:
    `make(item)` for each item; an error in it is raised here.
  """
  items = iter(items)
  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    pending = collections.deque(
        pool.submit(make, item) for item in itertools.islice(items, depth)
    )
    try:
      while pending:
        result = pending.popleft().result()
        for item in itertools.islice(items, 1):
          pending.append(pool.submit(make, item))
        yield result
    finally:
      for future in pending:
        future.cancel()
