from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from safer_tf.prior import flow


def _flow(
    action_dim=6, condition_dim=5, num_couplings=4, spread=0.4, limit=None
):
  """A flow far from the identity: every variable drawn anew."""
  tf.keras.utils.set_random_seed(1)
  model = flow.ConditionalRealNVP(
      action_dim, condition_dim, num_couplings, hidden=(16, 16),
      action_limit=limit,
  )
  for variable in model.trainable_variables:
    variable.assign(tf.random.normal(variable.shape, stddev=spread))
  return model


def _normal(*shape):
  return tf.random.stateless_normal(shape, seed=[3, len(shape)])


@pytest.mark.parametrize('action_dim', [2, 5, 6])
@pytest.mark.parametrize('num_couplings', [3, 4])
def test_round_trip_past_the_cache(action_dim, num_couplings):
  model = _flow(action_dim, num_couplings=num_couplings)
  latent, condition = _normal(20, action_dim), _normal(20, 5)
  action = model.forward(latent, condition)
  # A copy is a tensor that the bijectors' caches have not seen.
  copy = tf.constant(action.numpy())
  np.testing.assert_allclose(
      model.inverse(copy, condition), latent, rtol=1e-3, atol=1e-4
  )
  assert not np.allclose(action, latent, atol=0.1)


def test_log_det_jacobian_equals_autodiff():
  model = _flow()
  action, condition = _normal(8, 6), _normal(8, 5)
  with tf.GradientTape() as tape:
    tape.watch(action)
    latent = model.inverse(action, condition)
  jacobian = tape.batch_jacobian(latent, action)
  expected = np.linalg.slogdet(jacobian.numpy())[1]
  np.testing.assert_allclose(
      model.inverse_log_det_jacobian(tf.constant(action.numpy()), condition),
      expected, rtol=1e-3, atol=1e-3,
  )


def test_every_action_depends_on_every_latent():
  model = _flow()
  latent, condition = _normal(8, 6), _normal(8, 5)
  with tf.GradientTape() as tape:
    tape.watch(latent)
    action = model.forward(latent, condition)
  jacobian = tape.batch_jacobian(action, latent).numpy()
  assert (np.abs(jacobian).max(axis=0) > 0).all()


@pytest.mark.parametrize('size', [4, 5, 6])
def test_halves_are_drawn_anew_from_pair_to_pair(size):
  """With conditioners that do nothing, what is left is the permutation."""
  model = _flow(size, num_couplings=4, spread=0.0)
  moved = model.forward(tf.range(float(size))[tf.newaxis], _normal(1, 5))
  places = np.round(moved[0]).astype(int).tolist()
  assert sorted(places) == list(range(size))
  first = set(range(size // 2))
  for half in (places[:size // 2], places[-(size // 2):]):
    assert set(half) != first


def test_each_coupling_uses_the_condition():
  model = _flow()
  latent, condition = _normal(4, 6), _normal(4, 5)
  for coupling in range(4):
    before = model.forward(latent, condition)
    kernel, bias = model._condition.variables
    changed = kernel.numpy()
    changed[:, 16 * coupling:16 * (coupling + 1)] += 1
    kernel.assign(changed)
    assert np.abs(model.forward(latent, condition) - before).max() > 1e-3
    del bias


def test_condition_changes_each_example_alone():
  model = _flow()
  latent, condition = _normal(4, 6), _normal(4, 5)
  changed = tf.tensor_scatter_nd_add(condition, [[1, 0]], [1.0])
  difference = np.abs(
      model.forward(latent, changed) - model.forward(latent, condition)
  ).max(axis=1)
  assert difference[1] > 1e-3
  np.testing.assert_allclose(np.delete(difference, 1), 0, atol=1e-6)


def test_density_integrates_to_one():
  model = _flow(action_dim=2, spread=0.3)
  side = np.linspace(-30, 30, 1201, dtype=np.float32)
  points = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
  condition = tf.repeat(_normal(1, 5) * 0.3, len(points), axis=0)
  density = np.exp(model.log_prob(tf.constant(points), condition))
  assert density.sum() * (side[1] - side[0]) ** 2 == pytest.approx(1, abs=0.01)


def test_log_prob_agrees_with_samples():
  # Entropy by density at samples equals entropy of z plus the log-Jacobian.
  model = _flow()
  latent, condition = _normal(200, 6), _normal(200, 5)
  action = model.forward(latent, condition)
  expected = flow.unit_normal_log_prob(latent) + (
      model.inverse_log_det_jacobian(action, condition)
  )
  np.testing.assert_allclose(
      model.log_prob(tf.constant(action.numpy()), condition), expected,
      rtol=1e-3, atol=1e-2,
  )


def test_starts_near_the_identity():
  model = flow.ConditionalRealNVP(6, 5)
  latent = _normal(50, 6)
  action = np.sort(np.abs(model.forward(latent, _normal(50, 5))), axis=1)
  np.testing.assert_allclose(action, np.sort(np.abs(latent), axis=1), atol=0.5)


def test_a_limit_holds_all_density():
  model = _flow(action_dim=2, spread=0.1, limit=1.01)
  axis = np.linspace(-1.01, 1.01, 1601)[1:-1].astype(np.float32)
  grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
  condition = np.tile(_normal(1, 5), [len(grid), 1])
  density = np.exp(model.log_prob(tf.constant(grid), condition))
  assert density.sum() * (axis[1] - axis[0])**2 == pytest.approx(1, abs=0.02)
  action = model.forward(10 * _normal(50, 2), _normal(50, 5))
  assert np.abs(action).max() <= 1.01


def test_a_limit_keeps_the_round_trip_and_answers_for_any_action():
  model = _flow(limit=1.01, spread=0.1)
  latent, condition = _normal(20, 6), _normal(20, 5)
  action = tf.constant(model.forward(latent, condition).numpy())
  np.testing.assert_allclose(
      model.inverse(action, condition), latent, rtol=1e-2, atol=1e-2
  )
  for outside in (1.0, 1.5, -3.0):
    beyond = tf.fill([20, 6], outside)
    assert np.isfinite(model.inverse(beyond, condition)).all()
    assert np.isfinite(model.log_prob(beyond, condition)).all()
