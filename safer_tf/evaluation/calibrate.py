"""Acts out random latents inside a prior's bounds: is the promise kept?"""

from __future__ import annotations

import os
import time
from typing import Any, Callable, Sequence

import gin
import numpy as np
from tf_agents.environments import py_environment

import envs
from safer_tf.assurance import certified
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.common import progress
from safer_tf.common import provenance
from safer_tf.evaluation import rollouts
from safer_tf.prior import export
from safer_tf.rl import latent_env

_SEEDS = 2  # Purpose of the seeds; see `rollouts.episode_seeds`.
_SOURCE = 'random latents from N(0, I) truncated to the bound'


@gin.configurable(denylist=['root_dir', 'seed'])
def calibrate(
    root_dir: str,
    seed: int = 0,
    task: str = gin.REQUIRED,
    prior: str = 'safer',
    protocol: str = 'seen',
    num_steps: int = 5000,
    max_episode_steps: int = gin.REQUIRED,
    make_env: Callable[[str], py_environment.PyEnvironment] = envs.load_task,
) -> dict[str, Any]:
  """Rolls out each bound of a prior's assurance on one task (Figure 4).

  Args:
    root_dir: run directory with the prior and its `assurance.json`.
    seed: of the episodes and the latents.
    task: name of the task.
    prior: id of the prior.
    protocol: `seen` or `held_out`.
    num_steps: at least so many steps a bound.
    max_episode_steps: the environment's time limit, which the upper bound on
      the unsafe share rests on.
    make_env: gives the environment of a task's name.

  Returns:
    What is written to `<prior>/calibration/<task>.json`.

  Raises:
    UserError: there is no assurance to test.
  """
  errors.require_sizes('calibrate', num_steps=num_steps)
  start = time.time()
  directory = layout.export_dir(root_dir, protocol, prior)
  assurance = files.read_json(
      os.path.join(directory, layout.ASSURANCE),
      'the latent bounds of a prior, which compute_assurance writes; run it '
      'first', ('table',),
  )
  inputs = provenance.hashes({
      name: os.path.join(directory, name)
      for name in (layout.PRIOR_SPEC, layout.ASSURANCE)
  })
  loaded = export.load_prior(directory, prior=prior)
  recorder = rollouts.Recorder(make_env(task), task)
  bounds = sorted({row['latent_bound'] for row in assurance['table']} - {0.0})
  with progress.bar(len(bounds) * num_steps, 'Calibrating', 'step') as bar:
    measured = {
        bound: measure(
            recorder,
            latent_env.LatentActionEnvironment(recorder, loaded, bound),
            bound, seed, num_steps, max_episode_steps, bar,
        ) for bound in bounds
    }
  recorder.close()
  record = provenance.record(
      seed, inputs, wall_seconds=time.time() - start
  )
  common = {
      'task': task, 'prior': prior, 'protocol': protocol, 'seed': seed,
      'git_revision': record['git_revision'], 'action_source': _SOURCE,
  }
  rows = [
      {
          **common, **measured[row['latent_bound']],
          **{
              name: row[name] for name in
              ('mode', 'max_unsafe_fraction', 'latent_bound')
          },
      }
      for row in assurance['table'] if row['latent_bound'] in measured
  ]
  result = {'rows': rows, 'provenance': record}
  path = layout.calibration_file(root_dir, protocol, prior, task)
  files.write_json(path, result)
  print(f'{path}:')
  for row in rows:
    print(
        f'  {row["mode"]} {100 * row["max_unsafe_fraction"]:g}% '
        f'(|z| < {row["latent_bound"]:.3g}): {row["unsafe_fraction"]:.1%} of '
        f'{row["steps"]:,} steps are unsafe (with 95% confidence at most '
        f'{row["unsafe_fraction_upper"]:.1%}).'
    )
  return result


def measure(
    recorder: rollouts.Recorder, env: Any, bound: float, seed: int,
    num_steps: int, max_episode_steps: int, bar: Any,
) -> dict[str, Any]:
  """Rolls out whole episodes of random latents until they hold enough steps.

  Args:
    recorder: around the raw environment.
    env: latent environment around `recorder`.
    bound: eta.
    seed: of the episodes and the latents.
    num_steps: at least so many steps.
    max_episode_steps: the environment's time limit.
    bar: progress, updated by steps.

  Returns:
    Columns of `calibration`.
  """
  # An episode has a step at least, so that these seeds suffice.
  seeds = rollouts.episode_seeds(seed, num_steps, _SEEDS)
  policy = rollouts.random_latents(env.action_spec().shape[0], bound, seed)
  records: list[rollouts.EpisodeRecord] = []
  steps = 0
  for record in rollouts.roll_out(env, recorder, policy, seeds):
    records.append(record)
    bar.update(min(len(record.unsafe), num_steps - steps))
    steps += len(record.unsafe)
    if steps >= num_steps:
      break
  return summarise(records, max_episode_steps)


def summarise(
    records: Sequence[rollouts.EpisodeRecord], max_episode_steps: int
) -> dict[str, Any]:
  """Counts of episodes of one bound, as columns of `calibration`."""
  lengths = np.array([len(record.unsafe) for record in records])
  unsafe = np.array([record.unsafe.sum() for record in records])
  return {
      # One row for all rollouts of a bound together.
      'rollout': 0, 'steps': int(lengths.sum()), 'episodes': len(records),
      'unsafe_fraction': float(unsafe.sum() / lengths.sum()),
      'unsafe_fraction_upper': certified.unsafe_share_upper(
          unsafe, lengths, max_episode_steps
      ),
      'unsafe_episodes': int(sum(r.unsafe.any() for r in records)),
      'success_rate': sum(r.success for r in records) / len(records),
  }
