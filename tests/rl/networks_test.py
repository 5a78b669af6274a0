"""Layers against plain computations."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from tf_agents.specs import tensor_spec

from safer_tf.rl import networks


def test_norm_relu_and_its_gradient_equal_keras():
  random = np.random.default_rng(0)
  inputs, gain, bias = (
      tf.Variable(random.normal(size=shape), dtype=tf.float32)
      for shape in ((5, 8), (8,), (8,))
  )
  upstream = tf.constant(random.normal(size=(5, 8)), tf.float32)
  layer = tf.keras.layers.LayerNormalization(epsilon=1e-5)
  layer.build((None, 8))
  layer.set_weights([gain.numpy(), bias.numpy()])
  with tf.GradientTape(persistent=True) as tape:
    ours = networks.norm_relu(inputs, gain, bias)
    theirs = tf.nn.relu(layer(inputs))
  np.testing.assert_allclose(ours, theirs, atol=1e-5)
  for found, expected in zip(
      tape.gradient(ours, [inputs, gain, bias], upstream),
      tape.gradient(theirs, [inputs, layer.gamma, layer.beta], upstream),
  ):
    np.testing.assert_allclose(found, expected, atol=1e-4)


def _sampled(scale):
  spec = tensor_spec.BoundedTensorSpec((2,), tf.float32, -0.5, 0.5)
  actor = networks.Actor(
      tensor_spec.TensorSpec((3,), tf.float32), spec,
      networks.VectorEncoder(), (8,),
  )
  random = np.random.default_rng(0)
  features = tf.constant(scale * random.normal(size=(50, 3)), tf.float32)
  noise = tf.constant(random.normal(size=(50, 2)), tf.float32)
  unit, log_prob = actor.sample(features, noise)
  return unit.numpy(), log_prob.numpy(), actor.distribution(features)


def test_actor_samples_have_the_density_of_tf_agents_distribution():
  unit, log_prob, distribution = _sampled(0.3)
  # Where the box's edge rounds the action, only ours holds.
  inside = np.abs(unit).max(axis=1) < 0.99
  assert inside.sum() > 25
  expected = distribution.log_prob(0.5 * unit).numpy() + 2 * np.log(0.5)
  np.testing.assert_allclose(
      log_prob[inside], expected[inside], rtol=1e-3, atol=1e-3
  )


def test_actor_density_holds_where_tanh_saturates():
  unit, log_prob, _ = _sampled(100.0)
  assert (np.abs(unit) == 1).any()
  assert np.isfinite(log_prob).all()


def test_image_encoder_is_bounded_and_sees_the_image():
  encoder = networks.ImageEncoder(filters=(4, 8), features=6)
  images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3))
  features = encoder(tf.constant(images, tf.uint8)).numpy()
  assert features.shape == (3, 6)
  assert np.abs(features).max() < 1
  assert np.abs(features[0] - features[1]).max() > 1e-3


def test_image_encoder_scales_bytes_as_a_prior_does():
  encoder = networks.ImageEncoder(filters=(4, 8), features=6)
  images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3))
  np.testing.assert_allclose(
      encoder(tf.constant(images, tf.uint8)),
      encoder(tf.constant(images / 255.0, tf.float32)), atol=1e-5,
  )
