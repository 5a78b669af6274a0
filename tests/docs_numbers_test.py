"""The numbers that README and docs/ tell are those of results/ and priors/."""

from __future__ import annotations

import collections
import csv
import json
import re
import statistics

import pytest

from tests import quoted

_NAMES = {
    'SAC': ('sac', 'default'),
    'SAC, learning rates of 3e-4': ('sac', 'rates_3e-4'),
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


def _agree(cells, recorded, kind, tasks=quoted.TASKS, digits=0):
  """A row: a cell for each task, their mean, and the touched episodes."""
  for text, task in zip(cells, tasks):
    quoted.agrees(text, recorded, *kind, [task], digits)
  mean, told = cells[len(tasks):len(tasks) + 2]
  quoted.agrees(mean, recorded, *kind, tasks, digits=1)
  touched = quoted.touched(recorded, kind, tasks)
  assert float(told.rstrip('%')) == pytest.approx(touched, abs=0.051)


@pytest.mark.parametrize('path, heading, protocol, n_rows', [
    ('README.md', 'A cell is success / violations', 'seen', 14),
    ('docs/results.md', '## New tasks (`held_out`)', 'held_out', 10),
])
def test_the_tables_quote_what_is_recorded(path, heading, protocol, n_rows):
  recorded = quoted.recorded(protocol, 'table1', 'ablations')
  shown = list(quoted.table(path, heading))
  assert len(shown) == n_rows
  for name, *cells in shown:
    kind = _NAMES[name]
    _agree(cells, recorded, kind)
    seeds = {
        row['seed'] for task in quoted.TASKS for row in recorded[(*kind, task)]
    }
    assert ('±' in cells[6]) == (len(seeds) > 1)
    assert cells[8:] in ([], [str(len(seeds))])


def test_the_boxes_quote_what_is_recorded():
  recorded = quoted.recorded('seen', 'table1', 'tradeoff', seeds=('0', '1'))
  columns = {
      '0.31': ('default', 'default'), '0.47': ('tradeoff_0.02',) * 2,
      '0.7': (None, 'tradeoff_range_0.7'),
      '1.0': ('tradeoff_range_1', 'own_range'),
  }
  shown = list(quoted.table('docs/results.md', '## The box'))
  assert [name.split()[0] for name, *_ in shown] == list(columns)
  for name, *cells in shown:
    variants = columns[name.split()[0]]
    for text, method, variant in zip(cells, ('safer', 'parrot'), variants):
      if variant is None:
        assert text == '–'
      else:
        quoted.agrees(text, recorded, method, variant, quoted.TASKS, digits=1)
  by_task = list(quoted.table('docs/results.md', 'By task:'))
  assert len(by_task) == 5
  for name, *cells in by_task:
    method, bound = name.split(', ')
    variant = columns[bound][method == 'PARROT']
    for text, task in zip(cells, quoted.TASKS):
      quoted.agrees(text, recorded, method.lower(), variant, [task])


def test_the_bounds_of_figure_6_quote_what_is_recorded():
  recorded = quoted.recorded('seen', 'table1', 'tradeoff', seeds=('0', '1'))
  (_, *success), (_, *violations) = quoted.table(
      'docs/results.md', 'Figure 6, Task 5'
  )
  kinds = (
      'default', 'tradeoff_0.02', 'tradeoff_range_1', 'tradeoff_0.05',
      'tradeoff_0.15', 'tradeoff_0.3', 'tradeoff_0.45',
  )
  assert len(success) == len(violations) == len(kinds)
  for pair, variant in zip(zip(success, violations), kinds):
    quoted.agrees(
        ' / '.join(pair), recorded, 'safer', variant, quoted.TASKS[4:5]
    )


def test_the_ablations_quote_what_is_recorded():
  recorded = quoted.recorded('seen', 'table1', 'ablations')
  methods = {
      'SAFER': 'safer', 'PARROT': 'parrot',
      'SAFER without the safety variable (Figure 8)': 'safer_no_context',
      'SAFER with a deterministic safety variable': 'safer_deterministic',
      'PARROT trained on unsafe steps too (Figure 9)': 'parrot_unsafe',
      'SAFER without the bound': 'safer_unbounded',
  }
  shown = {
      name: cells
      for name, *cells in quoted.table('docs/results.md', '## Ablations')
  }
  assert set(shown) == set(methods)
  for name, (text, touched, seeds) in shown.items():
    kind = methods[name], 'default'
    quoted.agrees(text, recorded, *kind, quoted.TASKS, digits=1)
    told = float(touched.rstrip('%'))
    assert told == pytest.approx(quoted.touched(recorded, kind), abs=0.051)
    assert {len(recorded[(*kind, task)]) for task in quoted.TASKS} == {
        int(seeds)}


def test_lambdas_quote_what_is_recorded():
  recorded = quoted.recorded('seen', 'table1', 'ablations')
  shown = list(quoted.table('docs/results.md', '## Lambda'))
  assert [name for name, *_ in shown] == ['lambda 0.25', 'lambda 0.5']
  for (_, *cells), method in zip(shown, ('safer_lambda', 'safer')):
    for text, task in zip(cells, quoted.TASKS):
      quoted.agrees(text, recorded, method, 'default', [task])
    quoted.agrees(cells[6], recorded, method, 'default', quoted.TASKS, digits=1)


def test_chance_quotes_what_is_recorded():
  shown = list(quoted.table('docs/results.md', '## Chance'))
  assert len(shown) == 3
  for (_, *cells), (table, method) in zip(shown, (
      ('table1', 'safer'), ('rerun', 'safer'), ('ablations', 'safer_second')
  )):
    recorded = quoted.recorded('seen', table, seeds=('0',))
    for text, task in zip(cells, quoted.TASKS):
      quoted.agrees(text, recorded, method, 'default', [task])
    quoted.agrees(cells[6], recorded, method, 'default', quoted.TASKS, digits=1)


def test_second_priors_quote_what_is_recorded():
  recorded = quoted.recorded('seen', 'ablations')
  shown = list(quoted.table('docs/results.md', '- **Another training of'))
  assert [name.split(',')[0] for name, *_ in shown] == ['SAFER', 'PARROT']
  for name, *cells in shown:
    _agree(cells, recorded, (f'{name.split(",")[0].lower()}_second', 'default'))


def test_run_again_on_the_same_kind_of_machine_it_is_the_recorded_row():
  with open(quoted.TOP / 'results' / 'rerun.csv', newline='') as file:
    again = [row for row in csv.DictReader(file) if 'avx512f' in row['machine']]
  recorded = quoted.recorded('seen', 'table1')
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
  recorded = quoted.recorded('seen', 'table1', seeds=('0',))
  shown = list(quoted.table('docs/results.md', '## Image encoders'))
  assert len(shown) == 3
  for (name, *cells), method in zip(shown, ('sac', 'parrot', 'safer')):
    assert name.lower() == method
    columns = [
        (variant, task) for task in quoted.TASKS[:2]
        for variant in ('own_encoder', 'prior_batch_64')
    ]
    assert len(cells) == len(columns)
    for text, (variant, task) in zip(cells, columns):
      quoted.agrees(text, recorded, method, variant, [task])


_ALONE = {
    'SAFER': 'safer', 'SAFER, second training': 'safer_second',
    'PARROT': 'parrot', 'PARROT, second training': 'parrot_second',
    'Contextual PARROT': 'context_parrot',
}


def test_priors_alone_quote_what_is_recorded():
  with open(quoted.TOP / 'results' / 'prior_rollouts.csv', newline='') as file:
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

  shown = list(quoted.table('docs/results.md', '## The flow trained anew'))
  assert [name for name, *_ in shown] == list(_ALONE)
  for name, *cells in shown:
    prior = _ALONE[name]
    assert cells == [
        mean(each, bound) for bound in (0.0, 1.0)
        for each in (prior, f'{prior}_refit')
    ], name
  text = ' '.join((quoted.TOP / 'docs' / 'results.md').read_text().split())
  for start, prior in (
      ('with lambda 0.25', 'safer_lambda'),
      ('without the safety variable', 'safer_no_context'),
  ):
    pair = r'([\d.]+ / [\d.]+\d)'
    found = re.search(f'{start} {pair}(?: at z = 0)? and {pair}', text)
    assert list(found.groups()) == [mean(prior, 0.0), mean(prior, 1.0)]


_NEW_FLOWS = (
    ('safer_refit', 'default'), ('parrot_refit', 'default'),
    ('parrot_refit', 'own_range'),
)


def test_agents_of_new_flows_quote_what_is_recorded():
  shown = list(quoted.table('docs/results.md', '### Agents'))
  two_seeds = next(n for n, row in enumerate(shown) if 'two seeds' in row[0])
  kinds = (
      *_NEW_FLOWS, ('context_parrot_refit', 'default'),
      ('context_parrot_refit', 'own_range'), _NEW_FLOWS[0],
      ('safer_refit', 'tradeoff_range_0.16'),
  )
  assert len(shown) == len(kinds)
  for number, ((_, *cells), kind) in enumerate(zip(shown, kinds)):
    seeds, digits = (('0', '1'), 0) if number >= two_seeds else (
        ('0', '1', '2'), 1)
    recorded = quoted.recorded('seen', 'ablations', 'tradeoff', seeds=seeds)
    _agree(cells, recorded, kind, digits=digits)


def test_new_flows_on_new_tasks_quote_what_is_recorded():
  recorded = quoted.recorded('held_out', 'ablations')
  shown = list(quoted.table('docs/results.md', 'The flows of SAFER'))
  assert len(shown) == len(_NEW_FLOWS)
  for (_, *cells), kind in zip(shown, _NEW_FLOWS):
    _agree(cells, recorded, kind)


def test_contact_in_the_reward_is_told_as_recorded():
  tables = {
      False: quoted.recorded('seen', 'table1', 'ablations', seeds=('0',)),
      True: quoted.recorded('seen', 'penalty'),
  }
  shown = list(quoted.table('docs/results.md', '## Contact in the reward'))
  assert len(shown) == 4
  for name, *cells in shown:
    recorded = tables['penalised' in name]
    kind = (
        ('safer_refit', 'default') if name.startswith('SAFER')
        else ('parrot', 'own_range')
    )
    _agree(cells, recorded, kind)


def test_another_learner_is_told_as_recorded():
  tables = {
      'SAC': (quoted.recorded('seen', 'table1', seeds=('0',)), 'default'),
      'TD3': (quoted.recorded('seen', 'other_agents'), 'td3'),
  }
  shown = list(quoted.table('docs/results.md', '## Another learner'))
  text = ' '.join((quoted.TOP / 'docs' / 'agents.md').read_text().split())
  assert len(shown) == 4
  for name, *cells in shown:
    prior, learner = name.split(', ')
    recorded, variant = tables[learner]
    kind = (prior.lower(), variant)
    _agree(cells, recorded, kind)
    if learner == 'TD3':
      success, violations = cells[6].split(' / ')
      assert re.search(f'{success}%( success)? with {violations}', text)


def test_development_runs_are_told_as_recorded():
  recorded = quoted.recorded('seen', 'development')
  shown = list(quoted.table('docs/lab_notes.md', '## A box for the new flow'))
  tasks = [f'extract_{number}' for number in (27, 12, 31, 14)]
  means = re.search(
      r'in 0\.32 (.+?), in 0\.56 \(2%\) ([\d.]+ / [\d,]+)\.',
      ' '.join((quoted.TOP / 'docs' / 'results.md').read_text().split()),
  )
  assert len(shown) == 2
  for (_, *cells), text, bound in zip(
      shown, means.groups(), ('0.3224', '0.56')
  ):
    kind = ('safer_refit', f'tradeoff_range_{bound}')
    _agree(cells, recorded, kind, tasks)
    quoted.agrees(text, recorded, *kind, tasks, digits=1)


def test_random_latents_quote_what_is_recorded():
  found = collections.defaultdict(list)
  with open(quoted.TOP / 'results' / 'calibration.csv', newline='') as file:
    for row in csv.DictReader(file):
      if row['protocol'] == 'seen':
        assert int(row['steps']) >= 25_000
        target = round(100 * float(row['max_unsafe_fraction']))
        found[row['prior'], row['mode'], target].append(row)
  shown = list(quoted.table('docs/results.md', '## The assurance (Figure 4)'))
  assert len(shown) == 4
  for name, *cells in shown:
    mode, target, safers, refits = re.fullmatch(
        r'`(\w+)` (\d+)%: ([\d.]+) \(([\d.]+)\)', name
    ).groups()
    safer, refit = (
        found[prior, mode, int(target)] for prior in ('safer', 'safer_refit')
    )
    for rows, bound in ((safer, safers), (refit, refits)):
      assert {f'{float(row["latent_bound"]):.2f}' for row in rows} == {bound}
    second = [row for row in refit if row['task'] == quoted.TASKS[1]]
    others = [row for row in refit if row['task'] != quoted.TASKS[1]]
    for text, rows in zip(cells, (safer, second, others)):
      for told, column in zip(
          text.split(', '), ('unsafe_fraction', 'unsafe_fraction_upper')
      ):
        digits = len(told.rstrip('%').partition('.')[2])
        highest = max(100 * float(row[column]) for row in rows)
        assert told == f'{highest:.{digits}f}%', (name, column, highest)
  text = (quoted.TOP / 'README.md').read_text()
  pairs = [row[1].split(', ') for row in shown]
  for column in (0, 1):
    first, second, third, zero = (pair[column].rstrip('%') for pair in pairs)
    assert f'{first}, {second} and {third}%' in text and f'{zero}%' in text
  for row in shown:
    for cell in row[2].split(', '):
      assert f'{float(cell.rstrip("%")):.1f}' in text


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
  shown = list(quoted.table('priors/README.md', 'On the test split of `seen`'))
  assert {name for name, *_ in shown} == set(_SHIPPED)
  for name, step, *cells in shown:
    path = quoted.TOP / 'priors' / 'seen' / _SHIPPED[name] / 'stage.json'
    stage = json.loads(path.read_text())
    test = stage['test']
    assert step == f'{stage["exported_step"]:,}'
    assert cells == [
        f'{test["unsafe_share_above_safe_median"]:.1%}',
        f'{test["auc"]:.3f}', f'{test["latent_auc"]:.3f}',
        f'{test["safe_log_prob"]:.2f}',
    ], name
