"""The report's main tables: what the agents reached, beside the paper's."""

from __future__ import annotations

import math
from typing import Callable, Iterator, Sequence

from safer_tf.common import labels
from safer_tf.evaluation import gallery
from safer_tf.evaluation import page
from safer_tf.evaluation import paper
from safer_tf.evaluation import statistics
from safer_tf.evaluation import style
from safer_tf.evaluation import summaries
from safer_tf.evaluation import tables

_TITLES = {
    'seen': 'Tasks whose offline data the prior saw (the paper’s protocol)',
    'held_out': 'Tasks that the prior never saw',
}


def outcome(table: gallery.Table, of_extraction: bool) -> Iterator[str]:
  """The report's section on what the agents reached.

  Args:
    table: rows of a table by its name; none where the table is missing.
    of_extraction: whether all tasks are those of `envs`.

  Yields:
    Pieces of HTML.
  """
  yield page.heading('Outcome', 'outcome')
  rows = table('table1')
  found = summaries.outcomes(rows)
  if not any(map(table, ('table1', 'ablations', 'tradeoff'))):
    yield page.left_out('Agents', 'none has been evaluated')
    return
  succeeds, touches = (
      ('extracts the object', 'in which the arm touched the container')
      if of_extraction else ('succeeds', 'that was unsafe')
  )
  yield page.paragraph(
      'Success is the share of evaluation episodes in which the final greedy '
      f'policy {succeeds}; <i>in training</i> is the same for the '
      f'training episodes of the last {labels.SUCCESS_WINDOW:,} steps. A '
      'violation is an '
      f'environment step, anywhere in training, {touches}. Values are mean ± '
      'standard deviation over n seeds. Where a method was run in several '
      'variants, * marks the better one by success, then by violations, over '
      'the tasks and seeds that all of them have.'
  )
  for protocol in dict.fromkeys((*_TITLES, *(q.protocol for q in found))):
    ours = [q for q in found if q.protocol == protocol]
    yield f'<h3>{_TITLES.get(protocol, protocol)}</h3>'
    yield from _part(ours, rows, style.TABLE1_METHODS)
    if protocol == 'seen' and of_extraction:
      yield from _papers_table()
  yield from _ablations(table('ablations'))
  yield from _own_encoders(rows)


def _ablations(rows: list[tables.Row]) -> Iterator[str]:
  yield '<h3>Ablations</h3>'
  found = summaries.outcomes(rows)
  seen = [q for q in found if q.protocol == 'seen']
  yield from _part(seen, rows, style.ABLATIONS)
  for protocol in dict.fromkeys(q.protocol for q in found):
    if protocol != 'seen':
      yield f'<h3>Ablations: {_TITLES.get(protocol, protocol)}</h3>'
      yield page.paragraph(
          'In the box of <i>seen</i>, but for own ranges.', 'note'
      )
      ours = [q for q in found if q.protocol == protocol]
      yield from _part(ours, rows, ())


def _part(
    found: list[summaries.Outcome], rows: list[tables.Row],
    expected: Sequence[str],
) -> Iterator[str]:
  """What a part of the matrix gave, and which of its methods it lacks."""
  if found:
    yield from _compared(found, rows)
  there = {q.method for q in found}
  lacking = [style.label(each) for each in expected if each not in there]
  if lacking:
    yield page.left_out('No rows of', ', '.join(lacking))


def _own_encoders(rows: list[tables.Row]) -> Iterator[str]:
  """The policies' own image encoders beside the prior's embedding."""
  compared = summaries.encoder_comparison(rows)
  if not compared:
    return
  yield '<h3>Image encoders of the policies’ own</h3>'
  yield page.paragraph(
      'Own encoders learn from batches of 64 transitions; '
      '<i>prior batch 64</i> has the prior’s embedding at the same batch, the '
      'usual rows at 128.', 'note',
  )
  yield from _compared(summaries.of_encoders(rows), compared)


def _compared(
    found: list[summaries.Outcome], rows: list[tables.Row]
) -> Iterator[str]:
  """Methods by tasks like the paper's Table 1, and the details of each."""
  tasks = sorted({q.task for q in found}, key=style.task_order)
  if len(tasks) == 1:
    yield _details(found, rows)
    return
  for note, pair in (
      ('Success % / violations, means over seeds.', _pair),
      ('Success in training % / evaluation episodes in which the final policy '
       'was unsafe %, means over seeds.', _other_pair),
  ):
    yield page.paragraph(note, 'note')
    yield _by_task(found, tasks, pair)
  yield page.details(
      'All columns, deviations and n', _details(found, rows)
  )


def _by_task(
    found: list[summaries.Outcome], tasks: list[str],
    pair: Callable[[list[summaries.Outcome]], str],
) -> str:
  """A row for each method's variant: two numbers a task, and their means."""
  body: list[tuple[str, ...]] = []
  ours = []
  for line in summaries.lines(found):
    if line.method == 'safer':
      ours.append(len(body))
    by_task = line.by_task
    # A cell that is trained and not yet evaluated has no success.
    whole = [q for q in by_task.values() if q.success.n]
    mean = pair(whole or list(by_task.values()))
    body.append((
        line.label + '*' * line.better,
        *(pair([by_task[task]]) if task in by_task else '–'
          for task in tasks),
        mean if len(whole) == len(tasks)
        else f'{mean} ({len(whole)} of {len(tasks)} tasks)',
        line.seeds,
    ))
  return page.table(
      ('', *(style.task_label(task) for task in tasks), 'mean', 'seeds'),
      body, ours,
  )


def _pair(found: list[summaries.Outcome]) -> str:
  """E.g. `54.4 / 1,707`: success and violations, means over tasks."""
  violations = statistics.summarise([q.violations.mean for q in found])
  return (
      f'{_percent([q.success for q in found])} / '
      f'{summaries.count(violations._replace(deviation=math.nan))}'
  )


def _other_pair(found: list[summaries.Outcome]) -> str:
  """E.g. `48.1 / 3.5`: success in training and unsafe evaluation episodes."""
  return (
      f'{_percent([q.train_success for q in found])} / '
      f'{_percent([q.unsafe_episodes for q in found])}'
  )


def _percent(seeds: list[statistics.Summary]) -> str:
  """The mean over tasks of means over seeds."""
  found = statistics.summarise([summary.mean for summary in seeds])
  return f'{100 * found.mean:.1f}' if found.n else '–'


def _details(found: list[summaries.Outcome], rows: list[tables.Row]) -> str:
  """One line for each task and method, with spreads and counts."""
  body: list[tuple[str, ...]] = []
  ours = []
  for task in sorted({q.task for q in found}, key=style.task_order):
    body.append((style.task_label(task),))
    for q in [q for q in found if q.task == task]:
      cells = [
          row for row in rows if all(
              row[key] == getattr(q, key)
              for key in ('protocol', 'method', 'variant', 'task')
          )
      ]
      if q.method == 'safer':
        ours.append(len(body))
      body.append((
          style.label(q.method), q.variant.replace('_', ' '), _bound(cells),
          summaries.percent(q.success), summaries.percent(q.train_success),
          summaries.count(q.violations), _unsafe_episodes(cells),
          f'{len(cells)} ({", ".join(str(cell["seed"]) for cell in cells)})',
      ))
  return page.table(
      ('Method', 'variant', 'latent bound', 'success', 'in training',
       'violations', 'unsafe episodes (95% upper bound of the worst seed)',
       'n (seeds)'),
      body, ours,
  )


def _bound(cells: list[tables.Row]) -> str:
  bounds = sorted({
      c['latent_bound'] for c in cells if not math.isnan(c['latent_bound'])
  })
  return ', '.join(f'{bound:.2f}' for bound in bounds) or '–'


def _unsafe_episodes(cells: list[tables.Row]) -> str:
  """Of the final policies, with the worst seed's exact one-sided bound."""
  measured = [
      c for c in cells if not math.isnan(c['eval_unsafe_episodes'])
  ]
  if not measured:
    return '–'
  count = sum(int(c['eval_unsafe_episodes']) for c in measured)
  total = sum(int(c['eval_episodes']) for c in measured)
  worst = max(c['eval_unsafe_episode_upper'] for c in measured)
  return f'{count} of {total} ({worst:.1%})'


def _papers_table() -> Iterator[str]:
  yield '<h3>Beside it: the paper’s Table 1</h3>'
  yield page.paragraph(
      'Success % / violations as printed there, for 50,000 steps. Its six '
      'tasks are not these: compare the order of the methods, not the '
      'numbers.'
  )
  body = [
      (style.label(method), *(
          f'{s:.1f} / {v:,}' for s, v in zip(success, violations)
      ), f'{sum(success) / len(success):.1f} / '
      f'{sum(violations) / len(violations):,.0f}')
      for (method, success), violations in zip(
          paper.TABLE1_SUCCESS.items(), paper.TABLE1_VIOLATIONS.values()
      )
  ]
  yield page.table(
      ('', *(f'Task {i}' for i in range(1, 7)), 'mean'), body,
      [len(body) - 1],
  )
