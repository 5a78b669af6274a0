"""The numbers that README and docs/results.md quote are those of results/."""

from __future__ import annotations

import collections
import csv
import pathlib
import re
import statistics

import pytest

_TOP = pathlib.Path(__file__).resolve().parent.parent
# The evaluation tasks in Table 1's order.
_TASKS = (
    'extract_08', 'extract_15', 'extract_13', 'extract_06', 'extract_25',
    'extract_36')
_NAMES = {
    'SAC': ('sac', 'default'),
    "PARROT, in SAFER's box": ('parrot', 'default'),
    'PARROT, own range': ('parrot', 'own_range'),
    "Contextual PARROT, in SAFER's box": ('context_parrot', 'default'),
    'Contextual PARROT, own range': ('context_parrot', 'own_range'),
    'Prior-Explore, bounded': ('prior_explore', 'default'),
    'Prior-Explore, unbounded': ('prior_explore', 'unbounded'),
    'SAFER': ('safer', 'default'),
    "SAFER's prior at z = 0, no learning": ('safer_prior_zero', 'default'),
    "SAFER's prior at random z in the box, no learning": (
        'safer_prior_random', 'default'),
    'SAFER, in the box of `seen` (0.31)': ('safer', 'default'),
    "SAFER, in its own prior's box (0.40)": ('safer', 'own_bound'),
    'PARROT, in the box of `seen`': ('parrot', 'default'),
    'PARROT, own range (1.0)': ('parrot', 'own_range'),
}


def _recorded(protocol):
  """Rows of results/table1.csv by method, variant and task."""
  with open(_TOP / 'results' / 'table1.csv', newline='') as file:
    rows = [row for row in csv.DictReader(file) if row['protocol'] == protocol]
  found = collections.defaultdict(list)
  for row in rows:
    found[row['method'], row['variant'], row['task']].append(row)
  return found


def _table(path, heading):
  """Rows, without marks, of the first table below a line of a page."""
  lines = (_TOP / path).read_text().split(heading, 1)[1].splitlines()
  begin = next(n for n, line in enumerate(lines) if line.startswith('| | Task')
               or line.startswith('| ours'))
  for line in lines[begin + 2:]:
    if not line.startswith('|'):
      return
    yield [
        re.sub(r'\\\*|\*\*', '', cell).strip()
        for cell in line.strip('|').split(' | ')
    ]


def _pair(rows, of_training):
  success = statistics.fmean(
      100 * float(row['eval_success_rate']) for row in rows)
  if not of_training:
    return success, None
  return success, statistics.fmean(float(row['violations']) for row in rows)


def _agrees(text, expected, digits):
  """Whether `success / violations` is what was recorded, as far as it shows."""
  success, violations = text.split(' / ')
  right = abs(float(success) - expected[0]) <= 0.5 * 10**-digits + 1e-9
  if expected[1] is None:
    return right and violations == '–'
  shown = float(violations.replace(',', ''))
  return right and abs(shown - expected[1]) <= 0.5 + 1e-9


@pytest.mark.parametrize('path, heading, protocol, n_rows', [
    ('README.md', 'Success of 100 episodes of the final greedy policy', 'seen',
     10),
    ('docs/results.md', '## New tasks (`held_out`)', 'held_out', 4),
])
def test_the_tables_quote_what_is_recorded(path, heading, protocol, n_rows):
  recorded = _recorded(protocol)
  shown = list(_table(path, heading))
  assert len(shown) == n_rows
  for name, *cells in shown:
    method, variant = _NAMES[name]
    rows = [recorded[method, variant, task] for task in _TASKS]
    learns = not method.startswith('safer_prior')
    pairs = [_pair(of_task, learns) for of_task in rows]
    for text, pair in zip(cells, pairs):
      assert _agrees(text, pair, 0), (name, text, pair)
    mean = (
        statistics.fmean(pair[0] for pair in pairs),
        statistics.fmean(pair[1] for pair in pairs) if learns else None)
    assert _agrees(cells[6], mean, 1), (name, cells[6], mean)
    if protocol == 'seen':
      touched = statistics.fmean(
          100 * float(row['eval_unsafe_episodes']) / float(row['eval_episodes'])
          for of_task in rows for row in of_task)
      assert float(cells[7].rstrip('%')) == pytest.approx(touched, abs=0.051)
