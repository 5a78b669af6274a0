"""Whether finished agents are those that the config asks for."""

from __future__ import annotations

import collections
import os
from typing import Any, Mapping, Sequence

from safer_tf.common import config as config_lib
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.evaluation import variants
from safer_tf.experiments import cells
from safer_tf.experiments import in_force
from safer_tf.experiments import recorded_cells
from safer_tf.experiments import wanted_priors
from safer_tf.rl import latent_bound

# Bindings that name an agent or its bound: they say nothing of how it learns,
# and without them most agents' configs are the same.
_OF_ONE_AGENT = tuple(f'train_agent.{name} =' for name in (
    'task', 'protocol', 'variant', 'bound_protocol', 'max_unsafe_fraction',
))

# What agents learnt with whose records are older than the setting.
_UNRECORDED = {'train_agent.violation_penalty': None}


def check_agent(cell: cells.Cell, config: recorded_cells.Config) -> None:
  """Compares an agent's size, box and prior with those asked for.

  Args:
    cell: a finished one, `agent` or `evaluate`.
    config: what is asked for.

  Raises:
    UserError: it is of another configuration.
  """
  directory, name = os.path.split(cell.finished_file)
  if cell.kind == 'agent':  # It may not be evaluated yet.
    name = layout.RESULT
  found = {'eval_episodes': config.episodes, **files.read_json(
      os.path.join(directory, name),
      f'the result of an agent. {wanted_priors.REMEDY} directory',
      ('method', 'variant', 'latent_bound', 'max_unsafe_fraction'),
  )}
  if recorded_cells.is_of(found, config):
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
      f'{stated or "whatever that gives"}. {wanted_priors.REMEDY} directory.'
  )


def learning_of(
    finished: Sequence[cells.Cell]
) -> dict[str, dict[str, Any]]:
  """How finished agents learnt.

  Args:
    finished: cells of any kind.

  Returns:
    Values by gin name, by an agent's run.
  """
  found = {}
  for cell in finished:
    path = os.path.join(os.path.dirname(cell.finished_file), layout.SETTINGS)
    if cell.kind == 'agent' and os.path.exists(path):
      settings = files.read_json(path, 'the settings of an agent')
      found[cell.name.partition('/')[2]] = {
          f'{part}.{name}': given for part in recorded_cells.LEARNING_PARTS
          if part != 'ImageEncoder' or settings.get('encoder') == 'own'
          for name, given in settings.get(part, {}).items()
      } | {
          f'train_agent.{name}': settings[name]
          for name in recorded_cells.LEARNING if name in settings
      }
  return found


def made_from(todo: Sequence[cells.Cell]) -> dict[str, str]:
  """The priors of the agents that are here.

  Args:
    todo: cells of any kind.

  Returns:
    Hash of the prior's card by the name of the agent's cell, of the
    evaluation's where nothing learns.
  """
  found = {}
  for cell in todo:
    path = os.path.join(os.path.dirname(cell.finished_file), layout.SETTINGS)
    if cell.kind == 'agent' and os.path.exists(cell.finished_file) and (
        os.path.exists(path)
    ):
      card = files.read_json(path, 'the settings of an agent').get('prior_spec')
    elif cell.kind == 'evaluate' and os.path.exists(cell.finished_file) and (
        not os.path.exists(path)
    ):  # Without learning the evaluation is all there is.
      card = files.read_json(
          cell.finished_file, 'an evaluation'
      ).get('eval_provenance', {}).get('inputs', {}).get('prior_spec')
    else:
      continue
    if card:
      found[cell.name] = card
  return found


def learnt_otherwise(
    todo: Sequence[cells.Cell], learnt: Mapping[str, Mapping[str, Any]],
    gin_files: Sequence[str], bindings: Sequence[str],
) -> dict[str, str]:
  """Agents that learnt in another way than the config asks for.

  Args:
    todo: all cells.
    learnt: values by gin name, by an agent's run, as `recorded_cells.learning`
      gives them.
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
      config_lib.parse(own_files, own_bindings)
      for run in runs:
        said = [
            f'{name} was {found!r}, is now {asked!r}'
            for name, found in {**_UNRECORDED, **learnt[run]}.items()
            if _plain(asked := in_force.value(name, found)) != _plain(found)
        ]
        if said:
          different[run] = '; '.join(said)
  finally:
    if alike:
      config_lib.parse(gin_files, bindings)
  return different


def _plain(given: Any) -> Any:
  if isinstance(given, str):
    return given.replace(':', '.')  # An agent's record names a function so.
  return list(given) if isinstance(given, tuple) else given


def _check_prior_of(
    directory: str, found: Mapping[str, Any], cell: cells.Cell
) -> None:
  """An agent's prior must still be the one that it was trained with."""
  if not found.get('prior'):
    return
  root_dir, = cell.given('root_dir')
  path = os.path.join(directory, layout.SETTINGS)
  if not os.path.exists(path):  # Without learning.
    wanted_priors.check_box_of(directory, found, {
        'latent_bound': latent_bound.ASSURANCE, 'bound_prior': found['prior'],
        'bound_protocol': found.get('bound_protocol'),
    }, root_dir)
    return
  before = files.read_json(path, 'the settings of an agent')
  prior = layout.export_dir(root_dir, found['protocol'], found['prior'])
  known, now = before.get('prior_spec'), wanted_priors.card_hash(prior)
  # Of one that is gone: `wanted.check_priors`.
  if None not in (known, now) and known != now:
    raise errors.UserError(
        f'{directory} holds an agent that was trained with another prior than '
        f'{prior} holds. {wanted_priors.REMEDY} directory.'
    )
  wanted_priors.check_box_of(directory, found, before, root_dir)
