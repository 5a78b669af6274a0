"""The result tables: their columns, reading and writing."""

from __future__ import annotations

import collections
import csv
import io
import math
import os
from typing import Any, Iterable, Mapping, Sequence

from safer_tf.common import errors
from safer_tf.common import files

Row = dict[str, Any]

# Split of `likelihood`: test episodes of tasks the prior was not trained on.
NEW_TASKS = 'test_new_tasks'

_RUN = (
    'protocol', 'task', 'method', 'encoder', 'max_unsafe_fraction',
    'assurance_mode', 'latent_bound', 'seed', 'env_steps',
    'train_success_rate', 'eval_success_rate', 'eval_episodes', 'violations',
    'clip_rate', 'wall_seconds', 'git_revision', 'variant', 'eval_return',
    'eval_steps', 'eval_violations', 'eval_unsafe_episodes',
    'eval_unsafe_episode_upper', 'machine',
)
# What names an agent: no table has two rows of it.
AGENT = ('protocol', 'task', 'method', 'variant', 'seed')
# Columns of each table, by its name without `.csv`.
COLUMNS = {
    'table1': _RUN,
    'ablations': _RUN,
    'tradeoff': _RUN,
    'calibration': (
        'task', 'mode', 'max_unsafe_fraction', 'latent_bound', 'rollout',
        'steps', 'unsafe_fraction', 'git_revision', 'seed', 'protocol',
        'prior', 'action_source', 'episodes', 'unsafe_episodes',
        'success_rate', 'unsafe_fraction_upper',
    ),
    'likelihood': (
        'method', 'split', 'unsafe_share_above_safe_median', 'n_safe',
        'n_unsafe', 'git_revision', 'seed', 'protocol',
        'unsafe_share_in_half_safe_bound',
    ),
    'assurance': (
        'mode', 'max_unsafe_fraction', 'confidence', 'latent_bound',
        'in_bound_unsafe_fraction', 'in_bound_unsafe_fraction_natural',
        'safe_actions_in_bound', 'n_episodes', 'git_revision', 'seed',
        'protocol', 'prior',
    ),
    'confirmation': (
        'mode', 'max_unsafe_fraction', 'latent_bound',
        'in_bound_unsafe_fraction', 'safe_actions_in_bound', 'p_value',
        'n_episodes', 'git_revision', 'seed', 'protocol', 'prior',
    ),
    'prior_rollouts': (
        'protocol', 'prior', 'task', 'latent_range', 'episodes',
        'success_rate', 'unsafe_episodes', 'steps', 'violations', 'seed',
        'git_revision', 'machine',
    ),
    'prior_sweep': (
        'protocol', 'prior', 'num_steps', 'unsafe_weight', 'optimizer',
        'learning_rate', 'split', 'exported_step', 'objective',
        'safe_log_prob', 'unsafe_log_prob',
        'unsafe_share_above_safe_median', 'auc', 'latent_auc', 'safe_kl',
        'n_safe', 'n_unsafe', 'wall_seconds', 'git_revision', 'seed',
    ),
    # What the figures need beyond the tables.
    'curves': (
        'protocol', 'task', 'method', 'variant', 'seed', 'env_steps',
        'violations', 'violations_last_1000', 'success_rate', 'git_revision',
    ),
    'histograms': (
        'protocol', 'method', 'quantity', 'unsafe', 'left', 'right', 'share',
        'git_revision', 'seed',
    ),
}
# The same of tables that are only read here.
FOREIGN = {
    # Of a full benchmark, which writes it beside the others.
    'benchmark_learning': (
        'encoder', 'version', 'seed', 'env_steps', 'success_rate',
        'git_revision',
    ),
}
_REMEDY = 'write it again from the run directory it came from.'
# Columns that hold text, even where it looks like a number.
_TEXT = frozenset((
    'protocol', 'task', 'method', 'variant', 'encoder', 'assurance_mode',
    'git_revision', 'mode', 'prior', 'action_source', 'split', 'quantity',
    'optimizer', 'version', 'machine',
))


def write(results_dir: str, name: str, rows: Iterable[Mapping]) -> None:
  """Writes a table, whole or not at all.

  Args:
    results_dir: directory of the tables.
    name: key of `COLUMNS`.
    rows: what is missing in a row, or is NaN, becomes an empty cell.
  """
  buffer = io.StringIO()
  writer = csv.writer(buffer, lineterminator='\n')
  writer.writerow(COLUMNS[name])
  for row in rows:
    writer.writerow([_text(row.get(column)) for column in COLUMNS[name]])
  files.write_text(os.path.join(results_dir, f'{name}.csv'), buffer.getvalue())


def read(results_dir: str, name: str) -> list[Row]:
  """Reads a table; none if it is missing.

  Args:
    results_dir: directory of the tables.
    name: key of `COLUMNS` or `FOREIGN`.

  Returns:
    Rows with numbers as numbers and empty cells as NaN.

  Raises:
    UserError: the file is no table, lacks a column, holds no number where one
      must be, or two rows of one agent.
  """
  path = os.path.join(results_dir, f'{name}.csv')
  if not os.path.exists(path):
    return []
  columns = (COLUMNS | FOREIGN)[name]
  try:
    with open(path, encoding='utf-8', newline='') as file:
      reader = csv.DictReader(file)
      found = list(reader)
  except (UnicodeDecodeError, csv.Error) as error:
    raise errors.UserError(
        f'{path} is no table ({error}); {_REMEDY}'
    ) from error
  missing = set(columns) - set(reader.fieldnames or ())
  if missing:
    raise errors.UserError(
        f'{path} lacks the columns {", ".join(sorted(missing))}; {_REMEDY}'
    )
  for number, row in enumerate(found, 1):
    if None in row or None in row.values():  # So csv marks them.
      raise errors.UserError(
          f'{path}, row {number} has more or fewer cells than there are '
          f'columns; {_REMEDY}'
      )
  if COLUMNS.get(name) is _RUN:
    _check_named_once([tuple(row[key] for key in AGENT) for row in found], path)
  return [
      {
          key: text if key in _TEXT else _number(text, key, path)
          for key, text in row.items()
      } for row in found
  ]


def _check_named_once(names: Sequence[tuple[str, ...]], path: str) -> None:
  counts = collections.Counter(names)
  twice = [name for name, count in counts.items() if count > 1]
  if twice:
    raise errors.UserError(
        f'{path} has {"/".join(twice[0])} more than once: means would count it '
        f'so often; {_REMEDY}'
    )


def _text(value: Any) -> str:
  if value is None or (isinstance(value, float) and math.isnan(value)):
    return ''
  if isinstance(value, float):
    return f'{value:.6g}'
  return str(value)


def _number(text: str, column: str, path: str) -> float:
  if not text:
    return float('nan')
  try:
    return int(text) if text.lstrip('-').isdigit() else float(text)
  except ValueError as error:
    raise errors.UserError(
        f'{path}, column {column}: {text!r}; expected a number as '
        'make_report writes it.'
    ) from error
