"""The result tables: their columns, reading, writing, and summaries."""

from __future__ import annotations

import csv
import io
import math
import os
from typing import Any, Iterable, Iterator, Mapping, NamedTuple, Sequence

import numpy as np

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.evaluation import statistics
from safer_tf.evaluation import style

Row = dict[str, Any]

USUAL = 'default'  # Variant without a name of its own.
# The prior's embedding at the own encoders' batch, for comparison with them.
SMALL_BATCH = 'prior_batch_64'
# Split of `likelihood`: test episodes of tasks the prior was not trained on.
NEW_TASKS = 'test_new_tasks'

_RUN = (
    'protocol', 'task', 'method', 'encoder', 'max_unsafe_fraction',
    'assurance_mode', 'latent_bound', 'seed', 'env_steps',
    'train_success_rate', 'eval_success_rate', 'eval_episodes', 'violations',
    'clip_rate', 'wall_seconds', 'git_revision', 'variant', 'eval_return',
    'eval_steps', 'eval_violations', 'eval_unsafe_episodes',
    'eval_unsafe_episode_upper',
)
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
    ),
}
# Columns that hold text, even where it looks like a number.
_TEXT = frozenset((
    'protocol', 'task', 'method', 'variant', 'encoder', 'assurance_mode',
    'git_revision', 'mode', 'prior', 'action_source', 'split', 'quantity',
    'optimizer', 'version',
))


class Outcome(NamedTuple):
  """One method's variant on one task, over seeds.

  `success` is the evaluation's, `train_success` that of training's end;
  `unsafe_episodes` is the share of the evaluation's that touched the
  container; `quoted` says whether the variant is the method's better one.
  """

  protocol: str
  method: str
  variant: str
  task: str
  quoted: bool
  success: statistics.Summary
  train_success: statistics.Summary
  violations: statistics.Summary
  unsafe_episodes: statistics.Summary

  @property
  def label(self) -> str:
    """The method's name, with its variant where that is not the usual one."""
    return label(self.method, self.variant)


def label(method: str, variant: str) -> str:
  """A method's name, with its variant where that is not the usual one."""
  name = style.label(method)
  return name if variant == USUAL else (
      f'{name} ({variant.replace("_", " ")})'
  )


def with_prior_encoder(rows: Sequence[Row]) -> list[Row]:
  """The rows of all agents but those of the comparison of image encoders."""
  return [
      row for row in rows
      if row['encoder'] != 'own' and row['variant'] != SMALL_BATCH
  ]


def encoder_comparison(rows: Sequence[Row]) -> list[Row]:
  """Agents with image encoders of their own, and those to hold beside them.

  Args:
    rows: rows of `table1`.

  Returns:
    Rows of own encoders, and of the prior's embedding, at both batches, on the
    same tasks with the same methods; none where there is no own encoder.
  """
  own = [row for row in rows if row['encoder'] == 'own']
  cells = {(row['task'], row['method']) for row in own}
  return [
      row for row in rows if (row['task'], row['method']) in cells
      and row['encoder'] == 'prior' and row['protocol'] == 'seen'
      and row['variant'] in (USUAL, SMALL_BATCH)
  ] + own


def scores(
    rows: Sequence[Row], column: str, scale: float
) -> list[np.ndarray]:
  """One array of runs for each task.

  Args:
    rows: rows of one method's variant.
    column: of them.
    scale: factor on its values.

  Returns:
    The finite values, by task; tasks without any are left out.
  """
  found = [
      scale * np.array([
          row[column] for row in task if np.isfinite(row[column])
      ]) for _, task in sorted(_group(rows, 'task').items())
  ]
  return [each for each in found if each.size]


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
    UserError: the file lacks a column.
  """
  path = os.path.join(results_dir, f'{name}.csv')
  if not os.path.exists(path):
    return []
  with open(path, encoding='utf-8', newline='') as file:
    reader = csv.DictReader(file)
    columns = (COLUMNS | FOREIGN)[name]
    missing = set(columns) - set(reader.fieldnames or ())
    if missing:
      raise errors.UserError(
          f'{path} lacks the columns {", ".join(sorted(missing))}; write it '
          'again from the run directory it came from.'
      )
    return [
        {
            key: text if key in _TEXT else _number(text)
            for key, text in row.items()
        } for row in reader
    ]


def outcomes(rows: Sequence[Row]) -> list[Outcome]:
  """Summaries over seeds of every variant of every method.

  The better variant of a method, which figures quote, has the higher mean
  success over the tasks and seeds that all its variants have been run on, then
  fewer violations; one variant is quoted for all tasks. The comparison of
  image encoders is another experiment and left out.

  Args:
    rows: rows of `table1` or `ablations`.

  Returns:
    One entry for each protocol, method, variant and task, in the order of
    tables.
  """
  return summaries(with_prior_encoder(rows))


def summaries(rows: Sequence[Row]) -> list[Outcome]:
  """As `outcomes`, but of all rows."""
  found = []
  for protocol in sorted({row['protocol'] for row in rows}, reverse=True):
    ours = [row for row in rows if row['protocol'] == protocol]
    for method in sorted({row['method'] for row in ours}, key=style.order):
      variants = _group([r for r in ours if r['method'] == method], 'variant')
      best = _better(variants)
      for variant in sorted(variants):
        by_task = _group(variants[variant], 'task')
        found += [
            Outcome(
                protocol, method, variant, task, variant == best,
                *_numbers(by_task[task]),
            )
            for task in sorted(by_task, key=style.task_order)
        ]
  return found


def _numbers(rows: Sequence[Row]) -> Iterator[statistics.Summary]:
  """The last fields of an `Outcome`, of the rows of its seeds."""
  for column in ('eval_success_rate', 'train_success_rate', 'violations'):
    yield statistics.summarise([row[column] for row in rows])
  yield statistics.summarise([
      row['eval_unsafe_episodes'] / row['eval_episodes'] for row in rows
  ])


def on_common_runs(rows: Sequence[Row], key: str) -> list[Row]:
  """The rows of the tasks and seeds that all that is compared has.

  Args:
    rows: of agents.
    key: column that tells what is compared, e.g. `method`.

  Returns:
    Those of the rows; none if nothing is common.
  """
  runs = [
      {(row['task'], row['seed']) for row in group}
      for group in _group(rows, key).values()
  ]
  common = set.intersection(*runs) if runs else set()
  return [row for row in rows if (row['task'], row['seed']) in common]


def render(rows: Sequence[Row]) -> str:
  """A table for the terminal: success and violations by method and task."""
  lines = []
  header = ('Method', 'Task', 'Success', 'in training', 'Violations', 'n')
  body = [
      (
          q.label, style.task_label(q.task),
          percent(q.success), percent(q.train_success),
          count(q.violations), str(max(q.success.n, q.violations.n)),
      )
      for q in outcomes(rows)
  ]
  widths = [max(map(len, column)) for column in zip(header, *body)]
  for row in (header, tuple('-' * width for width in widths), *body):
    cells = [
        text.ljust(width) if i < 2 else text.rjust(width)
        for i, (text, width) in enumerate(zip(row, widths))
    ]
    lines.append('  '.join(cells).rstrip())
  return '\n'.join(lines)


def span(counts: Iterable[int]) -> str:
  """E.g. `3`, or `1-3` where they differ."""
  least, *_, most = sorted(counts) * 2
  return str(least) if least == most else f'{least}-{most}'


def percent(summary: statistics.Summary) -> str:
  """E.g. `54.3 ± 2.1%`; a dash where nothing was measured."""
  if not summary.n:
    return '–'
  if math.isnan(summary.deviation):
    return f'{100 * summary.mean:.1f}%'
  return f'{100 * summary.mean:.1f} ± {100 * summary.deviation:.1f}%'


def count(summary: statistics.Summary) -> str:
  """E.g. `1,204 ± 90`; a dash where nothing was measured."""
  if not summary.n:
    return '–'
  if math.isnan(summary.deviation):
    return f'{summary.mean:,.0f}'
  return f'{summary.mean:,.0f} ± {summary.deviation:,.0f}'


def _better(variants: Mapping[str, Sequence[Row]]) -> str:
  """Name of the variant to be quoted."""
  evaluated = {
      name: [row for row in rows if not math.isnan(row['eval_success_rate'])]
      for name, rows in variants.items()
  }
  common = _group(
      on_common_runs([row for rows in evaluated.values() for row in rows],
                     'variant'), 'variant',
  )
  if not common:
    return max(sorted(variants), key=lambda name: len(evaluated[name]))
  return max(sorted(common), key=lambda name: _merit(common[name]))


def _merit(rows: Sequence[Row]) -> tuple[float, float]:
  """Mean success and negative mean violations over tasks."""
  tasks = _group(rows, 'task').values()
  success = statistics.summarise([
      statistics.summarise([row['eval_success_rate'] for row in task]).mean
      for task in tasks
  ]).mean
  violations = statistics.summarise([row['violations'] for row in rows]).mean
  return (
      -1.0 if math.isnan(success) else success,
      -math.inf if math.isnan(violations) else -violations,
  )


def _group(rows: Iterable[Row], key: str) -> dict[Any, list[Row]]:
  groups: dict[Any, list[Row]] = {}
  for row in rows:
    groups.setdefault(row[key], []).append(row)
  return groups


def _text(value: Any) -> str:
  if value is None or (isinstance(value, float) and math.isnan(value)):
    return ''
  if isinstance(value, float):
    return f'{value:.6g}'
  return str(value)


def _number(text: str) -> float:
  if not text:
    return float('nan')
  return int(text) if text.lstrip('-').isdigit() else float(text)
