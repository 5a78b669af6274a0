from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from safer_tf.prior import objective

tfd = tfp.distributions


def _terms(log_prob, **changes):
  """Two safe tuples, two unsafe, one that is neither."""
  arguments = {
      'kl': tf.constant([1.0, 3.0, 5.0, 7.0, 100.0]),
      'safe': tf.constant([1.0, 1.0, 0.0, 0.0, 0.0]),
      'unsafe': tf.constant([0.0, 0.0, 1.0, 1.0, 0.0]),
      'unsafe_weight': 0.1, 'kl_weight': 1.0, 'unsafe_floor': -20.0,
      'freeze_below': -1000.0,
      **changes,
  }
  return objective.safer_objective(
      tf.convert_to_tensor(log_prob), **arguments
  )


def test_equals_a_hand_computed_value():
  terms = _terms([2.0, 4.0, -1.0, -3.0, 50.0], kl_weight=0.5)
  # -(3 - 0.1 * (-2) - 0.5 * (2 + 6))
  assert terms.loss.numpy() == pytest.approx(0.8)
  assert terms.safe_log_prob.numpy() == pytest.approx(3)
  assert terms.unsafe_log_prob.numpy() == pytest.approx(-2)
  assert terms.safe_kl.numpy() == pytest.approx(2)
  assert terms.unsafe_kl.numpy() == pytest.approx(6)


def _gradient(log_prob, **changes):
  log_prob = tf.constant(log_prob)
  with tf.GradientTape() as tape:
    tape.watch(log_prob)
    loss = _terms(log_prob, **changes).loss
  return tape.gradient(loss, log_prob).numpy()


def test_gradient_raises_safe_and_lowers_unsafe():
  np.testing.assert_allclose(
      _gradient([2.0, 4.0, -1.0, -3.0, 50.0]), [-0.5, -0.5, 0.05, 0.05, 0]
  )


def test_an_unsafe_tuple_below_the_floor_is_left_alone():
  np.testing.assert_allclose(
      _gradient([2.0, 4.0, -1.0, -30.0, 50.0]), [-0.5, -0.5, 0.05, 0, 0]
  )
  terms = _terms([2.0, 4.0, -1.0, -30.0, 50.0])
  assert terms.unsafe_floored.numpy() == pytest.approx(0.5)
  assert terms.unsafe_log_prob.numpy() == pytest.approx(-15.5)


def test_a_diverging_unsafe_term_is_frozen_and_the_safe_term_is_not():
  diverging = [2.0, 4.0, -1.0, -5000.0, 50.0]
  assert _terms(diverging).unsafe_frozen.numpy() == 1
  np.testing.assert_allclose(_gradient(diverging), [-0.5, -0.5, 0, 0, 0])
  recovered = [2.0, 4.0, -1.0, -500.0, 50.0]
  assert _terms(recovered).unsafe_frozen.numpy() == 0


def test_a_batch_without_unsafe_tuples_is_finite():
  terms = _terms([2.0, 4.0, -1.0, -3.0, 50.0], unsafe=tf.zeros([5]))
  assert terms.loss.numpy() == pytest.approx(-(3 - 2))


def test_a_value_that_is_not_finite_shows_in_the_loss():
  assert math.isnan(_terms([2.0, math.nan, -1.0, -3.0, 50.0]).loss)


def test_kl_equals_tfp():
  random = np.random.default_rng(0)
  mean = random.normal(size=[4, 3]).astype('f')
  stddev = random.uniform(0.1, 2, size=[4, 3]).astype('f')
  expected = tfd.MultivariateNormalDiag(mean, stddev).kl_divergence(
      tfd.MultivariateNormalDiag(tf.zeros(3), tf.ones(3))
  )
  np.testing.assert_allclose(
      objective.kl_to_prior(mean, stddev), expected, rtol=1e-5
  )


def test_the_floor_is_as_far_below_the_uniform_density_for_any_action():
  assert objective.default_unsafe_floor(6) == -8.0
  for size in (2, 14):
    uniform = tfd.Independent(tfd.Uniform([-1.0] * size, 1.0), 1)
    depth = uniform.log_prob(tf.zeros(size)).numpy() - (
        objective.default_unsafe_floor(size)
    )
    assert depth == pytest.approx(3.84, abs=0.01)
