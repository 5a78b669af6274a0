"""Clocks, and processes of a stated number of threads and cores."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import importlib
import logging
import operator
import os
import resource
import statistics
import sys
import time
import traceback
from typing import (
  Any,
  Callable,
  Iterable,
  Iterator,
  Mapping,
  Optional,
  Sequence,
)

from absl import logging as absl_logging

from safer_tf.common import errors
from safer_tf.common import workers
from safer_tf.experiments import process

_STATUS = '/proc/self/status'
_SYSTEM = '/sys/devices/system/cpu'
_CORES = 2  # All targets are for two.


def seconds(function: Callable[[], Any]) -> float:
  """Wall time of one call."""
  start = time.perf_counter()
  function()
  return time.perf_counter() - start


def interleaved(
    calls: Mapping[str, Callable[[], Any]], rounds: int,
    per_round: Optional[Mapping[str, int]] = None,
) -> dict[str, float]:
  """Median time of several functions that take turns.

  Neighbours in time see the same machine, whatever else runs on it.

  Args:
    calls: functions by name, warm.
    rounds: how often each gets its turn.
    per_round: calls of a turn; 1 where a name is missing.

  Returns:
    Seconds of a call by name.
  """
  found: dict[str, list[float]] = {name: [] for name in calls}
  for _ in range(rounds):
    for name, call in calls.items():
      call()  # Finds the caches as another has left them.
      for _ in range((per_round or {}).get(name, 1)):
        found[name].append(seconds(call))
  return {name: statistics.median(times) for name, times in found.items()}


def cores() -> int:
  """Cores that a measure may use: two, whatever the machine has."""
  return min(_CORES, len(_allowed()))


def chosen() -> list[int]:
  """Numbers of the CPUs that measures are tied to."""
  return ranked(_allowed())[:_CORES]


def ranked(allowed: Iterable[int], system: str = _SYSTEM) -> list[int]:
  """CPUs in the order in which they are taken.

  Args:
    allowed: numbers of the CPUs.
    system: where Linux tells about them.

  Returns:
    One thread of each core before a second one, fast cores before slow ones,
    the last before the first, which serve most interrupts.
  """

  def told(cpu: int, name: str) -> str:
    path = os.path.join(system, f'cpu{cpu}', name)
    if not os.path.exists(path):
      return ''
    with open(path, encoding='ascii') as file:
      return file.read().strip()

  threads: collections.Counter[str] = collections.Counter()
  keys: dict[int, tuple[int, int]] = {}
  for cpu in sorted(allowed, reverse=True):
    core = told(cpu, 'topology/thread_siblings_list') or f'cpu {cpu}'
    speed = int(told(cpu, 'cpufreq/cpuinfo_max_freq') or 0)
    keys[cpu] = (threads[core], -speed)
    threads[core] += 1
  return sorted(keys, key=lambda cpu: (*keys[cpu], -cpu))


def _allowed() -> set[int]:
  if hasattr(os, 'sched_getaffinity'):
    return os.sched_getaffinity(0)
  return set(range(os.cpu_count() or 1))


def peak_memory() -> float:
  """Largest resident memory of this process so far, in GB."""
  if os.path.exists(_STATUS):
    # Linux's getrusage counts what the parent held when it started the process.
    with open(_STATUS, encoding='ascii') as file:
      peak = next(line for line in file if line.startswith('VmHWM:'))
    return int(peak.split()[1]) * 1024 / 1e9
  unit = 1 if sys.platform == 'darwin' else 1024
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


@contextlib.contextmanager
def limited(threads: int, core: Optional[int] = None) -> Iterator[None]:
  """Processes started inside have so many threads, and the `chosen` cores.

  Args:
    threads: size of their thread pools.
    core: which of the chosen ones they are tied to; None ties them to all of
      them. Both where the system can.
  """
  names = process.THREAD_VARIABLES
  before = {name: os.environ.get(name) for name in names}
  pinned = hasattr(os, 'sched_setaffinity')
  allowed = os.sched_getaffinity(0) if pinned else set()
  os.environ.update({name: str(threads) for name in names})
  if pinned:
    taken = chosen()
    os.sched_setaffinity(0, taken if core is None else {taken[core]})
  try:
    yield
  finally:
    if pinned:
      os.sched_setaffinity(0, allowed)
    for name, value in before.items():
      if value is None:
        del os.environ[name]
      else:
        os.environ[name] = value


def warm_pool(
    count: int, threads: int = 1, core: Optional[int] = None
) -> concurrent.futures.ProcessPoolExecutor:
  """A pool whose processes have all started.

  Args:
    count: number of processes.
    threads: size of their thread pools.
    core: which of the chosen ones they are tied to; None for all.

  Returns:
    The pool, to be used as a context manager.
  """
  with limited(threads, core):
    pool = workers.pool(count)
    # Each waits long enough that no process takes two.
    list(pool.map(time.sleep, [0.5] * count))
  return pool


def alone(
    reference: str, *arguments: Any, threads: int = 1,
    core: Optional[int] = None,
) -> Any:
  """Calls a function in a process of its own.

  Args:
    reference: `module:name`, imported there and not here.
    *arguments: of the function, picklable.
    threads: size of its thread pools.
    core: which of the chosen ones it is tied to; None for all.

  Returns:
    What the function returned.
  """
  with warm_pool(1, threads, core) as pool:
    return pool.submit(call, reference, arguments).result()


def call(reference: str, arguments: Sequence[Any]) -> Any:
  """Calls `module:name`, in a worker; its errors can be sent back."""
  module, name = reference.split(':')
  function = operator.attrgetter(name)(importlib.import_module(module))
  # Gin reports each folder where an included file is not, as an error, and
  # TF-Agents' savers each name that is not one of Python's.
  logging.getLogger().setLevel(logging.CRITICAL)
  absl_logging.set_verbosity(absl_logging.FATAL)
  try:
    return function(*arguments)
  except errors.UserError as error:
    raise errors.UserError(str(error)) from None
  except Exception:  # Hides nothing: the whole traceback goes on as text.
    # Any class at all, for gin makes classes of its own on the fly, and what
    # cannot be pickled would break the pool instead of telling its cause.
    raise RuntimeError(traceback.format_exc()) from None
