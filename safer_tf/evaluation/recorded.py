"""Rows that earlier runs recorded, kept beside what a run adds to them."""

from __future__ import annotations

import math
import os
from typing import Any, Iterable, Sequence

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.evaluation import style
from safer_tf.evaluation import tables

REPLAYS = 'replays.json'
PROVENANCE = 'provenance.json'

_AGENT = ('protocol', 'task', 'method', 'variant', 'seed')
# What a row belongs to. Rows of one owner are replaced together.
_OWNER = {
    'table1': _AGENT,
    'ablations': _AGENT,
    'tradeoff': _AGENT,
    'curves': _AGENT,
    'calibration': ('protocol', 'prior', 'task'),
    'likelihood': ('protocol', 'method'),
    'histograms': ('protocol', 'method'),
    'assurance': ('protocol', 'prior'),
    REPLAYS: ('protocol', 'task', 'method', 'kind'),
    PROVENANCE: ('stage',),
}


def merge(results_dir: str, name: str, rows: Sequence[tables.Row]) -> None:
  """Writes rows over the recorded ones of the same owners; keeps all others.

  Args:
    results_dir: directory of the tables.
    name: a table's name, `REPLAYS` or `PROVENANCE`.
    rows: what is new; nothing is written if there is none.
  """
  if not rows:
    return
  merged = _by_owner(name, _read(results_dir, name))
  merged.update(_by_owner(name, rows))
  found = [row for group in merged.values() for row in group]
  if name in tables.COLUMNS and 'task' in tables.COLUMNS[name]:
    found.sort(key=_place)
  _write(results_dir, name, found)


def adopt(source: str, results_dir: str) -> None:
  """Takes the tables of earlier runs in; rows that are there already win.

  Args:
    source: directory of their tables.
    results_dir: directory of this run's tables, made if need be.

  Raises:
    UserError: `source` holds no tables.
  """
  found = {name: _read(source, name) for name in _OWNER}
  if not any(found.values()):
    raise errors.UserError(
        f'{source} holds no recorded results: expected table1.csv or the '
        'like, e.g. the results directory of a checkout.'
    )
  files.ensure_dir(results_dir)
  for name, rows in found.items():
    there = _by_owner(name, _read(results_dir, name))
    merge(results_dir, name, [
        row for row in rows if _owner(name, row) not in there
    ])


def finished_cells(results_dir: str, env_steps: int) -> set[str]:
  """Names of the matrix's cells that recorded rows make unnecessary.

  Args:
    results_dir: directory of the tables.
    env_steps: rows of agents trained for any other number do not count.

  Returns:
    Names as `experiments.matrix` gives them; an agent counts once evaluated.
  """
  found = set()
  for name in ('table1', 'ablations', 'tradeoff'):
    for row in tables.read(results_dir, name):
      learned = row['method'] not in style.NO_LEARNING
      if math.isnan(row['eval_success_rate']) or (
          learned and row['env_steps'] != env_steps
      ):
        continue
      run = '/'.join(str(row[key]) for key in _AGENT[:-1])
      found |= {
          f'{kind}/{run}/seed{row["seed"]}' for kind in ('agent', 'evaluate')
      }
  for row in tables.read(results_dir, 'calibration'):
    found.add(f'calibrate/{row["protocol"]}/{row["prior"]}/{row["task"]}')
  return found


def _owner(name: str, row: tables.Row) -> tuple[Any, ...]:
  return tuple(row[key] for key in _OWNER[name])


def _by_owner(
    name: str, rows: Iterable[tables.Row]
) -> dict[tuple[Any, ...], list[tables.Row]]:
  groups: dict[tuple[Any, ...], list[tables.Row]] = {}
  for row in rows:
    groups.setdefault(_owner(name, row), []).append(row)
  return groups


def _place(row: tables.Row) -> tuple[Any, ...]:
  """Where a task's row stands: protocol, task, method, variant, seed."""
  return (
      row['protocol'] != 'seen', style.task_order(row['task']),
      style.order(row.get('method', '')), row.get('variant', ''),
      row['seed'],
  )


def _read(directory: str, name: str) -> list[tables.Row]:
  if name in tables.COLUMNS:
    return tables.read(directory, name)
  path = os.path.join(directory, name)
  return files.read_json(path, 'recorded') if os.path.exists(path) else []


def _write(directory: str, name: str, rows: Iterable[tables.Row]) -> None:
  if name in tables.COLUMNS:
    tables.write(directory, name, rows)
  else:
    files.write_json(os.path.join(directory, name), list(rows))
