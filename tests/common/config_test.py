from __future__ import annotations

import os

import gin
import pytest

from safer_tf.common import config
from safer_tf.common import errors


@pytest.fixture(autouse=True)
def _clean_gin():
  yield
  gin.clear_config()


def _shipped(folder):
  return [
      name for name in config.shipped() if os.path.dirname(name) == folder
  ]


@pytest.mark.parametrize('method', _shipped('methods'))
def test_every_shipped_method_serves_every_stage(method):
  config.parse([method], [])
  for stage in (
      'train_prior', 'compute_assurance', 'calibrate', 'roll_out_prior'
  ):
    prior = gin.query_parameter(f'{stage}.prior')
    assert str(prior) == '%PRIOR'
  for stage in ('train_agent', 'evaluate'):
    assert str(gin.query_parameter(f'{stage}.method')) == '%METHOD'


@pytest.mark.parametrize('experiment', _shipped('experiments'))
def test_every_shipped_experiment_parses_with_a_method(experiment):
  config.parse(['methods/safer.gin', experiment], [])
  # The experiment's own sizes are in force beside the method's values.
  assert str(gin.query_parameter('train_prior.prior')) == '%PRIOR'
  text = open(config.resolve(experiment), encoding='utf-8').read()
  name, value = next(
      line.split('#')[0].split(' = ') for line in text.splitlines()
      if ' = ' in line and line.split(' = ')[1].split('#')[0].strip().isdigit()
  )
  assert gin.query_parameter(name) == int(value)


def test_file_is_found_by_path_and_by_shipped_name(tmp_path):
  own = tmp_path / 'own.gin'
  own.write_text('collect_data.num_steps = 12\n')
  assert config.resolve(str(own)) == str(own)
  assert os.path.isfile(config.resolve('base.gin'))


def test_missing_file_lists_the_nearest():
  with pytest.raises(errors.UserError, match="'bse.gin'.*base.gin"):
    config.resolve('bse.gin')


def test_later_files_and_bindings_win(tmp_path):
  for name, value in (('one', 1), ('two', 2)):
    (tmp_path / name).write_text(f'collect_data.num_steps = {value}\n')
  names = [str(tmp_path / name) for name in ('one', 'two')]
  config.parse(names, [])
  assert gin.query_parameter('collect_data.num_steps') == 2
  config.parse(names, ['collect_data.num_steps = 3'])
  assert gin.query_parameter('collect_data.num_steps') == 3


@pytest.mark.parametrize('text, message', [
    ('collect_dat.num_steps = 1', 'collect_dat'),
    ('collect_data.num_step = 1', 'num_step'),
    ('collect_data.num_steps = ', 'own.gin'),
    ("include 'nowhere.gin'", 'nowhere.gin'),
    ('import no_such_module', 'no_such_module'),
    ('collect_data.tasks = (', 'multi-line statement'),
    ("include '{own}'", 'includes itself'),
])
def test_misspelt_config_is_told_in_one_line(tmp_path, text, message):
  own = tmp_path / 'own.gin'
  own.write_text(text.format(own=own) + '\n')
  with pytest.raises(errors.UserError, match=message) as caught:
    config.parse([str(own)], [])
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize('text, message', [
    ('value = undefined', 'line 1, raised NameError: .*undefined'),
    ('\nimport sys; sys.exit(0)', 'line 2, raised SystemExit: 0'),
])
def test_what_a_module_of_the_users_raises_is_told_in_one_line(
    tmp_path, monkeypatch, text, message
):
  monkeypatch.syspath_prepend(str(tmp_path))
  (tmp_path / 'mistaken.py').write_text(text)
  with pytest.raises(errors.UserError, match=f'mistaken.py, {message}') as told:
    config.parse([], ['import mistaken'])
  assert '\n' not in str(told.value)


@pytest.mark.parametrize('binding, name', [
    ('MAX_UNSAFE_FRACTON = 0.02', 'MAX_UNSAFE_FRACTON'), ('seed = 3', 'seed'),
])
def test_a_macro_that_nothing_uses_is_told(binding, name):
  with pytest.raises(errors.UserError, match=f'{name} is set and nothing uses'):
    config.parse(['methods/safer.gin'], [binding])


def test_a_scope_that_nothing_enters_is_told():
  binding = 'deep/image_encoder.filters = (8,)'
  with pytest.raises(errors.UserError, match='deep/image_encoder is set for'):
    config.parse(['methods/safer.gin'], [binding])
  config.parse(['methods/safer.gin'], [
      binding, 'SkillPrior.make_encoder = @deep/image_encoder',
  ])
  gin.clear_config()


def test_a_macro_is_used_however_deep_it_stands():
  config.parse([], [
      'LEVEL = 0.3', 'collect_data.noise_levels = (0.0, %LEVEL)',
  ])
  assert gin.query_parameter('collect_data.noise_levels')[0] == 0.0


def test_a_file_of_ones_own_goes_before_a_shipped_one(tmp_path, monkeypatch):
  (tmp_path / 'base.gin').write_text('collect_data.num_steps = 12\n')
  monkeypatch.chdir(tmp_path)
  config.parse(['base.gin'], [])
  assert gin.query_parameter('collect_data.num_steps') == 12
  gin.clear_config()


def test_a_config_replaces_that_before():
  config.parse([], ['collect_data.num_steps = 12'])
  config.parse([], ['collect_data.num_workers = 3'])
  with pytest.raises(ValueError):
    gin.query_parameter('collect_data.num_steps')
  gin.clear_config()
