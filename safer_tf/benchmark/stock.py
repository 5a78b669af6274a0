"""The plain agent: TF-Agents' SacAgent, an image encoder for each network.

Layers' sizes and hyper-parameters are ours; the agent, its losses, its targets
and its train step are TF-Agents' own.
"""

from __future__ import annotations

import inspect
from typing import Any

import gin
import numpy as np
import tensorflow as tf
from tf_agents.agents.sac import sac_agent
from tf_agents.agents.sac import tanh_normal_projection_network
from tf_agents.networks import network
from tf_agents.trajectories import policy_step
from tf_agents.trajectories import time_step as ts
from tf_agents.trajectories import trajectory
from tf_agents.utils import common

from safer_tf.rl import agent as sac
from safer_tf.rl import networks

# Asked for now: the comparison of learning puts another in its place.
_PARAMETERS = tuple(inspect.signature(sac.make_agent).parameters.values())


class _Critic(network.Network):
  """A critic with an encoder of its own."""

  def __init__(self, input_tensor_spec, hidden_units, name='StockCritic'):
    super().__init__(input_tensor_spec, state_spec=(), name=name)
    observation, _ = input_tensor_spec
    self._encoder = networks.make_encoder(observation)
    # LayerNorm as in our critics, its floor of the variance included.
    self._trunk = [
        layer for units in hidden_units for layer in (
            tf.keras.layers.Dense(units, use_bias=False),
            tf.keras.layers.LayerNormalization(
                epsilon=networks.VARIANCE_FLOOR
            ),
            tf.keras.layers.ReLU(),
        )
    ] + [tf.keras.layers.Dense(1)]

  def call(self, inputs, step_type=(), network_state=(), training=False):
    del step_type, training
    observation, action = inputs
    hidden = tf.concat([self._encoder(observation), action], axis=-1)
    for layer in self._trunk:
      hidden = layer(hidden)
    return hidden[:, 0], network_state


class _Actor(network.Network):
  """An actor whose encoder is its own and trained by its own loss."""

  def __init__(
      self, input_tensor_spec, action_spec, hidden_units, name='StockActor'
  ):
    super().__init__(input_tensor_spec, state_spec=(), name=name)
    self._trunk = [networks.make_encoder(input_tensor_spec)] + [
        tf.keras.layers.Dense(units, activation='relu')
        for units in hidden_units
    ]
    self._projection = (
        tanh_normal_projection_network.TanhNormalProjectionNetwork(
            action_spec, std_transform=sac_agent.std_clip_transform
        )
    )

  def call(self, observation, step_type=(), network_state=(), training=False):
    del step_type, training
    for layer in self._trunk:
      observation = layer(observation)
    return self._projection(observation, outer_rank=1)[0], network_state


class StockAgent(sac_agent.SacAgent):
  """TF-Agents' SacAgent with the two methods that our training loop calls."""

  train_once: Any  # Its `train`, traced.
  _choose: Any  # Its collect policy, traced.

  def update(self, *batch: Any) -> tf.Tensor:
    """One stock train step; arguments and result as `LatentSacAgent.update`."""
    info = self.train_once(as_transition(*batch))
    extra = info.extra
    return tf.stack(sac.Diagnostics(
        extra.critic_loss, extra.actor_loss, extra.alpha_loss,
        tf.exp(self._log_alpha), tf.constant(0.0), tf.constant(0.0),
    ))

  def act(self, observation: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """Actions of the stock collect policy; `step` is of no use to it."""
    del step
    return self._choose(observation)

  def prepare(self) -> None:
    """Traces what is called in every step."""
    self.train_once = common.function(self.train)
    self._choose = tf.function(
        lambda observation: self.collect_policy.action(
            ts.restart(observation, batch_size=1)
        ).action
    )


def as_transition(
    observation: Any, action: Any, reward: Any, discount: Any,
    next_observation: Any,
) -> trajectory.Transition:
  """A batch of `replay.Batch` as TF-Agents' own agents take it."""
  zero, one = tf.zeros_like(reward), tf.ones_like(reward)
  middle = tf.fill(tf.shape(reward), ts.StepType.MID)
  return trajectory.Transition(
      ts.TimeStep(middle, zero, one, tf.convert_to_tensor(observation)),
      policy_step.PolicyStep(tf.convert_to_tensor(action), (), ()),
      ts.TimeStep(
          middle, tf.convert_to_tensor(reward), tf.convert_to_tensor(discount),
          tf.convert_to_tensor(next_observation),
      ),
  )


def make_agent(
    time_step_spec: ts.TimeStep, action_spec: Any, seed: int
) -> StockAgent:
  """The plain counterpart of `safer_tf.rl.agent.make_agent`.

  Args:
    time_step_spec: tensor specs of a time step.
    action_spec: bounded tensor spec of one action [A].
    seed: of the weights.

  Returns:
    An initialised agent with the hyper-parameters that ours would have.
  """
  tf.keras.utils.set_random_seed(seed)
  observation, given = time_step_spec.observation, hyper_parameters()
  _, half_range = networks.box(action_spec)
  adam = tf.keras.optimizers.legacy.Adam
  hidden_units = given['hidden_units']
  agent = StockAgent(
      time_step_spec, action_spec,
      critic_network=_Critic((observation, action_spec), hidden_units),
      actor_network=_Actor(observation, action_spec, hidden_units),
      actor_optimizer=adam(given['actor_learning_rate']),
      critic_optimizer=adam(given['critic_learning_rate']),
      alpha_optimizer=adam(given['alpha_learning_rate']),
      gamma=given['gamma'], target_update_tau=given['target_update_tau'],
      target_update_period=given['target_update_period'],
      # Stock densities are of the spec's box, ours of the unit box.
      target_entropy=float(
          np.sum(given['target_entropy_per_dimension'] + np.log(half_range))
      ),
      initial_log_alpha=float(np.log(given['initial_alpha'])),
      train_step_counter=tf.Variable(0, trainable=False, dtype=tf.int64),
  )
  agent.initialize()
  agent.prepare()
  return agent


def hyper_parameters() -> dict[str, Any]:
  """Those of our agent: gin's values, else the defaults."""
  defaults = {
      each.name: each.default for each in _PARAMETERS
      if each.default is not each.empty
  }
  return {**defaults, **gin.get_bindings('make_agent')}
