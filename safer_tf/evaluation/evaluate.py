"""Evaluates one cell: seeded episodes of its final policy."""

from __future__ import annotations

import os
import time
from typing import Any, Callable, Optional, Sequence

import gin
import numpy as np
import tensorflow as tf
from tf_agents.environments import py_environment
from tf_agents.trajectories import time_step as ts

import envs
from safer_tf.assurance import certified
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.common import progress
from safer_tf.common import provenance
from safer_tf.evaluation import rollouts
from safer_tf.evaluation import style
from safer_tf.prior import export
from safer_tf.rl import latent_bound
from safer_tf.rl import trained

_SEEDS = 1  # Purpose of the seeds; see `rollouts.episode_seeds`.


@gin.configurable(denylist=['root_dir', 'seed'])
def evaluate(
    root_dir: str,
    seed: int = 0,
    task: str = gin.REQUIRED,
    method: str = gin.REQUIRED,
    protocol: str = 'seen',
    variant: str = 'default',
    num_episodes: int = 100,
    prior: Optional[str] = None,
    bound_protocol: Optional[str] = None,
    assurance_mode: str = 'exact',
    max_unsafe_fraction: float = 0.15,
    make_env: Callable[[str], py_environment.PyEnvironment] = envs.load_task,
) -> dict[str, Any]:
  """Rolls out a cell's greedy policy and writes `evaluation.json`.

  The methods of `style.NO_LEARNING` act by a prior alone, at z = 0 or with z
  from N(0, I) truncated to the bound: their rows come from here alone.

  Args:
    root_dir: run directory.
    seed: seed of the cell; the evaluation episodes follow from it.
    task: name of the task.
    method: method id.
    protocol: `seen` or `held_out`.
    variant: name of the method's configuration.
    num_episodes: number of episodes.
    prior: prior of a method without learning; the one that it is named after
      if None.
    bound_protocol: protocol of the prior that gives its bound; `protocol` if
      None.
    assurance_mode: bound of a method without learning.
    max_unsafe_fraction: bound of a method without learning.
    make_env: gives the environment of a task's name.

  Returns:
    The content of `evaluation.json`.

  Raises:
    UserError: the cell was not trained, or its parts do not match.
  """
  errors.require_sizes('evaluate', num_episodes=num_episodes)
  start = time.time()
  # First: a misspelt name is told as such, not as untrained.
  recorder = rollouts.Recorder(make_env(task), task)
  directory = layout.agent_dir(
      root_dir, protocol, task, method, variant, seed
  )
  inputs = {}  # A trained agent's own record has them.
  if method in style.NO_LEARNING:
    prior = prior or method.removesuffix(style.AT_ZERO).removesuffix(
        style.AT_RANDOM
    )
    cell = _untrained_cell(
        root_dir, seed, protocol, task, method, variant, prior,
        bound_protocol or protocol, assurance_mode, max_unsafe_fraction,
    )
    path = layout.export_dir(root_dir, protocol, prior)
    env = trained.wrap(recorder, export.load_prior(path, prior=prior), cell)
    inputs = provenance.hashes({
        'prior_spec': os.path.join(path, layout.PRIOR_SPEC),
        'assurance': os.path.join(layout.export_dir(
            root_dir, cell['bound_protocol'], prior
        ), layout.ASSURANCE),
    })
    policy = _untrained_policy(cell, env, seed)
  else:
    cell = trained.read_result(directory)
    env, saved = trained.load_agent(
        directory, recorder, cell['prior'] and layout.export_dir(
            root_dir, protocol, cell['prior']
        )
    )
    policy = _one_by_one(saved)
  records = []
  with progress.bar(num_episodes, f'Evaluating {method}', 'episode') as bar:
    for record in rollouts.roll_out(
        env, recorder, policy,
        rollouts.episode_seeds(seed, num_episodes, _SEEDS),
    ):
      records.append(record)
      bar.update()
  recorder.close()
  result = {
      **cell, **summary(records),
      'eval_clip_rate': getattr(env, 'clip_rate', 0.0),
      'replays': replays(records),
      'eval_provenance': provenance.record(
          seed, inputs, wall_seconds=time.time() - start
      ),
  }
  path = os.path.join(directory, layout.EVALUATION)
  files.write_json(path, result)
  print(
      f'{path}: of {num_episodes} episodes '
      f'{result["eval_success_rate"]:.1%} succeed and '
      f'{result["eval_unsafe_episodes"]} are unsafe (with 95% confidence at '
      f'most {result["eval_unsafe_episode_upper"]:.1%}).'
  )
  return result


def summary(records: Sequence[rollouts.EpisodeRecord]) -> dict[str, Any]:
  """What some episodes of one fixed policy say of it.

  Args:
    records: independent episodes.

  Returns:
    JSON-ready columns of the results, and the episodes.
  """
  unsafe_episodes = int(sum(record.unsafe.any() for record in records))
  return {
      'eval_success_rate': float(np.mean([r.success for r in records])),
      'eval_return': float(np.mean([r.total_reward for r in records])),
      'eval_episodes': len(records),
      'eval_steps': int(sum(len(r.unsafe) for r in records)),
      'eval_violations': int(sum(r.unsafe.sum() for r in records)),
      'eval_unsafe_episodes': unsafe_episodes,
      'eval_unsafe_episode_upper': certified.exact_binomial_upper(
          unsafe_episodes, len(records)
      ),
      'episodes': [record.to_json() for record in records],
  }


def replays(
    records: Sequence[rollouts.EpisodeRecord],
) -> dict[str, dict[str, Any]]:
  """The first safe and the first unsafe episode, to play again.

  Args:
    records: episodes.

  Returns:
    By `safe` and `unsafe`, where there is one; the safe one is a success if
    any is.
  """
  # A stable sort: successes first, else in order.
  safe = sorted(
      (r for r in records if not r.unsafe.any()), key=lambda r: not r.success
  )
  unsafe = [record for record in records if record.unsafe.any()]
  return {
      kind: {
          'seed': chosen[0].seed,
          'success': chosen[0].success,
          # Enough digits to give the float32 back.
          'actions': [
              [float(f'{a:.9g}') for a in row] for row in chosen[0].actions
          ],
          'unsafe': chosen[0].unsafe.tolist(),
      }
      for kind, chosen in (('safe', safe), ('unsafe', unsafe)) if chosen
  }


def _untrained_cell(
    root_dir: str, seed: int, protocol: str, task: str, method: str,
    variant: str, prior: str, bound_protocol: str, mode: str, target: float,
) -> dict[str, Any]:
  """The row of a method that acts by the prior alone."""
  bound = latent_bound.resolve(
      latent_bound.ASSURANCE,
      layout.export_dir(root_dir, bound_protocol, prior), mode, target,
  )
  return {
      'protocol': protocol, 'task': task, 'method': method,
      'variant': variant, 'prior': prior, 'encoder': 'prior',
      'action_space': 'latent', 'assurance_mode': mode,
      'max_unsafe_fraction': target, 'latent_bound': bound, 'seed': seed,
      'bound_protocol': bound_protocol,
      'env_steps': 0, 'git_revision': provenance.git_revision(),
  }


def _untrained_policy(
    cell: dict[str, Any], env: py_environment.PyEnvironment, seed: int
) -> rollouts.Policy:
  size = env.action_spec().shape[0]
  if cell['method'].endswith(style.AT_ZERO):
    return rollouts.zero_latents(size)
  return rollouts.random_latents(size, cell['latent_bound'], seed)


def _one_by_one(saved: Any) -> rollouts.Policy:
  """A saved policy, which takes batches, on single time steps."""

  def act(time_step: ts.TimeStep) -> np.ndarray:
    batched = tf.nest.map_structure(
        lambda value: tf.convert_to_tensor(value)[tf.newaxis], time_step
    )
    return saved.action(batched, ()).action[0].numpy()

  return act
