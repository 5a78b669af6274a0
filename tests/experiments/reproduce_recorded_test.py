"""What a run takes for finished, and what it refuses to mix with the rest."""

from __future__ import annotations

import os

import gin
import pytest

import envs
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.evaluation import recorded as recorded_lib
from safer_tf.evaluation import report
from safer_tf.evaluation import tables
from safer_tf.experiments import builder
from safer_tf.experiments import cells
from safer_tf.experiments import executor
from safer_tf.experiments import recorded_cells
from safer_tf.experiments import reproduce
from safer_tf.experiments import wanted

_SAC = f'seen/{envs.EVALUATION[0]}/sac/default/seed'


def _sac_cell(seed, finished_file):
  return cells.Cell(
      f'agent/{_SAC}{seed}', 'none', ('--gin_file=methods/sac.gin',),
      finished_file,
  )


def _record_another_gamma(directory, seed):
  """An agent that learnt otherwise than the config asks for."""
  tables.write(directory, 'table1', [{
      'protocol': 'seen', 'task': envs.EVALUATION[0], 'method': 'sac',
      'variant': 'default', 'seed': seed, 'env_steps': 50_000,
      'eval_episodes': 100,
  }])
  files.write_json(f'{directory}/provenance.json', [{
      'stage': f'agents/{_SAC}{seed}', 'config': 'make_agent.gamma = 0.5',
  }])


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


def _of_another_prior(tmp_path):
  """A recorded agent whose prior is another than the one that is here."""
  run = f'seen/{envs.EVALUATION[0]}/safer/default/seed0'
  source = str(tmp_path / 'old')
  tables.write(source, 'table1', [{
      'protocol': 'seen', 'task': envs.EVALUATION[0], 'method': 'safer',
      'variant': 'default', 'seed': 0, 'env_steps': 50_000,
      'eval_episodes': 100, 'assurance_mode': 'exact',
      'max_unsafe_fraction': 0.15,
  }])
  files.write_json(f'{source}/provenance.json', [
      {'stage': f'agents/{run}', 'inputs': {'prior_spec': 'x'}}
  ])
  prior = 'prior/seen/safer'
  (tmp_path / 'prior').touch()
  return source, [
      cells.Cell(prior, 'none', (), str(tmp_path / 'prior')),
      cells.Cell(f'agent/{run}', 'none', (), 'x', (prior,)),
  ]


def test_results_of_another_prior_are_refused_then_and_later(
    run, tmp_path, monkeypatch
):
  source, todo = _of_another_prior(tmp_path)
  monkeypatch.setattr(wanted, 'check', lambda *args: None)
  monkeypatch.setattr(reproduce.builder.Builder, 'build', lambda *_: todo)
  root = str(tmp_path / 'run')
  with pytest.raises(errors.UserError, match='made from another prior'):
    reproduce.reproduce(root, recorded=source)
  # Else a report would be over agents of both.
  assert not os.path.exists(recorded_lib.copy_dir(root))
  with recorded_lib.adopting(source, root):
    pass
  with pytest.raises(errors.UserError, match='remove .*recorded'):
    reproduce.reproduce(root)


@pytest.mark.parametrize('line, asked, said', [
    ('make_agent.gamma = 0.95', (), None),  # That of gin/base.gin.
    ('make_agent.gamma = 0.99', (), 'gamma was 0.99, is now 0.95'),
    ('train_agent.batch_size = 64', (), 'batch_size was 64, is now 128'),
    (None, (), 'provenance.json does not say how'),
    # A setting that earlier agents have no record of.
    ('make_agent.gamma = 0.95',
     ('--gin_bindings=train_agent.violation_penalty = 1.0',),
     'violation_penalty was None, is now 1.0'),
])
def test_recorded_agents_that_learnt_otherwise_do_not_count(
    tmp_path, monkeypatch, capsys, line, asked, said
):
  source, root = tmp_path / 'recorded results', tmp_path / 'run'
  root.mkdir()
  row = {
      'protocol': 'seen', 'task': envs.EVALUATION[0], 'method': 'sac',
      'variant': 'default', 'seed': 0, 'env_steps': 50_000,
      'eval_episodes': 100, 'encoder': 'prior', 'git_revision': 'a',
      'assurance_mode': '',
  }
  tables.write(
      str(source), 'table1', [row, {**row, 'task': envs.EVALUATION[1]}]
  )
  run = f'seen/{row["task"]}/sac/default/seed0'
  files.write_json(str(source / 'provenance.json'), [{
      'stage': f'agents/{run}' if line else 'data', 'inputs': {},
      'config': f'{line}\nmake_agent.hidden_units = (9, 9)',
  }, {'stage': f'agents/seen/{envs.EVALUATION[1]}/sac/default/seed0'}])
  given = ('--gin_bindings=make_agent.hidden_units = (9, 9)', *asked)
  todo = [
      cells.Cell(f'agent/{run}', 'none',
                 ('--gin_file=methods/sac.gin', *given), 'x'),
      cells.Cell(f'evaluate/{run}', 'none', (), 'x'),
  ]
  to_run = []

  def execute(found, *_):
    to_run.extend(cell.name for cell in found if not cell.finished)
    return {cell.name: 'done' for cell in found}

  gin.clear_config()
  monkeypatch.setattr(builder.Builder, 'build', lambda *_: todo)
  monkeypatch.setattr(report, 'make_report', lambda root: 'report')
  monkeypatch.setattr(executor, 'execute', execute)
  monkeypatch.setattr(report, 'printed_table', lambda root: '')
  reproduce.reproduce(str(root), recorded=str(source))
  gin.clear_config()
  same = said is None
  copy = str(root / layout.RECORDED_DIR)
  tasks = [row['task'] for row in tables.read(copy, 'table1')]
  assert tasks == list(envs.EVALUATION[:2][0 if same else 1:])
  assert len(recorded_cells.learning(copy)) == 1 + same
  assert len(tables.read(str(source), 'table1')) == 2  # Only the copy's go.
  assert to_run == ([] if same else [cell.name for cell in todo])
  out = capsys.readouterr().out
  assert ('do not count' in out) == (not same)
  assert same or said in out


def test_the_priors_of_recorded_agents_are_known(tmp_path):
  files.write_json(str(tmp_path / 'provenance.json'), [
      {'stage': 'agents/seen/a/safer/default/seed0',
       'inputs': {'prior_spec': 'x'}},
      {'stage': 'agents/seen/a/sac/default/seed0', 'inputs': {}},
      {'stage': 'agents/seen/a/safer/default/seed1'},  # Of an old release.
      {'stage': 'priors/seen/safer', 'inputs': {}},
  ])
  assert recorded_cells.made_from(str(tmp_path)) == dict.fromkeys((
      'agent/seen/a/safer/default/seed0',
      'evaluate/seen/a/safer/default/seed0',  # All there is without learning.
  ), 'x')


def test_recorded_agents_of_other_seeds_are_compared_too(
    tmp_path, monkeypatch
):
  source = str(tmp_path / 'old')
  _record_another_gamma(source, seed=1)
  monkeypatch.setattr(builder.Builder, 'build', lambda _, chosen: [
      _sac_cell(seed, 'x') for seed in chosen.seeds
  ])
  monkeypatch.setattr(executor, 'execute', lambda todo, *_: {
      cell.name: executor.FINISHED for cell in todo
  })
  monkeypatch.setattr(report, 'make_report', lambda root: 'report')
  monkeypatch.setattr(report, 'printed_table', lambda root: '')
  try:
    reproduce.reproduce(str(tmp_path), seeds=['0'], recorded=source)
  finally:
    gin.clear_config()
  assert not tables.read(recorded_lib.copy_dir(str(tmp_path)), 'table1')


def test_agents_of_other_seeds_that_are_here_are_compared_too(
    tmp_path, monkeypatch
):
  agents = tmp_path / layout.AGENTS_DIR
  files.write_json(str(agents / f'{_SAC}1' / layout.RESULT), {
      'method': 'sac', 'variant': 'default', 'env_steps': 8_000,
      'latent_bound': None, 'max_unsafe_fraction': None,
      'assurance_mode': None,
  })
  monkeypatch.setattr(builder.Builder, 'build', lambda _, chosen: [
      _sac_cell(seed, str(agents / f'{_SAC}{seed}' / layout.RESULT))
      for seed in chosen.seeds
  ])
  try:
    with pytest.raises(errors.UserError, match='an agent of 8000 steps'):
      reproduce.reproduce(str(tmp_path), seeds=['0'], dry_run=True)
  finally:
    gin.clear_config()


@pytest.mark.parametrize('dry_run', [False, True])
def test_agents_of_the_runs_own_copy_that_learnt_otherwise_are_refused(
    tmp_path, monkeypatch, dry_run
):
  copy = recorded_lib.copy_dir(str(tmp_path))
  _record_another_gamma(copy, seed=0)
  monkeypatch.setattr(builder.Builder, 'build', lambda *_: [_sac_cell(0, 'x')])
  try:
    with pytest.raises(errors.UserError, match='own copy.*gamma was 0.5'):
      reproduce.reproduce(str(tmp_path), dry_run=dry_run)
  finally:
    gin.clear_config()
  assert tables.read(copy, 'table1')


@pytest.mark.parametrize('name, tables_of, stage, message', [
    ('data', {}, {'stage': 'data', 'seed': 7}, 'recorded with seed 7'),
    ('prior/seen/a', {}, {'stage': 'priors/seen/a', 'seed': 7}, 'seed 7'),
    ('calibrate/seen/safer/x', {'calibration': [{
        'protocol': 'seen', 'prior': 'safer', 'task': 'x', 'mode': 'exact',
        'max_unsafe_fraction': target, 'latent_bound': 0.5, 'steps': 9_000,
        'unsafe_fraction_upper': 0.2,
    } for target in (0.0, 0.02, 0.15, 0.3, 0.45)]}, {}, 'now gives 0.7'),
    ('prior/seen/lambda_1', {'prior_sweep': [{
        'protocol': 'seen', 'prior': 'lambda_1', 'method': 'safer',
        'num_steps': 4000, 'unsafe_weight': 2.0, 'optimizer': 'adam',
        'learning_rate': 2e-3,
    }]}, {}, 'unsafe_weight 2; asked for is 1.0'),
])
def test_recorded_results_of_another_run_are_refused(
    tmp_path, monkeypatch, name, tables_of, stage, message
):
  source, root = str(tmp_path / 'old'), str(tmp_path / 'run')
  files.write_json(f'{source}/provenance.json', [
      {'stage': 'data', 'seed': 0, **stage}
  ])
  for table, rows in tables_of.items():
    tables.write(source, table, rows)
  files.write_json(os.path.join(
      layout.export_dir(root, 'seen', 'safer'), layout.ASSURANCE
  ), {'table': [{
      'mode': 'exact', 'max_unsafe_fraction': target, 'latent_bound': 0.7,
  } for target in (0.0, 0.02, 0.15, 0.3, 0.45)]})
  cell = cells.Cell(name, 'none', (
      f'--root_dir={root}', '--seed=0',
      '--gin_bindings=train_prior.unsafe_weight = 1.0',
  ), 'x')
  monkeypatch.setattr(builder.Builder, 'build', lambda *_: [cell])
  try:
    with pytest.raises(errors.UserError, match=message):
      reproduce.reproduce(root, recorded=source, dry_run=True)
  finally:
    gin.clear_config()


def test_agents_here_of_a_prior_that_is_another_now_are_refused(
    tmp_path, monkeypatch
):
  """Those without learning too, whose evaluation is all there is."""
  run = f'seen/{envs.EVALUATION[0]}/safer_prior_zero/default/seed0'
  result = tmp_path / layout.AGENTS_DIR / run / layout.EVALUATION
  files.write_json(str(result), {
      'method': 'safer_prior_zero', 'variant': 'default', 'prior': None,
      'env_steps': 0, 'eval_episodes': 100, 'latent_bound': None,
      'max_unsafe_fraction': None, 'assurance_mode': None,
      'eval_provenance': {'inputs': {'prior_spec': 'x'}},
  })
  prior = 'prior/seen/safer'
  todo = [
      cells.Cell(prior, 'none', (), 'x'),
      cells.Cell(f'evaluate/{run}', 'none', (), str(result), (prior,)),
      cells.Cell('evaluate/new', 'none', (), 'x', (prior,)),
  ]
  monkeypatch.setattr(builder.Builder, 'build', lambda *_: todo)
  try:
    with pytest.raises(errors.UserError, match='is there, made from another'):
      reproduce.reproduce(str(tmp_path), dry_run=True)
  finally:
    gin.clear_config()


def test_agents_of_other_methods_that_are_here_are_compared_too(
    tmp_path, monkeypatch
):
  run = f'seen/{envs.EVALUATION[0]}/parrot/default/seed0'
  result = tmp_path / layout.AGENTS_DIR / run / layout.RESULT
  files.write_json(str(result), {
      'method': 'parrot', 'variant': 'default', 'env_steps': 2_400,
      'latent_bound': None, 'max_unsafe_fraction': None,
      'assurance_mode': None,
  })
  monkeypatch.setattr(builder.Builder, 'build', lambda _, chosen: [
      cells.Cell(f'agent/{run}', 'none', (), str(result))
      if 'parrot' in chosen.methods else _sac_cell(0, 'x')
  ])
  try:
    with pytest.raises(errors.UserError, match='an agent of 2400 steps'):
      reproduce.reproduce(str(tmp_path), methods=['sac'], dry_run=True)
  finally:
    gin.clear_config()
