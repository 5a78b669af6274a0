"""The outcome as a page in Markdown, to be read beside the code."""

from __future__ import annotations

import math
from typing import Iterator, Sequence

import numpy as np

from safer_tf.common import labels
from safer_tf.evaluation import statistics
from safer_tf.evaluation import style
from safer_tf.evaluation import summaries
from safer_tf.evaluation import tables
from safer_tf.evaluation import variants

_TITLES = {
    'table1': 'The agents of Table 1 and of new tasks',
    'ablations': 'Ablations, second priors and new flows',
}
_COLUMNS = (('eval_success_rate', 100, '.1f'), ('violations', 1, ',.0f'))
# Pairs of a table's cells: field of `Outcome`, scale, format of a task's cell
# and of the mean over tasks.
_MAIN = (('success', 100, '.0f', '.1f'), ('violations', 1, ',.0f', ',.0f'))
_BESIDE = (
    ('train_success', 100, '.0f', '.1f'), ('unsafe_episodes', 100, '.0f', '.1f')
)
_Pair = Sequence[tuple[str, int, str, str]]
_MISSING = '–'


def results(name: str, rows: Sequence[tables.Row]) -> str:
  """Every method on every task, and over all tasks.

  Args:
    name: of a table of agents, `table1` or `ablations`.
    rows: its rows.

  Returns:
    A page of three tables for each protocol.
  """
  lines = [
      f'# {_TITLES[name]}', '',
      'Success of the final greedy policy in % / violations in training; means '
      'over seeds ± sample standard deviations. Where a method was run in '
      'several variants, * marks the better one by success, then by '
      'violations, over the tasks and seeds that all of them have. Made from '
      f'`{name}.csv` by `make_report`.',
  ]
  found = summaries.outcomes(rows)
  for protocol in dict.fromkeys(outcome.protocol for outcome in found):
    ours = [each for each in found if each.protocol == protocol]
    kept = [
        row for row in summaries.with_prior_encoder(rows)
        if row['protocol'] == protocol
    ]
    lines += [
        '', f'## {protocol}', '', *_by_task(ours, _MAIN), '',
        'Success in training, in the episodes of its last '
        f'{labels.SUCCESS_WINDOW:,} steps, in % / '
        'evaluation episodes in which the final policy was unsafe, in %.', '',
        *_by_task(ours, _BESIDE), '', *_over_all(kept),
    ]
  if summaries.encoder_comparison(rows):
    lines += [
        '', '## Image encoders of the policies\' own', '',
        'Own encoders learn from batches of 64 transitions, *prior batch 64* '
        'from the prior\'s embedding at the same, the usual rows at 128.', '',
        *_by_task(summaries.of_encoders(rows), _MAIN),
    ]
  return '\n'.join(lines) + '\n'


def _by_task(
    found: Sequence[summaries.Outcome], pair: _Pair
) -> Iterator[str]:
  tasks = sorted({each.task for each in found}, key=style.task_order)
  yield _row('', *map(style.task_label, tasks), 'mean', 'seeds', 'machine')
  yield _row(*['---'] * (len(tasks) + 4))
  for line in summaries.lines(found):
    ours = line.by_task
    cells = [_cell(ours[task], pair) if task in ours else '' for task in tasks]
    mean = ''
    if len(ours) == len(tasks):
      mean = ' / '.join(
          _number(scale * np.mean([
              getattr(each, name).mean for each in ours.values()
          ]), text)
          for name, scale, _, text in pair
      )
    yield _row(
        line.label + '*' * line.better, *cells, mean, line.seeds,
        ', '.join(sorted({m for each in ours.values() for m in each.machines})),
    )


def _over_all(rows: Sequence[tables.Row]) -> Iterator[str]:
  """Interquartile means of what was run on every task."""
  yield 'Interquartile means over tasks and seeds, with 95% stratified'
  yield 'bootstrap intervals where each task has two seeds or more. They are of'
  yield 'the agents of one prior; with three seeds they cover about 85%.'
  yield ''
  yield _row('', 'success (%)', 'violations')
  yield _row(*['---'] * 3)
  for kind, ours in summaries.by_kind(summaries.of_all_tasks(rows)).items():
    yield _row(variants.label(*kind), *(
        _interquartile(ours, *column) for column in _COLUMNS
    ))


def _interquartile(
    rows: Sequence[tables.Row], column: str, scale: float, text: str
) -> str:
  scores = summaries.scores(rows, column, scale)
  if not scores:
    return _MISSING
  mean = _number(statistics.interquartile_mean(scores), text)
  if min(map(len, scores)) < 2:
    return mean
  low, high = statistics.bootstrap_interval(scores)
  return f'{mean} [{_number(low, text)}, {_number(high, text)}]'


def _cell(outcome: summaries.Outcome, pair: _Pair) -> str:
  parts = []
  for name, scale, text, _ in pair:
    found = getattr(outcome, name)
    part = _number(scale * found.mean, text)
    if not math.isnan(found.deviation):
      part += f' ± {_number(scale * found.deviation, text)}'
    parts.append(part)
  return ' / '.join(parts)


def _number(value: float, text: str) -> str:
  return _MISSING if math.isnan(value) else format(value, text)


def _row(*cells: str) -> str:
  return f'| {" | ".join(cells)} |'
