"""The shipped experiments, and what a run of a matrix ends with."""

from __future__ import annotations

import json
import sys

import gin
import pytest

import envs
from safer_tf.common import config
from safer_tf.common import errors
from safer_tf.evaluation import report
from safer_tf.evaluation import tables
from safer_tf.experiments import builder
from safer_tf.experiments import cells
from safer_tf.experiments import matrix
from safer_tf.experiments import reproduce


class _ScriptCell(cells.Cell):
  """A cell whose first argument is a line of Python."""

  @property
  def command(self):
    return [sys.executable, '-c', self.arguments[0]]


@pytest.fixture
def run(monkeypatch, tmp_path):
  """Runs given scripts, by name, as if they were the matrix."""
  gin.clear_config()

  def go(scripts, **kwargs):
    todo = [
        _ScriptCell(
            name, 'none',
            (f'{script}; open({str(tmp_path / name)!r}, "w").close()',),
            str(tmp_path / name),
        ) for name, script in scripts.items()
    ]
    monkeypatch.setattr(
        builder.Builder, 'build', lambda self, chosen: todo
    )
    monkeypatch.setattr(report, 'make_report', lambda root: f'{root}/report')
    return reproduce.reproduce(str(tmp_path), **kwargs)

  return go


def test_a_whole_run_ends_with_the_table_and_the_report(run, tmp_path, capsys):
  path = run({'one': 'pass', 'two': 'pass'}, workers=2)
  assert path == f'{tmp_path}/report'
  assert (tmp_path / 'one').exists() and (tmp_path / 'two').exists()
  assert f'Report: {path}' in capsys.readouterr().out


def test_a_failed_cell_is_named_after_the_report_is_made(run, capsys):
  with pytest.raises(errors.UserError, match=r'1 of 2 cells failed \(bad\)'):
    run({'bad': 'raise SystemExit(3)', 'good': 'pass'}, workers=1)
  assert 'Report: ' in capsys.readouterr().out


def test_nothing_to_do_is_an_error(run):
  with pytest.raises(errors.UserError, match='Nothing of the matrix'):
    run({}, methods=['safer'])


def test_agents_of_another_configuration_are_not_taken_for_finished(
    monkeypatch, tmp_path
):
  gin.clear_config()
  path = tmp_path / 'evaluation.json'
  cell = cells.Cell('agent', 'evaluate', (), str(path))
  monkeypatch.setattr(builder.Builder, 'build', lambda self, chosen: [cell])
  monkeypatch.setattr(report, 'make_report', lambda root: f'{root}/report')
  found = {
      'method': 'safer', 'variant': 'default', 'env_steps': 50_000,
      'eval_episodes': 100, 'assurance_mode': 'exact',
      'max_unsafe_fraction': 0.15,
  }
  for changed in (
      {'env_steps': 400}, {'eval_episodes': 5}, {'max_unsafe_fraction': 0.3},
      {'assurance_mode': 'paper'},
  ):
    path.write_text(json.dumps({**found, **changed}))
    with pytest.raises(errors.UserError, match='another --root_dir'):
      reproduce.reproduce(str(tmp_path))
  for fine in (found, {**found, 'method': 'sac', 'max_unsafe_fraction': None}):
    path.write_text(json.dumps(fine))
    assert reproduce.reproduce(str(tmp_path)).endswith('report')


def test_recorded_results_are_not_run_again(run, tmp_path):
  task = envs.EVALUATION[0]
  name = f'evaluate/seen/{task}/safer_prior_zero/default/seed0'
  tables.write(str(tmp_path / 'old'), 'table1', [{
      'protocol': 'seen', 'task': task, 'method': 'safer_prior_zero',
      'variant': 'default', 'seed': 0, 'eval_episodes': 100,
  }])
  run(
      {name: 'raise SystemExit("was run")', 'new': 'pass'}, workers=1,
      recorded=str(tmp_path / 'old'),
  )
  assert (tmp_path / 'new').exists()


def test_an_unknown_executor_is_an_error(run):
  with pytest.raises(errors.UserError, match='--executor=moon'):
    run({'one': 'pass'}, executor='moon')


@pytest.mark.parametrize('name, agents', [('quickstart', 3), ('paper', 465)])
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
    swept = set(matrix.Matrix().tradeoff_targets)
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
