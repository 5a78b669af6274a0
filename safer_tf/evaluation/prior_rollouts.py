"""Acts out a prior alone, without an agent, on tasks that are not evaluated.

What held-out likelihoods do not see of a prior: whether its actions, one after
the other, reach the goal and what they touch on the way.
"""

from __future__ import annotations

import itertools
import os
import time
from typing import Any, Callable, Mapping, Optional, Sequence

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
RANGES = (0.0, 1.0)


@gin.configurable(denylist=['root_dir', 'seed'])
def roll_out_prior(
    root_dir: str,
    seed: int = 0,
    prior: str = gin.REQUIRED,
    protocol: str = 'seen',
    tasks: Optional[Sequence[str]] = None,
    ranges: Sequence[float] = RANGES,
    num_episodes: int = 20,
    make_env: Callable[[str], py_environment.PyEnvironment] = envs.load_task,
) -> dict[str, Any]:
  """Rolls out a prior's own actions, the same episodes for every prior.

  Args:
    root_dir: run directory with the prior.
    seed: of the episodes and the latents.
    prior: id of the prior.
    protocol: `seen` or `held_out`.
    tasks: names of the tasks; None for all of `envs` that are not evaluated.
    ranges: latents are drawn from N(0, I) truncated to |z| below this in each
      component, anew at each step; at 0 all are 0.
    num_episodes: of each task and range.
    make_env: gives the environment of a task's name.

  Returns:
    What is written to `<prior>/rollouts.json`.

  Raises:
    UserError: a value is wrong, there is no such prior or task.
  """
  if num_episodes < 1 or not ranges or min(ranges) < 0:
    raise errors.UserError(
        f'roll_out_prior.num_episodes = {num_episodes}, ranges = {ranges}: '
        'expected at least 1 episode, and ranges of 0 or more.'
    )
  if tasks is None and make_env is not envs.load_task:
    raise errors.UserError(
        'roll_out_prior.tasks is not set, but make_env is: name the tasks to '
        'make environments of.'
    )
  todo = runs(tasks, ranges)
  unknown = {task for task, _ in todo} - set(envs.ALL)
  if not todo or (unknown and make_env is envs.load_task):
    raise errors.UserError(
        f'roll_out_prior.tasks is {tasks}: expected names of envs.ALL, from '
        f'{envs.ALL[0]} to {envs.ALL[-1]}.'
    )
  start = time.time()
  directory = layout.export_dir(root_dir, protocol, prior)
  loaded = export.load_prior(directory, prior=prior)
  inputs = provenance.hashes({
      layout.PRIOR_SPEC: os.path.join(directory, layout.PRIOR_SPEC),
  })
  rows = []
  with progress.bar(
      len(todo) * num_episodes, f'Rolling out {prior}', 'episode'
  ) as bar:
    for task, of_task in itertools.groupby(todo, lambda run: run[0]):
      recorder = rollouts.Recorder(make_env(task), task)
      for _, bound in of_task:
        rows.append({
            'task': task, 'latent_range': bound,
            **_measure(recorder, loaded, bound, seed, num_episodes, bar),
        })
      recorder.close()
  record = provenance.record(seed, inputs, wall_seconds=time.time() - start)
  common = {
      'prior': prior, 'protocol': protocol, 'seed': seed,
      'git_revision': record['git_revision'], 'machine': record['machine'],
  }
  result = {
      'rows': [{**common, **row} for row in rows], 'provenance': record,
  }
  path = layout.prior_rollouts_file(root_dir, protocol, prior)
  files.write_json(path, result)
  print(f'{path}:')
  for bound in dict.fromkeys(row['latent_range'] for row in rows):
    print(_told(bound, [row for row in rows if row['latent_range'] == bound]))
  return result


def _told(bound: float, rows: Sequence[Mapping[str, Any]]) -> str:
  """What came out at one range, over all tasks."""
  count = sum(row['episodes'] for row in rows)
  succeeded = sum(row['success_rate'] * row['episodes'] for row in rows)
  unsafe = sum(row['unsafe_episodes'] for row in rows)
  where = f'random |z| < {bound:g}' if bound else 'z = 0'
  return (
      f'  {where}: of {count} episodes {succeeded / count:.1%} succeed and '
      f'{unsafe / count:.1%} have an unsafe step.'
  )


def runs(
    tasks: Sequence[str] | None, ranges: Sequence[float]
) -> list[tuple[str, float]]:
  """The tasks and ranges that `roll_out_prior` goes through.

  Args:
    tasks: as there.
    ranges: as there.

  Returns:
    Pairs of a task and a range, all of a task next to one another.
  """
  if tasks is None:
    tasks = [name for name in envs.ALL if name not in envs.EVALUATION]
  return [(task, float(bound)) for task in tasks for bound in ranges]


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
