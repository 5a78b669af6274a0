"""What chooses actions: the agent, the prior, or a mixture of both.

A collector is a function of (observation, environment step) to an action [A];
its randomness depends on the seed and the step alone.
"""

from __future__ import annotations

import math
from typing import Any, Callable

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from safer_tf.rl import agent as sac
from safer_tf.rl import latent_env
from safer_tf.rl import streams

Collector = Callable[[np.ndarray, int], np.ndarray]


def from_agent(agent: sac.LatentSacAgent) -> Collector:
  """The agent's own stochastic policy."""

  def collect(observation: np.ndarray, step: int) -> np.ndarray:
    return agent.act(observation[np.newaxis], np.int64(step)).numpy()[0]

  return collect


def from_prior(size: int, bound: float, seed: int) -> Collector:
  """Latents of N(0, I) truncated to |z|_inf < bound.

  Args:
    size: number A of dimensions.
    bound: may be infinite.
    seed: of the draws.

  Returns:
    A collector of latents.
  """
  distribution = latent_distribution(size, bound)
  draw = tf.function(lambda key: distribution.sample(seed=key))

  def collect(observation: np.ndarray, step: int) -> np.ndarray:
    del observation
    random = streams.generator(seed, streams.EXPLORE, step)
    key = random.integers(2**31, size=2, dtype=np.int32)
    return draw(tf.constant(key)).numpy()

  return collect


def uniform(action_spec: Any, seed: int) -> Collector:
  """Uniform actions of a bounded array spec: blind initial exploration."""

  def collect(observation: np.ndarray, step: int) -> np.ndarray:
    del observation
    random = streams.generator(seed, streams.EXPLORE, step)
    return random.uniform(
        action_spec.minimum, action_spec.maximum, action_spec.shape
    ).astype(action_spec.dtype)

  return collect


def prior_explore(
    base: Collector,
    env: latent_env.PriorEnvironment,
    probability: float,
    bound: float,
    seed: int,
) -> Collector:
  """Prior-Explore: the prior's action with some probability, else another's.

  Source: the paper's Appendix E, after Singh et al. 2021 (PARROT).

  Args:
    base: chooses the remaining actions.
    env: environment with raw actions that follows the prior.
    probability: of an action of the prior, at each step anew.
    bound: largest |z|_inf of the prior's latents, possibly infinite.
    seed: of all draws.

  Returns:
    A collector of raw actions.
  """
  latent = from_prior(env.action_spec().shape[0], bound, seed)

  def collect(observation: np.ndarray, step: int) -> np.ndarray:
    random = streams.generator(seed, streams.MIXTURE, step)
    if random.random() < probability:
      return env.prior_action(latent(observation, step))
    return base(observation, step)

  return collect


def latent_distribution(
    size: int, bound: float
) -> tfp.distributions.Distribution:
  """N(0, I) over latents [A], truncated to |z|_inf < bound."""
  zeros, ones = tf.zeros(size), tf.ones(size)
  if math.isinf(bound):
    single = tfp.distributions.Normal(zeros, ones)
  else:
    single = tfp.distributions.TruncatedNormal(zeros, ones, -bound, bound)
  return tfp.distributions.Independent(single, 1)
