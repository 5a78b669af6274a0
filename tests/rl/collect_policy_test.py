"""Collectors and the policies that need no learning."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from tf_agents.policies import policy_saver
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import time_step as ts

from safer_tf.prior import export
from safer_tf.rl import collect_policy
from safer_tf.rl import latent_env
from tests.rl import fakes

BOUND = 0.8
TIME_STEP_SPEC = ts.time_step_spec(tensor_spec.TensorSpec((4,), tf.float32))
LATENT_SPEC = tensor_spec.BoundedTensorSpec((2,), tf.float32, -BOUND, BOUND)


@pytest.mark.parametrize('bound', [BOUND, math.inf])
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


def test_uniform_fills_the_box():
  collect = collect_policy.uniform(fakes.ReachEnv().action_spec(), seed=0)
  draws = np.stack([collect(None, step) for step in range(500)])
  assert draws.dtype == np.float32
  assert stats.kstest(draws.ravel(), stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_prior_policies_without_learning(tmp_path):
  time_step = ts.restart(tf.zeros((800, 4)), batch_size=800)
  random = collect_policy.prior_random(TIME_STEP_SPEC, LATENT_SPEC)
  drawn = random.action(time_step, seed=1).action.numpy()
  assert drawn.shape == (800, 2) and np.abs(drawn).max() <= BOUND
  law = stats.truncnorm(-BOUND, BOUND)
  assert stats.kstest(drawn.ravel(), law.cdf).pvalue > 1e-3
  zero = collect_policy.prior_zero(TIME_STEP_SPEC, LATENT_SPEC)
  np.testing.assert_array_equal(zero.action(time_step).action, 0)
  policy_saver.PolicySaver(zero).save(str(tmp_path / 'zero'))
  loaded = tf.saved_model.load(str(tmp_path / 'zero'))
  np.testing.assert_array_equal(loaded.action(time_step, ()).action, 0)
