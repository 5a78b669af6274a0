"""Which cells of a matrix recorded results make unnecessary."""

from __future__ import annotations

import ast
import contextlib
import math
import os
import re
from typing import Any, Collection, Mapping, NamedTuple, Sequence

from safer_tf.common import layout
from safer_tf.evaluation import recorded
from safer_tf.evaluation import style
from safer_tf.evaluation import tables
from safer_tf.evaluation import variants

# What of `train_agent` says how an agent learns, where, and in which box. Its
# other values name the agent, its bound's target and length, which its row
# tells, and its prior.
LEARNING = (
    'action_space', 'batch_size', 'encoder', 'initial_steps', 'latent_bound',
    'make_env', 'prior_probability', 'violation_penalty',
)
# The latter has a record in the config only where it is used.
LEARNING_PARTS = ('make_agent', 'ImageEncoder')
_LEARNING = re.compile(
    rf'^((?:{"|".join(LEARNING_PARTS)})\.\w+'
    rf'|train_agent\.(?:{"|".join(LEARNING)})) = (.+)$',
    re.MULTILINE,
)


class Config(NamedTuple):
  """What agents and priors must have been run with to count as finished.

  Attributes:
    env_steps: of an agent's training.
    episodes: of its evaluation.
    calibration_steps: of each calibrated bound, at least.
    rollout_episodes: of a prior alone, in each of the following.
    rollout_runs: tasks and ranges of latents that a prior alone is rolled out
      on.
    assurance_mode: of the latent bound.
    max_unsafe_fraction: its target, except in the sweep.
    targets: that an assurance's table and calibration cover.
    confidence: of the certified bounds.
    max_episode_steps: that they rest on; None for what the data have.
    sweep_steps: of each prior of the sweep.
    own_range: latent bound of the variant `own_range`.
  """

  env_steps: int
  episodes: int
  calibration_steps: int
  rollout_episodes: int
  rollout_runs: Collection[tuple[str, float]]
  assurance_mode: str
  max_unsafe_fraction: float
  targets: Sequence[float]
  confidence: float
  max_episode_steps: int | None
  sweep_steps: int
  own_range: float | None


def finished_cells(directory: str, config: Config) -> set[str]:
  """Names of the matrix's cells that recorded rows make unnecessary.

  Args:
    directory: of the recorded tables.
    config: rows of anything else do not count.

  Returns:
    Names as `builder` gives them; an agent counts once evaluated.
  """
  found = set()
  for name in ('table1', 'ablations', 'tradeoff'):
    for row in tables.read(directory, name):
      if is_of(row, config):
        run = recorded.run_of(row)
        found |= {f'agent/{run}', f'evaluate/{run}'}
  # A bound of 0 admits nothing that could be rolled out.
  nothing = {
      (row['protocol'], row['prior'], row['max_unsafe_fraction'])
      for row in tables.read(directory, 'assurance')
      if row['mode'] == config.assurance_mode and row['latent_bound'] == 0
  }
  groups = recorded.groups(directory, 'calibration')
  for (protocol, prior, task), rows in groups.items():
    covered = {
        row['max_unsafe_fraction'] for row in rows
        if row['mode'] == config.assurance_mode
        and row['steps'] >= config.calibration_steps
    }
    needed = {
        target for target in config.targets
        if (protocol, prior, target) not in nothing
    }
    if needed and covered >= needed:
      found.add(f'calibrate/{protocol}/{prior}/{task}')
  groups = recorded.groups(directory, 'prior_rollouts')
  found |= {
      f'rollouts/{protocol}/{prior}'
      for (protocol, prior), rows in groups.items()
      if are_rollouts_of(rows, config)
  }
  return found | {
      f'prior/{row["protocol"]}/{row["prior"]}'
      for row in tables.read(directory, 'prior_sweep')
      if row['num_steps'] == config.sweep_steps
  }


def trained(directory: str) -> set[str]:
  """Recorded agents that learnt.

  Args:
    directory: of the recorded tables.

  Returns:
    Their runs, e.g. `seen/extract_08/sac/default/seed0`.
  """
  return {
      recorded.run_of(row) for name in ('table1', 'ablations', 'tradeoff')
      for row in tables.read(directory, name)
      if row['method'] not in style.NO_LEARNING
  }


def made_from(directory: str) -> dict[str, str]:
  """The priors of recorded agents.

  Args:
    directory: of the recorded tables.

  Returns:
    Hash of the prior's card by the name of the agent's cell, where known, and
    of that of a prior's rollouts.
  """
  found: dict[str, str] = {}
  for record in recorded.read(directory, recorded.PROVENANCE):
    kind, _, run = record['stage'].partition('/')
    inputs = record.get('inputs') or {}
    if kind == layout.AGENTS_DIR and inputs.get('prior_spec'):
      # Without learning the evaluation is all there is.
      found |= dict.fromkeys(
          (f'agent/{run}', f'evaluate/{run}'), inputs['prior_spec']
      )
    prior, name = os.path.split(run)
    card = inputs.get(layout.PRIOR_SPEC)
    if f'{name}.json' == layout.PRIOR_ROLLOUTS and card:
      found[f'rollouts/{prior}'] = card
  return found


def seeds(directory: str) -> dict[str, int]:
  """Seeds of recorded data and priors, by the name of their cell.

  Args:
    directory: of the recorded tables.

  Returns:
    E.g. `prior/seen/safer: 0`.
  """
  found = {}
  for record in recorded.read(directory, recorded.PROVENANCE):
    kind, *place = record['stage'].split('/')
    if record.get('seed') is None:
      continue
    if record['stage'] == layout.DATA_DIR:
      found['data'] = record['seed']
    elif kind == layout.PRIORS_DIR and len(place) == 2:
      found[f'prior/{"/".join(place)}'] = record['seed']
  return found


def learning(directory: str) -> dict[str, dict[str, Any]]:
  """How recorded agents learnt.

  Args:
    directory: of the recorded tables.

  Returns:
    The values of `LEARNING_PARTS`, and of `train_agent` those in `LEARNING`,
    by gin name, by the agent's run, e.g. `seen/extract_08/sac/default/seed0`.
  """
  found: dict[str, dict[str, Any]] = {}
  for record in recorded.read(directory, recorded.PROVENANCE):
    kind, _, run = record['stage'].partition('/')
    if kind == layout.AGENTS_DIR and not run.endswith('/evaluation'):
      found[run] = {}
      for name, text in _LEARNING.findall(record.get('config', '')):
        with contextlib.suppress(ValueError, SyntaxError):  # A macro's name.
          found[run][name] = ast.literal_eval(text)
  return found


def are_rollouts_of(rows: Sequence[tables.Row], config: Config) -> bool:
  """Whether a prior alone was rolled out as a configuration asks for.

  Args:
    rows: of one prior.
    config: wanted.

  Returns:
    Whether they are of those tasks, ranges and counts of episodes.
  """
  return (
      {(row['task'], row['latent_range']) for row in rows}
      == set(config.rollout_runs)
      and {row['episodes'] for row in rows} == {config.rollout_episodes}
  )


def is_of(row: Mapping[str, Any], config: Config) -> bool:
  """Whether an agent was run with a configuration.

  Args:
    row: of a table, or its evaluation; None or nan where there is no bound.
    config: wanted.

  Returns:
    Whether its lengths are those, and its bound's target, or its bound where
    one is stated.
  """
  target = variants.target(row['variant'])
  if target is None:
    target = config.max_unsafe_fraction
  given = row['max_unsafe_fraction']
  bounded = given is not None and not math.isnan(given)
  learned = row['method'] not in style.NO_LEARNING
  stated = variants.stated_bound(row['variant'], config.own_range)
  return (
      row['eval_episodes'] == config.episodes
      and (not learned or row['env_steps'] == config.env_steps)
      and (not bounded or (
          row['assurance_mode'] == config.assurance_mode
          and math.isclose(given, target, abs_tol=1e-9)
      ))
      # Tables keep six digits.
      and (stated is None or math.isclose(
          row['latent_bound'] or math.nan, stated, rel_tol=1e-5
      ))
  )
