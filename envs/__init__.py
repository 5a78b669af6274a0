"""PyBullet extraction tasks as TF-Agents environments.

    import envs
    env = envs.load_task('extract_07', seed=0)
    time_step = env.reset()

`ALL` names the 40 tasks, `EVALUATION` the six evaluation tasks in the order
Task 1..6.
"""

from __future__ import annotations

import typing

from envs import tasks
from envs.errors import EnvError

if typing.TYPE_CHECKING:
  from envs.extraction import ExtractionEnv

ALL = tuple(tasks.table())
EVALUATION = tasks.evaluation()

__all__ = ['ALL', 'EVALUATION', 'EnvError', 'load_task']


def load_task(name: str, seed: int = 0) -> ExtractionEnv:
  """Loads a task.

  Args:
    name: one of `ALL`.
    seed: of the episodes' random draws.

  Returns:
    A TF-Agents `PyEnvironment`.

  Raises:
    EnvError: there is no such task; the nearest names are listed.
  """
  task = tasks.find(name)
  # TF-Agents and PyBullet take seconds to import: names alone must not.
  from envs import extraction

  return extraction.ExtractionEnv(task, seed)
