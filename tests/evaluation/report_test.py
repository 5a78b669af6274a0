"""A run's files become tables, figures and one page, and nothing is lost."""

from __future__ import annotations

import csv
import glob
import os
import re
import shutil

import numpy as np
import pytest

import envs
from safer_tf.benchmark import learning
from safer_tf.benchmark import table as benchmark_table
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.evaluation import figures
from safer_tf.evaluation import gallery
from safer_tf.evaluation import outcome
from safer_tf.evaluation import recorded
from safer_tf.evaluation import report
from safer_tf.evaluation import tables

_TASK = envs.EVALUATION[0]
_STAGE = {
    'git_revision': 'abc', 'seed': 0, 'wall_seconds': 3.0, 'version': '0',
    'finished': 'now', 'machine': 'a machine', 'python': '3.11',
    'packages': {'numpy': '1'}, 'config': 'train_prior.num_steps = 10',
    'inputs': {'prior_spec': 'a hash'},
}


_COUNTS = {
    'episodes': 9, 'steps': 90, 'mean_length': 10.0, 'success_share': 0.5,
    'unsafe_share': 0.25, 'unsafe_steps': 22, 'natural_unsafe_share': 0.3,
    'safe_steps_of_successful_episodes': 40,
}


def _agent(
    root, method, seed, evaluated=True, variant='default', bound=1.5,
    task=_TASK,
):
  directory = layout.agent_dir(root, 'seen', task, method, variant, seed)
  result = {
      'protocol': 'seen', 'task': task, 'method': method, 'variant': variant,
      'seed': seed, 'encoder': 'prior', 'max_unsafe_fraction': 0.15,
      'assurance_mode': 'exact', 'latent_bound': bound, 'env_steps': 2400,
      'train_success_rate': 0.5, 'violations': 240, 'clip_rate': 0.0,
      'wall_seconds': 9.0, 'git_revision': 'abc',
  }
  files.write_json(os.path.join(directory, layout.RESULT), result)
  files.write_json(os.path.join(directory, layout.STAGE), _STAGE)
  if evaluated:
    files.write_json(os.path.join(directory, layout.EVALUATION), {
        **result, 'eval_success_rate': 0.25, 'eval_episodes': 20,
        'eval_return': -9.0, 'eval_steps': 400, 'eval_violations': 7,
        'eval_unsafe_episodes': 3, 'eval_unsafe_episode_upper': 0.3,
        'replays': {}, 'eval_provenance': {**_STAGE, 'wall_seconds': 2.0},
    })
  # Twenty steps an episode, two of them unsafe, every other one a success.
  rows = ['env_steps,cumulative_violations,success,complete']
  rows += [f'{20 * i},{2 * i},{i % 2},1' for i in range(1, 121)]
  files.write_text(
      os.path.join(directory, layout.CURVE), '\n'.join(rows) + '\n'
  )


def _prior(root, rng):
  directory = layout.prior_dir(root, 'seen', 'safer')
  files.write_json(os.path.join(directory, layout.STAGE), _STAGE)
  unsafe = np.arange(400) < 100
  np.savez(
      os.path.join(directory, layout.LIKELIHOODS),
      log_prob=rng.normal(size=400) - 4 * unsafe,
      abs_max_latent=rng.gamma(3, size=400) + 3 * unsafe, safe=~unsafe,
      unsafe=unsafe,
  )
  files.write_json(
      os.path.join(directory, layout.EXPORT_DIR, layout.ASSURANCE), {
          'provenance': _STAGE, 'table': [{
              'mode': 'exact', 'max_unsafe_fraction': 0.15,
              'confidence': None, 'latent_bound': 1.5,
              'in_bound_unsafe_fraction': 0.14,
              'in_bound_unsafe_fraction_natural': 0.07,
              'safe_actions_in_bound': 0.6, 'n_episodes': 40,
          }],
      },
  )


def _untrained_agent(root):
  directory = layout.agent_dir(
      root, 'seen', _TASK, 'safer_prior_zero', 'default', 0
  )
  _agent(root, 'safer_prior_zero', 0)
  for name in (layout.RESULT, layout.STAGE, layout.CURVE):
    os.remove(os.path.join(directory, name))
  path = os.path.join(directory, layout.EVALUATION)
  evaluation = files.read_json(path, 'it')
  files.write_json(path, {
      **evaluation, 'eval_provenance': {**_STAGE, 'wall_seconds': 9.0},
  })


def _confirmation(root):
  directory = layout.export_dir(root, 'seen', 'safer')
  files.write_json(os.path.join(directory, layout.CONFIRMATION), {
      'provenance': _STAGE, 'table': [{
          'mode': 'certified', 'max_unsafe_fraction': 0.3,
          'latent_bound': 2.25, 'in_bound_unsafe_fraction': 0.1875,
          'safe_actions_in_bound': 0.5, 'p_value': 0.03125,
          'n_episodes': 4321,
      }],
  })


def _held_out_prior(root, rng):
  directory = layout.prior_dir(root, 'held_out', 'safer')
  files.write_json(os.path.join(directory, layout.STAGE), _STAGE)
  for name, shift in (
      (layout.LIKELIHOODS, 9), (layout.LIKELIHOODS_NEW_TASKS, 0)
  ):
    unsafe = np.arange(400) < 100
    np.savez(
        os.path.join(directory, name),
        log_prob=rng.normal(size=400) - shift * unsafe,
        abs_max_latent=rng.gamma(3, size=400), safe=~unsafe, unsafe=unsafe,
    )


def _swept_prior(root):
  directory = layout.prior_dir(root, 'seen', 'sweep_lambda_1')
  settings = {
      'num_steps': 40, 'unsafe_weight': 1.0, 'optimizer': 'sgd',
      'learning_rate': 0.25, 'seed': 0,
  }
  files.write_json(os.path.join(directory, layout.STAGE), {
      **_STAGE, 'exported_step': 20, 'settings': {'train_prior': settings},
  })
  columns = (
      'objective', 'safe_log_prob', 'unsafe_log_prob',
      'unsafe_share_above_safe_median', 'auc', 'latent_auc', 'safe_kl',
  )
  files.write_text(os.path.join(directory, layout.HISTORY), '\n'.join([
      ','.join(('step', *columns, 'n_safe', 'n_unsafe')),
      '20,0.75,-2.5,-8.25,0.0625,0.9375,0.875,1.5,30,10',
      '40,0.5,-9,-9,0.9,0.1,0.1,9,30,10',
  ]) + '\n')


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  root_dir = str(tmp_path_factory.mktemp('run'))
  for method in ('sac', 'safer'):
    for seed in (0, 1):
      _agent(root_dir, method, seed)
  _agent(root_dir, 'parrot', 0, evaluated=False)
  _agent(root_dir, 'safer_no_context', 0)
  for target, bound in ((0.3, 2.5), (0.45, 3.5)):
    _agent(root_dir, 'safer', 0, variant=f'tradeoff_{target}', bound=bound)
  _agent(root_dir, 'parrot', 0, variant='tradeoff_0.3', bound=2.5)
  _prior(root_dir, np.random.default_rng(0))
  _swept_prior(root_dir)
  _untrained_agent(root_dir)
  _confirmation(root_dir)
  _held_out_prior(root_dir, np.random.default_rng(1))
  report.make_report(root_dir, films=False)
  return root_dir


def _table(root_dir, name):
  return tables.read(layout.results_dir(root_dir), name)


def test_every_cell_is_in_its_table(root):
  assert sorted(
      (row['method'], row['seed']) for row in _table(root, 'table1')
  ) == [('parrot', 0), ('sac', 0), ('sac', 1), ('safer', 0), ('safer', 1),
      ('safer_prior_zero', 0)]
  assert [row['method'] for row in _table(root, 'ablations')] == [
      'safer_no_context'
  ]
  assert len(_table(root, 'tradeoff')) == 3
  by_method = {row['method']: row for row in _table(root, 'table1')}
  assert by_method['safer']['eval_success_rate'] == 0.25
  assert np.isnan(by_method['parrot']['eval_success_rate'])


def test_curves_are_read_off_the_episodes(root):
  rows = [
      row for row in _table(root, 'curves')
      if row['method'] == 'safer' and row['seed'] == 0
      and row['variant'] == 'default'
  ]
  assert [row['env_steps'] for row in rows] == [1000, 2000]
  assert [row['violations'] for row in rows] == [100, 200]
  assert [row['violations_last_1000'] for row in rows] == [100, 100]
  assert rows[1]['success_rate'] == 0.5


def test_likelihoods_by_hand(root):
  row, = [
      row for row in _table(root, 'likelihood') if row['protocol'] == 'seen'
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
          r['share'] for r in _table(root, 'histograms')
          if (r['quantity'], r['unsafe'], r['protocol']) == (
              quantity, unsafe, 'seen'
          )
      ]
      assert sum(shares) == pytest.approx(inside[chosen].mean(), abs=1e-4)
  entry = next(
      entry for entry in gallery.entries(lambda name: _table(root, name))
      if entry.name == 'log_likelihood'
  )
  assert entry.caption.endswith('to 4.0% of a set.')


def test_a_held_out_prior_is_also_measured_on_the_tasks_it_never_saw(root):
  shares = {
      row['split']: row['unsafe_share_above_safe_median']
      for row in _table(root, 'likelihood') if row['protocol'] == 'held_out'
  }
  assert shares['test'] == 0 and 0.3 < shares[tables.NEW_TASKS] < 0.7
  assert 'likelihood_share_held_out.png' in os.listdir(
      os.path.join(root, layout.FIGURES_DIR)
  )


def test_a_swept_prior_is_told_by_its_validation_at_the_exported_step(root):
  row, = _table(root, 'prior_sweep')
  assert (row['prior'], row['optimizer']) == ('sweep_lambda_1', 'sgd')
  assert (row['num_steps'], row['exported_step']) == (40, 20)
  assert (row['unsafe_weight'], row['learning_rate']) == (1, 0.25)
  assert (row['split'], row['n_safe'], row['n_unsafe']) == (
      'validation', 30, 10
  )
  assert row['unsafe_share_above_safe_median'] == 0.0625
  assert (row['safe_log_prob'], row['latent_auc']) == (-2.5, 0.875)
  assert row['objective'] == 0.75


def test_the_page_stands_alone_and_shows_what_there_is(root):
  with open(os.path.join(root, layout.REPORT), encoding='utf-8') as file:
    page = file.read()
  assert not re.search(r'(src|href)="(?!data:|#)', page)
  assert '<script' not in page
  for text in (
      'SAC', 'SAFER, no safety variable', '25.0 ± 0.0%', '240 ± 0',
      '6 of 40 (30.0%)', '21.0 / 610', 'a machine', 'Figure 5', 'Figure 6',
      'Calibration of the bound (Figure 4): not part of this run',
      'lambda_1', '6.2%', '4,321 episodes', '18.8%', '0.0312',
  ):
    assert text in page, text


def test_the_page_of_other_tasks_does_not_speak_of_ours(tmp_path):
  root_dir = str(tmp_path)
  _agent(root_dir, 'safer', 0, task='pour')
  path = os.path.join(
      layout.agent_dir(root_dir, 'seen', 'pour', 'safer', 'default', 0),
      layout.EVALUATION,
  )
  files.write_json(path, {
      **files.read_json(path, 'it'), 'replays': {'safe': {
          'seed': 1, 'success': True, 'actions': [[0.0]], 'unsafe': [False],
      }},
  })
  files.write_json(
      os.path.join(layout.data_dir(root_dir), layout.DATA_CARD), {
          'total': _COUNTS, 'by_task': {'pour': _COUNTS}, 'by_noise': {},
          'by_split': {},
      }
  )
  report.make_report(root_dir)
  with open(os.path.join(root_dir, layout.REPORT), encoding='utf-8') as file:
    page = file.read()
  assert 'pour' in page and 'that was unsafe' in page
  for text in ('robot', 'extracts', 'the container', '21.0 / 610', 'Figure 10',
               'the object'):
    assert text not in page, text


def test_everything_comes_again_from_the_results_alone(root, tmp_path):
  source = layout.results_dir(root)
  target = layout.results_dir(str(tmp_path))
  os.makedirs(target)
  drawn = {'report.html', 'figures', 'videos'}
  for name in set(os.listdir(source)) - drawn:
    with open(os.path.join(source, name), 'rb') as file:
      (tmp_path / layout.RESULTS_DIR / name).write_bytes(file.read())
  report.make_report(str(tmp_path), films=False)
  with open(os.path.join(root, layout.REPORT), encoding='utf-8') as file:
    assert file.read() == (tmp_path / layout.REPORT).read_text()
  assert sorted(os.listdir(os.path.join(root, layout.FIGURES_DIR))) == sorted(
      os.listdir(tmp_path / layout.FIGURES_DIR)
  )


def test_priors_beside_recorded_results_leave_their_provenance(root, tmp_path):
  source = layout.results_dir(root)
  shutil.copytree(source, layout.results_dir(str(tmp_path)))
  before = (tmp_path / layout.RESULTS_DIR / 'provenance.json').read_text()
  for stage in glob.glob(os.path.join(root, 'priors', '*', '*', layout.STAGE)):
    target = tmp_path / os.path.relpath(stage, root)
    target.parent.mkdir(parents=True)
    shutil.copy(stage, target)
  report.make_report(str(tmp_path), films=False)
  after = (tmp_path / layout.RESULTS_DIR / 'provenance.json').read_text()
  assert after == before


def test_an_empty_directory_is_an_error(tmp_path):
  with pytest.raises(errors.UserError, match='holds no results'):
    report.make_report(str(tmp_path))


def test_replays_prefer_a_safe_safer_and_an_unsafe_baseline_of_one_task():
  def replay(method, task, kind, success=True):
    return {
        'method': method, 'task': envs.EVALUATION[task], 'kind': kind,
        'success': success,
    }

  safe, unsafe = report.choose_replays([
      replay('sac', 0, 'safe'), replay('safer', 1, 'safe'),
      replay('safer', 0, 'safe'), replay('safer', 0, 'unsafe'),
      replay('parrot', 0, 'unsafe'), replay('parrot', 1, 'unsafe'),
  ])
  assert safe == replay('safer', 0, 'safe')
  assert unsafe == replay('parrot', 0, 'unsafe')
  failed = replay('safer', 0, 'safe', success=False)
  assert report.choose_replays([failed, replay('sac', 1, 'safe')]) == [
      replay('sac', 1, 'safe')
  ]
  assert report.choose_replays([]) == []
  assert report.choose_replays([replay('sac', 2, 'unsafe')]) == [
      replay('sac', 2, 'unsafe')
  ]


def test_the_sweep_shows_table_1s_bound_too(root, monkeypatch):
  shown = []
  monkeypatch.setattr(figures, 'tradeoff', shown.extend)
  entries = gallery.entries(lambda name: _table(root, name))
  entry = next(entry for entry in entries if entry.name == 'tradeoff')
  entry.draw()
  # Of the seeds that all points have: the usual bound has two.
  assert sorted((row['variant'], row['seed']) for row in shown) == [
      ('default', 0), ('tradeoff_0.3', 0), ('tradeoff_0.45', 0)
  ]
  assert 'n = 1' in entry.caption
  # A task with two bounds alone is no line.
  few = [row for row in _table(root, 'tradeoff') if row['latent_bound'] == 2.5]
  names = [e.name for e in gallery.entries(
      lambda name: few if name == 'tradeoff' else _table(root, name)
  )]
  assert 'tradeoff' not in names


def test_the_benchmarks_curves_are_drawn_again(tmp_path):
  results_dir = tmp_path / layout.RESULTS_DIR
  results_dir.mkdir()
  text = 'encoder,version,seed,env_steps,success_rate\n' + '\n'.join(
      f'own,{version},{seed},{step},{step / 3000}'
      for version in ('fast', 'plain') for seed in (0, 1)
      for step in (1000, 2000)
  )
  (results_dir / learning.CURVES).write_text(text)
  report.make_report(str(tmp_path), films=False)
  assert (results_dir / benchmark_table.FIGURE).exists()
  assert (results_dir / learning.CURVES).read_text() == text


def test_an_ablation_is_drawn_beside_its_method(root):
  names = {e.name for e in gallery.entries(lambda name: _table(root, name))}
  assert {'figure8_success', 'figure8_violations'} <= names
  assert 'figure9_success' not in names  # PARROT on unsafe data was not run.


def test_an_ablation_is_compared_on_common_seeds(root, monkeypatch):
  shown = []
  monkeypatch.setattr(figures, 'method_bars', shown.extend)
  monkeypatch.setattr(figures, 'curves', lambda rows, *_: shown.extend(rows))
  by_name = {
      entry.name: entry for entry in gallery.entries(
          lambda name: _table(root, name)
      )
  }
  for name in ('ablations', 'figure8_success', 'figure8_violations'):
    shown.clear()
    by_name[name].draw()
    # SAFER has seeds 0 and 1, the ablation 0 alone.
    assert {'safer', 'safer_no_context'} <= {row['method'] for row in shown}
    assert {row['seed'] for row in shown} == {0}, name
    assert 'n = 1' in by_name[name].caption


def test_own_encoders_have_a_table_of_their_own(root):
  rows = _table(root, 'table1')
  own = [
      {**row, 'variant': 'own_encoder', 'encoder': 'own', 'violations': 777}
      for row in rows if row['method'] == 'sac'
  ] + [
      {**row, 'variant': tables.SMALL_BATCH, 'violations': 888}
      for row in rows if row['method'] == 'sac'
  ]
  page = ''.join(outcome.outcome(
      lambda name: [*rows, *own] if name == 'table1' else []
  ))
  before, after = page.split('Image encoders')
  for number in ('777', '888'):
    assert number not in before and number in after
  assert 'PARROT' not in after and '240' in after  # SAC's usual rows.


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
  assert len(stages) == 23
  seconds = {stage['stage']: stage['wall_seconds'] for stage in stages}
  agents = f'agents/seen/{_TASK}'
  for name, expected in (
      ('priors/seen/safer', 3), ('priors/seen/safer/export/assurance', 3),
      ('priors/seen/safer/export/confirmation', 3),
      (f'{agents}/safer/default/seed0', 9),
      (f'{agents}/safer/default/seed0/evaluation', 2),
      (f'{agents}/safer_prior_zero/default/seed0', 9),
  ):
    assert seconds[name] == expected, name
  assert f'{agents}/parrot/default/seed0/evaluation' not in seconds
  assert all(stage['inputs'] == _STAGE['inputs'] for stage in stages)
