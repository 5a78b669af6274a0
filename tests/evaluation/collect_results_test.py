"""The tables say what the files of a run say."""

from __future__ import annotations

import csv
import os

import numpy as np
import pytest

from safer_tf.common import files
from safer_tf.common import layout
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
