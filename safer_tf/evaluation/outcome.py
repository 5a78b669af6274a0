"""The report's main tables: what the agents reached, beside the paper's."""

from __future__ import annotations

import math
from typing import Iterator

from safer_tf.evaluation import gallery
from safer_tf.evaluation import page
from safer_tf.evaluation import paper
from safer_tf.evaluation import statistics
from safer_tf.evaluation import style
from safer_tf.evaluation import tables


def outcome(table: gallery.Table) -> Iterator[str]:
  """The report's section on what the agents reached.

  Args:
    table: rows of a table by its name; none where the table is missing.

  Yields:
    Pieces of HTML.
  """
  yield page.heading('Outcome', 'outcome')
  quoted = tables.quote(table('table1'))
  if not quoted:
    yield page.left_out('Agents', 'none has been evaluated')
    return
  yield page.paragraph(
      'Success is the share of evaluation episodes in which the final greedy '
      'policy extracts the object; <i>in training</i> is the same for the '
      'training episodes of the last 5,000 steps. A violation is an '
      'environment step, anywhere in training, in which the arm touched the '
      'container. Values are mean ± standard deviation over n seeds. The '
      'variant is the better one of the method where several were run.'
  )
  for protocol in dict.fromkeys(q.protocol for q in quoted):
    ours = [q for q in quoted if q.protocol == protocol]
    yield f'<h3>{_protocol_title(protocol)}</h3>'
    yield from _compared(ours, table('table1'))
    if protocol == 'seen':
      yield from _papers_table()
  ablated = tables.quote(table('ablations'))
  if ablated:
    yield '<h3>Ablations</h3>'
    yield from _compared(ablated, table('ablations'))


def _protocol_title(protocol: str) -> str:
  return {
      'seen': 'Tasks whose offline data the prior saw (the paper’s protocol)',
      'held_out': 'Tasks that the prior never saw',
  }.get(protocol, protocol)


def _compared(
    quoted: list[tables.Quoted], rows: list[tables.Row]
) -> Iterator[str]:
  """Methods by tasks like the paper's Table 1, and the details of each."""
  tasks = sorted({q.task for q in quoted}, key=style.task_order)
  if len(tasks) == 1:
    yield _details(quoted, rows)
    return
  body: list[tuple[str, ...]] = []
  ours = []
  for method in dict.fromkeys(q.method for q in quoted):
    if method == 'safer':
      ours.append(len(body))
    by_task = {q.task: q for q in quoted if q.method == method}
    body.append((
        style.label(method),
        *(_pair([by_task[task]]) if task in by_task else '–'
          for task in tasks),
        _pair(list(by_task.values())),
    ))
  yield page.paragraph('Success % / violations, means over seeds.', 'note')
  yield page.table(
      ('', *(style.task_label(task) for task in tasks), 'mean'), body, ours
  )
  yield page.details(
      'All columns, deviations and n', _details(quoted, rows)
  )


def _pair(quoted: list[tables.Quoted]) -> str:
  """E.g. `54.4 / 1,707`: means over tasks."""
  success = statistics.summarise([q.success.mean for q in quoted])
  violations = statistics.summarise([q.violations.mean for q in quoted])
  first = f'{100 * success.mean:.1f}' if success.n else '–'
  return f'{first} / {tables.count(violations._replace(deviation=math.nan))}'


def _details(quoted: list[tables.Quoted], rows: list[tables.Row]) -> str:
  """One line for each task and method, with spreads and counts."""
  body: list[tuple[str, ...]] = []
  ours = []
  for task in sorted({q.task for q in quoted}, key=style.task_order):
    body.append((style.task_label(task),))
    for q in [q for q in quoted if q.task == task]:
      cells = [
          row for row in rows if all(
              row[key] == getattr(q, key)
              for key in ('protocol', 'method', 'variant', 'task')
          )
      ]
      if q.method == 'safer':
        ours.append(len(body))
      body.append((
          style.label(q.method), q.variant, _bound(cells),
          tables.percent(q.success), tables.percent(q.train_success),
          tables.count(q.violations), _unsafe_episodes(cells),
          str(len(cells)),
      ))
  return page.table(
      ('Method', 'variant', 'latent bound', 'success', 'in training',
       'violations', 'unsafe episodes (95% upper bound)', 'n'),
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
