"""Saved policies: the same actions, whatever the weights have become."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.policies import greedy_policy
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import time_step as ts

from safer_tf.common import errors
from safer_tf.rl import agent as sac
from safer_tf.rl import policies

_SPECS = {
    'vector': tensor_spec.TensorSpec((40,), tf.float32),
    'image': tensor_spec.BoundedTensorSpec((8, 8, 3), tf.uint8, 0, 255),
}


def _agent(observation):
  agent = sac.make_agent(
      ts.time_step_spec(_SPECS[observation]),
      tensor_spec.BoundedTensorSpec((3,), tf.float32, -0.7, 0.7), seed=0,
  )
  random = np.random.default_rng(0)
  for variable in agent.policy.variables():
    # Of either sign and far apart, as those of a long training.
    variable.assign_add(
        tf.cast(random.normal(0, 1, variable.shape), variable.dtype)
    )
  return agent


@pytest.mark.parametrize('observation', sorted(_SPECS))
def test_a_saved_policy_acts_as_the_live_one(observation, tmp_path):
  agent = _agent(observation)
  directory = str(tmp_path / 'policies')
  policies.save(agent, directory)
  spec = _SPECS[observation]
  seen = tf.cast(
      np.random.default_rng(1).integers(0, 5, (6, *spec.shape)), spec.dtype
  )
  time_step = ts.restart(seen, batch_size=6)
  loaded = policies.load(directory)
  ours = loaded.action(time_step, ()).action
  live = greedy_policy.GreedyPolicy(agent.policy).action(time_step, ()).action
  np.testing.assert_allclose(ours, live, atol=1e-5)
  assert np.ptp(live) > 0.01


def test_a_policy_that_acts_otherwise_is_not_kept(tmp_path, monkeypatch):
  agent, other = _agent('vector'), _agent('vector')
  for variable in other.policy.variables():
    variable.assign(tf.zeros_like(variable))
  policies.save(other, str(tmp_path / 'other'))
  loaded = policies.load(str(tmp_path / 'other'))
  monkeypatch.setattr(policies, 'load', lambda _: loaded)
  with pytest.raises(errors.UserError, match='differs from the live one'):
    policies.save(agent, str(tmp_path / 'policies'))
  assert not (tmp_path / 'policies').exists()
