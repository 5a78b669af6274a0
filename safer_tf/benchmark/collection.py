"""Rows 2 and 10: collecting data with two workers, and more of it."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from typing import NamedTuple

import envs
from envs import scripted
from safer_tf.benchmark import kept
from safer_tf.benchmark import measurement
from safer_tf.benchmark import scaling
from safer_tf.benchmark import simulation
from safer_tf.benchmark import sizes as sizes_lib
from safer_tf.benchmark import timing
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.data import collect
from safer_tf.data import schema

_PAPER_STEPS = 1_000_000  # Section 5.1.
_LONGER = 16  # Times as many steps, to see whether the cost is linear.
_COLLECT = 'safer_tf.benchmark.collection:collect_shard'
_SOURCE = collect.Source(
    'envs:load_task', 'envs.scripted:ScriptedPolicy', scripted.NOISE_LEVELS, 0
)


class Collected(NamedTuple):
  """What one worker has done.

  Attributes:
    steps: collected.
    seconds: that it took.
    memory: the worker's peak so far, GB.
  """

  steps: int
  seconds: float
  memory: float


def measure(
    root_dir: str, sizes: sizes_lib.Sizes, full: bool
) -> list[measurement.Measurement]:
  """Measures row 2 and the part of row 10 that is about collection.

  Args:
    root_dir: run directory of the benchmark.
    sizes: how much of each measure is run.
    full: collects the paper's million steps instead of scaling up.

  Returns:
    The measurements.
  """
  turns = [
      [(task, shard, sizes.collection_steps) for shard in (0, 1)]
      for task in envs.ALL[:sizes.rounds]
  ]
  warm = [(envs.ALL[0], shard, 1) for shard in (0, 1)]
  found = scaling.compare(_COLLECT, turns, warm)
  minutes = _PAPER_STEPS / 60 * sum(found.pair_seconds) / sum(
      part.steps for turn in found.results for part in turn
  )
  note = 'processes already started; the baseline is this times the row above'
  if full:
    record = files.read_json(
        os.path.join(whole(root_dir, sizes), layout.STAGE),
        'a finished dataset'
    )
    minutes = (
        record['wall_seconds'] / 60 * _PAPER_STEPS
        / sizes.full_collection_steps
    )
    note = 'the baseline is this times the row above'
  bare = timing.alone(
      'safer_tf.benchmark.simulation:bare_seconds', envs.ALL[:sizes.rounds],
      sizes.simulation_steps, core=0,
  )
  return [
      measurement.Measurement(
          2, 'collection, 2 workers over 1', found.ours, 'x',
          'two pure-Python loops over one', found.loops,
          (measurement.Target('ratio', '>=', 0.95),), 2.0,
          'two cores that share nothing',
      ),
      measurement.Measurement(
          2, '1,000,000 steps with 2 workers', minutes, 'minutes',
          'one worker', minutes * found.ours,
          (measurement.Target('value', '<=', 25),),
          _PAPER_STEPS * bare / 2 / 60, f'{simulation.BARE}, on two cores',
          scaled=not full or sizes.full_collection_steps != _PAPER_STEPS,
          note=note,
      ),
      _memory(sizes, full),
      _linearity(sizes),
  ]


def _memory(sizes: sizes_lib.Sizes, full: bool) -> measurement.Measurement:
  """Memory of a worker that has met all tasks over that after its first."""
  steps = sizes.collection_steps if full else sizes.memory_steps
  with timing.warm_pool(1) as pool:
    peaks = [
        pool.submit(
            timing.call, _COLLECT, (task, 0, steps, 'memory')
        ).result().memory for task in envs.ALL
    ]
  return measurement.Measurement(
      2, 'peak memory of a worker at the end', peaks[-1], 'GB',
      'after its first shard', peaks[0],
      (measurement.Target('ratio', '<=', 1.05),),
      timing.alone('safer_tf.benchmark.collection:timing.peak_memory'),
      'a process that has imported the same',
      note=f'one worker that collects {steps:,} steps of each of the '
      f'{len(envs.ALL)} tasks',
  )


def _linearity(sizes: sizes_lib.Sizes) -> measurement.Measurement:
  """Time of a step in a large shard over that in a small one (row 10)."""
  small = max(1, sizes.collection_steps // 4)
  costs: dict[int, list[float]] = {small: [], small * _LONGER: []}
  with timing.warm_pool(1) as pool:
    for turn, task in enumerate(envs.ALL[-sizes.rounds:]):
      # The first call of a task loads it.
      pool.submit(timing.call, _COLLECT, (task, 0, 1, f'load{turn}')).result()
      for steps in costs:
        part = pool.submit(
            timing.call, _COLLECT, (task, 0, steps, f'{turn}-{steps}')
        ).result()
        costs[steps].append(1e3 * part.seconds / part.steps)
  short, long = (statistics.median(values) for values in costs.values())
  return measurement.Measurement(
      10, f'collection, a step of {_LONGER}x as many', long, 'ms',
      f'a step of {small}', short,
      (measurement.Target('ratio', '<=', 1.1),), short, measurement.FLAT,
  )


def collect_shard(
    task: str, shard: int, num_steps: int, name: str
) -> Collected:
  """Collects one shard as `collect_data` does, and throws it away.

  Args:
    task: name of the task.
    shard: number of the shard.
    num_steps: of the shard.
    name: of the attempt.

  Returns:
    What it took.
  """
  directory = tempfile.mkdtemp(prefix=f'benchmark-{name}-')
  try:
    start = time.perf_counter()
    index = collect.collect_unit(
        directory, schema.EpisodeSpec((48, 48, 3), 'uint8', 6), _SOURCE,
        collect.Unit(task, shard, num_steps),
    )
    took = time.perf_counter() - start
  finally:
    shutil.rmtree(directory)
  return Collected(int(index.length.sum()), took, timing.peak_memory())


def whole(root_dir: str, sizes: sizes_lib.Sizes) -> str:
  """Collects the paper's dataset; kept while the code stays, to be done once.

  One that was interrupted begins again: its time would be that of the rest.

  Args:
    root_dir: run directory of the benchmark.
    sizes: how much is collected.

  Returns:
    Its data directory.
  """
  run_dir = kept.directory(root_dir, 'whole')
  data_dir = layout.data_dir(run_dir)
  if not os.path.exists(os.path.join(data_dir, layout.STAGE)):
    shutil.rmtree(run_dir, ignore_errors=True)
  with timing.limited(1):
    collect.collect_data(
        run_dir, num_steps=sizes.full_collection_steps, num_workers=2
    )
  return data_dir
