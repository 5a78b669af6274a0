"""Acts out a prior alone, without an agent, on tasks that are not evaluated.

What held-out likelihoods do not see of a prior: whether its actions, one after
the other, reach the goal and what they touch on the way.
"""

from __future__ import annotations

import os
import time
from typing import Any, Callable, Sequence

import gin
from tf_agents.environments import py_environment

import envs
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.common import progress
from safer_tf.common import provenance
from safer_tf.evaluation import rollouts
from safer_tf.prior import export
from safer_tf.rl import latent_env

_SEEDS = 991  # Purpose of the seeds; see `rollouts.episode_seeds`.
_ANY_BOUND = 1.0  # An environment's where z = 0 is all that it is given.


@gin.configurable(denylist=['root_dir', 'seed'])
def roll_out_prior(
    root_dir: str,
    seed: int = 0,
    prior: str = gin.REQUIRED,
    protocol: str = 'seen',
    tasks: Sequence[str] | None = None,
    ranges: Sequence[float] = (0.0, 1.0),
    num_episodes: int = 20,
    make_env: Callable[[str], py_environment.PyEnvironment] = envs.load_task,
) -> dict[str, Any]:
  """Rolls out a prior's own actions, the same episodes for every prior.

  Args:
    root_dir: run directory with the prior.
    seed: of the episodes and the latents.
    prior: id of the prior.
    protocol: `seen` or `held_out`.
    tasks: names of the tasks; by default all that are not evaluated.
    ranges: latents are drawn from N(0, I) truncated to |z| below this in each
      component, anew at each step; at 0 all are 0.
    num_episodes: of each task and range.
    make_env: gives the environment of a task's name.

  Returns:
    What is written to `<prior>/rollouts.json`.

  Raises:
    UserError: a value is wrong, or there is no such prior.
  """
  if num_episodes < 1 or not ranges or min(ranges) < 0:
    raise errors.UserError(
        f'roll_out_prior.num_episodes = {num_episodes}, ranges = {ranges}: '
        'expected at least 1 episode, and ranges of 0 or more.'
    )
  if tasks is None:
    tasks = [name for name in envs.ALL if name not in envs.EVALUATION]
  start = time.time()
  directory = layout.export_dir(root_dir, protocol, prior)
  loaded = export.load_prior(directory)
  rows = []
  total = len(tasks) * len(ranges) * num_episodes
  with progress.bar(total, f'Rolling out {prior}', 'episode') as bar:
    for task in tasks:
      recorder = rollouts.Recorder(make_env(task))
      for bound in ranges:
        rows.append({
            'task': task, 'latent_range': bound,
            **_measure(recorder, loaded, bound, seed, num_episodes, bar),
        })
      recorder.close()
  record = provenance.record(seed, provenance.hashes({
      layout.PRIOR_SPEC: os.path.join(directory, layout.PRIOR_SPEC),
  }), wall_seconds=time.time() - start)
  common = {
      'prior': prior, 'protocol': protocol, 'seed': seed,
      'git_revision': record['git_revision'], 'machine': record['machine'],
  }
  result = {
      'rows': [{**common, **row} for row in rows], 'provenance': record,
  }
  files.write_json(
      layout.prior_rollouts_file(root_dir, protocol, prior), result
  )
  return result


def _measure(
    recorder: rollouts.Recorder, prior: export.LoadedPrior, bound: float,
    seed: int, num_episodes: int, bar: Any,
) -> dict[str, Any]:
  """Columns of `prior_rollouts` for one task and range."""
  env = latent_env.LatentActionEnvironment(
      recorder, prior, bound or _ANY_BOUND
  )
  size = prior.spec.action_dim
  policy = (
      rollouts.random_latents(size, bound, seed) if bound
      else rollouts.zero_latents(size)
  )
  records = []
  for record in rollouts.roll_out(
      env, recorder, policy,
      rollouts.episode_seeds(seed, num_episodes, _SEEDS),
  ):
    records.append(record)
    bar.update()
  return {
      'episodes': len(records),
      'success_rate': sum(r.success for r in records) / len(records),
      'unsafe_episodes': int(sum(r.unsafe.any() for r in records)),
      'steps': int(sum(len(r.unsafe) for r in records)),
      'violations': int(sum(r.unsafe.sum() for r in records)),
  }
