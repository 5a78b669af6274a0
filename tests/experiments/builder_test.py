"""What the cells of a matrix are told, and what each needs."""

from __future__ import annotations

import gin
import pytest

import envs
from safer_tf.common import config
from safer_tf.common import errors
from safer_tf.experiments import matrix
from tests.experiments import matrices

_build = matrices.build


def test_the_data_can_be_collected_in_parts():
  found = {cell.name: cell for cell in _build(data_parts=3)}
  assert found['data'].needs == ('data/0', 'data/1', 'data/2')
  assert not any(found[name].whole_machine for name in ('data', 'data/0'))
  assert '--gin_bindings=collect_data.part = (2, 3)' in (
      found['data/2'].arguments
  )
  with pytest.raises(errors.UserError, match='data_parts'):
    matrix.Matrix(data_parts=0)


def test_only_safers_cells_are_safers():
  names = [cell.name for cell in _build(methods=('sac',), ablations=())]
  assert not any('calibrate' in n or 'tradeoff' in n for n in names)


def test_a_cells_command_line_is_its_method_then_the_experiment():
  agent = next(
      cell for cell in _build() if cell.name.startswith('agent/held_out')
  )
  task = envs.EVALUATION[0]
  assert agent.command[1:] == [
      '-m', 'safer_tf.bin.train_agent', '--root_dir=/runs/a', '--seed=0',
      '--gin_file=methods/safer.gin', '--gin_file=experiments/x.gin',
      f"--gin_bindings=train_agent.task = '{task}'",
      "--gin_bindings=train_agent.protocol = 'held_out'",
      "--gin_bindings=train_agent.bound_protocol = 'seen'",
      "--gin_bindings=train_agent.variant = 'default'",
  ]
  assert agent.finished_file.endswith(
      f'agents/held_out/{task}/safer/default/seed0/stage.json'
  )


def test_a_prior_of_a_new_flow_is_evaluated_and_calibrated_by_itself():
  asked = {
      'parts': ('ablations', 'calibration'), 'tasks': (1,),
      'calibrated': ('safer', 'safer_refit'),
  }
  found = {cell.name: cell for cell in _build(**asked)}
  without = {cell.name for cell in _build(ablations=(), **asked)}
  task = envs.EVALUATION[0]
  alone = found[f'evaluate/seen/{task}/safer_refit_prior_zero/default/seed0']
  assert set(alone.needs) == {
      'prior/seen/safer_refit', 'assurance/seen/safer_refit'
  }
  for prior in asked['calibrated']:
    assert found[f'calibrate/seen/{prior}/{task}'].needs == (
        f'assurance/seen/{prior}',
    )
  assert f'calibrate/seen/safer/{task}' in without
  assert f'calibrate/seen/safer_refit/{task}' not in without


def test_new_tasks_are_acted_on_in_the_box_of_the_seen_and_calibrated():
  found = {
      cell.name: cell for cell in _build(parts=('held_out',), tasks=(2,))
  }
  task = envs.EVALUATION[1]
  agent = found[f'agent/held_out/{task}/parrot/default/seed0']
  assert agent.needs == ('prior/held_out/parrot', 'assurance/seen/safer')
  assert found[f'calibrate/held_out/safer/{task}'].needs == (
      'assurance/held_out/safer',
  )


def test_new_tasks_are_acted_on_in_their_own_priors_bound_too():
  found = [
      cell for cell in _build(parts=('held_out',), tasks=(2,))
      if cell.name.startswith('agent/')
  ]
  task = envs.EVALUATION[1]
  assert [cell.name for cell in found[:4]] == [
      f'agent/held_out/{task}/{method}/{variant}/seed0'
      for variant in ('default', 'own_bound') for method in ('safer', 'parrot')
  ]
  own = [cell for cell in found if '/own_bound/' in cell.name]
  assert len(own) == 6  # Two methods, three seeds.
  for cell in own:
    method = cell.name.split('/')[3]
    assert cell.needs == (
        f'prior/held_out/{method}', 'assurance/held_out/safer'
    )
    assert (
        "--gin_bindings=train_agent.bound_protocol = 'held_out'"
        in cell.arguments
    )
    assert not any('latent_bound' in value for value in cell.arguments)


def test_methods_are_run_in_stated_ranges():
  ranges = {'safer': (1.0,), 'parrot': (0.7, 0.8)}
  kwargs = {
      'parts': ('tradeoff',), 'tradeoff_targets': (), 'tasks': (2, 3),
      'seeds': (1,),
  }
  found = _build(tradeoff_ranges=ranges, **kwargs)
  agents = {
      cell.name: cell.given('gin_bindings')
      for cell in found if cell.name.startswith('agent/')
  }
  expected = {
      f'agent/seen/{task}/{method}/tradeoff_range_{bound:g}/seed1': bound
      for method, bounds in ranges.items() for bound in bounds
      for task in envs.EVALUATION[1:3]
  }
  assert set(agents) == set(expected)
  for name, bound in expected.items():
    assert f'train_agent.latent_bound = {bound}' in agents[name]
  alone = _build(tradeoff_ranges=ranges, methods=('safer',), **kwargs)
  assert not any('/parrot/' in cell.name for cell in alone)
  refit = _build(
      tradeoff_ranges={**ranges, 'safer_refit': (0.2,)}, methods=(),
      ablations=('safer_refit',), **kwargs,
  )
  assert [c.name for c in refit if c.name.startswith('agent/')] == [
      f'agent/seen/{task}/safer_refit/tradeoff_range_0.2/seed1'
      for task in envs.EVALUATION[1:3]
  ]
  with pytest.raises(errors.UserError, match='tradeoff_ranges names sac'):
    matrix.Matrix(tradeoff_ranges={'sac': (1.0,)})


def test_a_second_prior_differs_in_its_own_seed_alone():
  found = {cell.name: cell for cell in _build(
      parts=('ablations',), ablations=('safer_second', 'parrot_second'),
      tasks=(1,), seeds=(3,),
  )}
  seeds = {name: cell.given('seed') for name, cell in found.items()}
  assert seeds['data'] == seeds['prior/seen/safer'] == ['7']
  for method, box in (('safer', 'safer_second'), ('parrot', 'safer')):
    prior, run = f'prior/seen/{method}_second', f'{method}_second/default/seed3'
    assert seeds[prior] == ['8']
    agent = f'agent/seen/{envs.EVALUATION[0]}/{run}'
    assert seeds[agent] == ['3']
    assert found[agent].needs == (prior, f'assurance/seen/{box}')


def test_a_refitted_prior_needs_the_one_whose_features_it_has():
  todo = _build(
      parts=('ablations',), ablations=('safer_second_refit',), tasks=(1,),
      seeds=(3,), refit_steps=5,
  )
  found = {cell.name: cell for cell in todo}
  refit = found['prior/seen/safer_second_refit']
  assert refit.needs == ('data', 'prior/seen/safer_second')
  assert found['prior/seen/safer_second'].given('seed') == ['8']
  assert 'train_prior.num_steps = 5' in refit.given('gin_bindings')
  assert refit.cost < found['prior/seen/safer_second'].cost
  order = [cell.name for cell in todo]
  assert order.index('prior/seen/safer_second') < order.index(refit.name)


def test_some_ablations_meet_new_tasks_too():
  found = {cell.name: cell for cell in _build(
      parts=('held_out',), methods=(), held_out_ablations=('parrot_refit',),
      tasks=(2,), seeds=(1,),
  )}
  task = envs.EVALUATION[1]
  agent = found[f'agent/held_out/{task}/parrot_refit/default/seed1']
  assert agent.needs == (
      'prior/held_out/parrot_refit', 'assurance/seen/safer_refit'
  )
  assert found['prior/held_out/parrot_refit'].needs == (
      'data', 'prior/held_out/parrot'
  )
  narrowed = matrix.Matrix(
      held_out_ablations=('parrot_refit', 'safer_refit')
  ).narrowed((), (), ('safer_refit',), ())
  assert narrowed.held_out_ablations == ('safer_refit',)
  with pytest.raises(errors.UserError, match='held_out_ablations'):
    matrix.Matrix(held_out_ablations=('context_parrot',))


@pytest.mark.parametrize('protocol, part', [
    ('seen', 'ablations'), ('held_out', 'held_out'),
])
def test_a_baselines_new_flow_has_its_own_range_too(protocol, part):
  names = ('parrot_refit', 'safer_refit')
  found = {cell.name: cell for cell in _build(
      parts=(part,), methods=(), ablations=names, held_out_ablations=names,
      tasks=(2,), seeds=(1,), own_range=1.5,
  ) if cell.name.startswith('agent/')}
  start = f'agent/{protocol}/{envs.EVALUATION[1]}'
  assert set(found) == {
      f'{start}/parrot_refit/default/seed1',
      f'{start}/parrot_refit/own_range/seed1',
      f'{start}/safer_refit/default/seed1',
  }
  for name, cell in found.items():
    bound = 'train_agent.latent_bound = 1.5' in cell.given('gin_bindings')
    assert bound == ('own_range' in name)


def test_priors_are_rolled_out_without_an_agent():
  found = {cell.name: cell for cell in _build(
      parts=('prior_rollouts',), rolled_out=('parrot', 'safer_refit'),
  )}
  for prior in ('parrot', 'safer_refit'):
    cell = found[f'rollouts/seen/{prior}']
    assert cell.needs == (f'prior/seen/{prior}',)
    assert f"roll_out_prior.prior = '{prior}'" in cell.given('gin_bindings')
    assert '--prior_alone' in cell.command
  assert not any(name.startswith('agent') for name in found)
  with pytest.raises(errors.UserError, match='rolled_out names sac'):
    _build(rolled_out=('sac',))


def test_a_tuned_variant_stands_beside_the_shared_values_on_seen_alone():
  binding = 'make_agent.gamma = 0.99'
  kwargs = {
      'parts': ('table1', 'held_out'), 'methods': ('sac', 'safer'),
      'tasks': (1, 2), 'seeds': (0, 1),
  }
  found = {
      cell.name: cell
      for cell in _build(tuned={'sac': {'gamma_0.99': (binding,)}}, **kwargs)
  }
  new = set(found) - {cell.name for cell in _build(**kwargs)}
  assert new == {
      f'{kind}/seen/{task}/sac/gamma_0.99/seed{seed}'
      for kind in ('agent', 'evaluate') for task in envs.EVALUATION[:2]
      for seed in (0, 1)
  }
  for name in new:
    if name.startswith('agent/'):
      assert binding in found[name].given('gin_bindings')


def test_safer_and_parrot_are_run_in_a_wider_box_of_safers_on_all_tasks():
  found = _build(
      parts=('tradeoff',), tradeoff_targets=(0.02, 0.3), tradeoff_tasks=(3,),
      frontier_targets=(0.02,), tasks=(2, 3), seeds=(1,),
  )
  agents = {c.name: c for c in found if c.name.startswith('agent/')}
  second, third = envs.EVALUATION[1:3]
  assert set(agents) == {
      *(
          f'agent/seen/{task}/{method}/tradeoff_0.02/seed1'
          for task in (second, third) for method in ('safer', 'parrot')
      ), f'agent/seen/{third}/safer/tradeoff_0.3/seed1',
  }
  agent = agents[f'agent/seen/{second}/parrot/tradeoff_0.02/seed1']
  assert agent.needs == ('prior/seen/parrot', 'assurance/seen/safer')
  assert (
      '--gin_bindings=train_agent.max_unsafe_fraction = 0.02'
      in agent.arguments
  )


def test_own_encoders_stand_beside_the_priors_at_their_batch():
  found = [
      cell for cell in _build(
          parts=('own_encoder',), own_encoder_tasks=(1,),
          own_encoder_methods=('parrot',), seeds=(0,),
      ) if cell.name.startswith('agent/')
  ]
  values = []
  for cell in found:
    config.parse([
        flag.partition('=')[2] for flag in cell.arguments
        if flag.startswith('--gin_file=') and 'x.gin' not in flag
    ], [])
    values.append({
        name: gin.query_parameter(f'train_agent.{name}')
        for name in ('encoder', 'batch_size', 'latent_bound')
    })
  gin.clear_config()
  own, prior = values
  assert own == {**prior, 'encoder': 'own'} and own['batch_size'] == 64
  assert prior['encoder'] == 'prior'


def test_a_sweep_trains_short_priors_from_the_data_alone():
  found = _build(
      parts=('prior_sweep',),
      prior_sweep={'safer': {'a': (), 'b': ('x.y = 1',)}},
      prior_sweep_steps=5,
  )
  assert [cell.name for cell in found] == [
      'data', 'prior/seen/sweep_a', 'prior/seen/sweep_b'
  ]
  cell = found[-1]
  assert cell.needs == ('data',)
  assert cell.arguments[-4:] == (
      "--gin_bindings=train_prior.protocol = 'seen'",
      '--gin_bindings=train_prior.num_steps = 5',
      "--gin_bindings=train_prior.prior = 'sweep_b'",
      '--gin_bindings=x.y = 1',
  )
  assert '--gin_file=methods/safer.gin' in cell.arguments
  assert cell.finished_file.endswith('priors/seen/sweep_b/stage.json')
  usual = next(c for c in _build() if c.name == 'prior/seen/safer')
  assert cell.cost == usual.cost / 2


def test_a_sweep_has_priors_of_several_methods():
  sweep = {'safer': {'a': ()}, 'parrot': {'b': ()}}

  def trained(**kwargs):
    return {
        cell.name: cell for cell in _build(
            parts=('prior_sweep',), prior_sweep=sweep, **kwargs
        ) if cell.binary == 'train_prior'
    }

  found = trained()
  assert list(found) == ['prior/seen/sweep_a', 'prior/seen/sweep_b']
  assert '--gin_file=methods/parrot.gin' in (
      found['prior/seen/sweep_b'].arguments
  )
  assert list(trained(methods=('parrot',), ablations=())) == [
      'prior/seen/sweep_b'
  ]
  for wrong in ({'a': {}}, {'safer': {'a': ()}, 'parrot': {'a': ()}}):
    with pytest.raises(errors.UserError, match='prior_sweep'):
      matrix.Matrix(prior_sweep=wrong)


def test_an_evaluation_is_told_whose_it_is():
  found = [cell for cell in _build() if cell.kind == 'evaluate']
  for cell in found:
    _, protocol, task, method, variant, _ = cell.name.split('/')
    expected = {
        'protocol': protocol, 'task': task, 'method': method,
        'variant': variant,
        'bound_protocol': 'held_out' if variant == 'own_bound' else 'seen',
    }
    assert {f"evaluate.{name} = '{value}'" for name, value in expected.items()
            } <= set(cell.given('gin_bindings')), cell.name


def test_every_baseline_without_a_bound_has_its_own_range():
  for part, methods in (
      ('table1', ('parrot', 'context_parrot')),
      ('ablations', ('parrot_refit', 'context_parrot_refit')),
  ):
    names = {cell.name.split('/')[3] for cell in _build(parts=(part,))
             if '/own_range/' in cell.name}
    assert names == set(methods)
