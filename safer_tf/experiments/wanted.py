"""Whether what is finished of a matrix is what the config asks for."""

from __future__ import annotations

import ast
import os
from typing import Any, Iterator, Mapping, Sequence

import gin
from absl import logging

from safer_tf.common import config as config_lib
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.evaluation import recorded
from safer_tf.experiments import cells

_REMEDY = 'Choose another --root_dir, or remove that'


def check(
    todo: Sequence[cells.Cell], config: recorded.Config,
    gin_files: Sequence[str], bindings: Sequence[str],
) -> None:
  """Checks what this run directory holds; recorded results were before.

  Args:
    todo: all cells.
    config: of agents and calibrations.
    gin_files: those in force; each prior's own come and go meanwhile.
    bindings: likewise.

  Raises:
    UserError: a finished cell is of another configuration.
  """
  finished = [cell for cell in todo if cell.finished and not cell.recorded]
  for cell in finished:
    if cell.kind in ('agent', 'evaluate'):
      _check_agent(cell, config)
    elif cell.kind == 'calibrate':
      _check_calibration(cell, config)
  priors = [cell for cell in finished if cell.kind == 'prior']
  try:
    for cell in priors:
      _parse(cell.given('gin_file'), cell.given('gin_bindings'))
      _check_prior(cell)
  finally:
    if priors:
      _parse(gin_files, bindings)


def value(name: str, default: Any) -> Any:
  """A gin value, or what stands for it where it is not set."""
  try:
    found = gin.query_parameter(name)
  except ValueError:
    return default
  if getattr(found, 'selector', None) == 'gin.macro':
    return value(f'{found.scoped_selector}.value', default)
  return found


def _check_agent(cell: cells.Cell, config: recorded.Config) -> None:
  directory, name = os.path.split(cell.finished_file)
  if cell.kind == 'agent':  # It may not be evaluated yet.
    name = layout.RESULT
  found = {'eval_episodes': config.episodes, **files.read_json(
      os.path.join(directory, name), 'the result of an agent'
  )}
  if recorded.is_of(found, config):
    return
  stated = recorded.stated_bound(found['variant'], config)
  raise errors.UserError(
      f'{directory} holds an agent of {found["env_steps"]} steps, evaluated '
      f'for {found["eval_episodes"]} episodes, bound '
      f'{found["assurance_mode"]} {found["max_unsafe_fraction"]}, that is '
      f'{found["latent_bound"]}; asked for are {config.env_steps}, '
      f'{config.episodes}, '
      f'{config.assurance_mode} {config.max_unsafe_fraction}, '
      f'{stated or "whatever that gives"}. {_REMEDY} directory.'
  )


def _check_calibration(cell: cells.Cell, config: recorded.Config) -> None:
  rows = files.read_json(cell.finished_file, 'a calibration')['rows']
  steps = min((row['steps'] for row in rows), default=0)
  if steps < config.calibration_steps:
    raise errors.UserError(
        f'{cell.finished_file} holds bounds calibrated by {steps} steps; asked '
        f'for are {config.calibration_steps}. {_REMEDY} file.'
    )


def _check_prior(cell: cells.Cell) -> None:
  """Compares a prior's record with the gin values that are in force."""
  stage = files.read_json(cell.finished_file, 'the record of a prior')
  different = [
      f'{name} was {found!r}, is now {asked!r}'
      for name, found, asked in _settings(stage['settings'])
      if found != asked
  ]
  seed, = cell.given('seed')
  if stage['seed'] != int(seed):
    different.append(f'the seed was {stage["seed"]}, is now {seed}')
  if different:
    raise errors.UserError(
        f'{os.path.dirname(cell.finished_file)} holds another prior: '
        f'{"; ".join(different)}. {_REMEDY} directory.'
    )


def _settings(
    record: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
  """Name, recorded value and value asked for of a prior's settings."""
  for name, found in record['train_prior'].items():
    yield name, found, value(f'train_prior.{name}', found)
  for line in record['model']:
    name, _, text = line.partition(' = ')
    try:
      found = ast.literal_eval(text)
    except (ValueError, SyntaxError):
      continue  # A reference to a function.
    yield name, found, value(name, found)


def _parse(gin_files: Sequence[str], bindings: Sequence[str]) -> None:
  # gin reports each folder it looks into in vain as an error.
  before = logging.get_verbosity()
  logging.set_verbosity(logging.FATAL)
  try:
    config_lib.parse(gin_files, bindings)
  finally:
    logging.set_verbosity(before)
