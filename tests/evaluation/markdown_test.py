"""The page of results, by hand."""

from __future__ import annotations

import envs
from safer_tf.evaluation import markdown
from tests.evaluation import runs

_FIRST, _SECOND, _THIRD = envs.EVALUATION[:3]


def _lines(rows):
  return markdown.results('table1', rows).splitlines()


def test_cells_are_means_and_deviations_over_seeds():
  lines = _lines([
      runs.row('safer', 0.5, 10, task=_FIRST),
      runs.row('safer', 0.7, 30, seed=1, machine='another'),
      runs.row('safer', 1.0, 2000, task=_SECOND),
      runs.row('sac', 0.0, 5, task=_FIRST),
  ])
  assert (
      '| SAFER | 60 ± 14 / 20 ± 14 | 100 / 2,000 | 80.0 / 1,010 | 1-2 '
      '| a machine, another |'
  ) in lines
  # Not run on all tasks: no mean.
  assert '| SAC | 0 / 5 |  |  | 1 | a machine |' in lines
  # 50, 70, 100 and 10, 30, 2000: fewer than four scores lose none.
  assert '| SAFER | 73.3 | 680 |' in lines
  assert not any(line.startswith('| SAC | 0.0') for line in lines)


def test_variants_and_protocols_stand_apart():
  lines = _lines([
      runs.row('parrot', 0.5, 1), runs.row('parrot', 0.9, 9, 'own_range'),
      runs.row('safer_prior_zero', 0.25, float('nan')),
      runs.row('safer', 1.0, 0, protocol='held_out'),
      runs.row('safer', 0.0, 777, encoder='own'),
  ])
  seen, held_out = lines.index('## seen'), lines.index('## held_out')
  assert seen < held_out
  assert (
      '| PARROT | 50 / 1 | 50.0 / 1 | 1 | a machine |' in lines[seen:held_out]
  )
  assert '| PARROT (own range)* | 90 / 9 | 90.0 / 9 | 1 | a machine |' in lines
  assert '| SAFER prior, z = 0 | 25 / – | 25.0 / – | 1 | a machine |' in lines
  assert '| SAFER | 100 / 0 | 100.0 / 0 | 1 | a machine |' in lines[held_out:]
  encoders = lines.index("## Image encoders of the policies' own")
  assert not any('777' in line for line in lines[:encoders])
  assert any('777' in line for line in lines[encoders:])
  assert not any('PARROT' in line for line in lines[encoders:])


def test_the_other_readings_of_success_and_safety_stand_below():
  lines = _lines([
      runs.row(
          'safer', 0.5, 10, train_success_rate=0.4, eval_unsafe_episodes=1
      ),
      runs.row(
          'safer', 0.5, 10, seed=1, train_success_rate=0.6,
          eval_unsafe_episodes=3,
      ),
      runs.row('safer_prior_zero', 0.5, float('nan'), eval_episodes=20,
           train_success_rate=float('nan'), eval_unsafe_episodes=5),
  ])
  start, = [
      i for i, line in enumerate(lines) if line.startswith('Success in train')
  ]
  below = lines[start:]
  assert '| SAFER | 50 ± 14 / 2 ± 1 | 50.0 / 2.0 | 2 | a machine |' in below
  assert '| SAFER prior, z = 0 | – / 25 | – / 25.0 | 1 | a machine |' in below


def test_intervals_need_two_seeds_of_each_task():
  rows = [
      runs.row('safer', 0.8, 10, seed=seed, task=task)
      for task in (_FIRST, _SECOND) for seed in (0, 1)
  ]
  assert '| SAFER | 80.0 [80.0, 80.0] | 10 [10, 10] |' in _lines(rows)
  assert '| SAFER | 80.0 | 10 |' in _lines(rows[:3])


def test_tasks_that_are_not_evaluated_yet_are_in_no_mean_over_all():
  rows = [
      runs.row('safer', success, violations, task=task)
      for task, success, violations in (
          (_FIRST, 1.0, 10), (_SECOND, float('nan'), 1000)
      )
  ] + [runs.row('sac', 0.5, 7, task=task) for task in (_FIRST, _SECOND)]
  found = _lines(rows)
  assert '| SAC | 50.0 | 7 |' in found
  assert not any(line.startswith('| SAFER | 100.0 |') for line in found)
  # A task that nobody was evaluated on is none of all.
  found = _lines([*rows, runs.row('sac', float('nan'), 9, task=_THIRD)])
  assert '| SAC | 50.0 | 7 |' in found
