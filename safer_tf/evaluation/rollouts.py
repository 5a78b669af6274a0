"""Seeded episodes of a policy, with what happened in each."""

from __future__ import annotations

from typing import Any, Callable, Iterator, NamedTuple

import numpy as np
from scipy import special
from tf_agents.environments import py_environment
from tf_agents.environments import wrappers
from tf_agents.trajectories import time_step as ts

from safer_tf.common import labels

# An action for a time step; called once a step, `reset` aside.
Policy = Callable[[ts.TimeStep], np.ndarray]


class EpisodeRecord(NamedTuple):
  """What happened in one episode.

  Attributes:
    seed: of the environment; with `actions` it gives the episode back.
    success: whether the goal was reached.
    total_reward: undiscounted return.
    actions: float32 [T, A] as the simulator got them.
    unsafe: bool [T] label of each step.
  """

  seed: int
  success: bool
  total_reward: float
  actions: np.ndarray
  unsafe: np.ndarray

  def to_json(self) -> dict[str, Any]:
    """The episode's numbers, without its actions."""
    return {
        'seed': self.seed,
        'success': self.success,
        'return': self.total_reward,
        'length': len(self.actions),
        'violations': int(self.unsafe.sum()),
    }


class Recorder(wrappers.PyEnvironmentBaseWrapper):
  """Notes the actions that reach an environment and how each ended."""

  def __init__(self, env: py_environment.PyEnvironment, task: str):
    """Wraps the raw environment; further wrappers go around this one.

    Args:
      env: environment, which is reset.
      task: its name.

    Raises:
      UserError: it has no seed or no labels.
    """
    super().__init__(env)
    labels.seeded_reset(env, task, 0)
    self._clear()

  def _clear(self) -> None:
    self._actions: list[np.ndarray] = []
    self._unsafe: list[bool] = []
    self._rewards: list[float] = []
    self._success = False

  def _reset(self) -> ts.TimeStep:
    self._clear()
    return self._env.reset()

  def _step(self, action: np.ndarray) -> ts.TimeStep:
    time_step = self._env.step(action)
    label = labels.read(self._env.get_info())
    self._actions.append(np.array(action, np.float32))
    labels.check_length(len(self._actions))
    self._unsafe.append(label.unsafe)
    self._rewards.append(float(time_step.reward))
    self._success = self._success or label.success
    return time_step

  def record(self, seed: int) -> EpisodeRecord:
    """The episode since the last reset."""
    return EpisodeRecord(
        seed, self._success, float(np.sum(self._rewards)),
        np.array(self._actions), np.array(self._unsafe, bool),
    )


def episode_seeds(seed: int, count: int, purpose: int) -> np.ndarray:
  """Seeds of evaluation episodes, almost surely unlike those of a training.

  Args:
    seed: of the evaluation.
    count: number of episodes.
    purpose: a number that tells one use of the same seed from another.

  Returns:
    int [count] below 2**31.
  """
  state = np.random.SeedSequence((seed, purpose)).generate_state(count)
  return (state >> 1).astype(int)


def roll_out(
    env: py_environment.PyEnvironment, recorder: Recorder, policy: Policy,
    seeds: np.ndarray,
) -> Iterator[EpisodeRecord]:
  """Rolls out one episode for each seed.

  Args:
    env: environment the policy acts in; `recorder` is it or inside it.
    recorder: around the raw environment.
    policy: gives actions.
    seeds: of the episodes.

  Yields:
    Each episode's record.
  """
  for seed in seeds:
    recorder.seed(int(seed))
    time_step = env.reset()
    while not time_step.is_last():
      time_step = env.step(policy(time_step))
    yield recorder.record(int(seed))


def zero_latents(size: int) -> Policy:
  """z = 0 in every state: the middle of every latent bound."""
  zero = np.zeros(size, np.float32)
  return lambda time_step: zero


def random_latents(size: int, bound: float, seed: int) -> Policy:
  """z from N(0, I) truncated to (-bound, bound), new in every state.

  Args:
    size: components of a latent.
    bound: eta.
    seed: of the draws.

  Returns:
    The policy.
  """
  rng = np.random.default_rng(seed)
  low, high = special.ndtr(-bound), special.ndtr(bound)

  def policy(_: ts.TimeStep) -> np.ndarray:
    # By inversion, whose ends may round outward, hence the clip.
    latent = special.ndtri(rng.uniform(low, high, size))
    return np.clip(latent, -bound, bound).astype(np.float32)

  return policy
