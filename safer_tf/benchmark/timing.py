"""Clocks, and processes of a stated number of threads and cores."""

from __future__ import annotations

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
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence

from safer_tf.common import errors
from safer_tf.common import workers
from safer_tf.experiments import process

_STATUS = '/proc/self/status'
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
  if hasattr(os, 'sched_getaffinity'):
    return min(_CORES, len(os.sched_getaffinity(0)))
  return min(_CORES, os.cpu_count() or 1)


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
def limited(threads: int, one_core: bool = False) -> Iterator[None]:
  """Processes started inside have so many threads and at most `cores()` cores.

  Args:
    threads: size of their thread pools.
    one_core: ties them to a single core. Both where the system can.
  """
  names = process.THREAD_VARIABLES
  before = {name: os.environ.get(name) for name in names}
  pinned = hasattr(os, 'sched_setaffinity')
  allowed = os.sched_getaffinity(0) if pinned else set()
  os.environ.update({name: str(threads) for name in names})
  if pinned:
    os.sched_setaffinity(0, sorted(allowed)[-(1 if one_core else cores()):])
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
    count: int, threads: int = 1, one_core: bool = False
) -> concurrent.futures.ProcessPoolExecutor:
  """A pool whose processes have all started.

  Args:
    count: number of processes.
    threads: size of their thread pools.
    one_core: ties them to a single core.

  Returns:
    The pool, to be used as a context manager.
  """
  with limited(threads, one_core):
    pool = workers.pool(count)
    # Each waits long enough that no process takes two.
    list(pool.map(time.sleep, [0.5] * count))
  return pool


def alone(
    reference: str, *arguments: Any, threads: int = 1, one_core: bool = False
) -> Any:
  """Calls a function in a process of its own.

  Args:
    reference: `module:name`, imported there and not here.
    *arguments: of the function, picklable.
    threads: size of its thread pools.
    one_core: ties it to a single core.

  Returns:
    What the function returned.
  """
  with warm_pool(1, threads, one_core) as pool:
    return pool.submit(call, reference, arguments).result()


def call(reference: str, arguments: Sequence[Any]) -> Any:
  """Calls `module:name`, in a worker; its errors can be sent back."""
  module, name = reference.split(':')
  function = operator.attrgetter(name)(importlib.import_module(module))
  # Gin reports each folder where an included file is not, as an error.
  logging.getLogger().setLevel(logging.CRITICAL)
  try:
    return function(*arguments)
  except errors.UserError as error:
    raise errors.UserError(str(error)) from None
  except Exception:  # Hides nothing: the whole traceback goes on as text.
    # Any class at all, for gin makes classes of its own on the fly, and what
    # cannot be pickled would break the pool instead of telling its cause.
    raise RuntimeError(traceback.format_exc()) from None
