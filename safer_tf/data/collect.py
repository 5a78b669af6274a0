"""Collecting the offline dataset by worker processes."""

from __future__ import annotations

import concurrent.futures
import functools
import importlib
import operator
import os
import time
from typing import Any, Callable, Iterator, NamedTuple, Optional, Sequence

import gin

import envs
from envs import scripted
from safer_tf.common import config
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.common import progress
from safer_tf.common import workers
from safer_tf.data import dataset
from safer_tf.data import rollout
from safer_tf.data import schema
from safer_tf.data import shards


class Unit(NamedTuple):
  """One shard to collect: the piece of work of a worker.

  Attributes:
    task: name of the task.
    shard: number of the shard within its task.
    num_steps: wanted; the last episode is kept whole.
  """

  task: str
  shard: int
  num_steps: int


class Source(NamedTuple):
  """Where episodes come from, in a form that every worker can be told.

  Attributes:
    make_env: `module:name` of a function from a task's name to a
      `PyEnvironment`.
    make_policy: `module:name` of a function from an environment to a policy
      with `reset(seed, noise)` and `action()`.
    noise_levels: standard deviations, one of which each episode draws.
    seed: of the dataset.
  """

  make_env: str
  make_policy: str
  noise_levels: tuple[float, ...]
  seed: int


@gin.configurable(denylist=['root_dir', 'seed'])
def collect_data(
    root_dir: str,
    seed: int = 0,
    num_steps: int = gin.REQUIRED,
    tasks: Sequence[str] = envs.ALL,
    num_workers: int = 2,
    steps_per_shard: int = 2500,
    make_env: Callable[[str], Any] = envs.load_task,
    make_policy: Callable[[Any], Any] = scripted.ScriptedPolicy,
    noise_levels: Sequence[float] = scripted.NOISE_LEVELS,
    part: Optional[tuple[int, int]] = None,
) -> str:
  """Collects a dataset, or what is missing of it.

  Each episode is a pure function of its task, `seed` and its index, and so is
  each shard: the number of workers and interruptions leave no trace.

  Args:
    root_dir: run directory; the dataset is written to `<root_dir>/data`.
    seed: of the whole dataset.
    num_steps: in total, spread evenly over the tasks; a few more are
      collected, for the last episode of a shard is kept whole.
    tasks: names of the tasks.
    num_workers: worker processes; 1 collects in this process.
    steps_per_shard: size of a shard, which is the unit of work.
    make_env: makes the environment of a task by its name.
    make_policy: makes the policy that acts in an environment.
    noise_levels: standard deviations of the policy's noise.
    part: (k, n): collects every n-th shard from the k-th on and stops; once all
      n parts are there, wherever they were collected, a call without `part`
      indexes them.

  Returns:
    The data directory.

  Raises:
    UserError: a value is wrong, the directory holds another dataset, or
      nothing can be written.
  """
  errors.require_sizes(
      'collect_data', num_steps=num_steps, num_workers=num_workers,
      steps_per_shard=steps_per_shard,
  )
  _check_choices(tasks, noise_levels)
  _check_part(part)
  data_dir = layout.data_dir(root_dir)
  source = Source(
      _reference(make_env), _reference(make_policy),
      tuple(float(level) for level in noise_levels), seed,
  )
  units = plan(num_steps, tasks, steps_per_shard)
  origin = {
      **source._asdict(), 'num_steps': num_steps, 'tasks': list(tasks),
      'noise_levels': list(source.noise_levels),
      'steps_per_shard': steps_per_shard,
  }
  if _is_finished(data_dir, units, origin):
    dataset.read_index(data_dir)
    print(f'{data_dir} is finished with these settings; nothing to do.')
    return data_dir
  spec = _common_spec(make_env, tasks)
  _check_same_spec(data_dir, spec)
  files.ensure_dir(data_dir)
  dataset.write_spec(data_dir, spec, origin)
  start = time.monotonic()
  if part:
    k, n = part
    _collect(data_dir, spec, source, units[k::n], num_workers)
    files.write_json(layout.data_part(root_dir, k, n), origin)
    return data_dir
  parts = _collect(data_dir, spec, source, units, num_workers)
  index = dataset.join(parts)
  dataset.finish(
      data_dir, index, seed, num_workers=num_workers,
      wall_seconds=round(time.monotonic() - start, 1),
  )
  print(
      f'{data_dir}: {len(index.unsafe):,} steps of {len(index.length):,} '
      f'episodes; {index.unsafe.mean():.1%} of the steps are unsafe, '
      f'{index.success.mean():.1%} of the episodes succeed.'
  )
  return data_dir


def plan(
    num_steps: int, tasks: Sequence[str], steps_per_shard: int
) -> list[Unit]:
  """Cuts a dataset into shards, whoever will collect them.

  Args:
    num_steps: in total.
    tasks: which share them evenly.
    steps_per_shard: largest number of steps wanted from one shard.

  Returns:
    Units whose steps add up to `num_steps`, ordered by task.
  """
  units = []
  for number, task in enumerate(tasks):
    rest = num_steps // len(tasks) + (number < num_steps % len(tasks))
    shard = 0
    while rest > 0:
      units.append(Unit(task, shard, min(rest, steps_per_shard)))
      rest -= steps_per_shard
      shard += 1
  return units


def _check_choices(
    tasks: Sequence[str], noise_levels: Sequence[float]
) -> None:
  if not tasks or not noise_levels:
    raise errors.UserError(
        'collect_data.tasks and collect_data.noise_levels must each name at '
        'least one.'
    )
  twice = sorted({task for task in tasks if list(tasks).count(task) > 1})
  if twice:
    raise errors.UserError(
        f'collect_data.tasks names {", ".join(twice)} more than once.'
    )


def _check_part(part: Optional[tuple[int, int]]) -> None:
  if part is None:
    return
  whole = len(part) == 2 and all(isinstance(number, int) for number in part)
  if not whole or not 0 <= part[0] < part[1]:
    raise errors.UserError(
        f'collect_data.part is {part!r}: expected (k, n) with 0 <= k < n, the '
        'number of a part and how many there are.'
    )


def _is_finished(
    data_dir: str, units: Sequence[Unit], origin: dict[str, Any]
) -> bool:
  """Whether the dataset asked for is there; refuses to mix two datasets."""
  if not os.path.exists(os.path.join(data_dir, layout.EPISODE_SPEC)):
    return False
  _, found = dataset.read_spec(data_dir)
  for name in origin:
    if found.get(name) != origin[name]:
      raise errors.UserError(
          f'{data_dir} holds a dataset with {name} = {found.get(name)}, asked '
          f'for is {origin[name]}. Choose another --root_dir or delete that '
          'directory.'
      )
  names = [layout.STAGE, layout.DATA_INDEX] + [
      layout.shard(unit.task, unit.shard) for unit in units
  ]
  return all(os.path.exists(os.path.join(data_dir, name)) for name in names)


def _check_same_spec(data_dir: str, spec: schema.EpisodeSpec) -> None:
  """Refuses to go on in shards of what the environment was before."""
  if not os.path.exists(os.path.join(data_dir, layout.EPISODE_SPEC)):
    return
  found, _ = dataset.read_spec(data_dir)
  if found != spec:
    raise errors.UserError(
        f'{data_dir} holds a dataset of {found}, the environment now has '
        f'{spec}. Choose another --root_dir or delete that directory.'
    )


def _common_spec(
    make_env: Callable[[str], Any], tasks: Sequence[str]
) -> schema.EpisodeSpec:
  """The spec of all tasks; finds a wrong name before hours are spent."""
  specs = {}
  for task in tasks:
    env = make_env(task)
    specs[task] = schema.EpisodeSpec.of_env(env)
    env.close()
    if specs[task] != specs[tasks[0]]:
      raise errors.UserError(
          f'Task {task} has {specs[task]}, but {tasks[0]} has '
          f'{specs[tasks[0]]}: collect them into two datasets.'
      )
  return specs[tasks[0]]


def _collect(
    data_dir: str, spec: schema.EpisodeSpec, source: Source,
    units: Sequence[Unit], num_workers: int,
) -> list[dataset.Index]:
  work = functools.partial(collect_unit, data_dir, spec, source)
  parts = {}
  total = sum(unit.num_steps for unit in units)
  with progress.bar(total, 'Collecting', 'step') as bar:
    for unit, part in _run(work, units, num_workers):
      parts[unit] = part
      bar.update(unit.num_steps)
  return [parts[unit] for unit in units]


def _run(
    work: Callable[[Unit], dataset.Index], units: Sequence[Unit],
    num_workers: int,
) -> Iterator[tuple[Unit, dataset.Index]]:
  """Yields each unit with its result, in the order in which they finish."""
  if num_workers == 1:
    for unit in units:
      yield unit, work(unit)
    _close_last()
    return
  with workers.pool(num_workers) as pool:
    pending = {pool.submit(work, unit): unit for unit in units}
    try:
      for future in concurrent.futures.as_completed(pending):
        yield pending[future], future.result()
    except concurrent.futures.BrokenExecutor as error:
      raise errors.UserError(
          'A collection worker was killed, perhaps for want of memory; run '
          'the same command again, it goes on where it stopped.'
      ) from error
    finally:
      for future in pending:
        future.cancel()


def collect_unit(
    data_dir: str, spec: schema.EpisodeSpec, source: Source, unit: Unit
) -> dataset.Index:
  """Collects one shard unless it is there, verifies and indexes it."""
  path = os.path.join(data_dir, layout.shard(unit.task, unit.shard))
  if not os.path.exists(path):
    env, policy = _task_env(source.make_env, source.make_policy, unit.task)
    episodes = rollout.episodes_of_shard(
        env, policy, unit.task, source.seed, unit.shard, unit.num_steps,
        source.noise_levels,
    )
    shards.write_shard(
        path, (dataset.check(episode, spec) for episode in episodes)
    )
  return dataset.index_shard(path, spec)


# The environment that this process used last, and its policy: consecutive
# units are mostly of one task.
_last: dict[tuple[str, str, str], tuple[Any, Any]] = {}


def _task_env(make_env: str, make_policy: str, task: str) -> tuple[Any, Any]:
  key = (make_env, make_policy, task)
  if key not in _last:
    _close_last()
    env = _resolve(make_env)(task)
    policy = _resolve(make_policy)(env)
    for name in ('reset', 'action'):
      if not callable(getattr(policy, name, None)):
        raise errors.UserError(
            f'{type(policy).__name__}, which {make_policy} makes, has no '
            f'{name}: expected reset(seed, noise) and action() (docs/data.md).'
        )
    _last[key] = env, policy
  return _last[key]


def _close_last() -> None:
  for env, _ in _last.values():
    env.close()
  _last.clear()


def _reference(function: Callable) -> str:
  """Names a function so that a spawned process finds it."""
  reference = config.name_of(function)
  try:
    _resolve(reference)
  except (ImportError, AttributeError) as error:
    raise errors.UserError(
        f'{reference} cannot be imported by a worker: define it at the top '
        'level of a module.'
    ) from error
  return reference


def _resolve(reference: str) -> Callable:
  module, name = reference.split(':')
  return operator.attrgetter(name)(importlib.import_module(module))
