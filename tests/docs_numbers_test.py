"""The numbers that README and docs/ tell are those of results/ and priors/."""

from __future__ import annotations

import collections
import csv
import json
import pathlib
import re
import statistics

import pytest

from safer_tf.evaluation import style

_TOP = pathlib.Path(__file__).resolve().parent.parent
# The evaluation tasks in Table 1's order.
_TASKS = (
    'extract_08', 'extract_15', 'extract_13', 'extract_06', 'extract_25',
    'extract_36')
_NAMES = {
    'SAC': ('sac', 'default'),
    'SAC, rates of 3e-4': ('sac', 'rates_3e-4'),
    "PARROT, in SAFER's box": ('parrot', 'default'),
    'PARROT, own range': ('parrot', 'own_range'),
    "Contextual PARROT, in SAFER's box": ('context_parrot', 'default'),
    'Contextual PARROT, own range': ('context_parrot', 'own_range'),
    'Prior-Explore, bounded': ('prior_explore', 'default'),
    'Prior-Explore, unbounded': ('prior_explore', 'unbounded'),
    'SAFER': ('safer', 'default'),
    'SAFER, new flow': ('safer_refit', 'default'),
    "PARROT, new flow, in that flow's box": ('parrot_refit', 'default'),
    'PARROT, new flow, own range': ('parrot_refit', 'own_range'),
    "SAFER's new flow at z = 0, no learning": (
        'safer_refit_prior_zero', 'default'),
    "SAFER's new flow at random z in its box, no learning": (
        'safer_refit_prior_random', 'default'),
    "SAFER's prior at z = 0, no learning": ('safer_prior_zero', 'default'),
    "SAFER's prior at random z in the box, no learning": (
        'safer_prior_random', 'default'),
    'SAFER, in the box of `seen` (0.31)': ('safer', 'default'),
    "SAFER, in its own prior's box (0.40)": ('safer', 'own_bound'),
    'PARROT, in the box of `seen`': ('parrot', 'default'),
    'PARROT, own range (1.0)': ('parrot', 'own_range'),
    "PARROT, in the `held_out` SAFER's box (0.40)": ('parrot', 'own_bound'),
    'Contextual PARROT, in the box of `seen`': ('context_parrot', 'default'),
    'Contextual PARROT, own range (1.0)': ('context_parrot', 'own_range'),
}


# Of what was run again, on several machines, tables and points tell this one's.
_MACHINE = {'rerun': 'Intel'}


def _recorded(protocol, *names, seeds=('0', '1', '2')):
  """Rows of tables of results/ by method, variant and task."""
  found = collections.defaultdict(list)
  for name in names:
    with open(_TOP / 'results' / f'{name}.csv', newline='') as file:
      for row in csv.DictReader(file):
        if row['protocol'] == protocol and row['seed'] in seeds and (
            row['machine'].startswith(_MACHINE.get(name, ''))
        ):
          found[row['method'], row['variant'], row['task']].append(row)
  return found


def _table(path, heading):
  """Rows, without marks, of the first table below a line of a page."""
  text = (_TOP / path).read_text().split(heading, 1)[1]
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


def _agrees(text, recorded, method, variant, tasks, digits=0):
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


@pytest.mark.parametrize('path, heading, protocol, n_rows', [
    ('README.md', 'final policy touched the container:', 'seen', 14),
    ('docs/results.md', '## New tasks (`held_out`)', 'held_out', 10),
])
def test_the_tables_quote_what_is_recorded(path, heading, protocol, n_rows):
  recorded = _recorded(protocol, 'table1', 'ablations')
  shown = list(_table(path, heading))
  assert len(shown) == n_rows
  for name, *cells in shown:
    kind = _NAMES[name]
    for text, task in zip(cells, _TASKS):
      _agrees(text, recorded, *kind, [task])
    _agrees(cells[6], recorded, *kind, _TASKS, digits=1)
    seeds = {row['seed'] for task in _TASKS for row in recorded[(*kind, task)]}
    assert ('±' in cells[6]) == (len(seeds) > 1)
    assert cells[8:] in ([], [str(len(seeds))])
    told = float(cells[7].rstrip('%'))
    assert told == pytest.approx(_touched(recorded, kind), abs=0.051)


def test_the_quickstart_quotes_what_is_recorded():
  def read(name):
    with open(_TOP / 'results' / 'quickstart' / name, newline='') as file:
      return {row['method']: row for row in csv.DictReader(file)}

  rows = read('table1.csv')
  shown = list(_table('README.md', '## What `make run`'))
  assert len(shown) == len(rows)
  for (name, final, training, violations), row in zip(shown, rows.values()):
    assert name.split()[0].rstrip(',').lower() == row['method']
    assert final == f'{float(row["eval_success_rate"]):.0%}'
    assert training == f'{float(row["train_success_rate"]):.1%}'
    assert violations == f'{int(row["violations"]):,}'
  rows = read('likelihood.csv')
  assert [cells for _, *cells in _table('README.md', '| on held-out data')] == [
      [f'{float(rows[method][column]):.1%}' for method in ('parrot', 'safer')]
      for column in (
          'unsafe_share_above_safe_median', 'unsafe_share_in_half_safe_bound'
      )
  ]


# Pairs of success and violations in README's points, in their order.
_POINTS = (
    *((('seen', 'table1'), *kind) for kind in (
        ('safer', 'default'), ('context_parrot', 'default'),
        ('parrot', 'default'), ('parrot', 'own_range'))),
    (('seen', 'tradeoff'), 'safer', 'tradeoff_range_1'),
    *((('seen', 'ablations'), *kind) for kind in (
        ('safer_refit', 'default'), ('parrot_refit', 'default'),
        ('parrot_refit', 'own_range'))),
    (('seen', 'ablations', '0'), 'context_parrot_refit', 'default'),
    (('seen', 'ablations', '0'), 'safer_refit', 'default'),
    *((('held_out', 'table1', 'ablations'), *kind) for kind in (
        ('safer', 'default'), ('parrot', 'default'), ('parrot', 'own_range'),
        ('safer_refit', 'default'),
        ('parrot_refit', 'default'), ('parrot_refit', 'own_range'))),
    (('seen', 'table1', '0'), 'safer', 'default'),
    (('seen', 'rerun', '0'), 'safer', 'default'),
    *((('seen', 'ablations'), method, 'default') for method in (
        'safer_second', 'safer_no_context', 'safer_deterministic')),
)


def test_the_points_of_the_readme_quote_what_is_recorded():
  text = (_TOP / 'README.md').read_text()
  text = text.partition('What it says:')[2].partition('What was aimed at')[0]
  told = re.findall(
      r'([\d.]+)% (?:/|with|success with) ([\d,]+\d|\d)', ' '.join(text.split())
  )
  assert len(told) == len(_POINTS)
  for pair, ((protocol, *names), *kind) in zip(told, _POINTS):
    seeds = [name for name in names if name.isdigit()] or ('0', '1', '2')
    recorded = _recorded(
        protocol, *(name for name in names if not name.isdigit()), seeds=seeds
    )
    _agrees(' / '.join(pair), recorded, *kind, _TASKS, digits=1)


def test_the_readme_counts_the_agents_that_are_recorded():
  text = (_TOP / 'README.md').read_text()
  done, whole = re.search(r'(\d+) of (\d+) agents', text).groups()
  trained = 0
  for name in ('table1', 'ablations', 'tradeoff'):
    with open(_TOP / 'results' / f'{name}.csv', newline='') as file:
      trained += sum(
          row['method'] not in style.NO_LEARNING for row in csv.DictReader(file)
      )
  assert int(done) == trained
  assert f'whole matrix of {whole} agents' in text


def test_the_boxes_quote_what_is_recorded():
  recorded = _recorded('seen', 'table1', 'tradeoff', seeds=('0',))
  columns = {
      '0.31': ('default', 'default'), '0.47': ('tradeoff_0.02',) * 2,
      '0.7': (None, 'tradeoff_range_0.7'),
      '1.0': ('tradeoff_range_1', 'own_range'),
  }
  shown = list(_table('docs/results.md', '## The box'))
  assert [name.split()[0] for name, *_ in shown] == list(columns)
  for name, *cells in shown:
    variants = columns[name.split()[0]]
    for text, method, variant in zip(cells, ('safer', 'parrot'), variants):
      if variant is None:
        assert text == '–'
      else:
        _agrees(text, recorded, method, variant, _TASKS, digits=1)


def test_the_ablations_quote_what_is_recorded():
  recorded = _recorded('seen', 'ablations', seeds=('0',))
  methods = {
      'SAFER without the safety variable (Figure 8)': 'safer_no_context',
      'SAFER with a deterministic safety variable': 'safer_deterministic',
      'PARROT trained on unsafe steps too (Figure 9)': 'parrot_unsafe',
      'SAFER without the bound': 'safer_unbounded',
  }
  shown = dict(_table('docs/results.md', '## Ablations'))
  assert set(shown) == set(methods)
  for name, text in shown.items():
    method = methods[name]
    _agrees(text, recorded, method, 'default', _TASKS, digits=1)


def test_lambdas_quote_what_is_recorded():
  recorded = _recorded('seen', 'table1', 'ablations', seeds=('0',))
  shown = list(_table('docs/results.md', '## Lambda'))
  assert [name for name, *_ in shown] == [
      'lambda 0.25', 'lambda 0.5, the same seed'
  ]
  for (_, *cells), method in zip(shown, ('safer_lambda', 'safer')):
    for text, task in zip(cells, _TASKS):
      _agrees(text, recorded, method, 'default', [task])
    _agrees(cells[6], recorded, method, 'default', _TASKS, digits=1)


def test_chance_quotes_what_is_recorded():
  shown = list(_table('docs/results.md', '## Chance'))
  assert len(shown) == 3
  for (_, *cells), (table, method) in zip(shown, (
      ('table1', 'safer'), ('rerun', 'safer'), ('ablations', 'safer_second')
  )):
    recorded = _recorded('seen', table, seeds=('0',))
    for text, task in zip(cells, _TASKS):
      _agrees(text, recorded, method, 'default', [task])
    _agrees(cells[6], recorded, method, 'default', _TASKS, digits=1)


def test_run_again_on_the_same_kind_of_machine_it_is_the_recorded_row():
  with open(_TOP / 'results' / 'rerun.csv', newline='') as file:
    again = [row for row in csv.DictReader(file) if 'avx512f' in row['machine']]
  recorded = _recorded('seen', 'table1')
  assert len(again) >= 2
  for row in again:
    before, = (
        each for each in recorded[row['method'], row['variant'], row['task']]
        if each['seed'] == row['seed']
    )
    assert {name for name in row if row[name] != before[name]} == {
        'wall_seconds', 'git_revision', 'machine'
    }


def test_own_encoders_quote_what_is_recorded():
  recorded = _recorded('seen', 'table1', seeds=('0',))
  shown = list(_table('docs/results.md', '## Image encoders'))
  assert len(shown) == 3
  for (name, *cells), method in zip(shown, ('sac', 'parrot', 'safer')):
    assert name.lower() == method
    columns = [
        (variant, task) for task in _TASKS[:2]
        for variant in ('own_encoder', 'prior_batch_64')
    ]
    assert len(cells) == len(columns)
    for text, (variant, task) in zip(cells, columns):
      _agrees(text, recorded, method, variant, [task])


_ALONE = {
    'SAFER': 'safer', 'SAFER, second training': 'safer_second',
    'PARROT': 'parrot', 'PARROT, second training': 'parrot_second',
    'Contextual PARROT': 'context_parrot',
}


def test_priors_alone_quote_what_is_recorded():
  with open(_TOP / 'results' / 'prior_rollouts.csv', newline='') as file:
    rows = list(csv.DictReader(file))

  def mean(prior, bound):
    found = [
        (float(row['success_rate']),
         int(row['unsafe_episodes']) / int(row['episodes']))
        for row in rows
        if row['prior'] == prior and float(row['latent_range']) == bound
    ]
    assert len(found) == 34, prior
    return ' / '.join(
        f'{100 * statistics.fmean(values):.1f}' for values in zip(*found)
    )

  shown = list(_table('docs/results.md', '## The flow trained anew'))
  assert [name for name, *_ in shown] == list(_ALONE)
  for name, *cells in shown:
    prior = _ALONE[name]
    assert cells == [
        mean(each, bound) for bound in (0.0, 1.0)
        for each in (prior, f'{prior}_refit')
    ], name
  text = ' '.join((_TOP / 'docs' / 'results.md').read_text().split())
  for start, prior in (
      ('with lambda 0.25', 'safer_lambda'),
      ('without the safety variable', 'safer_no_context'),
  ):
    pair = r'([\d.]+ / [\d.]+\d)'
    found = re.search(f'{start} {pair}(?: at z = 0)? and {pair}', text)
    assert list(found.groups()) == [mean(prior, 0.0), mean(prior, 1.0)]


def _touched(recorded, kind, tasks=_TASKS):
  """Share in % of the evaluation episodes, on all tasks, with contact."""
  return statistics.fmean(
      100 * float(row['eval_unsafe_episodes']) / float(row['eval_episodes'])
      for task in tasks for row in recorded[(*kind, task)]
  )


_NEW_FLOWS = (
    ('safer_refit', 'default'), ('parrot_refit', 'default'),
    ('parrot_refit', 'own_range'),
)


def test_agents_of_new_flows_quote_what_is_recorded():
  shown = list(_table('docs/results.md', '### Agents'))
  one_seed = next(n for n, row in enumerate(shown) if 'one seed' in row[0])
  kinds = (
      *_NEW_FLOWS, _NEW_FLOWS[0], ('context_parrot_refit', 'default'),
      ('context_parrot_refit', 'own_range'),
      ('safer_refit', 'tradeoff_range_0.16'),
  )
  assert len(shown) == len(kinds)
  for number, ((_, *cells), kind) in enumerate(zip(shown, kinds)):
    seeds, digits = (('0', '1', '2'), 1) if number < one_seed else (('0',), 0)
    recorded = _recorded('seen', 'ablations', 'tradeoff', seeds=seeds)
    for text, task in zip(cells, _TASKS):
      _agrees(text, recorded, *kind, [task], digits)
    _agrees(cells[6], recorded, *kind, _TASKS, digits=1)
    told = float(cells[7].rstrip('%'))
    assert told == pytest.approx(_touched(recorded, kind), abs=0.051)


def test_new_flows_on_new_tasks_quote_what_is_recorded():
  recorded = _recorded('held_out', 'ablations', seeds=('0',))
  shown = list(_table('docs/results.md', 'The flows of SAFER'))
  assert len(shown) == len(_NEW_FLOWS)
  for (_, *cells), kind in zip(shown, _NEW_FLOWS):
    for text, task in zip(cells, _TASKS):
      _agrees(text, recorded, *kind, [task])
    _agrees(cells[6], recorded, *kind, _TASKS, digits=1)


def test_development_runs_are_told_as_recorded():
  recorded = _recorded('seen', 'development')
  shown = list(_table('docs/lab_notes.md', '## A box for the new flow'))
  tasks = [f'extract_{number}' for number in (27, 12, 31, 14)]
  means = re.search(
      r'in 0\.32 (.+?), in 0\.56 \(2%\) ([\d.]+ / [\d,]+)\.',
      ' '.join((_TOP / 'docs' / 'results.md').read_text().split()),
  )
  assert len(shown) == 2
  for (_, *cells), text, bound in zip(
      shown, means.groups(), ('0.3224', '0.56')
  ):
    kind = ('safer_refit', f'tradeoff_range_{bound}')
    for cell, task in zip(cells, tasks):
      _agrees(cell, recorded, *kind, [task])
    for mean in (cells[4], text):
      _agrees(mean, recorded, *kind, tasks, digits=1)
    told = float(cells[5].rstrip('%'))
    assert told == pytest.approx(_touched(recorded, kind, tasks), abs=0.051)


def test_random_latents_quote_what_is_recorded():
  highest = collections.defaultdict(lambda: [0.0, 0.0])
  with open(_TOP / 'results' / 'calibration.csv', newline='') as file:
    for row in csv.DictReader(file):
      if (row['protocol'], row['prior']) != ('seen', 'safer'):
        continue
      assert int(row['steps']) >= 25_000
      target = round(100 * float(row['max_unsafe_fraction']))
      eta = float(row['latent_bound'])
      found = highest[f'`{row["mode"]}` {target}% ({eta:.2f})']
      for place, column in enumerate(
          ('unsafe_fraction', 'unsafe_fraction_upper')
      ):
        found[place] = max(found[place], 100 * float(row[column]))
  shown = list(_table('docs/results.md', '## The assurance (Figure 4)'))
  assert len(shown) == 4
  for name, *cells in shown:
    for told, number in zip(cells, highest[name]):
      digits = len(told.rstrip('%').partition('.')[2])
      assert told == f'{number:.{digits}f}%', (name, number)
  text = (_TOP / 'README.md').read_text()
  for column in (1, 2):
    first, second, third, zero = (row[column].rstrip('%') for row in shown)
    assert f'{first}, {second} and {third}%' in text and f'{zero}%' in text


_SHIPPED = {
    'SAFER': 'safer', 'SAFER, second prior': 'safer_second',
    'SAFER, lambda 0.25': 'safer_lambda', 'PARROT': 'parrot',
    'PARROT, second prior': 'parrot_second',
    'Contextual PARROT': 'context_parrot', 'SAFER, flow anew': 'safer_refit',
    'SAFER, second prior, flow anew': 'safer_second_refit',
    'PARROT, flow anew': 'parrot_refit',
    'PARROT, second prior, flow anew': 'parrot_second_refit',
    'Contextual PARROT, flow anew': 'context_parrot_refit',
}


def test_shipped_priors_are_told_as_recorded():
  shown = list(_table('priors/README.md', 'On the test split of `seen`'))
  assert {name for name, *_ in shown} == set(_SHIPPED)
  for name, step, *cells in shown:
    path = _TOP / 'priors' / 'seen' / _SHIPPED[name] / 'stage.json'
    stage = json.loads(path.read_text())
    test = stage['test']
    assert step == f'{stage["exported_step"]:,}'
    assert cells == [
        f'{test["unsafe_share_above_safe_median"]:.1%}',
        f'{test["auc"]:.3f}', f'{test["latent_auc"]:.3f}',
        f'{test["safe_log_prob"]:.2f}',
    ], name
