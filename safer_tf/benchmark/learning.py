"""Whether the speed-ups hurt learning: all of them beside the plain version.

Of a full benchmark only. What is finished is kept and reused, and what was
interrupted goes on. Row 11 of the table.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
from concurrent import futures
from typing import Any, Iterable, Mapping, Sequence
from unittest import mock

import envs
from safer_tf.benchmark import kept
from safer_tf.benchmark import measurement
from safer_tf.benchmark import sizes as sizes_lib
from safer_tf.benchmark import table
from safer_tf.benchmark import timing
from safer_tf.common import config
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.common import provenance
from safer_tf.data import collect
from safer_tf.evaluation import figures

CURVES = 'benchmark_learning.csv'

_VERSIONS = ('fast', 'plain')
# What an agent sees, and the gin files of that. From pixels, the fast agent has
# one encoder for all its networks; from embeddings, its update is compiled.
_ENCODERS: dict[str, tuple[str, ...]] = {
    'own': ('encoders/own.gin',), 'prior': (),
}
_BOUND = 1.0
# Random latents in such a box solve some two fifths of it. Where they seldom
# succeed, when learning begins is chance, and three seeds compare little else.
_TASK = envs.EVALUATION[1]
_POINTS = 10  # Of a learning curve.
_LAST = 2  # Points that make its end.
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
    'safe_log_prob': True, 'unsafe_log_prob': False,
    'unsafe_share_above_safe_median': False,
}
_UNSAFE_SHORTFALL = (
    'the objective stops pushing an unsafe tuple down at '
    'train_prior.unsafe_floor (-8 nats): how far below a mean lies is left to '
    'chance, and the share above the safe median is what the objective shapes'
)


def measure(
    root_dir: str, sizes: sizes_lib.Sizes, results_dir: str
) -> list[measurement.Measurement]:
  """Compares learning with and without the speed-ups.

  Args:
    root_dir: run directory of the benchmark.
    sizes: how much is run.
    results_dir: where `CURVES` and the report's figure are written.

  Returns:
    The measurements.
  """
  run_dir = kept.directory(root_dir, 'learning')
  collect.collect_data(
      run_dir, num_steps=sizes.learning_data_steps, num_workers=2
  )
  runs, prior_runs = (
      [(version, seed) for seed in seeds for version in _VERSIONS]
      for seeds in (sizes.learning_seeds, sizes.learning_prior_seeds)
  )
  _side_by_side('train_prior', [
      (run_dir, version, seed, sizes.learning_prior_steps)
      for version, seed in prior_runs
  ])
  _side_by_side('train_agent', [
      (run_dir, encoder, version, seed, sizes.learning_steps)
      for encoder in _ENCODERS for version, seed in runs
  ])
  rows = [
      row for encoder in _ENCODERS for run in runs
      for row in _curve(run_dir, encoder, *run, sizes.learning_steps)
  ]
  _write_curves(results_dir, rows)
  stages = {run: _stage(run_dir, *run) for run in prior_runs}
  trained = {
      encoder: {run: _result(run_dir, encoder, *run) for run in runs}
      for encoder in _ENCODERS
  }
  ends = _ends(sizes.learning_steps)[-_LAST:]
  lines = [
      _compared(
          f'prior, {name} of held-out steps',
          {run: stage['test'][name] for run, stage in stages.items()},
          more_is_better, 'tuples one by one, windows embedded apart',
          _UNSAFE_SHORTFALL if name == 'unsafe_log_prob' else '',
      ) for name, more_is_better in _LIKELIHOODS.items()
  ]
  for encoder, results in trained.items():
    plain = 'stock SacAgent' + (
        ', three encoders' if encoder == 'own' else ', not compiled'
    )
    rates = {run: _rates(rows, encoder, *run) for run in runs}
    lines += [
        _compared(
            f'agent, {encoder} encoder, {name}', values, more_is_better, plain,
        ) for name, values, more_is_better in (
            ('mean success of the curve', {
                run: _mean(found.values()) for run, found in rates.items()
            }, True),
            ('success in its last fifth', {
                run: _mean(found.get(end, 0.0) for end in ends)
                for run, found in rates.items()
            }, True),
            ('violations in training', {
                run: result['violations'] for run, result in results.items()
            }, False),
        )
    ]
  return lines


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
    name: str, values: Mapping[tuple[str, int], float], more_is_better: bool,
    baseline: str, shortfall: str = '',
) -> measurement.Measurement:
  fast, plain = (
      [value for (version, _), value in values.items() if version == wanted]
      for wanted in _VERSIONS
  )
  ours, theirs = (
      ', '.join(f'{value:.4g}' for value in each) for each in (fast, plain)
  )
  return measurement.Measurement(
      measurement.LEARNING_ROW, name, sum(fast) / len(fast), '',
      f'plain: {baseline}', sum(plain) / len(plain),
      (within_spread(plain, more_is_better),),
      note=f'seeds: {ours}; plain: {theirs}; means are judged, by the worst of '
      'the plain seeds (equals miss in 19% of such lines of three seeds, in '
      '4% of six)', shortfall=shortfall,
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


def train_agent(
    run_dir: str, encoder: str, version: str, seed: int, num_steps: int
) -> None:
  """Trains one agent in a fast prior's latent space.

  Args:
    run_dir: run directory that holds the priors.
    encoder: `own` or `prior`, what it sees.
    version: `fast` or `plain`.
    seed: of the agent; its prior is the fast one of the same seed.
    num_steps: environment steps.
  """
  # pylint: disable=g-import-not-at-top
  from safer_tf.benchmark import stock
  from safer_tf.rl import agent
  from safer_tf.rl import train_agent as cell

  config.parse(['methods/safer.gin', *_ENCODERS[encoder]], [])
  # The loop is the same; only who makes the agent differs.
  make = {'fast': agent.make_agent, 'plain': stock.make_agent}[version]
  with mock.patch.object(agent, 'make_agent', make):
    cell.train_agent(
        run_dir, seed, task=_TASK, num_steps=num_steps,
        variant=_variant(encoder, version),
        prior=f'fast{seed}', latent_bound=_BOUND,
    )


def read_curve(
    path: str, num_steps: int, points: int = _POINTS
) -> list[tuple[int, float]]:
  """A learning curve in equal parts of the training.

  Args:
    path: `curve.csv` of a cell.
    num_steps: environment steps of the training.
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
  parts: dict[int, list[int]] = {}
  ends = _ends(num_steps, points)
  for step, success in rows:
    end = next((end for end in ends if step <= end), ends[-1])
    parts.setdefault(end, []).append(success)
  return [(end, sum(part) / len(part)) for end, part in sorted(parts.items())]


def _ends(num_steps: int, points: int = _POINTS) -> list[int]:
  """Environment steps at which the equal parts of a training end."""
  return [num_steps * part // points for part in range(1, points + 1)]


def _side_by_side(function: str, arguments: Iterable[tuple]) -> None:
  """Runs a function of this module in processes, one for each core."""
  with timing.warm_pool(timing.cores()) as pool:
    runs = [
        pool.submit(timing.call, f'{_HERE}:quietly', (function, each))
        for each in arguments
    ]
    for count, done in enumerate(futures.as_completed(runs), 1):
      done.result()
      print(f'  {function}: {count} of {len(runs)}', flush=True)


def quietly(function: str, arguments: tuple) -> None:
  """Calls a function of this module without its bar: two would mingle."""
  with contextlib.redirect_stderr(io.StringIO()):
    globals()[function](*arguments)


def _curve(
    run_dir: str, encoder: str, version: str, seed: int, num_steps: int
) -> list[dict[str, Any]]:
  """Rows of `CURVES` of one agent."""
  path = os.path.join(
      _agent_dir(run_dir, encoder, version, seed), layout.CURVE
  )
  revision = provenance.git_revision()
  return [
      {
          'encoder': encoder, 'version': version, 'seed': seed,
          'env_steps': step, 'success_rate': rate, 'git_revision': revision,
      } for step, rate in read_curve(path, num_steps)
  ]


def _rates(
    rows: Sequence[dict[str, Any]], encoder: str, version: str, seed: int
) -> dict[int, float]:
  """Success rates of one agent's curve by the step that a part ends at."""
  wanted = (encoder, version, seed)
  return {
      row['env_steps']: row['success_rate'] for row in rows
      if (row['encoder'], row['version'], row['seed']) == wanted
  }


def _mean(values: Iterable[float]) -> float:
  values = list(values)
  return sum(values) / len(values)


def _write_curves(
    results_dir: str, rows: Sequence[dict[str, Any]]
) -> None:
  text = io.StringIO()
  writer = csv.DictWriter(text, list(rows[0]), lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  files.write_text(os.path.join(results_dir, CURVES), text.getvalue())
  figures.save(
      figures.versions(rows), os.path.join(results_dir, table.FIGURE)
  )


def _stage(run_dir: str, version: str, seed: int) -> dict[str, Any]:
  path = layout.prior_dir(run_dir, 'seen', f'{version}{seed}')
  return files.read_json(os.path.join(path, layout.STAGE), 'a trained prior')


def _result(
    run_dir: str, encoder: str, version: str, seed: int
) -> dict[str, Any]:
  path = os.path.join(
      _agent_dir(run_dir, encoder, version, seed), layout.RESULT
  )
  return files.read_json(path, 'a trained agent')


def _agent_dir(run_dir: str, encoder: str, version: str, seed: int) -> str:
  return layout.agent_dir(
      run_dir, 'seen', _TASK, 'safer', _variant(encoder, version), seed
  )


def _variant(encoder: str, version: str) -> str:
  return f'{encoder}_{version}'
