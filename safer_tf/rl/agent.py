"""Soft actor-critic for latent actions: TF-Agents' agent, our train step."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Optional, Sequence

import gin
import numpy as np
import tensorflow as tf
from tf_agents.agents import tf_agent
from tf_agents.agents.sac import sac_agent
from tf_agents.trajectories import time_step as ts

from safer_tf.common import errors
from safer_tf.prior import direct
from safer_tf.rl import networks

# Streams of random numbers; each is a function of (seed, stream, step).
_NEXT_ACTION, _ACTION, _ACT = 0, 1, 2


class Diagnostics(NamedTuple):
  """What one update reports, each a float32 scalar."""

  critic_loss: Any
  actor_loss: Any
  alpha_loss: Any
  alpha: Any
  q_mean: Any
  entropy: Any  # Of the unit box, in nats.


class LatentSacAgent(sac_agent.SacAgent):
  """SAC (Haarnoja et al. 2018) whose train step is built for two CPU cores.

  One encoder serves critics, their targets and the actor, and the critics' loss
  trains it, as in DrQ-v2 (Yarats et al. 2021). All gradients are taken at the
  same parameters, so that one forward pass of the encoder serves every loss and
  independent branches fill both cores. All random numbers are a function of
  (seed, train step), so that a resumed run repeats an uninterrupted one.

  Densities are those of the unit box [-1, 1]^A that the action spec is scaled
  from: neither the target entropy nor the entropy bonus depends on the latent
  bound.
  """

  def __init__(
      self,
      time_step_spec: ts.TimeStep,
      action_spec: Any,
      hidden_units: Sequence[int],
      actor_optimizer: Any,
      critic_optimizer: Any,
      alpha_optimizer: Any,
      target_entropy_per_dimension: float,
      seed: int = 0,
      **kwargs: Any,
  ):
    """Builds networks and agent.

    Args:
      time_step_spec: tensor specs of a time step; the observation is one
        image or one vector.
      action_spec: bounded spec of one action [A].
      hidden_units: sizes of the hidden layers of actor and critics.
      actor_optimizer: optimiser of the actor.
      critic_optimizer: optimiser of the critics and the shared encoder.
      alpha_optimizer: optimiser of the temperature.
      target_entropy_per_dimension: nats for each action dimension, in the
        unit box; log 2 = 0.69 is the uniform density, the most there is.
      seed: seed of all sampling in the train step.
      **kwargs: further arguments of `SacAgent`, e.g. `gamma`.
    """
    observation_spec = time_step_spec.observation
    self._size = int(action_spec.shape[0])
    self._centre, self._half_range = networks.box(action_spec)
    self._encoder = networks.make_encoder(observation_spec)
    features = self._encoder(
        tf.zeros((1, *observation_spec.shape), observation_spec.dtype)
    ).shape[-1]
    self._critics, self._targets = (
        [
            networks.Critic(features, self._size, hidden_units, f'{name}_{i}')
            for i in (1, 2)
        ] for name in ('critic', 'target_critic')
    )
    wrapped = [
        self._wrapped(critic, (observation_spec, action_spec))
        for critic in self._critics + self._targets
    ]
    actor = networks.Actor(
        observation_spec, action_spec, self._encoder, hidden_units
    )
    super().__init__(
        time_step_spec, action_spec, critic_network=wrapped[0],
        critic_network_2=wrapped[1], target_critic_network=wrapped[2],
        target_critic_network_2=wrapped[3], actor_network=actor,
        actor_optimizer=actor_optimizer, critic_optimizer=critic_optimizer,
        alpha_optimizer=alpha_optimizer,
        target_entropy=self._size * target_entropy_per_dimension, **kwargs,
    )
    self._seed = seed
    # XLA fuses the many small operations; convolutions it makes far slower.
    # `update` and `act` are called from Python at every step, with what fits.
    fused = not isinstance(self._encoder, networks.ImageEncoder)
    observation, action, number = (
        tf.TensorSpec([None, *observation_spec.shape], observation_spec.dtype),
        tf.TensorSpec([None, self._size]), tf.TensorSpec([None]),
    )
    self.update = direct.by_batch_size(
        self._update, (observation, action, number, number, observation), fused
    )
    self.act = direct.by_batch_size(
        self._act, (observation, tf.TensorSpec([], tf.int64)), fused
    )
    self._update_traced = tf.function(self._update, jit_compile=fused)

  def _wrapped(
      self, critic: networks.Critic, spec: Any
  ) -> networks.CriticNetwork:
    """A critic as SacAgent's own losses call it."""

    def value(observation, action):
      projected = critic.project(self._encoder(observation))
      return critic.value(projected, self._unit(action))

    return networks.CriticNetwork(spec, value, critic, critic.name)

  def _unit(self, action: tf.Tensor) -> tf.Tensor:
    """Actions with the spec's box as [-1, 1]."""
    return (action - self._centre) / self._half_range

  def _act(self, observation: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """Actions of the collect policy, random as a function of (seed, step).

    Args:
      observation: [B, ...].
      step: int64 scalar, the environment step.

    Returns:
      float32 [B, A] inside the action spec.
    """
    features = self._encoder(observation)
    noise = self._noise(observation, _ACT, step)
    unit, _ = self._actor_network.sample(features, noise)
    return self._centre + self._half_range * unit

  def _train(
      self, experience: Any, weights: Optional[Any] = None
  ) -> tf_agent.LossInfo:
    """One update from a TF-Agents trajectory [B, 2, ...] or transition [B]."""
    if weights is not None:
      raise NotImplementedError('LatentSacAgent weighs all examples the same.')
    transition = self._as_transition(experience)
    after = transition.next_time_step
    report = Diagnostics(*tf.unstack(self._update_traced(
        transition.time_step.observation, transition.action_step.action,
        after.reward, after.discount, after.observation,
    )))
    losses = (report.critic_loss, report.actor_loss, report.alpha_loss)
    total = tf.debugging.check_numerics(
        tf.add_n(losses), 'A loss of LatentSacAgent is inf or nan.'
    )
    return tf_agent.LossInfo(total, sac_agent.SacLossInfo(*losses))

  def _update(
      self,
      observation: tf.Tensor,
      action: tf.Tensor,
      reward: tf.Tensor,
      discount: tf.Tensor,
      next_observation: tf.Tensor,
  ) -> tf.Tensor:
    """One update from a batch of transitions; `update` is the fast call of it.

    Args:
      observation: [B, ...].
      action: float32 [B, A] in the action spec's units.
      reward: float32 [B].
      discount: float32 [B]; 0 where the episode truly ended.
      next_observation: [B, ...].

    Returns:
      The values of `Diagnostics` before the update, in one float32 vector.
    """
    step = self.train_step_counter
    alpha = tf.exp(self._log_alpha)
    targets = self._td_targets(
        reward, discount, next_observation, alpha,
        self._noise(reward, _NEXT_ACTION, step),
    )
    critic_variables = self._critic_variables()
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(critic_variables)
      features = self._encoder(observation)
      projected = [critic.project(features) for critic in self._critics]
      values = _values(self._critics, projected, self._unit(action))
      critic_loss = self._critic_loss_weight * tf.reduce_mean(
          tf.reduce_sum(self._td_errors_loss_fn(targets, values), axis=0)
      )
    critic_gradients = tape.gradient(critic_loss, critic_variables)

    actor_variables = self._actor_network.policy_variables()
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch(actor_variables)
      chosen, log_prob = self._actor_network.sample(
          features, self._noise(reward, _ACTION, step)
      )
      value = tf.reduce_min(
          _values(self._critics, projected, chosen), axis=0
      )
      actor_loss = self._actor_loss_weight * tf.reduce_mean(
          alpha * log_prob - value
      )
    actor_gradients = tape.gradient(actor_loss, actor_variables)

    # d loss / d log alpha of log_alpha * (entropy - target), SacAgent's form.
    entropy = -tf.reduce_mean(log_prob)
    alpha_gradient = self._alpha_loss_weight * (entropy - self._target_entropy)
    alpha_loss = self._log_alpha * alpha_gradient

    self._apply_gradients(
        critic_gradients, critic_variables, self._critic_optimizer
    )
    self._apply_gradients(
        actor_gradients, actor_variables, self._actor_optimizer
    )
    self._apply_gradients(
        [alpha_gradient], [self._log_alpha], self._alpha_optimizer
    )
    step.assign_add(1)
    self._update_target()
    return tf.stack(Diagnostics(
        critic_loss, actor_loss, alpha_loss, alpha, tf.reduce_mean(values),
        entropy,
    ))

  def _td_targets(
      self, reward, discount, next_observation, alpha, noise
  ) -> tf.Tensor:
    """Soft Bellman targets [B]; the smaller of the two target critics."""
    features = self._encoder(next_observation)
    action, log_prob = self._actor_network.sample(features, noise)
    projected = [critic.project(features) for critic in self._targets]
    values = _values(self._targets, projected, action)
    soft_value = tf.reduce_min(values, axis=0) - alpha * log_prob
    return self._reward_scale_factor * reward + (
        self._gamma * discount * soft_value
    )

  def _critic_variables(self) -> list[tf.Variable]:
    """What the critics' loss trains: both critics and the encoder."""
    found = list(self._encoder.trainable_variables)
    for critic in self._critics:
      found += critic.trainable_variables
    return found

  def _noise(self, like: tf.Tensor, stream: int, step: Any) -> tf.Tensor:
    """Standard normal numbers [B, A] for a tensor [B, ...]."""
    key = tf.stack([
        tf.constant(self._seed * 3 + stream, tf.int64), tf.cast(step, tf.int64)
    ])
    return tf.random.stateless_normal((tf.shape(like)[0], self._size), key)

  def _actions_and_log_probs(self, time_steps, training=False):
    """As in `SacAgent`, with densities of the unit box."""
    actions, log_prob = super()._actions_and_log_probs(time_steps, training)
    return actions, log_prob + np.log(self._half_range).sum()


def _values(
    critics: Sequence[networks.Critic],
    projected: Sequence[tf.Tensor],
    action: tf.Tensor,
) -> tf.Tensor:
  """Values [2, B] of two critics."""
  # Two plain products, not a batched one: only those spread over the cores.
  return tf.stack([
      critic.value(features, action)
      for critic, features in zip(critics, projected)
  ])


@gin.configurable
def make_agent(
    time_step_spec: ts.TimeStep,
    action_spec: Any,
    seed: int,
    hidden_units: Sequence[int] = (128, 128),
    actor_learning_rate: float = 1e-3,
    critic_learning_rate: float = 1e-3,
    alpha_learning_rate: float = 3e-4,
    initial_alpha: float = 0.1,
    target_entropy_per_dimension: float = 0.0,
    gamma: float = 0.95,
    target_update_tau: float = 0.02,
    target_update_period: int = 1,
) -> LatentSacAgent:
  """Builds the agent from gin's values.

  Args:
    time_step_spec: tensor specs of a time step.
    action_spec: bounded tensor spec of one action [A].
    seed: seed of the weights and of all sampling in the train step.
    hidden_units: sizes of the hidden layers of actor and critics.
    actor_learning_rate: Adam's, of the actor.
    critic_learning_rate: Adam's, of the critics and the shared encoder.
    alpha_learning_rate: Adam's, of the log temperature.
    initial_alpha: temperature at the start.
    target_entropy_per_dimension: nats for each dimension, in the unit box.
    gamma: discount factor of a step.
    target_update_tau: share of the critics that enters their targets.
    target_update_period: updates between two updates of the targets.

  Returns:
    An initialised agent.

  Raises:
    UserError: there is no hidden layer, or one without units, or a number is
      out of its range.
  """
  errors.require_sizes('make_agent', hidden_units=hidden_units)
  for name, value in (
      ('actor_learning_rate', actor_learning_rate),
      ('critic_learning_rate', critic_learning_rate),
      ('alpha_learning_rate', alpha_learning_rate),
  ):
    if not 0 <= value < math.inf:
      raise errors.UserError(
          f'make_agent.{name} is {value!r}: expected 0 or more.'
      )
  for name, value, highest in (
      ('initial_alpha', initial_alpha, math.inf), ('gamma', gamma, 1),
      ('target_update_tau', target_update_tau, 1),
      ('target_update_period', target_update_period, math.inf),
  ):
    if not 0 < value <= highest:
      raise errors.UserError(
          f'make_agent.{name} is {value!r}: expected a number above 0'
          + ('.' if math.isinf(highest) else f' and at most {highest}.')
      )
  if not -math.inf < target_entropy_per_dimension < networks.LOG_2:
    raise errors.UserError(
        'make_agent.target_entropy_per_dimension is '
        f'{target_entropy_per_dimension!r}: expected less than log 2 = 0.69, '
        'which the uniform density has: it would be missed for ever.'
    )
  tf.keras.utils.set_random_seed(seed)
  adam = tf.keras.optimizers.legacy.Adam
  agent = LatentSacAgent(
      time_step_spec, action_spec, hidden_units=hidden_units,
      actor_optimizer=adam(actor_learning_rate),
      critic_optimizer=adam(critic_learning_rate),
      alpha_optimizer=adam(alpha_learning_rate),
      target_entropy_per_dimension=target_entropy_per_dimension, seed=seed,
      initial_log_alpha=float(tf.math.log(initial_alpha)), gamma=gamma,
      target_update_tau=target_update_tau,
      target_update_period=target_update_period,
      train_step_counter=tf.Variable(0, trainable=False, dtype=tf.int64),
  )
  agent.initialize()
  return agent
