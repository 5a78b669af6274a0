"""What chooses actions while collecting."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from safer_tf.prior import export
from safer_tf.rl import collect_policy
from safer_tf.rl import latent_env
from tests.rl import fakes

BOUND = 0.8


@pytest.mark.parametrize('bound', [2.0, math.inf])
def test_prior_latents_follow_the_truncated_normal(bound):
  collect = collect_policy.from_prior(3, bound, seed=1)
  draws = np.stack([collect(None, step) for step in range(700)])
  assert np.abs(draws).max() < bound
  law = stats.truncnorm(-bound, bound)
  assert stats.kstest(draws.ravel(), law.cdf).pvalue > 1e-3
  np.testing.assert_array_equal(collect(None, 5), draws[5])
  other = collect_policy.from_prior(3, bound, seed=2)
  assert not np.array_equal(other(None, 5), draws[5])


def test_prior_explore_mixes_as_asked(tmp_path):
  prior = export.load_prior(fakes.export_prior(str(tmp_path / 'export')))
  env = latent_env.PriorEnvironment(fakes.ReachEnv(), prior)
  observation = env.reset().observation
  marker = np.float32([9, 9])
  collect = collect_policy.prior_explore(
      lambda observation, step: marker, env, 0.9, BOUND, seed=3
  )
  latent = collect_policy.from_prior(2, BOUND, seed=3)
  from_base = 0
  for step in range(500):
    action = collect(observation, step)
    if np.array_equal(action, marker):
      from_base += 1
    else:
      np.testing.assert_array_equal(
          action, env.prior_action(latent(None, step))
      )
  assert 25 < from_base < 80


@pytest.mark.parametrize('bound', [BOUND, math.inf])
def test_prior_explore_draws_latents_within_the_bound_on_both_sides(bound):
  class Env(fakes.ReachEnv):

    def prior_action(self, latent):
      return latent

  collect = collect_policy.prior_explore(None, Env(), 1.0, bound, seed=3)
  draws = np.stack([collect(None, step) for step in range(700)])
  law = stats.truncnorm(-bound, bound)
  assert stats.kstest(draws.ravel(), law.cdf).pvalue > 1e-3


def test_uniform_fills_the_box():
  collect = collect_policy.uniform(fakes.ReachEnv().action_spec(), seed=0)
  draws = np.stack([collect(None, step) for step in range(500)])
  assert draws.dtype == np.float32
  assert stats.kstest(draws.ravel(), stats.uniform(-1, 2).cdf).pvalue > 1e-3
