"""Whether what is finished of a matrix is what the config asks for."""

from __future__ import annotations

import os
from typing import Any, Mapping, Sequence

from safer_tf.common import config as config_lib
from safer_tf.common import errors
from safer_tf.common import layout
from safer_tf.evaluation import recorded
from safer_tf.experiments import cells
from safer_tf.experiments import in_force
from safer_tf.experiments import recorded_cells
from safer_tf.experiments import wanted_agents
from safer_tf.experiments import wanted_priors


def check(
    todo: Sequence[cells.Cell], config: recorded_cells.Config,
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
      wanted_agents.check_agent(cell, config)
    elif cell.kind == 'assurance':
      wanted_priors.check_assurance(cell, config)
    elif cell.kind == 'calibrate':
      wanted_priors.check_calibration(cell, config)
    elif cell.kind == 'rollouts':
      wanted_priors.check_rollouts(cell, config)
    elif cell.name == 'data':
      wanted_priors.check_data(cell)
  for run, different in wanted_agents.learnt_otherwise(
      finished, wanted_agents.learning_of(finished), gin_files, bindings
  ).items():
    raise errors.UserError(
        f'The agent {run} was trained with other settings: {different}. '
        f'{wanted_priors.REMEDY} directory.'
    )
  priors = [cell for cell in finished if cell.kind == 'prior']
  try:
    for cell in priors:
      config_lib.parse(cell.given('gin_file'), cell.given('gin_bindings'))
      wanted_priors.check_prior(cell)
  finally:
    if priors:
      config_lib.parse(gin_files, bindings)


def check_seeds(
    todo: Sequence[cells.Cell], root_dir: str, seeds: Mapping[str, int]
) -> None:
  """Checks that what is recorded is of the seed that is asked for.

  Args:
    todo: all cells.
    root_dir: run directory.
    seeds: of recorded data and priors, by the name of their cell.

  Raises:
    UserError: data or a prior are recorded with another seed.
  """
  for cell in todo:
    asked = cell.given('seed')
    if cell.name in seeds and asked and int(asked[0]) != seeds[cell.name]:
      raise errors.UserError(
          f'{cell.name} is recorded with seed {seeds[cell.name]}; by --seed it '
          f'is {asked[0]}. Give the recorded --seed, or leave --recorded out '
          f'and remove {recorded.copy_dir(root_dir)}.'
      )


def check_recorded_calibrations(
    todo: Sequence[cells.Cell],
    calibrations: Mapping[tuple, Sequence[Mapping[str, Any]]],
) -> None:
  """Checks that recorded rollouts are of the bounds that are here.

  Args:
    todo: all cells.
    calibrations: recorded rows by protocol, prior and task.

  Raises:
    UserError: a prior's assurance gives other bounds.
  """
  marked = {cell.name: cell for cell in todo if cell.recorded}
  for (protocol, prior, task), rows in calibrations.items():
    cell = marked.get(f'calibrate/{protocol}/{prior}/{task}')
    if cell is not None:
      wanted_priors.check_bounds(
          f'The recorded calibration of {protocol}/{prior} on {task}', rows,
          cell.given('root_dir')[0],
      )


def check_recorded_sweep(
    todo: Sequence[cells.Cell], rows: Sequence[Mapping[str, Any]],
    gin_files: Sequence[str], bindings: Sequence[str],
) -> None:
  """Checks that recorded priors of the sweep had the values they have now.

  Args:
    todo: all cells.
    rows: of `prior_sweep`.
    gin_files: those in force; each prior's own come and go meanwhile.
    bindings: likewise.

  Raises:
    UserError: one was trained with another value.
  """
  by_name = {f'prior/{row["protocol"]}/{row["prior"]}': row for row in rows}
  marked = [cell for cell in todo if cell.recorded and cell.name in by_name]
  try:
    for cell in marked:
      row = by_name[cell.name]
      config_lib.parse(cell.given('gin_file'), cell.given('gin_bindings'))
      for name in ('unsafe_weight', 'optimizer', 'learning_rate'):
        asked = in_force.value(f'train_prior.{name}', row[name])
        if asked != row[name]:
          raise errors.UserError(
              f'{cell.name} is recorded with {name} {row[name]}; asked for is '
              f'{asked}. Give it another name in Matrix.prior_sweep.'
          )
  finally:
    if marked:
      config_lib.parse(gin_files, bindings)


def check_priors(
    todo: Sequence[cells.Cell], root_dir: str, made_from: Mapping[str, str]
) -> None:
  """Checks that what is run and what is finished share their priors.

  Args:
    todo: all cells.
    root_dir: run directory.
    made_from: hash of the prior's card by a finished agent's cell.

  Raises:
    UserError: finished agents were made from another prior, or from one that
      is not there and would be trained anew for the rest.
  """
  missing = {
      need for cell in cells.without_unneeded(todo) if not cell.finished
      for need in cell.needs
  }
  finished = {cell.name: cell.finished for cell in todo}
  for cell in todo:
    expected = made_from.get(cell.name)
    if not cell.finished or expected is None:
      continue
    for need in cell.needs:
      kind, _, place = need.partition('/')
      if kind != 'prior' or (not finished.get(need) and need not in missing):
        continue
      directory = layout.export_dir(root_dir, *place.split('/'))
      if wanted_priors.card_hash(directory) != expected:
        raise errors.UserError(
            f'{cell.name} is {"recorded" if cell.recorded else "there"}, made '
            f'from another prior than {directory} '
            f'{"holds" if finished[need] else "would hold"} (its '
            f'{layout.PRIOR_SPEC} had the hash {expected[:12]}). Copy the '
            'priors that belong to it into --root_dir, or ' + (
                'leave --recorded out and remove '
                f'{recorded.copy_dir(root_dir)}.' if cell.recorded
                else 'choose another --root_dir.'
            )
        )
