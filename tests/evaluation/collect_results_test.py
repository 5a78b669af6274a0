"""The tables say what the files of a run say."""

from __future__ import annotations

import csv
import os

import numpy as np
import pytest

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.evaluation import collect_results
from safer_tf.evaluation import gallery
from safer_tf.evaluation import recorded
from safer_tf.evaluation import tables
from tests.evaluation import runs


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  return runs.make(tmp_path_factory)


def test_every_cell_is_in_its_table(root):
  assert sorted(
      (row['method'], row['seed']) for row in runs.table(root, 'table1')
  ) == [('parrot', 0), ('sac', 0), ('sac', 1), ('safer', 0), ('safer', 1),
      ('safer_prior_zero', 0)]
  assert [row['method'] for row in runs.table(root, 'ablations')] == [
      'safer_no_context'
  ]
  assert len(runs.table(root, 'tradeoff')) == 3
  by_method = {row['method']: row for row in runs.table(root, 'table1')}
  assert by_method['safer']['eval_success_rate'] == 0.25
  assert np.isnan(by_method['parrot']['eval_success_rate'])
  # Of an agent by its training, of z = 0 by its evaluation.
  assert {row['machine'] for row in by_method.values()} == {'a machine'}


def test_curves_are_read_off_the_episodes(root):
  rows = [
      row for row in runs.table(root, 'curves')
      if row['method'] == 'safer' and row['seed'] == 0
      and row['variant'] == 'default'
  ]
  assert [row['env_steps'] for row in rows] == [1000, 2000]
  assert [row['violations'] for row in rows] == [100, 200]
  assert [row['violations_last_1000'] for row in rows] == [100, 100]
  assert rows[1]['success_rate'] == 0.5


def test_likelihoods_by_hand(root):
  row, = [
      row for row in runs.table(root, 'likelihood') if row['protocol'] == 'seen'
  ]
  with np.load(os.path.join(
      layout.prior_dir(root, 'seen', 'safer'), layout.LIKELIHOODS
  )) as arrays:
    median = sorted(arrays['log_prob'][100:])[149:151]
    expected = np.mean(arrays['log_prob'][:100] > np.mean(median))
  assert row['unsafe_share_above_safe_median'] == pytest.approx(expected)
  assert (row['n_safe'], row['n_unsafe']) == (300, 100)


def test_histograms_leave_the_outermost_pairs_out(root):
  with np.load(os.path.join(
      layout.prior_dir(root, 'seen', 'safer'), layout.LIKELIHOODS
  )) as arrays:
    found = {'log_likelihood': arrays['log_prob'],
             'latent_abs_max': arrays['abs_max_latent']}
    safe = arrays['safe']
  for quantity, values in found.items():
    # One per cent of 400 pairs, at either end.
    inside = np.isin(np.argsort(np.argsort(values)), np.arange(4, 396))
    for unsafe, chosen in ((0, safe), (1, ~safe)):
      shares = [
          r['share'] for r in runs.table(root, 'histograms')
          if (r['quantity'], r['unsafe'], r['protocol']) == (
              quantity, unsafe, 'seen'
          )
      ]
      assert sum(shares) == pytest.approx(inside[chosen].mean(), abs=1e-4)
  entry = next(
      entry for entry in gallery.entries(lambda name: runs.table(root, name))
      if entry.name == 'log_likelihood'
  )
  assert entry.caption.endswith('to 4.0% of a set.')


def test_a_held_out_prior_is_also_measured_on_the_tasks_it_never_saw(root):
  shares = {
      row['split']: row['unsafe_share_above_safe_median']
      for row in runs.table(root, 'likelihood') if row['protocol'] == 'held_out'
  }
  assert shares['test'] == 0 and 0.3 < shares[tables.NEW_TASKS] < 0.7
  assert 'likelihood_share_held_out.png' in os.listdir(
      os.path.join(root, layout.FIGURES_DIR)
  )


def test_a_swept_prior_is_told_by_its_validation_at_the_exported_step(root):
  row, = runs.table(root, 'prior_sweep')
  assert (row['prior'], row['optimizer']) == ('sweep_lambda_1', 'sgd')
  assert (row['num_steps'], row['exported_step']) == (40, 20)
  assert (row['unsafe_weight'], row['learning_rate']) == (1, 0.25)
  assert (row['split'], row['n_safe'], row['n_unsafe']) == (
      'validation', 30, 10
  )
  assert row['unsafe_share_above_safe_median'] == 0.0625
  assert (row['safe_log_prob'], row['latent_auc']) == (-2.5, 0.875)
  assert row['objective'] == 0.75


def test_each_row_carries_revision_and_seed(root):
  results_dir = layout.results_dir(root)
  for name in tables.COLUMNS:
    path = os.path.join(results_dir, f'{name}.csv')
    if os.path.exists(path):
      with open(path, encoding='utf-8') as file:
        for row in csv.DictReader(file):
          assert row['git_revision'] == 'abc' and row['seed'] != '', name
  stages = files.read_json(
      os.path.join(results_dir, recorded.PROVENANCE), 'provenance'
  )
  assert len(stages) == 24
  seconds = {stage['stage']: stage['wall_seconds'] for stage in stages}
  agents = f'agents/seen/{runs.TASK}'
  for name, expected in (
      ('priors/seen/safer', 3), ('priors/seen/safer/export/assurance', 3),
      ('priors/seen/safer/export/confirmation', 3),
      ('priors/seen/safer/rollouts', 3),
      (f'{agents}/safer/default/seed0', 9),
      (f'{agents}/safer/default/seed0/evaluation', 2),
      (f'{agents}/safer_prior_zero/default/seed0', 9),
  ):
    assert seconds[name] == expected, name
  assert f'{agents}/parrot/default/seed0/evaluation' not in seconds
  assert all(stage['inputs'] == runs.STAGE['inputs'] for stage in stages)


def test_a_curve_counts_whole_episodes_of_the_last_5000_steps(tmp_path):
  rows = ['env_steps,cumulative_violations,success,complete']
  for step in range(1000, 10000, 1000):
    # Cut short, and a success by name alone.
    rows += [f'{step - 500},0,1,0', f'{step},0,{int(step <= 3000)},1']
  (tmp_path / layout.CURVE).write_text('\n'.join(rows) + '\n')
  found = [
      row['success_rate'] for row in collect_results._curve(str(tmp_path), {})
  ]
  np.testing.assert_allclose(found, [1, 1, 1, 0.75, 0.6, 0.4, 0.2, 0, 0])


def test_half_the_safe_bound_keeps_what_lies_inside():
  row = collect_results.likelihood_row(
      np.zeros(8), np.array([1, 2, 3, 4, 1, 9, 9, 9.0]),
      np.arange(8) < 4, np.arange(8) >= 4,
  )
  assert row['unsafe_share_in_half_safe_bound'] == 0.25


@pytest.mark.parametrize('safe, unsafe', [(0, 4), (4, 0), (0, 0)])
def test_what_could_not_be_measured_is_no_share(safe, unsafe):
  number = np.arange(8)
  row = collect_results.likelihood_row(
      np.arange(8.0), np.arange(8.0), number < safe, number >= 8 - unsafe
  )
  assert np.isnan(row['unsafe_share_above_safe_median'])
  assert np.isnan(row['unsafe_share_in_half_safe_bound'])
  assert (row['n_safe'], row['n_unsafe']) == (safe, unsafe)


def test_a_bound_has_the_seed_of_its_own_computation(tmp_path):
  root = str(tmp_path)
  runs.prior(root, np.random.default_rng(0))
  path = os.path.join(
      layout.export_dir(root, 'seen', 'safer'), layout.ASSURANCE
  )
  found = files.read_json(path, 'it')
  found['provenance'] |= {'seed': 7, 'git_revision': 'later'}
  files.write_json(path, found)
  collect_results.collect(root)
  row, = runs.table(root, 'assurance')
  assert (row['seed'], row['git_revision']) == (7, 'later')


def test_films_are_of_no_swept_agent_and_of_the_first_seed():
  def cell(seed, variant):
    return {
        'protocol': 'seen', 'task': 'a', 'method': 'safer', 'variant': variant,
        'replays': {'safe': {'seed': seed}},
    }

  found = collect_results._replays([
      ('', cell(1, 'tradeoff_0.3')), ('', cell(2, 'default')),
      ('', cell(3, 'default')),
  ])
  assert [replay['seed'] for replay in found] == [2]


@pytest.mark.parametrize('name, content, message', [
    (layout.STAGE, '{}', 'does not hold git_revision.*run the stage again'),
    (layout.LIKELIHOODS, '', 'is damaged.*run train_prior again'),
    (f'{layout.EXPORT_DIR}/{layout.ASSURANCE}', '[]', 'hold table.*again'),
])
def test_a_damaged_file_of_a_prior_is_named(tmp_path, name, content, message):
  root = str(tmp_path)
  runs.prior(root, np.random.default_rng(0))
  path = tmp_path / layout.PRIORS_DIR / 'seen' / 'safer' / name
  path.write_text(content)
  with pytest.raises(errors.UserError, match=f'{path.name} .*{message}'):
    collect_results.collect(root)


def test_a_damaged_curve_is_named(tmp_path):
  (tmp_path / layout.CURVE).write_text('')
  with pytest.raises(errors.UserError, match='expected a row an episode'):
    next(collect_results._curve(str(tmp_path), {}))


def test_a_history_without_the_exported_step_is_named(tmp_path):
  path = tmp_path / layout.HISTORY
  path.write_text('step,n_safe,n_unsafe\n500,1,2\n')
  with pytest.raises(errors.UserError, match='no validation at step 250'):
    collect_results._validation(str(path), 250)
