"""What pages tell of results/, and what is recorded there."""

from __future__ import annotations

import collections
import csv
import pathlib
import re
import statistics

from safer_tf.evaluation import style

TOP = pathlib.Path(__file__).resolve().parent.parent
# The evaluation tasks in Table 1's order.
TASKS = (
    'extract_08', 'extract_15', 'extract_13', 'extract_06', 'extract_25',
    'extract_36')


# Of what was run again, on several machines, tables and points tell this one's.
_MACHINE = {'rerun': 'Intel'}


def recorded(protocol, *names, seeds=('0', '1', '2')):
  """Rows of tables of results/ by method, variant and task."""
  found = collections.defaultdict(list)
  for name in names:
    with open(TOP / 'results' / f'{name}.csv', newline='') as file:
      for row in csv.DictReader(file):
        if row['protocol'] == protocol and row['seed'] in seeds and (
            row['machine'].startswith(_MACHINE.get(name, ''))
        ):
          found[row['method'], row['variant'], row['task']].append(row)
  return found


def table(path, heading):
  """Rows, without marks, of the first table below a line of a page."""
  text = (TOP / path).read_text().split(heading, 1)[1]
  lines = [line.strip() for line in text.splitlines()]  # Some are in a list.
  begin = next(n for n, line in enumerate(lines) if line.startswith('|---'))
  for line in lines[begin + 1:]:
    if not line.startswith('|'):
      return
    yield [
        re.sub(r'\\\*|\*\*', '', cell).strip()
        for cell in line.strip('|').split(' | ')
    ]


def _value(row, column):
  return 100 * float(row[column]) if 'rate' in column else float(row[column])


def agrees(text, recorded, method, variant, tasks, digits=0):
  """Asserts that `success / violations` is what was recorded.

  Means over tasks of means over seeds; after each, where it is told, ± the
  seeds' standard deviation of the mean over tasks.
  """
  rows = [recorded[method, variant, task] for task in tasks]
  parts = text.split(' / ')
  assert len(parts) == 2, (method, variant, text)
  for told, column, places in zip(
      parts, ('eval_success_rate', 'violations'), (digits, 0)
  ):
    if told == '–':
      assert method in style.NO_LEARNING
      continue
    expected = [statistics.fmean(
        statistics.fmean(_value(row, column) for row in of_task)
        for of_task in rows
    )]
    if '±' in told:
      seeds = collections.defaultdict(list)
      for row in (row for of_task in rows for row in of_task):
        seeds[row['seed']].append(_value(row, column))
      expected.append(statistics.stdev(map(statistics.fmean, seeds.values())))
    numbers = told.split(' ± ')
    assert len(numbers) == len(expected)
    for shown, number in zip(numbers, expected):
      error = abs(float(shown.replace(',', '')) - number)
      assert error <= 0.5 * 10**-places + 1e-9, (method, variant, text, number)


def touched(recorded, kind, tasks=TASKS):
  """Share in % of the evaluation episodes, on all tasks, with contact."""
  return statistics.fmean(
      100 * float(row['eval_unsafe_episodes']) / float(row['eval_episodes'])
      for task in tasks for row in recorded[(*kind, task)]
  )
