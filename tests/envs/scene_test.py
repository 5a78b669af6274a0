"""A world that is closed leaves nothing behind."""

from __future__ import annotations

import multiprocessing
import re
import statistics

import numpy as np

import envs

_TASKS = envs.ALL[:20]


def _resident() -> float:
  """Memory of this process in MB."""
  with open('/proc/self/status', encoding='utf-8') as file:
    return int(re.search(r'VmRSS:\s+(\d+)', file.read()).group(1)) / 1e3


def _growth(rounds: int) -> float:
  """MB that opening all tasks once more takes, the median of some rounds."""
  resident = []
  for _ in range(rounds + 1):
    for name in _TASKS:
      env = envs.load_task(name)
      env.reset()
      env.close()
    resident.append(_resident())
  # The heap itself grows and shrinks by steps now and then.
  return statistics.median(np.diff(resident))


def test_opening_a_task_again_costs_no_memory():
  # A process of its own: what other tests have freed would be used first.
  with multiprocessing.get_context('spawn').Pool(1) as pool:
    growth = pool.apply(_growth, (7,))
  assert growth < 4, growth  # Triangles as lists leave 10.
