"""Results that earlier runs recorded: kept beside what a run adds to them.

A run given such results keeps its own copy of them. Its tables are then made
of that copy and of its own stages, whose rows come first.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import (
  Any,
  Collection,
  Iterable,
  Iterator,
  Mapping,
  Sequence,
)

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.evaluation import style
from safer_tf.evaluation import tables

DATA_CARD = 'data_card.json'
REPLAYS = 'replays.json'
PROVENANCE = 'provenance.json'

# Priors of this prefix belong to the sweep over the prior's own settings.
SWEEP_PREFIX = 'sweep_'

# What a row belongs to. Rows of one owner are replaced together.
_OWNER = {
    'table1': tables.AGENT,
    'ablations': tables.AGENT,
    'tradeoff': tables.AGENT,
    'curves': tables.AGENT,
    'calibration': ('protocol', 'prior', 'task'),
    'prior_rollouts': ('protocol', 'prior'),
    'likelihood': ('protocol', 'method'),
    'histograms': ('protocol', 'method'),
    'assurance': ('protocol', 'prior'),
    'confirmation': ('protocol', 'prior'),
    'prior_sweep': ('protocol', 'prior'),
    REPLAYS: ('protocol', 'task', 'method'),
    PROVENANCE: ('stage',),
}


def copy_dir(root_dir: str) -> str:
  """Where a run keeps its copy of recorded results."""
  return os.path.join(root_dir, layout.RECORDED_DIR)


@contextlib.contextmanager
def adopting(source: str, root_dir: str) -> Iterator[str]:
  """Copies the tables of earlier runs into a run, over an older copy.

  Args:
    source: directory of the tables.
    root_dir: run directory.

  Yields:
    A directory with the copy, which takes its place once the body succeeds.

  Raises:
    UserError: `source` holds no tables, or damaged ones.
  """
  names = [
      name for name in (*map(_file_name, _OWNER), DATA_CARD)
      if os.path.exists(os.path.join(source, name))
  ]
  if not names:
    raise errors.UserError(
        f'{source} holds no recorded results: expected table1.csv or the '
        'like, e.g. the results directory of a checkout.'
    )
  copy = copy_dir(root_dir)
  if os.path.realpath(source) == os.path.realpath(copy):
    yield copy
    return
  for name in _OWNER:
    read(source, name)  # What is wrong is told of the source, not of a copy.
  with files.replacing(copy) as beside:
    os.makedirs(beside)
    for name in names:
      shutil.copyfile(os.path.join(source, name), os.path.join(beside, name))
    yield beside


def forget(directory: str, runs: Collection[str]) -> None:
  """Takes agents out of recorded tables.

  Args:
    directory: of the recorded tables.
    runs: of agents, e.g. `seen/extract_08/sac/default/seed0`.
  """
  shown = {run.rsplit('/', 1)[0] for run in runs}  # Films know no seed.
  for name, owner in _OWNER.items():
    if owner == tables.AGENT:
      gone, named = runs, run_of
    elif name == PROVENANCE:
      gone = {
          f'{layout.AGENTS_DIR}/{run}{stage}' for run in runs
          for stage in ('', '/evaluation')
      }
      named = _stage
    elif name == REPLAYS:
      gone, named = shown, _shown
    else:
      continue
    rows = read(directory, name)
    kept = [row for row in rows if named(row) not in gone]
    if len(kept) < len(rows):
      _write(directory, name, kept)


def run_of(row: Mapping[str, Any]) -> str:
  """An agent's run by its row, e.g. `seen/extract_08/sac/default/seed0`."""
  *place, seed = (str(row[key]) for key in tables.AGENT)
  return '/'.join((*place, f'seed{seed}'))


def _stage(row: Mapping[str, Any]) -> str:
  return row['stage']


def _shown(row: Mapping[str, Any]) -> str:
  return '/'.join(row[key] for key in tables.AGENT[:-1])


def base_dir(root_dir: str, has_agents: bool) -> str | None:
  """Where the rows are that a run adds its own to.

  Args:
    root_dir: run directory.
    has_agents: whether it has results of agents of its own.

  Returns:
    What was adopted; else the results themselves where the run has no agents
    any more; else None.
  """
  copy = copy_dir(root_dir)
  if os.path.exists(copy):
    return copy
  return None if has_agents else layout.results_dir(root_dir)


def merge(
    base: str | None, results_dir: str, name: str, rows: Sequence[tables.Row]
) -> None:
  """Writes recorded rows, those of the new rows' owners replaced by these.

  Args:
    base: directory of the recorded tables; None for none.
    results_dir: directory of the tables that are written.
    name: a table's name, `REPLAYS` or `PROVENANCE`.
    rows: what is new. Where this and `base` are empty, there is no table.
  """
  merged = groups(base, name) if base else {}
  merged.update(_by_owner(name, rows))
  found = [row for group in merged.values() for row in group]
  if not found:
    # Else rows of what has been removed would stay.
    with contextlib.suppress(FileNotFoundError):
      os.remove(os.path.join(results_dir, _file_name(name)))
    return
  if 'task' in tables.COLUMNS.get(name, ()):
    found.sort(key=_place)
  _write(results_dir, name, found)


def groups(
    directory: str, name: str
) -> dict[tuple[Any, ...], list[tables.Row]]:
  """Recorded rows as `read` gives them, by what they belong to."""
  return _by_owner(name, read(directory, name))


def _by_owner(
    name: str, rows: Iterable[tables.Row]
) -> dict[tuple[Any, ...], list[tables.Row]]:
  groups: dict[tuple[Any, ...], list[tables.Row]] = {}
  for row in rows:
    owner = tuple(row[key] for key in _OWNER[name])
    groups.setdefault(owner, []).append(row)
  return groups


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
  """Where a task's row stands: protocol, task, method, variant, seed."""
  return (
      row['protocol'] != 'seen', style.task_order(row['task']),
      style.order(row.get('method', row.get('prior', ''))),
      row.get('variant', ''),
      row['seed'],
  )


def _file_name(name: str) -> str:
  return f'{name}.csv' if name in tables.COLUMNS else name


def read(directory: str, name: str) -> list[tables.Row]:
  """Reads recorded rows.

  Args:
    directory: of the recorded tables.
    name: a table's name, `REPLAYS` or `PROVENANCE`.

  Returns:
    The rows; none if there are none.

  Raises:
    UserError: they are damaged.
  """
  if name in tables.COLUMNS:
    return tables.read(directory, name)
  path = os.path.join(directory, name)
  if not os.path.exists(path):
    return []
  expected = 'records as make_report writes them'
  rows = files.read_json(path, expected)
  if not isinstance(rows, list) or not all(
      isinstance(row, dict) and row.keys() >= set(_OWNER[name]) for row in rows
  ):
    raise errors.UserError(f'{path} is damaged: expected {expected}.')
  return rows


def _write(directory: str, name: str, rows: Sequence[tables.Row]) -> None:
  if name in tables.COLUMNS:
    tables.write(directory, name, rows)
  else:
    files.write_json(os.path.join(directory, name), rows)
