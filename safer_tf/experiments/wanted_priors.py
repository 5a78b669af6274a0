"""Whether a finished dataset, prior or bound is what the config asks for."""

from __future__ import annotations

import ast
import math
import os
from typing import Any, Iterator, Mapping, Sequence

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.data import dataset
from safer_tf.experiments import cells
from safer_tf.experiments import in_force
from safer_tf.experiments import recorded_cells
from safer_tf.prior import settings as settings_lib
from safer_tf.rl import latent_bound

REMEDY = 'Choose another --root_dir, or remove that'


def check_data(cell: cells.Cell) -> None:
  """Compares what a dataset was collected with to the gin values.

  Args:
    cell: a finished one, `data`.

  Raises:
    UserError: it was collected otherwise.
  """
  directory = os.path.dirname(cell.finished_file)
  _, origin = dataset.read_spec(directory)
  seed, = cell.given('seed')
  for name in (
      'seed', 'num_steps', 'steps_per_shard', 'noise_levels', 'tasks',
      'make_env', 'make_policy',
  ):
    found = origin.get(name)
    if found is None:
      continue  # Episodes of the user's own.
    asked = int(seed) if name == 'seed' else in_force.value(
        f'collect_data.{name}', found
    )
    if isinstance(asked, tuple):
      asked = list(asked)
    if found != asked:
      raise errors.UserError(
          f'{directory} holds data of {name} = {found}; asked for is {asked}. '
          f'{REMEDY} directory.'
      )


def check_prior(cell: cells.Cell) -> None:
  """Compares a prior's record with the gin values that are in force.

  Args:
    cell: a finished one, `prior`.

  Raises:
    UserError: it was trained otherwise, or on features of another prior.
  """
  stage = files.read_json(
      cell.finished_file, f'the record of a prior. {REMEDY} directory',
      ('settings', 'seed'),
  )
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
        f'{"; ".join(different)}. {REMEDY} directory.'
    )


def _other_features(
    cell: cells.Cell, settings: Mapping[str, Any]
) -> list[str]:
  """What is to be said if the prior that it was trained on is another now."""
  name = settings['train_prior'].get('features_of')
  if name is None:
    return []
  # Beside the prior's own directory; None if it is gone.
  now = card_hash(os.path.join(
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
    if name == 'seed' or name in settings_lib.INCIDENTAL:
      continue  # No gin value, or none that counts.
    asked = in_force.value(f'train_prior.{name}', since.get(name, found))
    yield name, found, asked
  for line in record['model']:
    name, _, text = line.partition(' = ')
    try:
      found = ast.literal_eval(text)
    except (ValueError, SyntaxError):
      continue  # A reference to a function.
    yield name, found, in_force.value(name, found)


def check_assurance(cell: cells.Cell, config: recorded_cells.Config) -> None:
  """Compares the targets and settings of a prior's bounds.

  Args:
    cell: a finished one, `assurance`.
    config: what is asked for.

  Raises:
    UserError: a target is missing, or a setting another.
  """
  found = files.read_json(
      cell.finished_file, f'the bounds of a prior. {REMEDY} file',
      ('table', 'confidence'),
  )
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
        f'give: {"; ".join(different)}. {REMEDY} file.'
    )


def check_calibration(cell: cells.Cell, config: recorded_cells.Config) -> None:
  """Compares the bounds that were rolled out with those that there are now.

  Args:
    cell: a finished one, `calibrate`.
    config: what is asked for.

  Raises:
    UserError: one is missing, another by now, or rolled out too little.
  """
  rows = files.read_json(
      cell.finished_file, f'a calibration. {REMEDY} file', ('rows',)
  )['rows']
  check_bounds(cell.finished_file, rows, *cell.given('root_dir'))
  _check_covered(cell, rows)
  # No rows: no bound of this prior admits an action.
  enough = config.calibration_steps
  steps = min((row['steps'] for row in rows), default=enough)
  if steps < enough:
    raise errors.UserError(
        f'{cell.finished_file} holds bounds calibrated by {steps} steps; asked '
        f'for are {enough}. {REMEDY} file.'
    )


def check_bounds(
    what: str, rows: Sequence[Mapping[str, Any]], root_dir: str
) -> None:
  """Calibrated bounds must be those that their prior's assurance gives.

  Args:
    what: was calibrated, for the message.
    rows: of `calibration`.
    root_dir: run directory.

  Raises:
    UserError: the assurance gives another by now.
  """
  for row in rows:
    check_box_of(what, {**row, 'assurance_mode': row['mode']}, {
        'latent_bound': latent_bound.ASSURANCE, 'bound_prior': row['prior'],
    }, root_dir)


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
          f'e.g. {min(given)}. {REMEDY} file.'
      )


def check_rollouts(cell: cells.Cell, config: recorded_cells.Config) -> None:
  """Compares a prior's rollouts and what prior they are of.

  Args:
    cell: a finished one, `rollouts`.
    config: what is asked for.

  Raises:
    UserError: they are others, or of another prior.
  """
  found = files.read_json(
      cell.finished_file, f'rollouts of a prior. {REMEDY} file', ('rows',)
  )
  seed, = cell.given('seed')
  if (
      not recorded_cells.are_rollouts_of(found['rows'], config)
      or found['provenance']['seed'] != int(seed)
  ):
    raise errors.UserError(
        f'{cell.finished_file} holds rollouts of other tasks, ranges, seed or '
        'counts of episodes than the config asks for (roll_out_prior). '
        f'{REMEDY} file.'
    )
  prior = os.path.join(
      os.path.dirname(cell.finished_file), layout.EXPORT_DIR
  )
  now = card_hash(prior)
  if now not in (None, found['provenance']['inputs'][layout.PRIOR_SPEC]):
    raise errors.UserError(
        f'{cell.finished_file} is of another prior than {prior} holds. '
        f'{REMEDY} file.'
    )


def check_box_of(
    directory: str, found: Mapping[str, Any], settings: Mapping[str, Any],
    root_dir: str,
) -> None:
  """A box must still be the one that its prior's assurance gives.

  Args:
    directory: of what was made in it, for the message.
    found: its `latent_bound`, `assurance_mode`, `max_unsafe_fraction` and
      `protocol`.
    settings: `latent_bound` as it was configured, `bound_prior` and, if it is
      another than the agent's, `bound_protocol`.
    root_dir: run directory.

  Raises:
    UserError: the assurance gives another by now.
  """
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
        f'{REMEDY}.'
    )


def card_hash(prior: str) -> str | None:
  """Hash of the card of an exported prior; None if there is none."""
  path = os.path.join(prior, layout.PRIOR_SPEC)
  return files.sha256(path) if os.path.exists(path) else None
