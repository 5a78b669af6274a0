"""Whether the speed-ups hurt learning: each beside the plain version.

Of a full benchmark only. What is finished is kept and reused, and what was
interrupted goes on. Row 11 of the table.
"""

from __future__ import annotations

import csv
import io
import os
from typing import Any, Iterable, Sequence
from unittest import mock

import envs
from safer_tf.benchmark import measurement
from safer_tf.benchmark import sizes as sizes_lib
from safer_tf.benchmark import timing
from safer_tf.common import config
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.data import collect

CURVES = 'benchmark_learning.csv'  # Beside the other results.

_ROW = 11
_VERSIONS = ('fast', 'plain')
_BOUND = 1.0
_TASK = envs.EVALUATION[0]
_POINTS = 10  # Of a learning curve.
_HERE = 'safer_tf.benchmark.learning'
# The fast prior embeds each frame of a run of steps once. The plain one draws
# each tuple on its own, as many as a fast batch holds, and embeds all frames of
# its window.
_PRIOR_BINDINGS = {
    'fast': (),
    'plain': (
        'train_prior.run_length = 1', 'train_prior.safe_runs = 125',
        'train_prior.unsafe_runs = 140',
    ),
}
# What is compared of a prior, and whether more of it is better.
_LIKELIHOODS = {
    'safe_log_prob': True, 'unsafe_share_above_safe_median': False,
}


def measure(
    root_dir: str, sizes: sizes_lib.Sizes, full: bool
) -> list[measurement.Measurement]:
  """Compares learning with and without the speed-ups.

  Args:
    root_dir: run directory of the benchmark.
    sizes: how much is run.
    full: true.

  Returns:
    The measurements; curves go to `CURVES` below `root_dir`'s results.
  """
  del full
  run_dir = os.path.join(root_dir, 'learning')
  collect.collect_data(
      run_dir, num_steps=sizes.learning_data_steps, num_workers=2
  )
  runs = [
      (version, seed) for seed in sizes.learning_seeds for version in _VERSIONS
  ]
  _side_by_side('train_prior', [
      (run_dir, version, seed, sizes.learning_prior_steps)
      for version, seed in runs
  ])
  _side_by_side('train_agent', [
      (run_dir, version, seed, sizes.learning_steps) for version, seed in runs
  ])
  curves = {run: read_curve(_curve_path(run_dir, *run)) for run in runs}
  _write_curves(layout.results_dir(root_dir), curves)
  return [
      *(
          _compared(
              f'prior, {name} of held-out steps', {
                  run: _stage(run_dir, *run)['test'][name] for run in runs
              }, more_is_better, 'tuples one by one, windows embedded apart',
          ) for name, more_is_better in _LIKELIHOODS.items()
      ),
      _compared(
          'agent, mean success of the curve', {
              run: sum(point for _, point in curve) / len(curve)
              for run, curve in curves.items()
          }, True, 'stock SacAgent, three encoders',
      ),
  ]


def within_spread(
    plain: Sequence[float], more_is_better: bool
) -> measurement.Target:
  """What the mean of the fast runs must reach so as not to be worse.

  Args:
    plain: of each seed.
    more_is_better: else less is.

  Returns:
    A bound: the worst of the plain seeds.
  """
  if more_is_better:
    return measurement.Target('value', '>=', min(plain))
  return measurement.Target('value', '<=', max(plain))


def _compared(
    name: str, values: dict[tuple[str, int], float], more_is_better: bool,
    baseline: str,
) -> measurement.Measurement:
  fast, plain = (
      [value for (version, _), value in values.items() if version == wanted]
      for wanted in _VERSIONS
  )
  shown = ', '.join(f'{value:.3f}' for value in fast)
  return measurement.Measurement(
      _ROW, name, sum(fast) / len(fast), '', f'plain: {baseline}',
      sum(plain) / len(plain),
      (within_spread(plain, more_is_better),),
      note=f'seeds: {shown}; plain: '
      f'{", ".join(f"{value:.3f}" for value in plain)}; the target is the '
      'worst of the plain seeds',
  )


def train_prior(run_dir: str, version: str, seed: int, num_steps: int) -> None:
  """Trains one SAFER prior, unless it is there.

  Args:
    run_dir: run directory that holds the data.
    version: `fast` or `plain`.
    seed: of the prior.
    num_steps: gradient steps.
  """
  from safer_tf.prior import training  # pylint: disable=g-import-not-at-top

  config.parse(['methods/safer.gin'], _PRIOR_BINDINGS[version])
  training.train_prior(
      run_dir, seed, prior=f'{version}{seed}', num_steps=num_steps
  )


def train_agent(run_dir: str, version: str, seed: int, num_steps: int) -> None:
  """Trains one agent from pixels in a fast prior's latent space.

  Args:
    run_dir: run directory that holds the priors.
    version: `fast` or `plain`.
    seed: of the agent; its prior is the fast one of the same seed.
    num_steps: environment steps.
  """
  # pylint: disable=g-import-not-at-top
  from safer_tf.benchmark import stock
  from safer_tf.rl import agent
  from safer_tf.rl import train_agent as cell

  config.parse(['methods/safer.gin', 'encoders/own.gin'], [])
  # The loop is the same; only who makes the agent differs.
  make = {'fast': agent.make_agent, 'plain': stock.make_agent}[version]
  with mock.patch.object(agent, 'make_agent', make):
    cell.train_agent(
        run_dir, seed, task=_TASK, num_steps=num_steps, variant=version,
        prior=f'fast{seed}', latent_bound=_BOUND,
    )


def read_curve(
    path: str, points: int = _POINTS
) -> list[tuple[int, float]]:
  """A learning curve in equal parts of the training.

  Args:
    path: `curve.csv` of a cell.
    points: number of parts.

  Returns:
    Environment steps at the end of each part, and the success rate of the
    complete episodes that ended in it; parts without one are left out.
  """
  with open(path, encoding='utf-8', newline='') as file:
    rows = [
        (int(row['env_steps']), int(row['success']))
        for row in csv.DictReader(file) if int(row['complete'])
    ]
  last = rows[-1][0]
  parts: dict[int, list[int]] = {}
  for step, success in rows:
    end = -(-step * points // last) * last // points
    parts.setdefault(end, []).append(success)
  return [(end, sum(part) / len(part)) for end, part in sorted(parts.items())]


def _side_by_side(function: str, arguments: Iterable[tuple]) -> None:
  """Runs a function of this module in processes, one for each core."""
  with timing.warm_pool(timing.cores()) as pool:
    for done in [
        pool.submit(timing.call, f'{_HERE}:{function}', each)
        for each in arguments
    ]:
      done.result()


def _write_curves(
    directory: str, curves: dict[tuple[str, int], list[tuple[int, float]]]
) -> None:
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(('version', 'seed', 'env_steps', 'success_rate'))
  for (version, seed), curve in curves.items():
    writer.writerows((version, seed, *point) for point in curve)
  files.write_text(os.path.join(directory, CURVES), text.getvalue())


def _stage(run_dir: str, version: str, seed: int) -> dict[str, Any]:
  path = layout.prior_dir(run_dir, 'seen', f'{version}{seed}')
  return files.read_json(os.path.join(path, layout.STAGE), 'a trained prior')


def _curve_path(run_dir: str, version: str, seed: int) -> str:
  directory = layout.agent_dir(run_dir, 'seen', _TASK, 'safer', version, seed)
  return os.path.join(directory, layout.CURVE)
