"""Rows 3, 4 and 10: training a prior, its input, and larger datasets."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
import statistics
import time
from typing import Any, Callable, NamedTuple

import gin
import numpy as np
import tensorflow as tf

from safer_tf.benchmark import collection
from safer_tf.benchmark import measurement
from safer_tf.benchmark import sizes as sizes_lib
from safer_tf.benchmark import timing
from safer_tf.common import config
from safer_tf.common import layout
from safer_tf.data import collect
from safer_tf.data import dataset
from safer_tf.data import pipeline
from safer_tf.data import store as store_lib
from safer_tf.prior import learner as learner_lib
from safer_tf.prior import objective
from safer_tf.prior import skill_prior

_METHOD = 'methods/safer.gin'
_MULTIPLE = 32  # Of frames, as in ours.
_WARM = 3  # Batches before the clock: graphs and buffers are made.
_AHEAD = 4  # Batches made ahead, as in training.
_PIPELINE_BATCHES = 10  # For each batch of training.


class SeparateWindows(learner_lib.Learner):
  """The plain learner: every window's frames are embedded on their own.

  Same model, same batches, same values; W frames a tuple, those that fill the
  batch up left out. The count of frames is rounded up as ours is.
  """

  def terms(self, batch: pipeline.TupleBatch) -> objective.Terms:
    """As `Learner.terms`."""
    prior = self.prior
    place = tf.where(tf.reshape(self._embedded_slots(batch), [-1]))
    frames = tf.gather(tf.reshape(batch.window, [-1]), place[:, 0])
    count = tf.size(frames)
    frames = tf.pad(frames, [[0, -count % _MULTIPLE]])
    embeddings = tf.reshape(
        tf.scatter_nd(
            place, prior.embed(tf.gather(batch.observation, frames))[:count],
            tf.stack([
                tf.size(batch.window, tf.int64),
                tf.constant(prior.embedding_dim, tf.int64),
            ]),
        ), [-1, prior.window, prior.embedding_dim],
    )
    mean, stddev = prior.infer_context(embeddings, batch.valid)
    log_prob = prior.log_prob(
        batch.action, embeddings[:, -1], self._context(mean, stddev)
    )
    return self.weigh(log_prob, mean, stddev, batch.kind)

  def _embedded_slots(self, batch: pipeline.TupleBatch) -> tf.Tensor:
    """Which slots [B, W] of the windows are embedded."""
    counted = batch.kind[:, tf.newaxis] >= 0
    return tf.broadcast_to(counted, tf.shape(batch.valid))


class SeparateFrames(SeparateWindows):
  """The same without the slots before an episode's start: they hold nothing."""

  def _embedded_slots(self, batch: pipeline.TupleBatch) -> tf.Tensor:
    return batch.valid


class Throughput(NamedTuple):
  """Tuples a second.

  Attributes:
    ours: training, its input included.
    separate: training that embeds every window's slots, input included.
    existing: training that embeds every window's existing frames, likewise.
    floor: the encoder's forward and backward pass alone.
    tuples: of a mean batch.
    frames: of a mean batch, each once.
  """

  ours: float
  separate: float
  existing: float
  floor: float
  tuples: float
  frames: float


def measure(
    root_dir: str, sizes: sizes_lib.Sizes, full: bool
) -> list[measurement.Measurement]:
  """Measures rows 3 and 4 and the part of row 10 about training.

  Args:
    root_dir: run directory of the benchmark; a dataset is collected there.
    sizes: how much of each measure is run.
    full: reads the paper's dataset instead of a small one many times over.

  Returns:
    The measurements.
  """
  collect.collect_data(root_dir, num_steps=sizes.data_steps, num_workers=2)
  data_dir = layout.data_dir(root_dir)
  few_steps, many_steps = sizes.stored_steps
  small = stretched(data_dir, root_dir, few_steps)
  if full:
    many_steps = sizes.full_collection_steps
    large = collection.whole(root_dir, sizes)
  else:
    large = stretched(data_dir, root_dir, many_steps)
  here = 'safer_tf.benchmark.priors'
  threads = timing.cores()
  trained = timing.alone(
      f'{here}:throughput', data_dir, sizes.rounds, sizes.prior_batches,
      threads=threads,
  )
  count = sizes.rounds * sizes.prior_batches * _PIPELINE_BATCHES
  rate, copied, memory = timing.alone(
      f'{here}:pipeline_rate', large, count, threads=threads
  )
  few, many = timing.alone(
      f'{here}:step_times', small, large, sizes.rounds, sizes.prior_batches,
      threads=threads,
  )
  repeated = f'{many_steps:,} stored steps' + (
      '' if full
      else f' by their index, from the files of {sizes.data_steps:,}'
  )
  floor_of = 'encoder forward and backward on the frames of the batch, alone'
  return [
      measurement.Measurement(
          3, 'prior training, SAFER, w = 16', trained.ours, 'tuples/s',
          'same model, all 16 slots of every window embedded',
          trained.separate,
          (
              measurement.Target('value', '>=', 1500),
              measurement.Target('ratio', '>=', 5),
          ), trained.floor, floor_of,
          note=f'{trained.tuples:.0f} tuples, {trained.frames:.0f} frames a '
          'batch, the same ones for both; the baseline has windows of one '
          'shape, as a plain model does, a third of whose slots lie before an '
          'episode begins',
          shortfall='our encoder alone would be '
          f'{trained.floor / trained.separate:.1f}x the whole of the baseline; '
          'flow, optimizer and input are the same on both sides. Tried: '
          'posterior, flow and objective as one XLA function (slower), a '
          'faster inflate (input 1.6x as fast), handing on only the frames and '
          'tuples that count',
      ),
      measurement.Measurement(
          3, 'the same, the baseline without empty slots', trained.ours,
          'tuples/s', 'as above, but only the slots that hold a frame',
          trained.existing, (), trained.floor, floor_of,
      ),
      measurement.Measurement(
          4, 'input pipeline alone', rate, 'tuples/s', 'what row 3 consumes',
          trained.ours, (measurement.Target('ratio', '>=', 3),),
          copied, "copying a batch's frames once", scaled=not full,
          note=repeated,
      ),
      measurement.Measurement(
          4, f'memory at {many_steps:,} steps', memory, 'GB',
          'raw frames of 48x48x3 bytes', many_steps * 6912 / 1e9,
          (measurement.Target('value', '<=', 4),),
          timing.alone('safer_tf.benchmark.priors:timing.peak_memory'),
          'a process that has imported the same', scaled=not full,
          note=f'peak of a process that reads batches; {repeated}',
      ),
      measurement.Measurement(
          10, f'training step at {many_steps:,} stored steps',
          1e3 * many, 'ms', f'at {few_steps:,}', 1e3 * few,
          (measurement.Target('ratio', '<=', 1.1),), 1e3 * few,
          measurement.FLAT, scaled=not full, note=repeated,
      ),
  ]


def stretched(data_dir: str, root_dir: str, num_steps: int) -> str:
  """A dataset of about so many steps whose episodes are those of another.

  Args:
    data_dir: dataset to take the shards from.
    root_dir: run directory of the benchmark; the new one stands below it.
    num_steps: wanted.

  Returns:
    Data directory with an index of its own and no shards.
  """
  spec, _ = dataset.read_spec(data_dir)
  index = dataset.read_index(data_dir)
  target = layout.data_dir(os.path.join(root_dir, f'stretched{num_steps}'))
  episodes = round(num_steps / index.length.mean())
  if episodes <= len(index):
    # Evenly spaced: all tasks keep their share.
    chosen = np.linspace(0, len(index) - 1, max(1, episodes)).astype(int)
  else:
    chosen = np.arange(episodes) % len(index)
  dataset.write_spec(target, spec)
  back = os.path.relpath(data_dir, target)
  dataset.finish(target, dataclasses.replace(
      _chosen(index, chosen), shard_names=np.array(
          [os.path.join(back, str(name)) for name in index.shard_names]
      ),
  ))
  return target


def _chosen(index: dataset.Index, episodes: np.ndarray) -> dataset.Index:
  """The index of some episodes, in the order given."""
  first = np.cumsum(index.length) - index.length
  length = index.length[episodes]
  steps = np.repeat(first[episodes] - np.cumsum(length) + length, length)
  steps += np.arange(length.sum())
  columns = {'unsafe': steps, 'reward': steps, 'shard_names': slice(None)}
  return dataset.Index(**{
      field.name: getattr(index, field.name)[columns.get(field.name, episodes)]
      for field in dataclasses.fields(index)
  })


def throughput(data_dir: str, rounds: int, batches: int) -> Throughput:
  """Trains both ways by turns, on the same batches.

  Args:
    data_dir: dataset.
    rounds: turns.
    batches: of a turn.

  Returns:
    Medians over the turns.
  """
  sampler = _sampler(data_dir)
  learners = {
      'ours': _learner(), 'separate': _learner(SeparateWindows),
      'existing': _learner(SeparateFrames),
  }
  counted = [_counts(sampler.batch(step)) for step in range(batches)]
  tuples, frames = (float(np.mean(column)) for column in zip(*counted))
  floor = _encoder_pass(learners['ours'].prior, round(frames))
  calls: dict[str, Callable[[], float]] = {
      name: functools.partial(_turn, learner, sampler, batches)
      for name, learner in learners.items()
  }
  calls['floor'] = lambda: timing.seconds(
      lambda: [floor() for _ in range(batches)]
  )
  for call in calls.values():
    call()  # Graphs are traced, and convolutions of each size set up.
  found: dict[str, list[float]] = {name: [] for name in calls}
  for _ in range(rounds):
    for name, call in calls.items():
      found[name].append(call())
  rates = {
      name: batches * tuples / statistics.median(seconds)
      for name, seconds in found.items()
  }
  return Throughput(**rates, tuples=tuples, frames=frames)


def _turn(
    learner: learner_lib.Learner, sampler: pipeline.RunSampler, batches: int
) -> float:
  """Seconds of training on the first batches of a sampler, input included."""
  # As many batches are made while the clock runs as are taken: those made
  # ahead of it are taken before it, others are made ahead of its end.
  steps = [*range(_AHEAD), *range(batches), *range(_AHEAD)]
  with contextlib.closing(pipeline.prefetched(
      lambda step: pipeline.to_tensors(sampler.batch(step)), steps, _AHEAD
  )) as source:
    for batch in itertools.islice(source, _AHEAD):
      float(learner.train_step(batch)['loss'])
    timed = itertools.islice(source, batches)
    return timing.seconds(
        lambda: [float(learner.train_step(batch)['loss']) for batch in timed]
    )


def pipeline_rate(data_dir: str, count: int) -> tuple[float, float, float]:
  """Takes batches and does nothing with them.

  Args:
    data_dir: dataset.
    count: batches.

  Returns:
    Tuples a second, those of copying the batches' frames in memory alone, and
    the peak memory of this process in GB.
  """
  source = pipeline.training_batches(_sampler(data_dir))
  for _ in range(_WARM):
    next(source)
  start = time.perf_counter()
  tuples = sum(_counts(next(source))[0] for _ in range(count))
  took = time.perf_counter() - start
  frames = next(source).observation.numpy()
  source.close()
  copy = timing.interleaved({'copy': frames.copy}, count)['copy']
  return tuples / took, tuples / count / copy, timing.peak_memory()


def step_times(
    small: str, large: str, rounds: int, batches: int
) -> tuple[float, float]:
  """Seconds of a training step, its input included, on two datasets.

  Args:
    small: data directory of few steps.
    large: data directory of many.
    rounds: turns.
    batches: of a turn.

  Returns:
    Medians, for the small one and the large one.
  """
  learner = _learner()
  sources = {
      name: pipeline.training_batches(_sampler(data_dir))
      for name, data_dir in (('small', small), ('large', large))
  }

  def step(source):
    float(learner.train_step(next(source))['loss'])

  calls = {
      name: (lambda source=source: step(source))
      for name, source in sources.items()
  }
  for call in calls.values():
    for _ in range(_WARM):
      call()
  found = timing.interleaved(
      calls, rounds, dict.fromkeys(calls, 2 * batches)
  )
  for source in sources.values():
    source.close()
  return found['small'], found['large']


def _shipped(name: str) -> Any:
  return gin.query_parameter(f'train_prior.{name}')


def _sampler(data_dir: str) -> pipeline.RunSampler:
  """The batches of the shipped configuration of SAFER."""
  config.parse([_METHOD], [])
  return pipeline.RunSampler(
      store_lib.EpisodeStore(data_dir), 'train', [
          (_shipped('positives'), _shipped('safe_runs')),
          (store_lib.UNSAFE, _shipped('unsafe_runs')),
      ], _shipped('window'), _shipped('run_length'), seed=0,
  )


def _learner(kind: type = learner_lib.Learner) -> learner_lib.Learner:
  config.parse([_METHOD], [])
  given: dict[str, Any] = {
      'seed': 0, 'unsafe_floor': objective.default_unsafe_floor(6),
  }
  settings = learner_lib.Settings(**given, **{
      field.name: _shipped(field.name)
      for field in dataclasses.fields(learner_lib.Settings)
      if field.name not in given
  })
  optimizer = learner_lib.make_optimizer(
      _shipped('optimizer'), _shipped('learning_rate'),
      _shipped('final_learning_rate'), _shipped('momentum'), 10_000,
  )
  tf.keras.utils.set_random_seed(0)
  prior = skill_prior.SkillPrior((48, 48, 3), 6, _shipped('window'))
  return kind(prior, optimizer, settings)


def _counts(batch: pipeline.TupleBatch) -> tuple[int, int]:
  """Tuples of a batch, and frames that they need."""
  return np.count_nonzero(batch.kind >= 0), len(batch.observation)


def _encoder_pass(prior: skill_prior.SkillPrior, frames: int) -> Any:
  images = tf.cast(tf.random.uniform([frames, 48, 48, 3]) * 255, tf.uint8)

  @tf.function
  def forward_and_backward():
    with tf.GradientTape() as tape:
      total = tf.reduce_sum(prior.embed(images))
    # Those of the other parts are None: they take no time.
    gradients = tape.gradient(total, prior.trainable_variables)
    return [tf.reduce_sum(part) for part in gradients if part is not None]

  return lambda: [part.numpy() for part in forward_and_backward()]
