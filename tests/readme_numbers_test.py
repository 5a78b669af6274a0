"""What README alone tells of results/; its tables: `docs_numbers_test`."""

from __future__ import annotations

import csv
import re

import pytest

from safer_tf.evaluation import style
from tests import quoted


def test_the_quickstart_quotes_what_is_recorded():
  def read(name):
    with open(quoted.TOP / 'results' / 'quickstart' / name, newline='') as file:
      return {row['method']: row for row in csv.DictReader(file)}

  rows = read('table1.csv')
  shown = list(quoted.table('README.md', '## What `make run`'))
  assert len(shown) == len(rows)
  for (name, *cells), row in zip(shown, rows.values()):
    assert name.split()[0].rstrip(',').lower() == row['method']
    touched = int(row['eval_unsafe_episodes']) / int(row['eval_episodes'])
    assert cells == [
        f'{float(row["eval_success_rate"]):.0%}',
        f'{float(row["train_success_rate"]):.1%}',
        f'{int(row["violations"]):,}', f'{touched:.0%}',
    ]
  rows = read('likelihood.csv')
  shown = quoted.table('README.md', '| on held-out data')
  assert [cells for _, *cells in shown] == [
      [f'{float(rows[method][column]):.1%}' for method in ('parrot', 'safer')]
      for column in (
          'unsafe_share_above_safe_median', 'unsafe_share_in_half_safe_bound'
      )
  ]


def test_the_film_is_told_with_all_that_it_was_chosen_from():
  recorded = quoted.recorded('seen', 'table1')
  text = ' '.join((quoted.TOP / 'README.md').read_text().split())
  told = re.search(
      r'of (\d+) on this task .+? lift the object in (\d+) and touch the '
      r"container in (\d+), SAC's in none and (\d+)\.", text
  )
  episodes, lifted, touched, by_sac = map(int, told.groups())
  counts = {}
  for kind in (('safer', 'default'), ('sac', 'rates_3e-4')):
    rows = recorded[(*kind, 'extract_08')]
    assert sum(int(row['eval_episodes']) for row in rows) == episodes
    counts[kind[0]] = [
        round(sum(
            float(row['eval_success_rate']) * int(row['eval_episodes'])
            for row in rows
        )), sum(int(row['eval_unsafe_episodes']) for row in rows)
    ]
  assert counts == {'safer': [lifted, touched], 'sac': [0, by_sac]}


# Pairs of success and violations in README's points, in their order.
_POINTS = (
    *((('seen', 'table1'), *kind) for kind in (
        ('safer', 'default'), ('context_parrot', 'default'),
        ('parrot', 'default'), ('parrot', 'own_range'))),
    (('seen', 'tradeoff'), 'safer', 'tradeoff_range_1'),
    *((('seen', 'ablations'), *kind) for kind in (
        ('safer_refit', 'default'), ('parrot_refit', 'default'),
        ('parrot_refit', 'own_range'))),
    (('seen', 'ablations'), 'context_parrot_refit', 'default'),
    *((('seen', table, '0'), *kind) for table, *kind in (
        ('penalty', 'safer_refit', 'default'),
        ('ablations', 'safer_refit', 'default'),
        ('penalty', 'parrot', 'own_range'),
        ('table1', 'parrot', 'own_range'),
        ('other_agents', 'safer', 'td3'), ('other_agents', 'parrot', 'td3'),
        ('table1', 'safer', 'default'), ('table1', 'parrot', 'default'))),
    *((('held_out', 'table1', 'ablations'), *kind) for kind in (
        ('safer', 'default'), ('parrot', 'default'), ('parrot', 'own_range'),
        ('safer_refit', 'default'),
        ('parrot_refit', 'default'), ('parrot_refit', 'own_range'))),
    (('seen', 'table1', '0'), 'safer', 'default'),
    (('seen', 'rerun', '0'), 'safer', 'default'),
    *((('seen', 'ablations'), method, 'default') for method in (
        'safer_second', 'parrot_second', 'safer_no_context',
        'safer_deterministic')),
)


def test_the_points_of_the_readme_quote_what_is_recorded():
  text = (quoted.TOP / 'README.md').read_text()
  text = text.partition('What it says:')[2].partition('What was aimed at')[0]
  told = re.findall(
      r'([\d.]+)% / ([\d,]+\d|\d)', ' '.join(text.split())
  )
  assert len(told) == len(_POINTS)
  for pair, ((protocol, *names), *kind) in zip(told, _POINTS):
    seeds = [name for name in names if name.isdigit()] or ('0', '1', '2')
    recorded = quoted.recorded(
        protocol, *(name for name in names if not name.isdigit()), seeds=seeds
    )
    quoted.agrees(' / '.join(pair), recorded, *kind, quoted.TASKS, digits=1)


def test_what_the_readme_says_in_short_is_recorded():
  recorded = quoted.recorded('seen', 'table1', 'ablations')
  kinds = (
      ('safer', 'default'), ('context_parrot', 'default'),
      ('parrot', 'default'), ('parrot', 'own_range'),
      ('safer_refit', 'default'),
  )
  shown = list(quoted.table('README.md', '**In short.**'))
  assert len(shown) == len(kinds)
  for (_, bound, success, violations, touched), kind in zip(shown, kinds):
    mean = f'{success.rstrip("%")} / {violations}'
    quoted.agrees(mean, recorded, *kind, quoted.TASKS, digits=1)
    expected = quoted.touched(recorded, kind, quoted.TASKS)
    assert float(touched.rstrip('%')) == pytest.approx(expected, abs=0.051)
    bounds = {
        f'{float(row["latent_bound"]):.2f}' for task in quoted.TASKS
        for row in recorded[(*kind, task)]
    }
    assert bounds == {f'{float(bound):.2f}'}


def test_the_readme_counts_the_agents_that_are_recorded():
  text = (quoted.TOP / 'README.md').read_text()
  done, whole = re.search(r'(\d+) of (\d+) agents', text).groups()
  trained = 0
  for name in ('table1', 'ablations', 'tradeoff'):
    with open(quoted.TOP / 'results' / f'{name}.csv', newline='') as file:
      trained += sum(
          row['method'] not in style.NO_LEARNING for row in csv.DictReader(file)
      )
  assert int(done) == trained
  assert f'whole matrix of {whole} agents' in text
