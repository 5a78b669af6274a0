"""A run's files become tables, figures and one page, and nothing is lost."""

from __future__ import annotations

import glob
import os
import re
import shutil

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
from safer_tf.evaluation import report
from safer_tf.evaluation import tables
from safer_tf.evaluation import variants
from tests.evaluation import runs


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  return runs.make(tmp_path_factory)


def test_the_page_stands_alone_and_shows_what_there_is(root):
  with open(os.path.join(root, layout.REPORT), encoding='utf-8') as file:
    page = file.read()
  assert not re.search(r'(src|href)="(?!data:|#)', page)
  assert '<script' not in page
  for text in (
      'SAC', 'SAFER, no safety variable', '25.0 ± 0.0%', '240 ± 0',
      '6 of 40 (30.0%)', '21.0 / 610', 'a machine', 'Figure 5', 'Figure 6',
      'Calibration of the bound (Figure 4): not part of this run',
      '62.5%', '37.5%', 'on 2 tasks that are not evaluated', 'href="#alone"',
      'lambda_1', '6.2%', '<td>4,321</td>', '18.8%', '0.0312',
  ):
    assert text in page, text


def _agent_of_ones_own_task(root_dir, method):
  """One with an episode that could be played again."""
  runs.agent(root_dir, method, 0, task='pour')
  path = os.path.join(
      layout.agent_dir(root_dir, 'seen', 'pour', method, 'default', 0),
      layout.EVALUATION,
  )
  files.write_json(path, {
      **files.read_json(path, 'it'), 'replays': {'safe': {
          'seed': 1, 'success': True, 'actions': [[0.0]], 'unsafe': [False],
      }},
  })


def test_the_page_of_other_tasks_does_not_speak_of_ours(tmp_path):
  root_dir = str(tmp_path)
  _agent_of_ones_own_task(root_dir, 'safer')
  files.write_json(
      os.path.join(layout.data_dir(root_dir), layout.DATA_CARD), {
          'total': runs.COUNTS, 'by_task': {'pour': runs.COUNTS},
          'by_noise': {}, 'by_split': {},
      }
  )
  report.make_report(root_dir)
  with open(os.path.join(root_dir, layout.REPORT), encoding='utf-8') as file:
    page = file.read()
  assert 'pour' in page and 'that was unsafe' in page
  for text in ('robot', 'extracts', 'the container', '21.0 / 610', 'Figure 10',
               'the object'):
    assert text not in page, text


def test_other_tasks_of_ablations_alone_are_not_played_as_ours(tmp_path):
  root_dir = str(tmp_path)
  _agent_of_ones_own_task(root_dir, 'safer_refit')
  with open(report.make_report(root_dir), encoding='utf-8') as file:
    page = file.read()
  assert 'pour' in page and 'robot' not in page


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
  entries = gallery.entries(lambda name: runs.table(root, name))
  entry = next(entry for entry in entries if entry.name == 'tradeoff')
  entry.draw()
  # Of the seeds that all points have: the usual bound has two.
  assert sorted((row['variant'], row['seed']) for row in shown) == [
      ('default', 0), ('tradeoff_0.3', 0), ('tradeoff_0.45', 0)
  ]
  assert 'n = 1' in entry.caption
  # A task with two bounds alone is no line.
  few = [
      row for row in runs.table(root, 'tradeoff') if row['latent_bound'] == 2.5
  ]
  names = [e.name for e in gallery.entries(
      lambda name: few if name == 'tradeoff' else runs.table(root, name)
  )]
  assert 'tradeoff' not in names


def test_the_benchmarks_curves_are_drawn_again(tmp_path):
  results_dir = tmp_path / layout.RESULTS_DIR
  results_dir.mkdir()
  text = ','.join(tables.FOREIGN['benchmark_learning']) + '\n' + '\n'.join(
      f'own,{version},{seed},{step},{step / 3000},abc'
      for version in ('fast', 'plain') for seed in (0, 1)
      for step in (1000, 2000)
  )
  (results_dir / learning.CURVES).write_text(text)
  report.make_report(str(tmp_path), films=False)
  assert (results_dir / benchmark_table.FIGURE).exists()
  assert (results_dir / learning.CURVES).read_text() == text


def test_an_ablation_is_drawn_beside_its_method(root):
  names = {e.name for e in gallery.entries(lambda name: runs.table(root, name))}
  assert {'figure8_success', 'figure8_violations'} <= names
  assert 'figure9_success' not in names  # PARROT on unsafe data was not run.


def test_an_ablation_is_compared_on_common_seeds(root, monkeypatch):
  shown = []
  monkeypatch.setattr(figures, 'method_bars', shown.extend)
  monkeypatch.setattr(figures, 'curves', lambda rows, *_: shown.extend(rows))
  by_name = {
      entry.name: entry for entry in gallery.entries(
          lambda name: runs.table(root, name)
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
  rows = runs.table(root, 'table1')
  own = [
      {**row, 'variant': 'own_encoder', 'encoder': 'own', 'violations': 777}
      for row in rows if row['method'] == 'sac'
  ] + [
      {**row, 'variant': variants.SMALL_BATCH, 'violations': 888}
      for row in rows if row['method'] == 'sac'
  ]
  page = ''.join(outcome.outcome(
      lambda name: [*rows, *own] if name == 'table1' else [], True
  ))
  before, after = page.split('Image encoders')
  for number in ('777', '888'):
    assert number not in before and number in after
  assert 'PARROT' not in after and '240' in after  # SAC's usual rows.
  assert '*' not in after  # They are no variants that compete.


def _of_two_protocols(root_dir):
  tables.write(layout.results_dir(root_dir), 'table1', [
      runs.recorded_row(eval_success_rate=success, protocol=protocol)
      for protocol, success in (('seen', 0.5), ('held_out', 0.25))
  ])
  return root_dir


def test_the_printed_table_tells_protocols_apart(tmp_path):
  text = report.printed_table(_of_two_protocols(str(tmp_path)))
  seen, held_out = text.split('held_out:')
  assert seen.startswith('seen:')
  assert '50.0%' in seen and '25.0%' not in seen and '25.0%' in held_out


def test_the_headline_is_of_the_papers_protocol(tmp_path):
  results = report._Results(_of_two_protocols(str(tmp_path)))
  assert any('50.0%' in entry for entry in report._headline(results))
  assert not any('37.5%' in entry for entry in report._headline(results))


@pytest.mark.parametrize('name, content, message', [
    ('data_card.json', '{"x": 1}', 'without total'),
    ('provenance.json', '[{"stage": "a", "config": ""}]', 'finished, git_rev'),
    ('replays.json',
     '[{"protocol": "seen", "task": "a", "method": "safer", "seed": 0}]',
     'without actions, kind'),
])
def test_a_record_that_says_too_little_is_named(
    tmp_path, name, content, message
):
  root_dir = _of_two_protocols(str(tmp_path))
  path = os.path.join(layout.results_dir(root_dir), name)
  with open(path, 'w', encoding='utf-8') as file:
    file.write(content)
  with pytest.raises(errors.UserError, match=f'{name} .*{message}'):
    report.make_report(root_dir)
