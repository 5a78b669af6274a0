"""Which cells a matrix has, in which order, and what each needs."""

from __future__ import annotations

import dataclasses
import os

import pytest

import envs
from safer_tf.common import config
from safer_tf.common import errors
from safer_tf.experiments import cells
from safer_tf.experiments import matrix
from safer_tf.experiments import methods as methods_lib
from tests.experiments import matrices

_build = matrices.build


def test_cells_are_unique_and_come_after_what_they_need():
  found = _build()
  names = [cell.name for cell in found]
  assert len(set(names)) == len(names)
  assert len({cell.finished_file for cell in found}) == len(names)
  for i, cell in enumerate(found):
    assert set(cell.needs) <= set(names[:i]), cell.name


def test_safer_and_parrot_come_first_with_one_seed():
  names = [
      cell.name for cell in _build() if cell.name.startswith('agent/')
  ]
  assert names[:12] == [
      f'agent/seen/{task}/{method}/default/seed0'
      for method in ('safer', 'parrot') for task in envs.EVALUATION
  ]


def test_the_quickstart_is_three_agents_and_two_priors():
  found = _build(
      parts=('table1',), tasks=(1,), methods=('sac', 'parrot', 'safer'),
      seeds=(0,), own_range=None,
  )
  assert sorted(cell.name.split('/')[0] for cell in found) == sorted(
      ['data'] + ['prior'] * 2 + ['assurance'] + ['agent'] * 3
      + ['evaluate'] * 3
  )
  by_name = {cell.name: cell for cell in found}
  task = envs.EVALUATION[0]
  assert by_name[f'agent/seen/{task}/parrot/default/seed0'].needs == (
      'prior/seen/parrot', 'assurance/seen/safer'
  )
  assert by_name[f'agent/seen/{task}/sac/default/seed0'].needs == (
      'prior/seen/safer',
  )
  assert by_name['data'].whole_machine


def test_methods_without_learning_are_only_evaluated():
  names = [
      cell.name for cell in _build(methods=('safer_prior_zero',))
      if 'safer_prior_zero' in cell.name
  ]
  assert names and all(name.startswith('evaluate/') for name in names)


def test_ablations_are_what_is_tabled_as_such():
  with pytest.raises(errors.UserError, match='Matrix.ablations'):
    matrix.Matrix(ablations=('parrot',))


def test_flags_narrow_the_matrix():
  everything = matrix.Matrix()
  part = everything.narrowed(['table1'], ['2'], ['safer'], ['4'])
  assert part.tasks == (2,) and part.methods == ('safer',)
  assert part.seeds == (4,) and part.parts == ('table1',)
  by_name = everything.narrowed([], [envs.EVALUATION[1]], [], [])
  assert by_name.tasks == (2,)
  assert by_name.methods == tuple(everything.methods)


@pytest.mark.parametrize('arguments, message', [
    ((['tabel1'], [], [], []), '--only names tabel1'),
    (([], ['7'], [], []), "Task '7'"),
    # A task of envs, which no part of the matrix is of.
    (([], ['1', 'extract_27'], [], []), '--tasks names extract_27; expected'),
    (([], [], ['saver'], []), 'saver'),
    (([], [], [], ['one']), '--seeds names one'),
    (([], [], [], ['²']), '--seeds names ²'),
    (([], [], [], ['99999999999']), 'whole numbers up to'),
    (([], ['²'], [], []), "Task '²'"),
])
def test_what_is_unknown_is_refused(arguments, message):
  with pytest.raises(errors.UserError, match=message):
    matrix.Matrix().narrowed(*arguments)


@pytest.mark.parametrize('given, message', [
    ({'tuned': {'safer': {'default': ()}}}, 'Matrix.tuned names default'),
    ({'tuned': {'sac': {'tradeoff_0.1': ()}}}, 'no other variant has'),
    ({'tuned': {'sac': {'a/b': ()}}}, 'Matrix.tuned names a/b'),
    ({'seeds': (0, -1)}, 'from 0 to'), ({'seeds': ()}, 'from 0 to'),
    ({'tasks': (7,)}, 'Task 7 is unknown'),
    ({'refit_steps': 0}, 'refit_steps'), ({'data_parts': 0}, 'data_parts'),
    ({'own_range': -1.0}, 'has -1'),
    ({'tradeoff_ranges': {'safer': (0.0,)}}, 'latent bounds above 0'),
])
def test_a_matrix_that_could_not_be_run_is_refused(given, message):
  with pytest.raises(errors.UserError, match=message):
    matrix.Matrix(**given)


def test_needs_name_the_priors_that_the_gin_files_name():
  for method, parts in methods_lib.METHODS.items():
    if method in matrix.style.NO_LEARNING:
      # `evaluate` takes the prior that the method is named after.
      assert method.partition('_prior_')[0] == parts.prior
      continue
    values = _values(
        os.path.join(config.config_dir(), f'methods/{method}.gin')
    )
    assert values['METHOD'] == f"'{method}'"
    assert values['PRIOR'] == f"'{parts.prior}'"
    bound = values.get('train_agent.bound_prior', "'safer'")
    if parts.bound_prior is not None:
      assert bound.replace('%PRIOR', values['PRIOR']) == (
          f"'{parts.bound_prior}'"
      )
    features = values.get('train_prior.features_of')
    assert features == (parts.features_of and f"'{parts.features_of}'")
    # A prior is trained by the file of the method it is named after.
    assert methods_lib.METHODS[parts.prior].prior == parts.prior


def _values(path):
  with open(path, encoding='utf-8') as file:
    lines = [line.split('#')[0] for line in file]
  return {
      key.strip(): value.strip()
      for key, value in (line.split('=', 1) for line in lines if '=' in line)
  }


def test_a_cell_is_finished_when_its_file_is_there(tmp_path):
  cell = cells.Cell('a', 'b', (), str(tmp_path / 'file'))
  assert not cell.finished
  (tmp_path / 'file').touch()
  assert dataclasses.replace(cell).finished


def test_flags_narrow_every_list_of_tasks_and_methods():
  part = matrix.Matrix().narrowed([], ['1'], ['safer'], [])
  for name in ('tasks', 'tradeoff_tasks', 'own_encoder_tasks'):
    assert set(getattr(part, name)) <= {1}, name
  for name in (
      'methods', 'ablations', 'held_out_ablations', 'rolled_out',
      'own_encoder_methods',
  ):
    assert set(getattr(part, name)) <= {'safer'}, name
