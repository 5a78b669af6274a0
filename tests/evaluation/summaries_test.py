"""Summaries over seeds; the better variant of a method is quoted."""

from __future__ import annotations

import pytest

import envs
from safer_tf.evaluation import summaries
from safer_tf.evaluation import variants
from tests.evaluation import runs


def test_the_better_variant_of_a_method_is_quoted():
  rows = [
      runs.row('parrot', 0.4, 100, seed=0),
      runs.row('parrot', 0.6, 300, seed=1),
      runs.row('parrot', 0.7, 900, variant='own_range'),
      runs.row('safer', 0.5, 40), runs.row('safer', 0.5, 20, variant='tight'),
  ]
  parrot, safer = _quoted(rows)
  assert (parrot.method, parrot.variant) == ('parrot', 'own_range')
  assert safer.variant == 'tight' and safer.violations.mean == 20
  # All others are told too.
  assert [(q.label, q.quoted) for q in summaries.outcomes(rows)] == [
      ('PARROT', False), ('PARROT (own range)', True),
      ('SAFER', False), ('SAFER (tight)', True),
  ]
  without = [row for row in rows if row['variant'] != 'own_range']
  parrot, _ = _quoted(without)
  assert parrot.success.n == 2 and parrot.success.mean == pytest.approx(0.5)
  assert parrot.violations.deviation == pytest.approx(141.42, abs=0.01)


def test_variants_are_compared_on_what_all_were_run_on():
  other = envs.EVALUATION[1]
  rows = [
      runs.row('parrot', 0.4, 100), runs.row('parrot', 0.9, 100, task=other),
      runs.row('parrot', 0.5, 900, variant='own_range'),
  ]
  assert {q.variant for q in _quoted(rows)} == {'own_range'}
  rows[1]['seed'] = rows[0]['seed'] = 1
  assert {q.variant for q in _quoted(rows)} == {variants.USUAL}


def test_common_runs_are_tasks_and_seeds_that_all_have():
  other = envs.EVALUATION[1]
  rows = [
      runs.row('safer', 0.4, 1), runs.row('safer', 0.4, 2, seed=1),
      runs.row('safer', 0.4, 3, task=other), runs.row('parrot', 0.1, 4, seed=1),
      runs.row('parrot', 0.1, 5, task=other),
  ]
  found = summaries.on_common_runs(rows, 'method')
  assert [row['violations'] for row in found] == [2, 3, 4, 5]
  assert summaries.on_common_runs(rows, 'task') == []
  assert summaries.on_common_runs([], 'method') == []


def test_a_span_of_counts():
  assert summaries.span([3]) == summaries.span([3, 3]) == '3'
  assert summaries.span([3, 1, 2]) == '1-3'


def test_own_encoders_do_not_compete():
  rows = [
      runs.row('sac', 0.0, 900),
      {**runs.row('sac', 0.9, 0, variant='own_encoder'), 'encoder': 'own'},
      runs.row('sac', 0.9, 0, variant=variants.SMALL_BATCH),
  ]
  assert [q.variant for q in summaries.outcomes(rows)] == [variants.USUAL]


def _quoted(rows):
  return [found for found in summaries.outcomes(rows) if found.quoted]


def test_the_printed_table_lines_up():
  text = summaries.render([
      runs.row('safer', 0.5, 1204), runs.row('safer_prior_zero', 0.1, None),
  ])
  lines = text.splitlines()
  assert '50.0%' in lines[2] and '1,204' in lines[2]
  assert '10.0%' in lines[3] and '–' in lines[3]
  assert lines[2].index('Task 1') == lines[3].index('Task 1')


def test_tasks_weigh_the_same_whatever_their_seeds():
  runs_of = ((runs.TASK, 0), (runs.TASK, 1), (envs.EVALUATION[1], 0))
  rows = [
      runs.row('parrot', success, 9, variant=variant, task=task, seed=seed)
      for variant, found in (
          ('default', (0.6, 0.6, 0.0)), ('own_range', (0.4, 0.4, 0.3))
      ) for success, (task, seed) in zip(found, runs_of)
  ]
  assert {q.variant for q in _quoted(rows)} == {'own_range'}


def test_encoders_are_compared_on_the_papers_protocol():
  rows = [
      runs.row('sac', 0.5, 1, variant='own_encoder', encoder='own'),
      runs.row('sac', 0.5, 2), runs.row('sac', 0.5, 3, protocol='held_out'),
  ]
  found = summaries.encoder_comparison(rows)
  assert [row['violations'] for row in found] == [2, 1]


def test_variants_are_compared_on_runs_that_all_were_evaluated_on():
  nan = float('nan')
  rows = [
      runs.row('parrot', 0.4, 1), runs.row('parrot', nan, 1, seed=1),
      runs.row('parrot', 0.3, 1, variant='own_range'),
      runs.row('parrot', 0.9, 1, variant='own_range', seed=1),
  ]
  assert {q.variant for q in _quoted(rows)} == {variants.USUAL}


def test_without_common_runs_the_most_evaluated_variant_is_quoted():
  nan = float('nan')
  rows = [
      runs.row('parrot', 0.9, 1),
      *(runs.row('parrot', nan, 1, seed=seed) for seed in (1, 2)),
      *(runs.row('parrot', 0.3, 1, 'own_range', seed) for seed in (3, 4)),
  ]
  assert {q.variant for q in _quoted(rows)} == {'own_range'}


def test_encoders_are_compared_on_their_tasks_and_with_usual_agents():
  other = envs.EVALUATION[1]
  rows = [
      runs.row('sac', 0.5, 1, variant='own_encoder', encoder='own'),
      runs.row('sac', 0.5, 2), runs.row('sac', 0.5, 3, variant='gamma_0.99'),
      runs.row('sac', 0.5, 4, variant=variants.SMALL_BATCH),
      runs.row('sac', 0.5, 5, task=other), runs.row('safer', 0.5, 6),
  ]
  found = summaries.encoder_comparison(rows)
  assert [row['violations'] for row in found] == [2, 4, 1]


def test_scores_are_the_finite_values_of_each_task():
  first, second, third = envs.EVALUATION[:3]
  nan = float('nan')
  found = summaries.scores([
      runs.row('safer', 0.5, 1, task=first),
      runs.row('safer', nan, 1, task=first, seed=1),
      runs.row('safer', 0.25, 1, task=second),
      runs.row('safer', nan, 1, task=third),
  ], 'eval_success_rate', 100)
  assert [each.tolist() for each in found] == [[50.0], [25.0]]


def test_seeds_are_counted_before_they_are_evaluated():
  rows = [
      runs.row('safer', value, 1, seed=seed)
      for seed, value in enumerate((0.5, float('nan'), float('nan')))
  ]
  line, = summaries.lines(summaries.outcomes(rows))
  assert line.seeds == '3'


def test_a_machine_that_is_not_known_is_not_named():
  outcome, = summaries.outcomes([
      runs.row('safer', 0.5, 1), runs.row('safer', 0.5, 1, seed=1, machine=''),
  ])
  assert outcome.machines == ('a machine',)
