"""Summaries of the agents' rows: over seeds, and which variant is quoted."""

from __future__ import annotations

import math
from typing import Any, Iterable, Iterator, Mapping, NamedTuple, Sequence

import numpy as np

from safer_tf.evaluation import statistics
from safer_tf.evaluation import style
from safer_tf.evaluation import tables
from safer_tf.evaluation import variants


class Outcome(NamedTuple):
  """One method's variant on one task, over seeds.

  `success` is the evaluation's, `train_success` that of training's end;
  `unsafe_episodes` is the share of the evaluation's that touched the
  container; `quoted` says whether the variant is the method's better one;
  `machines` are those that its agents learnt on, where that is known.
  """

  protocol: str
  method: str
  variant: str
  task: str
  quoted: bool
  machines: tuple[str, ...]
  success: statistics.Summary
  train_success: statistics.Summary
  violations: statistics.Summary
  unsafe_episodes: statistics.Summary

  @property
  def label(self) -> str:
    """The method's name, with its variant where that is not the usual one."""
    return variants.label(self.method, self.variant)


class Line(NamedTuple):
  """One variant of a method over the tasks: a line of a table.

  `better` says whether it is the one of several that is quoted; `by_task` has
  the tasks that it was run on; `seeds` is e.g. `3` or `1-3`.
  """

  method: str
  label: str
  better: bool
  by_task: dict[str, Outcome]
  seeds: str


def lines(found: Sequence[Outcome]) -> list[Line]:
  """Outcomes of one protocol by variant, in their order."""
  kinds: dict[tuple[str, str], dict[str, Outcome]] = {}
  for q in found:
    kinds.setdefault((q.method, q.variant), {})[q.task] = q
  methods = [method for method, _ in kinds]
  return [
      Line(
          method, variants.label(method, variant),
          methods.count(method) > 1 and all(
              q.quoted for q in by_task.values()
          ), by_task,
          span(max(q.success.n, q.violations.n) for q in by_task.values()),
      ) for (method, variant), by_task in kinds.items()
  ]


def with_prior_encoder(rows: Sequence[tables.Row]) -> list[tables.Row]:
  """The rows of all agents but those of the comparison of image encoders."""
  return [
      row for row in rows
      if row['encoder'] != 'own' and row['variant'] != variants.SMALL_BATCH
  ]


def encoder_comparison(rows: Sequence[tables.Row]) -> list[tables.Row]:
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
      and row['variant'] in (variants.USUAL, variants.SMALL_BATCH)
  ] + own


def of_encoders(rows: Sequence[tables.Row]) -> list[Outcome]:
  """Summaries of what is compared, which are no variants that compete."""
  return [
      each._replace(quoted=False)
      for each in summaries(encoder_comparison(rows))
  ]


def scores(
    rows: Sequence[tables.Row], column: str, scale: float
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


def outcomes(rows: Sequence[tables.Row]) -> list[Outcome]:
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


def summaries(rows: Sequence[tables.Row]) -> list[Outcome]:
  """As `outcomes`, but of all rows."""
  found = []
  for protocol in sorted({row['protocol'] for row in rows}, reverse=True):
    ours = [row for row in rows if row['protocol'] == protocol]
    for method in sorted({row['method'] for row in ours}, key=style.order):
      by_variant = _group([r for r in ours if r['method'] == method], 'variant')
      best = _better(by_variant)
      for variant in sorted(by_variant):
        by_task = _group(by_variant[variant], 'task')
        found += [
            Outcome(
                protocol, method, variant, task, variant == best,
                _machines(by_task[task]), *_numbers(by_task[task]),
            )
            for task in sorted(by_task, key=style.task_order)
        ]
  return found


def _machines(rows: Sequence[tables.Row]) -> tuple[str, ...]:
  return tuple(sorted({row['machine'] for row in rows if row['machine']}))


def _numbers(rows: Sequence[tables.Row]) -> Iterator[statistics.Summary]:
  """The last fields of an `Outcome`, of the rows of its seeds."""
  for column in ('eval_success_rate', 'train_success_rate', 'violations'):
    yield statistics.summarise([row[column] for row in rows])
  yield statistics.summarise([
      row['eval_unsafe_episodes'] / row['eval_episodes'] for row in rows
  ])


def by_kind(
    rows: Iterable[tables.Row]
) -> dict[tuple[str, str], list[tables.Row]]:
  """Rows by method and variant, in the order of tables."""
  found: dict[tuple[str, str], list[tables.Row]] = {}
  for row in rows:
    found.setdefault((row['method'], row['variant']), []).append(row)
  return dict(sorted(
      found.items(), key=lambda item: (style.order(item[0][0]), item[0][1])
  ))


def of_all_tasks(rows: Iterable[tables.Row]) -> list[tables.Row]:
  """Evaluated rows of the methods and variants that every task has."""
  kinds = by_kind(
      row for row in rows if not math.isnan(row['eval_success_rate'])
  )
  tasks = {kind: {row['task'] for row in ours} for kind, ours in kinds.items()}
  every = set().union(*tasks.values())
  return [
      row for kind, ours in kinds.items() if tasks[kind] == every
      for row in ours
  ]


def on_common_runs(rows: Sequence[tables.Row], key: str) -> list[tables.Row]:
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


def render(rows: Sequence[tables.Row]) -> str:
  """A table for the terminal: success and violations by method and task."""
  lines = []
  header = ('Method', 'Task', 'Success', 'in training', 'Violations', 'n')
  body = [
      (
          q.label, style.task_label(q.task),
          percent(q.success), percent(q.train_success),
          count(q.violations), str(max(q.success.n, q.violations.n)),
      )
      # Of a comparison of encoders alone, that.
      for q in outcomes(rows) or summaries(rows)
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
  return _spread(summary, 100, '.1f', '%')


def count(summary: statistics.Summary) -> str:
  """E.g. `1,204 ± 90`; a dash where nothing was measured."""
  return _spread(summary, 1, ',.0f')


def _spread(
    summary: statistics.Summary, scale: float, text: str, unit: str = ''
) -> str:
  if not summary.n:
    return '–'
  told = [
      format(scale * value, text)
      for value in (summary.mean, summary.deviation) if not math.isnan(value)
  ]
  return ' ± '.join(told) + unit


def _better(by_variant: Mapping[str, Sequence[tables.Row]]) -> str:
  """Name of the variant to be quoted."""
  evaluated = {
      name: [row for row in rows if not math.isnan(row['eval_success_rate'])]
      for name, rows in by_variant.items()
  }
  common = _group(
      on_common_runs([row for rows in evaluated.values() for row in rows],
                     'variant'), 'variant',
  )
  if not common:
    return max(sorted(by_variant), key=lambda name: len(evaluated[name]))
  return max(sorted(common), key=lambda name: _merit(common[name]))


def _merit(rows: Sequence[tables.Row]) -> tuple[float, float]:
  """Mean success and negative mean violations over tasks."""
  tasks = _group(rows, 'task').values()
  success, violations = (
      statistics.summarise([
          statistics.summarise([row[column] for row in task]).mean
          for task in tasks
      ]).mean for column in ('eval_success_rate', 'violations')
  )
  return (
      -1.0 if math.isnan(success) else success,
      -math.inf if math.isnan(violations) else -violations,
  )


def _group(rows: Iterable[tables.Row], key: str) -> dict[Any, list[tables.Row]]:
  groups: dict[Any, list[tables.Row]] = {}
  for row in rows:
    groups.setdefault(row[key], []).append(row)
  return groups
