"""Rolling out a scripted policy into episodes, each a pure function of a seed.

Any TF-Agents `PyEnvironment` with one observation array, one action vector,
`seed(int)` and `get_info() -> {'unsafe': bool, 'success': bool}` will do.
"""

from __future__ import annotations

import hashlib
from typing import Any, Iterator, NamedTuple, Sequence

import numpy as np

from safer_tf.common import errors
from safer_tf.common import labels
from safer_tf.data import schema

# Environments are seeded below this, policies above it.
_SEEDS = 1 << 31
# Episodes of shard k are numbered from k times this.
_EPISODES_PER_SHARD = 1 << 20


class Draw(NamedTuple):
  """What makes one episode differ from another."""

  seed: int
  noise: float


def draw(
    task: str, seed: int, index: int, noise_levels: Sequence[float]
) -> Draw:
  """Seed and noise of an episode: a pure function of its arguments.

  Args:
    task: name of the task.
    seed: of the dataset.
    index: of the episode within its task.
    noise_levels: to choose from, each as likely.

  Returns:
    The environment's seed and the noise's standard deviation.
  """
  digest = hashlib.sha256(f'{seed}/{task}/{index}'.encode()).digest()
  level = int.from_bytes(digest[8:16], 'big') % len(noise_levels)
  return Draw(
      int.from_bytes(digest[:8], 'big') % _SEEDS, float(noise_levels[level])
  )


def episodes_of_shard(
    env: Any, policy: Any, task: str, seed: int, shard: int, num_steps: int,
    noise_levels: Sequence[float],
) -> Iterator[schema.Episode]:
  """Episodes of one shard, until they hold at least so many steps.

  Args:
    env: environment of the task.
    policy: with `reset(seed, noise)` and `action()`.
    task: name of the task.
    seed: of the dataset.
    shard: number of the shard within its task.
    num_steps: wanted; the last episode is kept whole.
    noise_levels: to choose from, each as likely.

  Yields:
    The same episodes whoever collects them, and in whatever order of shards.
  """
  index = shard * _EPISODES_PER_SHARD
  while num_steps > 0:
    chosen = draw(task, seed, index, noise_levels)
    episode = roll_out(env, policy, task, chosen, index)
    yield episode
    num_steps -= len(episode)
    index += 1


def roll_out(
    env: Any, policy: Any, task: str, chosen: Draw, index: int
) -> schema.Episode:
  """Rolls out one episode.

  Args:
    env: environment of the task.
    policy: with `reset(seed, noise)` and `action()`.
    task: name of the task.
    chosen: the episode's seed and noise.
    index: of the episode within its task.

  Returns:
    The episode.

  Raises:
    UserError: the environment has no seed or no labels, or does not end, or
      an action is none of its actions' shape.
  """
  observations, actions, rewards, unsafe = [], [], [], []
  success = False
  shape = tuple(env.action_spec().shape)
  time_step = labels.seeded_reset(env, task, chosen.seed)
  policy.reset(_SEEDS + chosen.seed, chosen.noise)
  while not time_step.is_last():
    observations.append(np.array(time_step.observation))
    actions.append(np.array(policy.action(), np.float32))
    if actions[-1].shape != shape:
      raise errors.UserError(
          f'{type(policy).__name__} of task {task} gives the action '
          f'{actions[-1].tolist()}; expected {list(shape)} numbers.'
      )
    time_step = env.step(actions[-1])
    rewards.append(time_step.reward)
    labels.check_length(len(rewards))
    label = labels.read(env.get_info())
    unsafe.append(label.unsafe)
    success = success or label.success
  return schema.Episode(
      observation=np.stack(observations), action=np.stack(actions),
      reward=np.array(rewards, np.float32), unsafe=np.array(unsafe, bool),
      success=success, task=task, noise=chosen.noise, seed=chosen.seed,
      index=index,
  )
