"""Rows 8 and 9: a whole cell, and two cells side by side."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import shutil
import sys
from typing import Optional

import gin

import envs
from safer_tf.benchmark import measurement
from safer_tf.benchmark import scaling
from safer_tf.benchmark import simulation
from safer_tf.benchmark import sizes as sizes_lib
from safer_tf.benchmark import timing
from safer_tf.common import config
from safer_tf.common import layout
from safer_tf.experiments import cells
from safer_tf.experiments import process

_METHOD = 'methods/safer.gin'
_STOCK_UPDATES = 7
_FLOOR_UPDATES = 30
_OWN = ('encoders/own.gin',)
_BOUND = 1.0
_HERE = 'safer_tf.benchmark.cells'
_WARM_STEPS = 520  # A few updates follow the initial exploration.


def measure(
    root_dir: str, sizes: sizes_lib.Sizes, full: bool
) -> list[measurement.Measurement]:
  """Measures rows 8 and 9.

  Args:
    root_dir: run directory of the benchmark; cells are trained there.
    sizes: how much of each measure is run.
    full: trains whole cells instead of scaling parts up.

  Returns:
    The measurements.
  """
  run_dir = os.path.join(root_dir, 'cells')
  timing.alone(
      'safer_tf.benchmark.latent:untrained_prior',
      layout.export_dir(run_dir, 'seen', 'safer'),
  )
  return [
      _whole_cell(run_dir, sizes, full, 'prior', (), 1, 12),
      _whole_cell(run_dir, sizes, full, 'own', _OWN, timing.cores(), 45),
      _side_by_side(run_dir, sizes, full),
  ]


def _whole_cell(
    run_dir: str, sizes: sizes_lib.Sizes, full: bool, encoder: str,
    gin_files: tuple[str, ...], threads: int, most_minutes: float,
) -> measurement.Measurement:
  """Minutes of one cell, evaluation included, as separate processes (row 8)."""
  core = 0 if threads == 1 else None
  batch_size, initial_steps = timing.alone(f'{_HERE}:shipped', gin_files)

  def seconds(num_steps, episodes):
    return cell_seconds(
        run_dir, encoder, gin_files, num_steps, episodes, threads, core
    )

  whole = sizes.whole_cell_steps
  updates = whole - initial_steps
  if full:
    trained, evaluated = seconds(whole, sizes.evaluation_episodes)
  else:
    small, large = sizes.cell_steps
    first, _ = seconds(small, None)
    second, evaluated = seconds(large, sizes.evaluation_episodes)
    # The first part holds what a cell does once: start, trace, save.
    trained = first + (second - first) / (large - small) * (whole - small)
  stock = timing.alone(
      'safer_tf.benchmark.updates:stock_seconds', batch_size, _STOCK_UPDATES,
      threads=threads, core=core,
  )
  bare = timing.alone(
      'safer_tf.benchmark.simulation:bare_seconds', envs.EVALUATION[:1],
      sizes.simulation_steps, core=0,
  )
  update = timing.alone(
      'safer_tf.benchmark.updates:floor_seconds', encoder == 'own', batch_size,
      _FLOOR_UPDATES, threads=threads, core=core,
  )
  return measurement.Measurement(
      8, f'cell of {whole:,} steps, {encoder} encoder, batch {batch_size}, '
      f'{"one core" if threads == 1 else f"{threads} cores"}',
      (trained + evaluated) / 60, 'minutes',
      'as many stock updates from pixels, alone', stock * updates / 60,
      (measurement.Target('value', '<=', most_minutes),),
      (whole * bare + updates * update) / 60,
      f'{simulation.BARE}, then the floor of an update', scaled=not full,
      note=f'evaluation {evaluated / 60:.1f} of it; untrained prior' + (
          '' if full else '; without most checkpoints, and a small replay '
          'buffer: a whole cell is slower'
      ),
  )


def shipped(gin_files: tuple[str, ...]) -> tuple[int, int]:
  """Transitions of an update, and steps before the first one.

  Args:
    gin_files: that follow SAFER's own.

  Returns:
    Both numbers.
  """
  config.parse([_METHOD, *gin_files], [])
  return (
      gin.query_parameter('train_agent.batch_size'),
      gin.query_parameter('train_agent.initial_steps'),
  )


def cell_seconds(
    run_dir: str, name: str, gin_files: tuple[str, ...], num_steps: int,
    episodes: Optional[int], threads: int, core: Optional[int],
) -> tuple[float, float]:
  """Trains and evaluates a cell as `reproduce` does, from nothing.

  Args:
    run_dir: run directory that holds a SAFER prior.
    name: of the cell's variant.
    gin_files: that follow SAFER's own.
    num_steps: environment steps.
    episodes: of the evaluation; None for none.
    threads: of each process.
    core: which of the chosen ones it is tied to; None for all.

  Returns:
    Seconds of training and of evaluation, start of the interpreter included.
  """
  variant = f'{name}-{num_steps}'
  shutil.rmtree(_agent_dir(run_dir, variant), ignore_errors=True)
  common = [f'variant = {variant!r}', f'task = {envs.EVALUATION[0]!r}']
  stages = {'train_agent': [
      *common, f'num_steps = {num_steps}', f'latent_bound = {_BOUND}',
  ]}
  if episodes is not None:
    stages['evaluate'] = [*common, "method = 'safer'",
                          f'num_episodes = {episodes}']
  times = []
  for binary, values in stages.items():
    cell = cells.Cell(
        f'{variant}-{binary}', binary, cells.arguments(
            run_dir, 0, (_METHOD, *gin_files),
            [f'{binary}.{value}' for value in values],
        ), finished_file='',
    )
    with timing.limited(threads, core):
      times.append(timing.seconds(
          functools.partial(_run, cell, run_dir, threads)
      ))
  return times[0], sum(times[1:])


def _run(cell: cells.Cell, run_dir: str, threads: int) -> None:
  log_dir = os.path.join(run_dir, layout.LOGS_DIR)
  if process.run_cell(cell, log_dir, threads) != 0:
    print(*process.tail(process.log_path(cell, log_dir), 8), sep='\n',
          file=sys.stderr)
    raise RuntimeError(f'{cell.name} failed; its last words are above.')


def _side_by_side(
    run_dir: str, sizes: sizes_lib.Sizes, full: bool
) -> measurement.Measurement:
  """Two cells of one thread each, together and in turn (row 9)."""
  steps = sizes.whole_cell_steps if full else sizes.cell_steps[1]
  rounds = 2 if full else max(1, sizes.rounds // 2 + 1)
  pair, warm = (
      [(run_dir, seed, count) for seed in (0, 1)]
      for count in (steps, min(steps, _WARM_STEPS))
  )
  found = scaling.compare(f'{_HERE}:train_cell', [pair] * rounds, warm)
  return measurement.Measurement(
      9, f'two cells of {steps:,} steps side by side', found.ours, 'x',
      'two pure-Python loops over one', found.loops,
      (measurement.Target('ratio', '>=', 0.95),), 2.0,
      'two cores that share nothing', scaled=not full,
      note=f'processes already started; {rounds} turns, in alternating order',
  )


def train_cell(run_dir: str, seed: int, num_steps: int, name: str) -> None:
  """Trains a cell in this process, from nothing.

  Args:
    run_dir: run directory that holds a SAFER prior.
    seed: of the cell.
    num_steps: environment steps.
    name: of the attempt.
  """
  from safer_tf.rl import train_agent  # pylint: disable=g-import-not-at-top

  variant = f'side-{name}'
  shutil.rmtree(_agent_dir(run_dir, variant, seed), ignore_errors=True)
  config.parse([_METHOD], [])
  with contextlib.redirect_stderr(io.StringIO()):  # Two bars would mingle.
    train_agent.train_agent(
        run_dir, seed, task=envs.EVALUATION[0], num_steps=num_steps,
        variant=variant, latent_bound=_BOUND,
    )


def _agent_dir(run_dir: str, variant: str, seed: int = 0) -> str:
  return layout.agent_dir(
      run_dir, 'seen', envs.EVALUATION[0], 'safer', variant, seed
  )
