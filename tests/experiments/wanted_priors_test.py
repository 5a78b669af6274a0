"""Whether a finished dataset, prior or bound is what the config asks for."""

from __future__ import annotations

import json
import os

import gin
import pytest

import envs
from safer_tf.common import config
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.data import dataset
from safer_tf.data import schema
from safer_tf.evaluation import style
from safer_tf.experiments import builder
from safer_tf.experiments import matrix
from safer_tf.experiments import methods

_TOP = os.path.dirname(config.config_dir())
_SIZES = builder.Sizes(1000, 10, 10, 2, 10, 3)


@pytest.mark.parametrize('origin, right', [
    ({'num_steps': 1000, 'noise_levels': [0.0, 0.5], 'seed': 3}, True),
    ({'num_steps': 1000, 'noise_levels': [0.0, 0.5], 'seed': 0}, False),
    ({'num_steps': 900, 'noise_levels': [0.0, 0.5]}, False),
    ({'num_steps': 1000, 'noise_levels': [0.5]}, False),
    ({}, True),  # Written by other means.
])
def test_data_of_another_configuration_are_not_taken_for_finished(
    finished, tmp_path, origin, right
):
  dataset.write_spec(
      str(tmp_path), schema.EpisodeSpec((3,), 'float32', 2), origin
  )
  config.parse([], [
      'collect_data.num_steps = 1000', 'collect_data.noise_levels = (0.0, 0.5)'
  ])
  if right:
    assert finished('data', layout.STAGE, {}, ('--seed=3',)).endswith('report')
  else:
    with pytest.raises(errors.UserError, match='holds data of'):
      finished('data', layout.STAGE, {}, ('--seed=3',))


def test_bounds_count_if_they_are_those_that_are_asked_for(finished):
  found = {
      'confidence': 0.95, 'max_episode_steps': 30, 'table': [
          {'mode': mode, 'max_unsafe_fraction': target}
          for mode in ('exact', 'certified') for target in (0.15, 0.3)
      ],
  }

  def go(*lines):
    gin.clear_config()
    config.parse([], [
        "Matrix.parts = ('table1',)",
        'compute_assurance.targets = (0.3,)', *lines,
    ])
    return finished('assurance/seen/safer', 'assurance.json', found)

  assert go().endswith('report')
  for *lines, message in (
      ('compute_assurance.targets = (0.3, 0.45)', 'targets lack 0.45'),
      (*(f'{stage}.max_unsafe_fraction = 0.02' for stage in (
          'compute_assurance', 'train_agent', 'evaluate'
      )), 'targets lack 0.02'),
      ('compute_assurance.confidence = 0.99', '0.95, is now 0.99'),
      ('compute_assurance.max_episode_steps = 40', '30, is now 40'),
  ):
    with pytest.raises(errors.UserError, match=message):
      go(*lines)


@pytest.mark.parametrize('path', [
    os.path.join('priors', protocol, prior, 'export', layout.ASSURANCE)
    for protocol, prior in (
        ('seen', 'safer'), ('seen', 'safer_refit'), ('held_out', 'safer')
    )
])
def test_the_shipped_bounds_are_those_of_the_config(finished, path):
  found = files.read_json(f'{_TOP}/{path}', 'bounds')
  config.parse(['experiments/paper.gin'], [])
  assert finished('assurance/seen/a', 'assurance.json', found)


def test_a_calibration_counts_if_it_is_long_enough(finished, tmp_path):
  row = {
      'steps': 5010, 'mode': 'exact', 'max_unsafe_fraction': 0.15,
      'latent_bound': 0.5, 'prior': 'safer', 'protocol': 'seen',
      'unsafe_fraction_upper': 0.2,
  }

  def go(steps, **changed):
    rows = [{**row, 'steps': steps, **changed}, row]
    return finished(
        'calibrate/a', 'task.json', {'rows': rows},
        (f'--root_dir={tmp_path}',)
    )

  assert go(5000).endswith('report')
  with pytest.raises(errors.UserError, match='by 600 steps'):
    go(600)
  files.write_json(os.path.join(
      layout.export_dir(str(tmp_path), 'seen', 'safer'), layout.ASSURANCE
  ), {'table': [{**row, 'latent_bound': 0.7}]})
  with pytest.raises(errors.UserError, match='0.5, where .* now gives 0.7'):
    go(5000)
  files.write_json(os.path.join(
      layout.export_dir(str(tmp_path), 'seen', 'safer'), layout.ASSURANCE
  ), {'table': [row, {**row, 'max_unsafe_fraction': 0.3}]})
  with pytest.raises(errors.UserError, match='lacks 1 of the bounds'):
    go(5000)


def test_rollouts_count_if_they_are_those_of_the_config_and_this_prior(
    finished, tmp_path
):
  path = os.path.join(tmp_path, layout.EXPORT_DIR, layout.PRIOR_SPEC)

  def go(episodes=20, seed=0, without=()):
    rows = [
        {'task': task, 'latent_range': bound, 'episodes': episodes}
        for task in envs.ALL if task not in (*envs.EVALUATION, *without)
        for bound in (0.0, 1.0)
    ]
    return finished('rollouts/seen/safer', layout.PRIOR_ROLLOUTS, {
        'rows': rows,
        'provenance': {'inputs': {layout.PRIOR_SPEC: known}, 'seed': seed},
    }, ('--seed=0',))

  files.write_json(path, {'a': 'card'})
  known = files.sha256(path)
  assert go().endswith('report')
  for changed in ({'episodes': 19}, {'seed': 1}, {'without': envs.ALL[:1]}):
    with pytest.raises(errors.UserError, match='other tasks, ranges, seed'):
      go(**changed)
  files.write_json(path, {'another': 'card'})
  with pytest.raises(errors.UserError, match='another prior'):
    go()


def test_a_refit_counts_while_the_prior_it_was_trained_on_is_there(
    finished, tmp_path
):
  card = layout.export_dir(str(tmp_path), 'seen', 'safer')
  card = os.path.join(card, layout.PRIOR_SPEC)
  here = 'priors/seen/safer_refit/stage.json'
  os.makedirs(os.path.dirname(os.path.join(tmp_path, here)))
  cell = next(
      cell for cell in builder.Builder(
          '/runs/a', 0, ['experiments/paper.gin'], [], _SIZES
      ).build(matrix.Matrix()) if cell.name == 'prior/seen/safer_refit'
  )

  def go():
    return finished(cell.name, here, {
        'seed': 0, 'settings': {
            'train_prior': {'features_of': 'safer', 'anchor_weight': 1.0},
            'model': [], 'features': known,
        },
    }, cell.arguments)

  files.write_json(card, {'a': 'card'})
  known = files.sha256(card)
  assert go().endswith('report')
  files.write_json(card, {'another': 'card'})
  with pytest.raises(errors.UserError, match='safer .* has become another'):
    go()
  os.remove(card)
  assert go().endswith('report')


_SHIPPED_PRIORS = [
    (protocol, method) for protocol in ('seen', 'held_out')
    for method, parts in methods.METHODS.items()
    if parts.prior == method
    and os.path.exists(f'{_TOP}/priors/{protocol}/{method}')
]


@pytest.mark.parametrize('protocol, prior', _SHIPPED_PRIORS)
def test_the_shipped_priors_are_those_of_the_config(
    finished, protocol, prior
):
  found = {
      cell.name: cell for cell in builder.Builder(
          '/runs/a', 0, ['experiments/paper.gin'], [], _SIZES
      ).build(matrix.Matrix(
          rolled_out=methods.TRAINED, held_out_ablations=style.ABLATIONS
      ))
  }
  cell = found[f'prior/{protocol}/{prior}']
  with open(
      f'{_TOP}/priors/{protocol}/{prior}/stage.json', encoding='utf-8'
  ) as file:
    stage = json.load(file)
  assert finished(cell.name, 'stage.json', stage, cell.arguments)
  assert not gin.config_str()  # As it was.
  settings = stage['settings']
  # How often a training is written down makes no other prior of it.
  assert finished(cell.name, 'stage.json', {
      **stage, 'settings': {**settings, 'train_prior': {
          **settings['train_prior'], 'checkpoint_interval': 7,
      }},
  }, cell.arguments)
  steps = 4000 if settings['train_prior'].get('features_of') else 20000
  for changed, message in (
      ({'num_steps': 1500}, f'num_steps was 1500, is now {steps}'),
      ({'anchor_weight': 0.25}, 'anchor_weight was 0.25, is now'),
      ({'prior': 'other'}, "prior was 'other', is now"),
      ({'seed': 3}, f'the seed was 3, is now {stage["seed"]}'),
  ):
    with pytest.raises(errors.UserError, match=message):
      finished(cell.name, 'stage.json', {
          **stage, 'seed': changed.get('seed', stage['seed']), 'settings': {
              **settings, 'train_prior': {
                  **settings['train_prior'], **changed
              },
          },
      }, cell.arguments)
  model = ['SkillPrior.context_dim = 3']
  with pytest.raises(errors.UserError, match='context_dim was 3, is now 8'):
    finished(cell.name, 'stage.json', {
        **stage, 'settings': {**settings, 'model': model}
    }, cell.arguments)


_COLLECTED = {
    'tasks': "('left', 'right')", 'steps_per_shard': '10',
    'make_env': '@collect_data', 'make_policy': '@collect_data',
}


@pytest.mark.parametrize('name, other', [
    ('tasks', "('left',)"), ('steps_per_shard', '9'),
    ('make_env', '@train_agent'), ('make_policy', '@train_agent'),
    *((name, None) for name in _COLLECTED),  # Not set any more.
])
def test_data_of_other_tasks_shards_or_makers_are_not_taken_for_finished(
    finished, tmp_path, name, other
):
  function = 'safer_tf.data.collect:collect_data'
  dataset.write_spec(
      str(tmp_path), schema.EpisodeSpec((3,), 'float32', 2), {
          'tasks': ['left', 'right'], 'steps_per_shard': 10,
          'make_env': function, 'make_policy': function,
      },
  )

  def go(asked):
    gin.clear_config()
    config.parse([], [
        f'collect_data.{each} = {value}' for each, value in asked.items()
        if value is not None
    ])
    return finished('data', layout.STAGE, {}, ('--seed=3',))

  assert go(_COLLECTED).endswith('report')
  with pytest.raises(errors.UserError, match=f'holds data of {name}'):
    go({**_COLLECTED, name: other})


def test_a_setting_that_a_prior_does_not_know_had_its_default(
    finished
):
  found = {'seed': 0, 'settings': {'train_prior': {}, 'model': []}}

  def go(weight):
    return finished('prior/seen/a', 'stage.json', found, (
        '--seed=0', f'--gin_bindings=train_prior.anchor_weight = {weight}',
    ))

  assert go(0.0)
  with pytest.raises(errors.UserError, match='anchor_weight was 0.0, is now'):
    go(1.0)


@pytest.mark.parametrize('mode, bound, covered', [
    ('exact', 0.5, True), ('certified', 0.5, False), ('certified', 0.0, True),
])
def test_a_calibration_covers_every_mode_whose_bound_admits_something(
    finished, tmp_path, mode, bound, covered
):
  row = {
      'steps': 5010, 'mode': 'exact', 'max_unsafe_fraction': 0.15,
      'latent_bound': 0.5, 'prior': 'safer', 'protocol': 'seen',
      'unsafe_fraction_upper': 0.2,
  }
  files.write_json(os.path.join(
      layout.export_dir(str(tmp_path), 'seen', 'safer'), layout.ASSURANCE
  ), {'table': [row, {**row, 'mode': mode, 'latent_bound': bound}]})
  given = (
      'calibrate/a', 'a.json', {'rows': [row]}, (f'--root_dir={tmp_path}',)
  )
  if covered:
    assert finished(*given)
  else:
    with pytest.raises(errors.UserError, match='lacks 1 of the bounds'):
      finished(*given)


def test_a_prior_all_of_whose_bounds_are_0_is_calibrated(
    finished, tmp_path
):
  files.write_json(os.path.join(
      layout.export_dir(str(tmp_path), 'seen', 'safer'), layout.ASSURANCE
  ), {'table': [
      {'mode': 'exact', 'max_unsafe_fraction': 0.15, 'latent_bound': 0.0}
  ]})
  # What calibrate.calibrate writes then: no bound admits anything.
  assert finished(
      'calibrate/seen/safer/a', 'a.json', {'rows': []},
      (f'--root_dir={tmp_path}',),
  )
