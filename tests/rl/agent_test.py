"""The agent: its losses, its gradients, what it shares with SacAgent."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.agents.sac import sac_agent
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import policy_step
from tf_agents.trajectories import time_step as ts
from tf_agents.trajectories import trajectory

from safer_tf.rl import agent as sac

BATCH = 16
BOUND = 0.7
VECTOR = tensor_spec.TensorSpec((5,), tf.float32)
IMAGE = tensor_spec.BoundedTensorSpec((8, 8, 3), tf.uint8, 0, 255)


def _make(observation_spec=VECTOR, bound=BOUND, size=3, **kwargs):
  kwargs.setdefault('hidden_units', (24, 16))
  return sac.make_agent(
      ts.time_step_spec(observation_spec),
      tensor_spec.BoundedTensorSpec((size,), tf.float32, -bound, bound),
      seed=3, **kwargs,
  )


def _batch(observation_spec=VECTOR, bound=BOUND, size=3, seed=0):
  random = np.random.default_rng(seed)

  def observations():
    shape = (BATCH, *observation_spec.shape)
    if observation_spec.dtype == tf.uint8:
      return tf.constant(random.integers(0, 256, shape), tf.uint8)
    return tf.constant(random.normal(size=shape), tf.float32)

  def floats(low, high, *shape):
    return tf.constant(random.uniform(low, high, shape), tf.float32)

  discount = tf.constant(random.random(BATCH) < 0.8, tf.float32)
  return (
      observations(), floats(-bound, bound, BATCH, size),
      floats(-1, 1, BATCH), discount, observations(),
  )


def _transition(batch):
  observation, action, reward, discount, next_observation = batch
  middle = tf.fill([BATCH], ts.StepType.MID)
  ones = tf.ones(BATCH)
  return trajectory.Transition(
      ts.TimeStep(middle, ones, ones, observation),
      policy_step.PolicyStep(action, (), ()),
      ts.TimeStep(middle, reward, discount, next_observation),
  )


def _values(network):
  return [variable.numpy() for variable in network.variables]


@pytest.mark.parametrize('spec', [VECTOR, IMAGE])
def test_losses_are_those_of_sac_agent(spec):
  """With hardly any noise in the actions both must agree."""
  agent = _make(spec, bound=0.1, initial_alpha=1e-3)
  bias = agent._actor_network.variables[-1]
  bias.assign(tf.constant([0.3, -0.2, 0.1, -9.0, -9.0, -9.0]))
  batch = _batch(spec, bound=0.1)
  # Inherited: three separate networks each, one call a loss.
  expected = agent.loss(_transition(batch)).extra
  report = sac.Diagnostics(*agent.update(*batch).numpy())
  # Log-densities still vary by a few nats; alpha makes little of them.
  for name in ('critic_loss', 'actor_loss'):
    assert getattr(report, name) == pytest.approx(
        float(getattr(expected, name)), rel=2e-3, abs=2e-3
    )
  # In nats, by noise alone; the box's volume would make a difference of 7.
  entropies = [
      float(loss) / np.log(1e-3) for loss in (
          report.alpha_loss, expected.alpha_loss
      )
  ]
  assert abs(entropies[0] - entropies[1]) < 2


def test_update_equals_a_plain_numpy_computation():
  agent = _make(
      initial_alpha=0.5, gamma=0.9, target_entropy_per_dimension=0.4
  )
  observation, action, reward, discount, after = _batch()
  # As later in training, when they lag behind: at first they are the same.
  random = np.random.default_rng(1)
  targets = (agent._target_critic_network_1, agent._target_critic_network_2)
  for network in targets:
    for variable in network.variables:
      variable.assign_add(random.normal(0, 0.1, variable.shape))
  # Compiled, as XLA and TensorFlow draw different normal numbers.
  noise_of = tf.function(agent._noise, jit_compile=True)
  noises = [
      noise_of(reward, stream, agent.train_step_counter).numpy()
      for stream in (sac._NEXT_ACTION, sac._ACTION)
  ]
  actions, log_probs = [], []
  for inputs, noise in ((after, noises[0]), (observation, noises[1])):
    distribution = agent._actor_network(inputs)[0]
    raw = distribution.input_distribution
    chosen = BOUND * np.tanh(raw.mean() + raw.stddev() * noise)
    actions.append(tf.constant(chosen, tf.float32))
    # TF-Agents' density is that of the box; the volume makes it the unit's.
    log_probs.append(
        distribution.log_prob(actions[-1]).numpy() + 3 * np.log(BOUND)
    )

  def q(networks, observation, action):
    return np.stack([n((observation, action))[0] for n in networks])

  critics = (agent._critic_network_1, agent._critic_network_2)
  target = reward + 0.9 * discount * (
      q(targets, after, actions[0]).min(0) - 0.5 * log_probs[0]
  )
  values = q(critics, observation, action)
  critic_loss = 0.5 * np.mean((values - target) ** 2, axis=1).sum()
  actor_loss = np.mean(
      0.5 * log_probs[1] - q(critics, observation, actions[1]).min(0)
  )
  report = sac.Diagnostics(
      *agent.update(observation, action, reward, discount, after).numpy()
  )
  assert report.critic_loss == pytest.approx(critic_loss, rel=1e-4)
  assert report.actor_loss == pytest.approx(actor_loss, rel=1e-3)
  assert report.entropy == pytest.approx(-log_probs[1].mean(), rel=1e-3)
  assert report.alpha == pytest.approx(0.5)
  assert report.q_mean == pytest.approx(values.mean(), rel=1e-4)
  assert report.alpha_loss == pytest.approx(
      np.log(0.5) * (-log_probs[1].mean() - 3 * 0.4), rel=1e-3
  )


def test_one_update_reaches_every_trainable_variable():
  agent = _make(IMAGE)
  networks = {
      'critic 1': agent._critics[0], 'critic 2': agent._critics[1],
      'target 1': agent._targets[0], 'target 2': agent._targets[1],
      'actor': agent._actor_network,  # With the shared encoder.
  }
  before = {name: _values(network) for name, network in networks.items()}
  log_alpha = float(agent._log_alpha)
  agent.update(*_batch(IMAGE))
  for name, network in networks.items():
    for old, variable in zip(before[name], network.variables):
      assert not np.array_equal(old, variable.numpy()), (name, variable.name)
  assert float(agent._log_alpha) != log_alpha


def test_actor_loss_leaves_the_encoder_alone():
  agent = _make(IMAGE, critic_learning_rate=0.0)
  encoder = agent._encoder
  before = _values(encoder)
  agent.update(*_batch(IMAGE))
  for old, new in zip(before, _values(encoder)):
    np.testing.assert_array_equal(old, new)
  with tf.GradientTape() as tape:
    mode = agent._actor_network(_batch(IMAGE)[0])[0].mode()
  assert tape.gradient(mode, encoder.trainable_variables) == [None] * len(
      encoder.trainable_variables
  )
  shared = {id(v) for v in encoder.variables}
  assert shared <= {id(v) for v in agent._actor_network.variables}


def test_critics_start_apart_and_targets_as_their_critics():
  agent = _make()
  observation, action, *_ = _batch()
  first, second, *targets = (
      network((observation, action))[0].numpy() for network in (
          agent._critic_network_1, agent._critic_network_2,
          agent._target_critic_network_1, agent._target_critic_network_2,
      )
  )
  assert np.abs(first - second).min() > 1e-4
  np.testing.assert_array_equal(targets, [first, second])


def test_target_follows_by_tau_and_period():
  agent = _make(target_update_tau=0.25, target_update_period=2)
  online, target = agent._critics[1], agent._targets[1]
  start = _values(target)
  agent.update(*_batch())
  for old, new in zip(start, _values(target)):
    np.testing.assert_array_equal(old, new)
  agent.update(*_batch())
  for old, now, new in zip(start, _values(online), _values(target)):
    np.testing.assert_allclose(new, 0.75 * old + 0.25 * now, atol=1e-6)


def test_nothing_depends_on_the_bound():
  reports = []
  for bound in (0.1, 3.0):
    agent = _make(bound=bound)
    observation, action, *rest = _batch(bound=1.0)
    for _ in range(3):
      report = agent.update(observation, bound * action, *rest).numpy()
    reports.append(report)
  np.testing.assert_allclose(reports[0], reports[1], rtol=1e-3, atol=1e-4)


def test_train_is_update_and_takes_trajectories():
  batch = _batch()
  fast, standard = _make(), _make()
  pairs = trajectory.Trajectory(
      step_type=tf.fill([BATCH, 2], ts.StepType.MID),
      observation=tf.stack([batch[0], batch[4]], axis=1),
      action=tf.stack([batch[1]] * 2, axis=1), policy_info=(),
      next_step_type=tf.fill([BATCH, 2], ts.StepType.MID),
      reward=tf.stack([batch[2]] * 2, axis=1),
      discount=tf.stack([batch[3]] * 2, axis=1),
  )
  report = fast.update(*batch).numpy()
  assert isinstance(standard, sac_agent.SacAgent)
  info = standard.train(pairs)
  assert float(info.extra.critic_loss) == pytest.approx(report[0], rel=1e-5)
  assert int(standard.train_step_counter) == 1
  for a, b in zip(fast._critics, standard._critics):
    np.testing.assert_allclose(
        _values(a)[0], _values(b)[0], atol=1e-6
    )


def test_train_stops_at_a_loss_that_is_not_finite():
  agent = _make()
  observation, action, reward, discount, after = _batch()
  batch = (observation, action, reward * np.nan, discount, after)
  with pytest.raises(tf.errors.InvalidArgumentError, match='inf or nan'):
    agent.train(_transition(batch))


def test_act_is_a_function_of_seed_and_step_and_has_the_policys_law():
  agent = _make()
  observation = tf.repeat(_batch()[0][:1], 4000, axis=0)
  actions = agent.act(observation, tf.constant(7, tf.int64)).numpy()
  again = agent.act(observation, tf.constant(7, tf.int64)).numpy()
  other = agent.act(observation, tf.constant(8, tf.int64)).numpy()
  np.testing.assert_array_equal(actions, again)
  assert np.abs(actions - other).max() > 0.01
  assert np.abs(actions).max() <= BOUND
  time_step = ts.restart(observation, batch_size=4000)
  drawn = agent.collect_policy.action(time_step, seed=1).action.numpy()
  np.testing.assert_allclose(actions.mean(0), drawn.mean(0), atol=0.03)
  np.testing.assert_allclose(actions.std(0), drawn.std(0), atol=0.03)


def test_solves_a_one_step_task():
  """Reward is the distance to a point that the observation names."""
  agent = _make(
      tensor_spec.TensorSpec((2,), tf.float32), bound=0.5, size=2,
      hidden_units=(64, 64), actor_learning_rate=1e-3,
      critic_learning_rate=1e-3, target_entropy_per_dimension=-1.0,
  )
  random = np.random.default_rng(0)
  for _ in range(1000):
    observation = random.uniform(-0.4, 0.4, (64, 2)).astype(np.float32)
    action = random.uniform(-0.5, 0.5, (64, 2)).astype(np.float32)
    reward = -np.square(10 * (action - observation)).sum(1)
    agent.update(
        observation, action, reward, np.zeros(64, np.float32), observation
    )
  observation = tf.constant(random.uniform(-0.4, 0.4, (100, 2)), tf.float32)
  mode = agent.policy.distribution(
      ts.restart(observation, batch_size=100)
  ).action.mode()
  assert np.abs(mode - observation).mean() < 0.05
