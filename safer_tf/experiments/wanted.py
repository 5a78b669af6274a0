"""Whether what is finished of a matrix is what the config asks for."""

from __future__ import annotations

import os
from typing import Mapping, Sequence

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
      in_force.parse(cell.given('gin_file'), cell.given('gin_bindings'))
      wanted_priors.check_prior(cell)
  finally:
    if priors:
      in_force.parse(gin_files, bindings)


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
      if wanted_priors.card_hash(directory) != expected:
        raise errors.UserError(
            f'{cell.name} is recorded as made from another prior than '
            f'{directory} {"holds" if finished[need] else "would hold"} (its '
            f'{layout.PRIOR_SPEC} had the hash {expected[:12]}). Copy the '
            'priors that belong to the recorded results into --root_dir, or '
            'leave --recorded out and remove '
            f'{recorded.copy_dir(root_dir)}.'
        )
