"""Whether what is finished of a matrix is what the config asks for."""

from __future__ import annotations

import ast
import collections
import math
import os
from typing import Any, Iterator, Mapping, Sequence

import gin
from absl import logging

from safer_tf.common import config as config_lib
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.data import dataset
from safer_tf.evaluation import recorded
from safer_tf.evaluation import variants
from safer_tf.experiments import cells
from safer_tf.prior import settings as settings_lib
from safer_tf.rl import latent_bound

# Bindings that name an agent or its bound: they say nothing of how it learns,
# and without them most agents' configs are the same.
_OF_ONE_AGENT = tuple(f'train_agent.{name} =' for name in (
    'task', 'protocol', 'variant', 'bound_protocol', 'max_unsafe_fraction',
))
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
  # Recorded ones too: what is here replaces their rows.
  finished = [cell for cell in todo if os.path.exists(cell.finished_file)]
  for cell in finished:
    if cell.kind in ('agent', 'evaluate'):
      _check_agent(cell, config)
    elif cell.kind == 'assurance':
      _check_assurance(cell, config)
    elif cell.kind == 'calibrate':
      _check_calibration(cell, config)
    elif cell.kind == 'rollouts':
      _check_rollouts(cell, config)
    elif cell.name == 'data':
      _check_data(cell)
  for run, different in learnt_otherwise(
      finished, _learning_of(finished), gin_files, bindings
  ).items():
    raise errors.UserError(
        f'The agent {run} was trained with other settings: {different}. '
        f'{_REMEDY} directory.'
    )
  priors = [cell for cell in finished if cell.kind == 'prior']
  try:
    for cell in priors:
      _parse(cell.given('gin_file'), cell.given('gin_bindings'))
      _check_prior(cell)
  finally:
    if priors:
      _parse(gin_files, bindings)


def check_recorded(
    todo: Sequence[cells.Cell], root_dir: str, made_from: Mapping[str, str]
) -> None:
  """Checks that what is run and what is recorded share their priors.

  Args:
    todo: all cells.
    root_dir: run directory.
    made_from: hash of the prior's card by a recorded agent's cell.

  Raises:
    UserError: recorded agents were made from another prior, or from one that
      is not there and would be trained anew for the rest.
  """
  missing = {
      need for cell in cells.without_unneeded(todo) if not cell.finished
      for need in cell.needs
  }
  finished = {cell.name: cell.finished for cell in todo}
  for cell in todo:
    expected = made_from.get(cell.name)
    if not cell.recorded or expected is None:
      continue
    for need in cell.needs:
      kind, _, place = need.partition('/')
      if kind != 'prior' or (not finished.get(need) and need not in missing):
        continue
      directory = layout.export_dir(root_dir, *place.split('/'))
      if _card_hash(directory) != expected:
        raise errors.UserError(
            f'{cell.name} is recorded as made from another prior than '
            f'{directory} {"holds" if finished[need] else "would hold"} (its '
            f'{layout.PRIOR_SPEC} had the hash {expected[:12]}). Copy the '
            'priors that belong to the recorded results into --root_dir, or '
            'leave --recorded out and remove '
            f'{recorded.copy_dir(root_dir)}.'
        )


def learnt_otherwise(
    todo: Sequence[cells.Cell], learnt: Mapping[str, Mapping[str, Any]],
    gin_files: Sequence[str], bindings: Sequence[str],
) -> dict[str, str]:
  """Agents that learnt in another way than the config asks for.

  Args:
    todo: all cells.
    learnt: values by gin name as of `recorded.learning`, by an agent's run.
    gin_files: those in force; each agent's own come and go meanwhile.
    bindings: likewise.

  Returns:
    What differs, by run.
  """
  alike = collections.defaultdict(list)
  for cell in todo:
    run = cell.name.partition('/')[2]
    if cell.kind == 'agent' and learnt.get(run):
      given = (
          each for each in cell.given('gin_bindings')
          if not each.startswith(_OF_ONE_AGENT)
      )
      alike[tuple(cell.given('gin_file')), tuple(given)].append(run)
  different = {}
  try:
    for (own_files, own_bindings), runs in alike.items():
      _parse(own_files, own_bindings)
      for run in runs:
        said = [
            f'{name} was {found!r}, is now {asked!r}'
            for name, found in learnt[run].items()
            if _plain(asked := value(name, found)) != _plain(found)
        ]
        if said:
          different[run] = '; '.join(said)
  finally:
    if alike:
      _parse(gin_files, bindings)
  return different


def _plain(given: Any) -> Any:
  return list(given) if isinstance(given, tuple) else given


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
    _check_prior_of(directory, found, cell)
    return
  stated = variants.stated_bound(found['variant'], config.own_range)
  raise errors.UserError(
      f'{directory} holds an agent of {found["env_steps"]} steps, evaluated '
      f'for {found["eval_episodes"]} episodes, bound '
      f'{found["assurance_mode"]} {found["max_unsafe_fraction"]}, that is '
      f'{found["latent_bound"]}; asked for are {config.env_steps}, '
      f'{config.episodes}, '
      f'{config.assurance_mode} {config.max_unsafe_fraction}, '
      f'{stated or "whatever that gives"}. {_REMEDY} directory.'
  )


def _learning_of(
    finished: Sequence[cells.Cell]
) -> dict[str, dict[str, Any]]:
  """How finished agents learnt: values by gin name, by an agent's run."""
  found = {}
  for cell in finished:
    path = os.path.join(os.path.dirname(cell.finished_file), layout.SETTINGS)
    if cell.kind == 'agent' and os.path.exists(path):
      settings = files.read_json(path, 'the settings of an agent')
      found[cell.name.partition('/')[2]] = {
          f'{part}.{name}': given for part in recorded.LEARNING_PARTS
          if part != 'ImageEncoder' or settings.get('encoder') == 'own'
          for name, given in settings.get(part, {}).items()
      } | {
          f'train_agent.{name}': settings[name]
          for name in recorded.LEARNING if name in settings
      }
  return found


def _check_prior_of(
    directory: str, found: Mapping[str, Any], cell: cells.Cell
) -> None:
  """An agent's prior must still be the one that it was trained with."""
  if not found.get('prior'):
    return
  root_dir, = cell.given('root_dir')
  path = os.path.join(directory, layout.SETTINGS)
  if not os.path.exists(path):  # Without learning.
    _check_box_of(directory, found, {
        'latent_bound': latent_bound.ASSURANCE, 'bound_prior': found['prior'],
        'bound_protocol': found.get('bound_protocol'),
    }, root_dir)
    return
  before = files.read_json(path, 'the settings of an agent')
  prior = layout.export_dir(root_dir, found['protocol'], found['prior'])
  known, now = before.get('prior_spec'), _card_hash(prior)
  # A prior that is gone is trained again, and compared then, if it is needed.
  if None not in (known, now) and known != now:
    raise errors.UserError(
        f'{directory} holds an agent that was trained with another prior than '
        f'{prior} holds. {_REMEDY} directory.'
    )
  _check_box_of(directory, found, before, root_dir)


def _check_box_of(
    directory: str, found: Mapping[str, Any], settings: Mapping[str, Any],
    root_dir: str,
) -> None:
  """A box must still be the one that its prior's assurance gives."""
  if (
      settings.get('latent_bound') != latent_bound.ASSURANCE
      or found['latent_bound'] is None  # No prior's actions are taken.
  ):
    return
  prior = layout.export_dir(
      root_dir, settings.get('bound_protocol') or found['protocol'],
      settings['bound_prior'],
  )
  if not os.path.exists(os.path.join(prior, layout.ASSURANCE)):
    return  # It is computed again, and compared then, if it is needed.
  now = latent_bound.resolve(
      latent_bound.ASSURANCE, prior, found['assurance_mode'],
      found['max_unsafe_fraction'],
  )
  if not math.isclose(now, found['latent_bound'], rel_tol=1e-4):
    raise errors.UserError(
        f'{directory} was made within a bound of '
        f'{found["latent_bound"]:.4g}, where {prior} now gives {now:.4g}. '
        f'{_REMEDY}.'
    )


def _card_hash(prior: str) -> str | None:
  path = os.path.join(prior, layout.PRIOR_SPEC)
  return files.sha256(path) if os.path.exists(path) else None


def _check_assurance(cell: cells.Cell, config: recorded.Config) -> None:
  found = files.read_json(cell.finished_file, 'the bounds of a prior')
  targets = {row['max_unsafe_fraction'] for row in found['table']}
  missing = {*config.targets, config.max_unsafe_fraction} - targets
  different = [
      f'{name} was {found[name]}, is now {asked}' for name, asked in (
          ('confidence', config.confidence),
          ('max_episode_steps', config.max_episode_steps),
      )  # An earlier release did not record the latter.
      if asked is not None and found.get(name) not in (None, asked)
  ]
  if missing:
    different.append(
        f'targets lack {", ".join(f"{each:g}" for each in sorted(missing))}'
    )
  if different:
    raise errors.UserError(
        f'{cell.finished_file} holds other bounds than compute_assurance is to '
        f'give: {"; ".join(different)}. {_REMEDY} file.'
    )


def _check_calibration(cell: cells.Cell, config: recorded.Config) -> None:
  rows = files.read_json(cell.finished_file, 'a calibration')['rows']
  if any('unsafe_fraction_upper' not in row for row in rows):
    raise errors.UserError(
        f'{cell.finished_file} was written by an earlier release, without '
        f'upper bounds. {_REMEDY} file.'
    )
  for row in rows:
    _check_box_of(cell.finished_file, {**row, 'assurance_mode': row['mode']}, {
        'latent_bound': latent_bound.ASSURANCE, 'bound_prior': row['prior'],
    }, *cell.given('root_dir'))
  _check_covered(cell, rows)
  steps = min((row['steps'] for row in rows), default=0)
  if steps < config.calibration_steps:
    raise errors.UserError(
        f'{cell.finished_file} holds bounds calibrated by {steps} steps; asked '
        f'for are {config.calibration_steps}. {_REMEDY} file.'
    )


def _check_covered(
    cell: cells.Cell, rows: Sequence[Mapping[str, Any]]
) -> None:
  """Every bound that an assurance has now must have been rolled out."""
  root_dir, = cell.given('root_dir')
  for protocol, prior in {(row['protocol'], row['prior']) for row in rows}:
    path = os.path.join(
        layout.export_dir(root_dir, protocol, prior), layout.ASSURANCE
    )
    if not os.path.exists(path):
      continue
    given = {
        (row['mode'], row['max_unsafe_fraction'])
        for row in files.read_json(path, 'the bounds of a prior')['table']
        if row['latent_bound'] > 0
    }
    given -= {(row['mode'], row['max_unsafe_fraction']) for row in rows}
    if given:
      raise errors.UserError(
          f'{cell.finished_file} lacks {len(given)} of the bounds in {path}, '
          f'e.g. {min(given)}. {_REMEDY} file.'
      )


def _check_rollouts(cell: cells.Cell, config: recorded.Config) -> None:
  found = files.read_json(cell.finished_file, 'rollouts of a prior')
  seed, = cell.given('seed')
  if (
      not recorded.are_rollouts_of(found['rows'], config)
      or found['provenance']['seed'] != int(seed)
  ):
    raise errors.UserError(
        f'{cell.finished_file} holds rollouts of other tasks, ranges, seed or '
        'counts of episodes than the config asks for (roll_out_prior). '
        f'{_REMEDY} file.'
    )
  prior = os.path.join(
      os.path.dirname(cell.finished_file), layout.EXPORT_DIR
  )
  now = _card_hash(prior)
  if now not in (None, found['provenance']['inputs'][layout.PRIOR_SPEC]):
    raise errors.UserError(
        f'{cell.finished_file} is of another prior than {prior} holds. '
        f'{_REMEDY} file.'
    )


def _check_data(cell: cells.Cell) -> None:
  """Compares what a dataset was collected with to the gin values."""
  directory = os.path.dirname(cell.finished_file)
  _, origin = dataset.read_spec(directory)
  seed, = cell.given('seed')
  for name in (
      'seed', 'num_steps', 'steps_per_shard', 'noise_levels', 'tasks'
  ):
    found = origin.get(name)
    if found is None:
      continue  # Episodes of the user's own.
    asked = int(seed) if name == 'seed' else value(
        f'collect_data.{name}', found
    )
    if isinstance(asked, tuple):
      asked = list(asked)
    if found != asked:
      raise errors.UserError(
          f'{directory} holds data of {name} = {found}; asked for is {asked}. '
          f'{_REMEDY} directory.'
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
  different += _other_features(cell, stage['settings'])
  if different:
    raise errors.UserError(
        f'{os.path.dirname(cell.finished_file)} holds another prior: '
        f'{"; ".join(different)}. {_REMEDY} directory.'
    )


def _other_features(
    cell: cells.Cell, settings: Mapping[str, Any]
) -> list[str]:
  """What is to be said if the prior that it was trained on is another now."""
  name = settings['train_prior'].get('features_of')
  if name is None:
    return []
  # Beside the prior's own directory; None if it is gone.
  now = _card_hash(os.path.join(
      os.path.dirname(os.path.dirname(cell.finished_file)), name,
      layout.EXPORT_DIR,
  ))
  if now in (None, settings['features']):
    return []
  return [f'the prior {name} that it was trained on has become another']


def _settings(
    record: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
  """Name, recorded value and value asked for of a prior's settings."""
  since = settings_lib.SINCE
  for name, found in {**since, **record['train_prior']}.items():
    yield name, found, value(f'train_prior.{name}', since.get(name, found))
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
