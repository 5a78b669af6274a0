"""Results that earlier runs recorded: kept beside what a run adds to them.

A run given such results keeps its own copy of them. Its tables are then made
of that copy and of its own stages, whose rows come first.
"""

from __future__ import annotations

import ast
import contextlib
import math
import os
import re
import shutil
from typing import (
  Any,
  Collection,
  Iterable,
  Iterator,
  Mapping,
  NamedTuple,
  Sequence,
)

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.evaluation import style
from safer_tf.evaluation import tables
from safer_tf.evaluation import variants

DATA_CARD = 'data_card.json'
REPLAYS = 'replays.json'
PROVENANCE = 'provenance.json'

# What of `train_agent` says how an agent learns, and in which box. Its other
# values name the agent, its bound's target and length, which its row tells, its
# prior and environment.
LEARNING = (
    'action_space', 'batch_size', 'encoder', 'initial_steps', 'latent_bound',
    'prior_probability',
)
# The latter has a record in the config only where it is used.
LEARNING_PARTS = ('make_agent', 'ImageEncoder')
_LEARNING = re.compile(
    rf'^((?:{"|".join(LEARNING_PARTS)})\.\w+'
    rf'|train_agent\.(?:{"|".join(LEARNING)})) = (.+)$',
    re.MULTILINE,
)

# Priors of this prefix belong to the sweep over the prior's own settings.
SWEEP_PREFIX = 'sweep_'

# What a row belongs to. Rows of one owner are replaced together.
_OWNER = {
    'table1': tables.AGENT,
    'ablations': tables.AGENT,
    'tradeoff': tables.AGENT,
    'curves': tables.AGENT,
    'calibration': ('protocol', 'prior', 'task'),
    'prior_rollouts': ('protocol', 'prior'),
    'likelihood': ('protocol', 'method'),
    'histograms': ('protocol', 'method'),
    'assurance': ('protocol', 'prior'),
    'confirmation': ('protocol', 'prior'),
    'prior_sweep': ('protocol', 'prior'),
    REPLAYS: ('protocol', 'task', 'method'),
    PROVENANCE: ('stage',),
}


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


def copy_dir(root_dir: str) -> str:
  """Where a run keeps its copy of recorded results."""
  return os.path.join(root_dir, layout.RECORDED_DIR)


@contextlib.contextmanager
def adopting(source: str, root_dir: str) -> Iterator[str]:
  """Copies the tables of earlier runs into a run, over an older copy.

  Args:
    source: directory of the tables.
    root_dir: run directory.

  Yields:
    A directory with the copy, which takes its place once the body succeeds.

  Raises:
    UserError: `source` holds no tables, or damaged ones.
  """
  names = [
      name for name in (*map(_file_name, _OWNER), DATA_CARD)
      if os.path.exists(os.path.join(source, name))
  ]
  if not names:
    raise errors.UserError(
        f'{source} holds no recorded results: expected table1.csv or the '
        'like, e.g. the results directory of a checkout.'
    )
  copy = copy_dir(root_dir)
  if os.path.realpath(source) == os.path.realpath(copy):
    yield copy
    return
  for name in _OWNER:
    _read(source, name)  # What is wrong is told of the source, not of a copy.
  with files.replacing(copy) as beside:
    os.makedirs(beside)
    for name in names:
      shutil.copyfile(os.path.join(source, name), os.path.join(beside, name))
    yield beside


def forget(directory: str, runs: Collection[str]) -> None:
  """Takes agents out of recorded tables.

  Args:
    directory: of the recorded tables.
    runs: of agents, e.g. `seen/extract_08/sac/default/seed0`.
  """
  shown = {run.rsplit('/', 2)[0] for run in runs}  # Films know no seed.
  for name, owner in _OWNER.items():
    if owner == tables.AGENT:
      gone, named = runs, _run
    elif name == PROVENANCE:
      gone = {
          f'{layout.AGENTS_DIR}/{run}{stage}' for run in runs
          for stage in ('', '/evaluation')
      }
      named = _stage
    elif name == REPLAYS:
      gone, named = shown, _shown
    else:
      continue
    rows = _read(directory, name)
    kept = [row for row in rows if named(row) not in gone]
    if len(kept) < len(rows):
      _write(directory, name, kept)


def _run(row: Mapping[str, Any]) -> str:
  *place, seed = (str(row[key]) for key in tables.AGENT)
  return '/'.join((*place, f'seed{seed}'))


def _stage(row: Mapping[str, Any]) -> str:
  return row['stage']


def _shown(row: Mapping[str, Any]) -> str:
  return '/'.join(row[key] for key in _OWNER[REPLAYS])


def base_dir(root_dir: str, has_agents: bool) -> str | None:
  """Where the rows are that a run adds its own to.

  Args:
    root_dir: run directory.
    has_agents: whether it has results of agents of its own.

  Returns:
    What was adopted; else the results themselves where nothing else is left
    of the run they came from; else None.
  """
  copy = copy_dir(root_dir)
  if os.path.exists(copy):
    return copy
  return None if has_agents else layout.results_dir(root_dir)


def merge(
    base: str | None, results_dir: str, name: str, rows: Sequence[tables.Row]
) -> None:
  """Writes recorded rows, those of the new rows' owners replaced by these.

  Args:
    base: directory of the recorded tables; None for none.
    results_dir: directory of the tables that are written.
    name: a table's name, `REPLAYS` or `PROVENANCE`.
    rows: what is new. Where this and `base` are empty, there is no table.
  """
  merged = _by_owner(name, _read(base, name) if base else [])
  merged.update(_by_owner(name, rows))
  found = [row for group in merged.values() for row in group]
  if not found:
    # Else rows of what has been removed would stay.
    with contextlib.suppress(FileNotFoundError):
      os.remove(os.path.join(results_dir, _file_name(name)))
    return
  if 'task' in tables.COLUMNS.get(name, ()):
    found.sort(key=_place)
  _write(results_dir, name, found)


def finished_cells(directory: str, config: Config) -> set[str]:
  """Names of the matrix's cells that recorded rows make unnecessary.

  Args:
    directory: of the recorded tables.
    config: rows of anything else do not count.

  Returns:
    Names as `experiments.matrix` gives them; an agent counts once evaluated.
  """
  found = set()
  for name in ('table1', 'ablations', 'tradeoff'):
    for row in tables.read(directory, name):
      if is_of(row, config):
        found |= {f'{kind}/{_run(row)}' for kind in ('agent', 'evaluate')}
  # A bound of 0 admits nothing that could be rolled out.
  nothing = {
      (row['protocol'], row['prior'], row['max_unsafe_fraction'])
      for row in tables.read(directory, 'assurance')
      if row['mode'] == config.assurance_mode and row['latent_bound'] == 0
  }
  groups = _by_owner('calibration', tables.read(directory, 'calibration'))
  for (protocol, prior, task), rows in groups.items():
    covered = {
        row['max_unsafe_fraction'] for row in rows
        if row['mode'] == config.assurance_mode
        and row['steps'] >= config.calibration_steps
        # Those of an earlier release have none.
        and not math.isnan(row['unsafe_fraction_upper'])
    }
    needed = {
        target for target in config.targets
        if (protocol, prior, target) not in nothing
    }
    if needed and covered >= needed:
      found.add(f'calibrate/{protocol}/{prior}/{task}')
  groups = _by_owner('prior_rollouts', tables.read(directory, 'prior_rollouts'))
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


def made_from(directory: str) -> dict[str, str]:
  """The priors of recorded agents.

  Args:
    directory: of the recorded tables.

  Returns:
    Hash of the prior's card by the name of the agent's cell, where known, and
    of that of a prior's rollouts.
  """
  found: dict[str, str] = {}
  for record in _read(directory, PROVENANCE):
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


def learning(directory: str) -> dict[str, dict[str, Any]]:
  """How recorded agents learnt.

  Args:
    directory: of the recorded tables.

  Returns:
    The values of `LEARNING_PARTS`, and of `train_agent` those in `LEARNING`,
    by gin name, by the agent's run, e.g. `seen/extract_08/sac/default/seed0`.
  """
  found: dict[str, dict[str, Any]] = {}
  for record in _read(directory, PROVENANCE):
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


def _by_owner(
    name: str, rows: Iterable[tables.Row]
) -> dict[tuple[Any, ...], list[tables.Row]]:
  groups: dict[tuple[Any, ...], list[tables.Row]] = {}
  for row in rows:
    owner = tuple(row[key] for key in _OWNER[name])
    groups.setdefault(owner, []).append(row)
  return groups


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
  """Where a task's row stands: protocol, task, method, variant, seed."""
  return (
      row['protocol'] != 'seen', style.task_order(row['task']),
      style.order(row.get('method', row.get('prior', ''))),
      row.get('variant', ''),
      row['seed'],
  )


def _file_name(name: str) -> str:
  return f'{name}.csv' if name in tables.COLUMNS else name


def _read(directory: str, name: str) -> list[tables.Row]:
  if name in tables.COLUMNS:
    return tables.read(directory, name)
  path = os.path.join(directory, name)
  if not os.path.exists(path):
    return []
  expected = 'records as make_report writes them'
  rows = files.read_json(path, expected)
  if not isinstance(rows, list) or not all(
      isinstance(row, dict) and row.keys() >= set(_OWNER[name]) for row in rows
  ):
    raise errors.UserError(f'{path} is damaged: expected {expected}.')
  return rows


def _write(directory: str, name: str, rows: Sequence[tables.Row]) -> None:
  if name in tables.COLUMNS:
    tables.write(directory, name, rows)
  else:
    files.write_json(os.path.join(directory, name), rows)
