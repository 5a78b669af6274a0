"""Runs the paper's matrix, or any part of it, and reports."""

from __future__ import annotations

import collections
import dataclasses
import glob
import os
import tempfile
from typing import Callable, List, Mapping, Sequence

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.evaluation import prior_rollouts
from safer_tf.evaluation import recorded as recorded_lib
from safer_tf.evaluation import report
from safer_tf.evaluation import tables
from safer_tf.experiments import builder
from safer_tf.experiments import cells
from safer_tf.experiments import executor as executor_lib
from safer_tf.experiments import in_force
from safer_tf.experiments import matrix as matrix_lib
from safer_tf.experiments import recorded_cells
from safer_tf.experiments import wanted
from safer_tf.experiments import wanted_agents

_Build = Callable[[matrix_lib.Matrix], List[cells.Cell]]


def reproduce(
    root_dir: str,
    seed: int = 0,
    gin_files: Sequence[str] = (),
    bindings: Sequence[str] = (),
    only: Sequence[str] = (),
    tasks: Sequence[str] = (),
    methods: Sequence[str] = (),
    seeds: Sequence[str] = (),
    executor: str = 'local',
    address: str | None = None,
    workers: int | None = None,
    recorded: str | None = None,
    dry_run: bool = False,
) -> str | None:
  """Carries out what is not finished of the matrix; then makes the report.

  Args:
    root_dir: run directory.
    seed: of the data and the priors; agents have seeds of their own.
    gin_files: those this was configured with, handed on to every cell.
    bindings: likewise.
    only: parts of the matrix; all that `Matrix` names if empty.
    tasks: only these tasks, by number or name.
    methods: only these methods.
    seeds: of the agents, instead of the config's.
    executor: `local` (worker processes) or `ray`.
    address: of a Ray cluster; this machine's own if None.
    workers: cells at a time; one for each core if None.
    recorded: directory of result tables of earlier runs of the same config.
      What they hold counts as finished, and enters this run's report, also
      that of later calls.
    dry_run: only says what would be run, and writes nothing.

  Returns:
    Path of the report; None of a dry run.

  Raises:
    UserError: some cells failed (all others were carried out), or the
      directory holds agents or priors of another configuration.
  """
  if in_force.value('held_out_tasks.names') is not None:
    raise errors.UserError(
        'held_out_tasks.names is set, and reproduce holds out the tasks that '
        'it evaluates: leave it out, or run the stages one by one.'
    )
  if in_force.value('METHOD/gin.macro.value') is not None:
    raise errors.UserError(
        'A method\'s gin file was given, which would make every cell one of '
        'that method: leave it out, and choose by --methods.'
    )
  matrix = matrix_lib.Matrix().narrowed(only, tasks, methods, seeds)
  _check_targets(matrix)
  root_dir = os.path.abspath(root_dir)
  # Cells may run elsewhere, by Ray.
  gin_files = [
      os.path.abspath(name) if os.path.isfile(name) else name
      for name in gin_files
  ]
  build = builder.Builder(
      root_dir, seed, gin_files, bindings, _sizes()
  ).build
  todo = build(matrix)
  if not todo:
    raise errors.UserError(
        'Nothing of the matrix is left by --only, --tasks and --methods: '
        'parts '
        f'{", ".join(matrix.parts)}, methods {", ".join(matrix.methods)}.'
    )
  todo = cells.without_unneeded(_checked(
      todo, _beside(todo, build, root_dir), build, root_dir, recorded,
      gin_files, bindings, keep=not dry_run,
  ))
  if dry_run:
    _print_plan(todo)
    return None
  log_dir = os.path.join(root_dir, layout.LOGS_DIR)
  cells_file = os.path.join(root_dir, layout.CELLS)

  def note(outcome: Mapping[str, str]) -> None:
    now = {cell.name: outcome.get(cell.name, '') for cell in todo}
    # Read anew, as another run may have written meanwhile.
    known = {**_outcomes(cells_file), **now}
    files.write_text(cells_file, 'cell,outcome\n' + ''.join(
        f'{name},{ended}\n' for name, ended in known.items()
    ))

  outcome = executor_lib.execute(
      todo, _pool(executor, address, log_dir, workers), log_dir, note
  )
  note(outcome)
  try:
    path = report.make_report(root_dir)
  except errors.UserError:
    # What failed explains why there is nothing to report.
    _check_all_finished(todo, outcome, log_dir)
    raise
  print(f'\n{report.printed_table(root_dir)}\n\nReport: {path}', flush=True)
  _check_all_finished(todo, outcome, log_dir)
  return path


def _check_targets(matrix: matrix_lib.Matrix) -> None:
  """Agents and what is rolled out beside them must share a computed bound."""
  config = _config()
  for name, agents in (
      ('assurance_mode', config.assurance_mode),
      ('max_unsafe_fraction', config.max_unsafe_fraction),
  ):
    evaluated = in_force.value(f'evaluate.{name}')
    if evaluated != agents:
      raise errors.UserError(
          f'evaluate.{name} is {evaluated}, train_agent.{name} {agents}: '
          'expected the same, else priors without learning act in another box '
          'than agents.'
      )
  needed = {config.max_unsafe_fraction}
  if 'tradeoff' in matrix.parts:
    needed |= {*matrix.tradeoff_targets, *matrix.frontier_targets}
  missing = needed - {
      *config.targets,
      in_force.value('compute_assurance.max_unsafe_fraction'),
  }
  if missing:
    raise errors.UserError(
        'compute_assurance.targets lack '
        f'{", ".join(f"{each:g}" for each in sorted(missing))}, within which '
        'agents are to act (train_agent.max_unsafe_fraction, '
        'Matrix.tradeoff_targets, Matrix.frontier_targets): add what is '
        'missing.'
    )


def _beside(
    todo: Sequence[cells.Cell], build: _Build, root_dir: str
) -> list[cells.Cell]:
  """Finished agents that the report has beside those of `todo`."""
  pattern = os.path.join(
      glob.escape(root_dir), layout.AGENTS_DIR, '*', '*', '*', '*', 'seed*'
  )
  seeds = sorted({
      seed for _, _, seed in (
          path.rpartition('seed') for path in glob.glob(pattern)
      ) if seed.isdecimal()
  })
  known = {cell.name for cell in todo}
  return [
      cell for cell in build(
          matrix_lib.Matrix().narrowed((), (), (), seeds)
      )
      if cell.kind in ('agent', 'evaluate') and cell.name not in known
      and os.path.exists(cell.finished_file)
  ] if seeds else []


def _checked(
    todo: Sequence[cells.Cell], others: Sequence[cells.Cell], build: _Build,
    root_dir: str, recorded: str | None, gin_files: Sequence[str],
    bindings: Sequence[str], keep: bool,
) -> Sequence[cells.Cell]:
  """The cells, recorded ones marked, if all results are of this config.

  Those of `others` too: means must not be over agents of two kinds. The run
  gets its copy of what is recorded if that is to be kept.
  """
  copy = recorded_lib.copy_dir(root_dir)
  # Adopted by an earlier call, they enter this one's report too.
  source = recorded or (copy if os.path.exists(copy) else None)
  if source is None:
    _check_here([*todo, *others], root_dir, gin_files, bindings)
    return todo
  with tempfile.TemporaryDirectory() as scratch, recorded_lib.adopting(
      source, root_dir if keep else scratch
  ) as copy:
    learnt = recorded_cells.learning(copy)
    # Of all methods too, as what differs is left out.
    seeds = sorted({run.rpartition('seed')[2] for run in learnt})
    different = wanted_agents.learnt_otherwise(
        build(matrix_lib.Matrix().narrowed((), (), (), seeds)), learnt,
        gin_files, bindings,
    )
    different |= dict.fromkeys(
        recorded_cells.trained(copy) - learnt.keys(),
        f'{recorded_lib.PROVENANCE} does not say how',
    )
    if different:
      _leave_out(different, source, copy, root_dir)
    marked = _with_recorded(todo, copy, root_dir, gin_files, bindings)
    _check_here([*marked, *others], root_dir, gin_files, bindings)
  return marked if recorded else todo


def _check_here(
    here: Sequence[cells.Cell], root_dir: str, gin_files: Sequence[str],
    bindings: Sequence[str],
) -> None:
  """Refuses what this run directory holds of another config or prior."""
  wanted.check(here, _config(), gin_files, bindings)
  wanted.check_priors(here, root_dir, wanted_agents.made_from(here))


def _print_plan(todo: Sequence[cells.Cell]) -> None:
  """Names the cells that are not finished, and counts them by kind."""
  left = [cell for cell in todo if not cell.finished]
  for cell in left:
    print(cell.name)
  kinds = collections.Counter(cell.kind for cell in left)
  counts = ', '.join(f'{count} {kind}' for kind, count in kinds.items())
  print(
      f'{len(left)} of {len(todo)} cells would be run'
      f'{f" ({counts})" if left else ""}.', flush=True,
  )


def _outcomes(path: str) -> dict[str, str]:
  """How cells ended in earlier calls."""
  if not os.path.exists(path):
    return {}
  with open(path, encoding='utf-8') as file:
    lines = file.read().splitlines()[1:]
  # A damaged line is no reason to stop: it only says how a cell once ended.
  return dict(line.rsplit(',', 1) for line in lines if ',' in line)


def _with_recorded(
    todo: Sequence[cells.Cell], copy: str, root_dir: str,
    gin_files: Sequence[str], bindings: Sequence[str],
) -> list[cells.Cell]:
  """The cells, those marked whose results earlier runs recorded."""
  known = recorded_cells.finished_cells(copy, _config())
  marked = [
      dataclasses.replace(cell, recorded=True) if cell.name in known else cell
      for cell in todo
  ]
  wanted.check_seeds(marked, root_dir, recorded_cells.seeds(copy))
  wanted.check_priors(marked, root_dir, recorded_cells.made_from(copy))
  wanted.check_recorded_calibrations(
      marked, recorded_lib.groups(copy, 'calibration')
  )
  wanted.check_recorded_sweep(
      marked, tables.read(copy, 'prior_sweep'), gin_files, bindings
  )
  return marked


def _leave_out(
    different: Mapping[str, str], source: str, copy: str, root_dir: str
) -> None:
  """Takes recorded agents that do not count out of the copy, and says so."""
  own = recorded_lib.copy_dir(root_dir)
  if os.path.realpath(source) == os.path.realpath(own):
    run, what = next(iter(different.items()))
    raise errors.UserError(
        f'{source} is this run\'s own copy of recorded results, and '
        f'{len(different)} of its agents learnt otherwise than the config '
        f'asks for ({run}: {what}). Mend the config, give --recorded the '
        f'directory that it was copied from, or remove {own}.'
    )
  recorded_lib.forget(copy, different)
  for what, count in collections.Counter(different.values()).items():
    runs = [run for run in different if different[run] == what]
    print(
        f'{count} recorded agents learnt otherwise ({what}) and do not count: '
        f'{runs[0]}{" and others" if count > 1 else ""}.'
    )


def _config() -> recorded_cells.Config:
  """What the agents' rows must have been run with."""
  sizes, matrix = _sizes(), matrix_lib.Matrix()
  return recorded_cells.Config(
      sizes.agent_steps, sizes.evaluation_episodes, sizes.calibration_steps,
      sizes.rollout_episodes,
      prior_rollouts.runs(
          in_force.value('roll_out_prior.tasks'),
          in_force.value('roll_out_prior.ranges'),
      ),
      in_force.value('train_agent.assurance_mode'),
      in_force.value('train_agent.max_unsafe_fraction'),
      in_force.value('compute_assurance.targets'),
      in_force.value('compute_assurance.confidence'),
      in_force.value('compute_assurance.max_episode_steps'),
      matrix.prior_sweep_steps, matrix.own_range,
  )


def _pool(
    executor: str, address: str | None, log_dir: str, workers: int | None
) -> executor_lib.Pool:
  if executor == 'local':
    return executor_lib.LocalPool(log_dir, workers)
  from safer_tf.experiments import ray_pool

  return ray_pool.RayPool(log_dir, address, workers)


def _sizes() -> builder.Sizes:
  sizes = []
  for name, default in (
      # Without a default of their own; not every part of a matrix has agents.
      ('collect_data.num_steps', 100_000), ('train_prior.num_steps', 5_000),
      ('train_agent.num_steps', 50_000), ('evaluate.num_episodes', None),
      ('calibrate.num_steps', None), ('roll_out_prior.num_episodes', None),
  ):
    sizes.append(in_force.value(name, default))
    stage, _, parameter = name.partition('.')
    errors.require_sizes(stage, **{parameter: sizes[-1]})
  return builder.Sizes(*sizes)


def _check_all_finished(
    todo: Sequence[cells.Cell], outcome: dict[str, str], log_dir: str
) -> None:
  failed = [c.name for c in todo if outcome[c.name] == executor_lib.FAILED]
  blocked = [c.name for c in todo if outcome[c.name] == executor_lib.BLOCKED]
  if failed:
    raise errors.UserError(
        f'{len(failed)} of {len(todo)} cells failed ({", ".join(failed[:5])}) '
        f'and {len(blocked)} that need them were left out; see the logs in '
        f'{log_dir}, then run the same command again: what is finished stays.'
    )
