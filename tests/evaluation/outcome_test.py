"""The report's main tables, by hand."""

from __future__ import annotations

import re

import envs
from safer_tf.evaluation import outcome
from safer_tf.evaluation import paper
from safer_tf.evaluation import style
from safer_tf.evaluation import summaries
from tests.evaluation import runs

_FIRST, _SECOND = envs.EVALUATION[:2]


def _page(table1, ablations=()):
  tables = {'table1': table1, 'ablations': list(ablations)}
  return ''.join(outcome.outcome(lambda name: tables.get(name, []), True))


def _run(*args, **values):
  return {
      **runs.row(*args), 'latent_bound': 1.0,
      'eval_unsafe_episode_upper': 0.1, **values,
  }


def _rows(page, name):
  """Texts of the cells of each row of some method."""
  return [
      re.findall('<td>(.*?)</td>', row) for row in page.split('</tr>')
      if f'<td>{name}</td>' in row
  ]


def test_both_readings_of_success_and_of_safety_are_told():
  page = _page([
      _run('safer', 0.5, 10, task=task, seed=seed, train_success_rate=0.25,
           eval_unsafe_episodes=seed)
      for task in (_FIRST, _SECOND) for seed in (0, 1)
  ])
  first, second = _rows(page, 'SAFER')[:2]
  assert first[1:4] == ['50.0 / 10', '50.0 / 10', '50.0 / 10']
  assert second[1:4] == ['25.0 / 0.5', '25.0 / 0.5', '25.0 / 0.5']


def test_an_ablation_on_new_tasks_stands_by_itself():
  page = _page([_run('safer', 0.5, 10, task=_FIRST)], [
      _run('safer_refit', success, 10, task=task, protocol=protocol)
      for protocol, success in (('seen', 0.75), ('held_out', 0.25))
      for task in (_FIRST, _SECOND)
  ])
  before, after = page.split('Ablations: Tasks that the prior never saw')
  assert _rows(before, 'SAFER, new flow')[0][1] == '75.0 / 10'
  assert _rows(after, 'SAFER, new flow')[0][1] == '25.0 / 10'
  assert '25.0 / 10' not in before and '75.0 / 10' not in after


def test_ablations_alone_are_told():
  page = _page([], [
      _run('safer_refit', 0.25, 10, task=_FIRST, protocol='held_out')
  ])
  assert 'SAFER, new flow' in page
  assert 'none has been evaluated' not in page
  assert 'none has been evaluated' in _page([])


def test_each_row_tells_its_seeds_and_each_part_what_it_lacks():
  page = _page([
      _run('safer', 0.5, 10, task=_FIRST), _run('safer', 0.5, 10, task=_SECOND),
      _run('safer', 0.5, 10, task=_FIRST, seed=1),
      _run('sac', 0.5, 10, task=_FIRST),
  ], [_run('parrot_unsafe', 0.5, 10, task=_FIRST)])
  assert _rows(page, 'SAFER')[0][-1] == '1-2'
  assert _rows(page, 'SAC')[0][2:] == ['–', '50.0 / 10 (1 of 2 tasks)', '1']
  notes = re.findall('No rows of: (.*?)[.]</p>', page)
  assert len(notes) == 3
  seen, held_out, ablations = notes
  assert 'Prior-Explore' in seen and 'SAC' not in seen
  assert 'SAC' in held_out and 'SAFER prior, z = 0' in held_out
  assert 'SAFER, deterministic c' in ablations
  assert 'PARROT, with unsafe data' not in ablations


def test_a_mean_tells_of_how_many_tasks_it_is():
  page = _page([
      _run('safer', success, violations, task=task)
      for task, success, violations in (
          (_FIRST, 1.0, 10), (_SECOND, float('nan'), 1000)
      )
  ])
  assert _rows(page, 'SAFER')[0][3] == '100.0 / 10 (1 of 2 tasks)'


def test_a_comparison_of_encoders_alone_is_told():
  rows = [
      _run('safer', 0.25, 10, 'own_encoder', encoder='own', task=_FIRST),
      _run('safer', 0.75, 10, 'prior_batch_64', task=_FIRST),
  ]
  page = _page(rows)
  assert 'none has been evaluated' not in page
  assert 'Image encoders of the policies’ own' in page
  assert '25.0%' in summaries.render(rows)


def test_details_are_of_each_variants_own_runs_and_of_the_worst_seed():
  page = _page([
      _run('safer', 0.5, 10, task=_FIRST, variant=variant, seed=seed,
           latent_bound=bound, eval_unsafe_episodes=count,
           eval_unsafe_episode_upper=upper)
      for variant, seed, bound, count, upper in (
          ('default', 0, 1.0, 1, 0.05), ('default', 1, 1.0, 3, 0.08),
          ('tight', 0, 0.5, 0, 0.03),
      )
  ])
  found = {row[1]: (row[2], *row[-2:]) for row in _rows(page, 'SAFER')}
  assert found['default'] == ('1.00', '4 of 200 (8.0%)', '2 (0, 1)')
  assert found['tight'] == ('0.50', '0 of 100 (3.0%)', '1 (0)')


def test_the_papers_violations_are_each_methods_own():
  _, beside = _page([_run('safer', 0.5, 10, task=_FIRST)]).split('Beside it')
  for method, violations in paper.TABLE1_VIOLATIONS.items():
    row = _rows(beside, style.label(method))[0]
    assert [cell.split(' / ')[1] for cell in row[1:7]] == [
        f'{value:,}' for value in violations
    ]
