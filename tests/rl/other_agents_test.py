"""Other agents of TF-Agents act in a prior's latent space as README says."""

from __future__ import annotations

import pytest
import tensorflow as tf
from tf_agents.agents import tf_agent
from tf_agents.agents.ddpg import actor_network
from tf_agents.agents.ddpg import critic_network
from tf_agents.agents.ppo import ppo_clip_agent
from tf_agents.agents.td3 import td3_agent
from tf_agents.environments import tf_py_environment
from tf_agents.environments import wrappers
from tf_agents.networks import actor_distribution_network
from tf_agents.networks import value_network
from tf_agents.trajectories import trajectory

from safer_tf.common import errors
from safer_tf.prior import export
from safer_tf.rl import latent_env
from tests.rl import fakes

_STEPS = fakes.TIME_LIMIT + 5


@pytest.fixture(scope='module', name='prior')
def _prior(tmp_path_factory):
  path = str(tmp_path_factory.mktemp('prior') / 'export')
  return export.load_prior(fakes.export_prior(path))


def _td3(env) -> tf_agent.TFAgent:
  observation, action = env.observation_spec(), env.action_spec()
  return td3_agent.Td3Agent(
      env.time_step_spec(), action,
      actor_network.ActorNetwork(observation, action, fc_layer_params=(8,)),
      critic_network.CriticNetwork(
          (observation, action), joint_fc_layer_params=(8,)
      ),
      tf.keras.optimizers.legacy.Adam(), tf.keras.optimizers.legacy.Adam(),
  )


def _ppo(env) -> tf_agent.TFAgent:
  observation, action = env.observation_spec(), env.action_spec()
  return ppo_clip_agent.PPOClipAgent(
      env.time_step_spec(), action, tf.keras.optimizers.legacy.Adam(),
      actor_distribution_network.ActorDistributionNetwork(
          observation, action, fc_layer_params=(8,)
      ),
      value_network.ValueNetwork(observation, fc_layer_params=(8,)),
      num_epochs=1,
  )


def _learn(env, make_agent) -> float:
  """Acts, learns once and returns the loss."""
  tf_env = tf_py_environment.TFPyEnvironment(env)
  agent = make_agent(tf_env)
  agent.initialize()
  time_step = tf_env.reset()
  state = agent.collect_policy.get_initial_state(1)
  taken = []
  for _ in range(_STEPS):
    chosen = agent.collect_policy.action(time_step, state)
    state, following = chosen.state, tf_env.step(chosen.action)
    taken.append(trajectory.from_transition(time_step, chosen, following))
    time_step = following
  experience = tf.nest.map_structure(
      lambda *values: tf.stack(values, axis=1), *taken
  )
  if make_agent is _td3:  # Learns from pairs of steps.
    experience = tf.nest.map_structure(lambda x: x[:, :2], experience)
  return float(agent.train(experience).loss)


@pytest.mark.parametrize('make_agent', [_td3, _ppo])
def test_another_agent_learns_in_the_latent_space(prior, make_agent):
  env = latent_env.LatentActionEnvironment(
      fakes.ReachEnv(goal_radius=0.0), prior, 0.3
  )
  # PPO's samples leave its action spec.
  loss = _learn(wrappers.ActionClipWrapper(env), make_agent)
  assert tf.math.is_finite(loss)
  assert env.steps == _STEPS - 1  # One began the second episode.


def test_an_agent_that_leaves_its_spec_is_told_what_to_do(prior):
  env = latent_env.LatentActionEnvironment(
      fakes.ReachEnv(goal_radius=0.0), prior, 0.01
  )
  with pytest.raises(errors.UserError, match='ActionClipWrapper'):
    _learn(env, _ppo)
