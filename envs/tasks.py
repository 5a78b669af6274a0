"""The 40 tasks: a committed table of constants, read once."""

from __future__ import annotations

import csv
import dataclasses
import difflib
import functools
import json
import os

from envs import errors

TABLE = os.path.join(os.path.dirname(__file__), 'tasks.csv')
EVALUATION_TABLE = os.path.join(os.path.dirname(__file__), 'evaluation.json')


@dataclasses.dataclass(frozen=True)
class Task:
  """Constants of one extraction task.

  The origin of an object is the centre of its box in the axes of its own mesh.
  Turned to `rest_orientation` the object is not centred about it: it falls by
  up to 12 mm (on evaluated tasks 5) and its middle is up to 11 mm (4) off.

  Attributes:
    name: e.g. `extract_07`.
    object_id: three digits, an object of `pybullet_data/random_urdfs`.
    scale: metres per unit of the object's mesh.
    width: of the container's inside across the fingers, metres.
    length: of the container's inside along the arm, metres.
    height: of its walls above its floor, metres.
    rest_orientation: quaternion in which the object lies, narrow side across.
    rest_height: half the height of the object as it lies, metres; its origin
      is let go this far above the container's floor.
    grip_height: of the tool above the container's floor in a grasp, metres.
    slack_x: how far its origin may lie off the centre along the arm, metres.
    slack_y: the same across the fingers, metres.
    color: red, green, blue of the object in [0, 1].
  """

  name: str
  object_id: str
  scale: float
  width: float
  length: float
  height: float
  rest_orientation: tuple[float, float, float, float]
  rest_height: float
  grip_height: float
  slack_x: float
  slack_y: float
  color: tuple[float, float, float]


def parse(row: dict[str, str]) -> Task:
  """A task from a row of the table."""
  values: dict = {}
  for field in dataclasses.fields(Task):
    text = row[field.name]
    if field.name in ('name', 'object_id'):
      values[field.name] = text
    elif ' ' in text:
      values[field.name] = tuple(float(part) for part in text.split())
    else:
      values[field.name] = float(text)
  return Task(**values)


def unparse(task: Task) -> dict[str, str]:
  """A row of the table from a task; the inverse of `parse`."""
  row = {}
  for field in dataclasses.fields(Task):
    value = getattr(task, field.name)
    if isinstance(value, tuple):
      row[field.name] = ' '.join(f'{part:.5f}' for part in value)
    else:
      row[field.name] = value if isinstance(value, str) else f'{value:.5f}'
  return row


@functools.lru_cache(maxsize=1)
def table() -> dict[str, Task]:
  """All tasks by name, in the table's order."""
  with open(TABLE, encoding='utf-8', newline='') as file:
    found = [parse(row) for row in csv.DictReader(file)]
  return {task.name: task for task in found}


def find(name: str) -> Task:
  """The task of a name.

  Args:
    name: e.g. `extract_07`.

  Returns:
    Its constants.

  Raises:
    EnvError: there is none; the nearest names are listed.
  """
  if name not in table():
    nearest = difflib.get_close_matches(str(name), table(), n=3, cutoff=0.0)
    raise errors.EnvError(
        f'Unknown task {name!r}; nearest: {", ".join(nearest)}. All names: '
        'envs.ALL.'
    )
  return table()[name]


def evaluation() -> tuple[str, ...]:
  """Names of the six evaluation tasks, in the order Task 1..6."""
  with open(EVALUATION_TABLE, encoding='utf-8') as file:
    return tuple(json.load(file)['tasks'])
