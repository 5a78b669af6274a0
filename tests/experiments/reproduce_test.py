"""The shipped experiments, and what a run of a matrix ends with."""

from __future__ import annotations

import os
import subprocess
import sys

import gin
import pytest

import envs
from safer_tf.common import config
from safer_tf.common import errors
from safer_tf.evaluation import report
from safer_tf.evaluation import tables
from safer_tf.experiments import builder
from safer_tf.experiments import executor
from safer_tf.experiments import in_force
from safer_tf.experiments import matrix
from safer_tf.experiments import reproduce

_TOP = os.path.dirname(config.config_dir())


def test_a_whole_run_ends_with_the_table_and_the_report(run, tmp_path, capsys):
  path = run({'one': 'pass', 'two': 'pass'}, workers=2)
  assert path == f'{tmp_path}/report'
  assert (tmp_path / 'one').exists() and (tmp_path / 'two').exists()
  assert f'Report: {path}' in capsys.readouterr().out


def test_a_failed_cell_is_named_after_the_report_is_made(
    run, tmp_path, capsys
):
  with pytest.raises(errors.UserError, match=r'1 of 2 cells failed \(bad\)'):
    run({'bad': 'raise SystemExit(3)', 'good': 'pass'}, workers=1)
  assert 'Report: ' in capsys.readouterr().out
  assert (tmp_path / 'logs' / 'cells.csv').read_text().split() == [
      'cell,outcome', 'bad,failed', 'good,finished'
  ]


def test_a_failed_cell_is_named_where_there_is_nothing_to_report(
    run, monkeypatch
):
  def nothing(root_dir):
    raise errors.UserError(f'{root_dir} holds no results')

  def failing(*args, **kwargs):
    monkeypatch.setattr(report, 'make_report', nothing)
    return {'bad': executor.FAILED}

  monkeypatch.setattr(executor, 'execute', failing)
  with pytest.raises(errors.UserError, match='1 of 1 cells failed'):
    run({'bad': 'pass'})


def test_nothing_to_do_is_an_error(run):
  with pytest.raises(errors.UserError, match='Nothing of the matrix'):
    run({}, methods=['safer'])


@pytest.mark.parametrize('name', ['quickstart', 'paper'])
def test_every_cell_is_given_what_its_stage_requires(name):
  files_of_all = [f'experiments/{name}.gin']
  config.parse(files_of_all, [])
  todo = builder.Builder(
      '/runs/a', 0, files_of_all, [], reproduce._sizes()
  ).build(matrix.Matrix())
  required = {
      'calibrate': ('calibrate.max_episode_steps', 'calibrate.task'),
      'assurance': ('compute_assurance.max_episode_steps',),
      'agent': ('train_agent.task', 'train_agent.num_steps'),
      'evaluate': ('evaluate.task', 'evaluate.method'),
      'prior': ('train_prior.num_steps', 'train_prior.prior'),
      'rollouts': ('roll_out_prior.prior',),
  }
  seen = set()
  for cell in todo:
    if cell.kind in required and cell.kind not in seen:
      seen.add(cell.kind)
      config.parse(cell.given('gin_file'), cell.given('gin_bindings'))
      for parameter in required[cell.kind]:
        assert in_force.value(parameter, None) is not None, (cell, parameter)
  assert seen >= {'agent', 'assurance', 'evaluate', 'prior'}
  assert (name == 'quickstart') or 'calibrate' in seen
  gin.clear_config()


def test_how_earlier_cells_ended_is_kept(run, tmp_path):
  for names in (('one', 'two'), ('two', 'three')):
    run({name: 'pass' for name in names}, workers=1)
  assert (tmp_path / 'logs' / 'cells.csv').read_text().split() == [
      'cell,outcome', 'one,finished', 'two,finished', 'three,finished'
  ]


def test_damage_to_how_cells_ended_stops_nothing(run, tmp_path):
  path = tmp_path / 'logs' / 'cells.csv'
  for text in ('', 'cell,outcome\nhalf a li\na,name,failed\n'):
    run({'one': 'pass'})
    path.write_text(text)
  run({'two': 'pass'})
  assert path.read_text().splitlines() == [
      'cell,outcome', 'a,name,failed', 'two,finished'
  ]


def test_fewer_than_one_cell_at_a_time_is_an_error():
  found = subprocess.run(
      [sys.executable, os.path.join(_TOP, 'bin', 'reproduce.py'),
       '--workers=-1'], capture_output=True, text=True, check=False,
  )
  assert found.returncode and '--workers=-1' in found.stderr


def test_help_names_every_part():
  text = subprocess.run(
      [sys.executable, os.path.join(_TOP, 'bin', 'reproduce.py'), '--help'],
      capture_output=True, text=True, check=True,
  ).stdout
  for part in matrix.PARTS:
    assert part in text


def test_held_out_tasks_of_ones_own_are_not_evaluated(run):
  config.parse([], ["held_out_tasks.names = ('extract_00',)"])
  with pytest.raises(errors.UserError, match='tasks that it evaluates'):
    run({'one': 'pass'})


@pytest.mark.parametrize('binding, message', [
    ('train_agent.method = %METHOD', 'choose by --methods'),
    ('evaluate.max_unsafe_fraction = 0.3', 'is 0.3, train_agent'),
    ("evaluate.assurance_mode = 'paper'", 'assurance_mode is paper'),
    ('compute_assurance.targets = (0.15, 0.3, 0.45)', 'targets lack 0.02'),
    ('train_prior.num_steps = 0', 'train_prior.num_steps is 0'),
])
def test_what_would_fail_after_hours_is_refused_at_once(
    run, binding, message
):
  config.parse([], [binding, *(
      ["METHOD = 'safer'"] if '%METHOD' in binding else []
  )])
  with pytest.raises(errors.UserError, match=message):
    run({'one': 'pass'})


@pytest.mark.parametrize('name, agents', [('quickstart', 3), ('paper', 768)])
def test_shipped_experiments(name, agents):
  config.parse(
      ['methods/safer.gin', f'experiments/{name}.gin', 'encoders/own.gin'], []
  )
  config.parse([f'experiments/{name}.gin'], [])
  sizes = reproduce._sizes()
  assert sizes.prior_steps == gin.query_parameter('train_prior.num_steps')
  found = builder.Builder('/runs/a', 0, [], [], sizes).build(matrix.Matrix())
  assert sum(cell.name.startswith('agent/') for cell in found) == agents
  # Agents look their bound up among the targets that were computed.
  targets = gin.query_parameter('compute_assurance.targets')
  macro = 'MAX_UNSAFE_FRACTION/gin.macro.value'
  assert gin.query_parameter(macro) in targets
  if 'tradeoff' in matrix.Matrix().parts:
    swept = {
        *matrix.Matrix().tradeoff_targets, *matrix.Matrix().frontier_targets
    }
    assert swept <= set(targets)
    # The sweep is drawn together with Table 1's own target.
    assert gin.query_parameter(macro) not in swept
  for stage in ('compute_assurance', 'train_agent', 'evaluate'):
    bound = gin.query_parameter(f'{stage}.max_unsafe_fraction')
    assert bound.selector == 'gin.macro', stage
  if name == 'paper':
    # The paper's own sizes, and one mode of the assurance throughout.
    assert sizes.data_steps == 1_000_000 and sizes.agent_steps == 50_000
    assert sizes.evaluation_episodes == 100
  gin.clear_config()


def test_cells_are_built_with_the_seed_and_the_bindings(
    monkeypatch, tmp_path
):
  given = []
  monkeypatch.setattr(
      builder.Builder, '__init__', lambda self, *rest: given.extend(rest)
  )
  monkeypatch.setattr(builder.Builder, 'build', lambda *_: [])
  with pytest.raises(errors.UserError, match='Nothing of the matrix'):
    reproduce.reproduce(str(tmp_path), 7, ['a.gin'], ['a.b = 1'])
  assert given[:4] == [str(tmp_path), 7, ['a.gin'], ['a.b = 1']]


def test_as_many_cells_run_at_a_time_as_is_asked_for(tmp_path):
  pool = reproduce._pool('local', None, str(tmp_path), 7)
  assert pool.workers == 7
  pool.stop()


def test_a_dry_run_names_what_is_left_and_writes_nothing(
    run, tmp_path, capsys
):
  source = str(tmp_path / 'old')
  tables.write(source, 'table1', [{
      'protocol': 'seen', 'task': envs.EVALUATION[0],
      'method': 'safer_prior_zero', 'variant': 'default', 'seed': 0,
      'eval_episodes': 100,
  }])
  before = sorted(tmp_path.rglob('*'))
  name = f'seen/{envs.EVALUATION[0]}/safer_prior_zero/default/seed0'
  assert run(
      {f'evaluate/{name}': '', 'agent/new': 'raise SystemExit("was run")'},
      recorded=source, dry_run=True,
  ) is None
  assert capsys.readouterr().out.splitlines() == [
      'agent/new', '1 of 2 cells would be run (1 agent).'
  ]
  assert sorted(tmp_path.rglob('*')) == before
