"""A world that is closed leaves nothing behind."""

from __future__ import annotations

import re

import envs


def _resident() -> float:
  """Memory of this process in MB."""
  with open('/proc/self/status', encoding='utf-8') as file:
    return int(re.search(r'VmRSS:\s+(\d+)', file.read()).group(1)) / 1e3


def _open(name: str) -> None:
  env = envs.load_task(name)
  env.reset()
  env.close()


def test_opening_a_task_again_costs_no_memory():
  for name in envs.ALL[:20]:
    _open(name)
  before = _resident()
  for name in envs.ALL[:20]:
    _open(name)
  assert _resident() - before < 3  # As lists of vertices, meshes leave 10.
