from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from safer_tf.common import errors
from safer_tf.prior import encoders
from safer_tf.prior import objective
from safer_tf.prior import skill_prior

_WINDOW = 4


def _prior(**changes):
  tf.keras.utils.set_random_seed(1)
  return skill_prior.SkillPrior((5,), 6, window=_WINDOW, **changes)


@pytest.fixture(scope='module')
def prior():
  return _prior()


def _arguments(prior, batch=3):
  random = np.random.default_rng(0)

  def normal(*shape):
    return tf.constant(random.normal(size=[batch, *shape]), tf.float32)

  return normal(6), normal(prior.embedding_dim), normal(prior.context_dim)


def test_encode_inverts_decode_and_log_prob_is_eq_1(prior):
  latent, embedding, context = _arguments(prior)
  action = tf.constant(prior.decode(latent, embedding, context).numpy())
  np.testing.assert_allclose(
      prior.encode(action, embedding, context), latent, atol=1e-4
  )
  with tf.GradientTape() as tape:
    tape.watch(action)
    encoded = prior.encode(action, embedding, context)
  jacobian = tape.batch_jacobian(encoded, action).numpy()
  expected = (
      -0.5 * (latent.numpy() ** 2).sum(-1) - 3 * np.log(2 * np.pi)
      + np.linalg.slogdet(jacobian)[1]
  )
  np.testing.assert_allclose(
      prior.log_prob(action, embedding, context), expected, atol=1e-3
  )


@pytest.mark.parametrize('uses_context', [True, False])
def test_on_embeddings_it_is_the_same_prior(uses_context):
  whole = _prior(uses_context=uses_context)
  part = whole.on_embeddings()
  assert part.flow_variables and len(part.variables) < len(whole.variables)
  assert {v.ref() for v in part.variables} < {v.ref() for v in whole.variables}
  random = np.random.default_rng(0)
  observation = tf.constant(random.normal(size=[3, 5]), tf.float32)
  embedding = whole.embed(observation)
  np.testing.assert_array_equal(part.embed(embedding), embedding)
  latent, _, context = _arguments(whole)
  for variable in whole.flow_variables:  # Trained in one, trained in both.
    variable.assign_add(0.1 * tf.ones_like(variable))
  np.testing.assert_array_equal(
      part.decode(latent, embedding, context),
      whole.decode(latent, embedding, context),
  )


def test_context_matters_only_to_a_prior_that_uses_it(prior):
  latent, embedding, context = _arguments(prior)
  for model, differs in [(prior, True), (_prior(uses_context=False), False)]:
    change = np.abs(
        model.decode(latent, embedding, context)
        - model.decode(latent, embedding, context + 1.0)
    ).max()
    assert (change > 1e-5) == differs


def test_without_context_the_posterior_is_the_prior():
  model = _prior(uses_context=False)
  mean, stddev = model.infer_context(
      tf.ones([3, _WINDOW, model.embedding_dim]), tf.ones([3, _WINDOW], bool)
  )
  np.testing.assert_array_equal(mean, np.zeros([3, 8]))
  np.testing.assert_array_equal(stddev, np.ones([3, 8]))


def _with_standardise(shape, *before):
  return tf.keras.Sequential([
      tf.keras.Input(shape), *before, encoders.Standardise(),
      tf.keras.layers.Flatten(), tf.keras.layers.Dense(3),
  ])


def test_vectors_of_bytes_are_standardised_as_they_are_embedded():
  prior = skill_prior.SkillPrior((5,), 6, make_encoder=lambda shape: (
      tf.keras.Sequential([tf.keras.Input(shape), encoders.Standardise()])
  ))
  found = np.random.default_rng(0).integers(0, 256, [900, 5]).astype(np.uint8)
  assert prior.standardises
  prior.adapt(found)
  embedded = prior.embed(tf.constant(found)).numpy()
  np.testing.assert_allclose(embedded.mean(0), 0, atol=1e-3)
  np.testing.assert_allclose(embedded.std(0), 1, atol=1e-3)


@pytest.mark.parametrize('shape, before', [
    ((5,), [tf.keras.layers.Dense(5)]), ((4, 5), []),
    ((5,), [tf.keras.Sequential([encoders.Standardise()])]),
])
def test_what_cannot_be_standardised_is_told(shape, before):
  with pytest.raises(errors.UserError, match='expected it first'):
    skill_prior.SkillPrior(
        shape, 6, make_encoder=lambda shape: _with_standardise(shape, *before)
    )


def test_images_are_scaled_inside():
  tf.keras.utils.set_random_seed(1)
  model = skill_prior.SkillPrior((8, 8, 3), 6, window=_WINDOW)
  image = np.random.default_rng(0).integers(0, 256, [2, 8, 8, 3])
  np.testing.assert_allclose(
      model.embed(tf.constant(image, tf.uint8)),
      model.embed(tf.constant(image / 255, tf.float32)), rtol=1e-4, atol=1e-6,
  )


def test_windows_end_with_their_step():
  frames = tf.reshape(tf.range(2 * 6 * 3), [2, 6, 3])
  found = skill_prior.windows(frames, _WINDOW).numpy()
  expected = [
      frames[run, step:step + _WINDOW] for run in range(2) for step in range(3)
  ]
  np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize('uses_context', [True, False])
def test_windows_that_share_states_equal_separate_ones(uses_context):
  model = _prior(uses_context=uses_context)
  random = np.random.default_rng(0)
  embeddings = random.normal(size=[9, model.embedding_dim]).astype('f')
  window = random.integers(0, 9, [20, _WINDOW])
  valid = random.random([20, _WINDOW]) < 0.7
  separate = model.infer_context(embeddings[window], valid)
  shared = model.infer_windows(embeddings, window, valid)
  for expected, found in zip(separate, shared):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_observe_keeps_the_window(prior):
  states = np.random.default_rng(0).normal(size=[6, 1, 5]).astype('f')
  window = tf.zeros([1, _WINDOW, prior.embedding_dim])
  valid = tf.zeros([1, _WINDOW], bool)
  for state in states:
    embedding, window, valid, mean, stddev = prior.observe(
        state, window, valid
    )
    np.testing.assert_allclose(embedding, prior.embed(state), atol=1e-6)
    np.testing.assert_array_equal(window[:, -1], embedding)
    expected = prior.infer_context(window, valid)
    np.testing.assert_allclose(mean, expected[0], atol=1e-6)
    np.testing.assert_allclose(stddev, expected[1], atol=1e-6)
  # Six states went by; the last four are left, oldest first.
  assert valid.numpy().all()
  np.testing.assert_allclose(
      window[0], prior.embed(states[2:, 0]), rtol=1e-4, atol=1e-6
  )


@pytest.mark.parametrize('shape', [(5,), (16, 16, 3)])
def test_gradients_reach_every_trainable_variable(shape):
  tf.keras.utils.set_random_seed(1)
  model = skill_prior.SkillPrior(shape, 6, window=_WINDOW)
  random = np.random.default_rng(0)
  observation = random.random([9, *shape], 'f')
  window = random.integers(0, 9, [8, _WINDOW])
  action = random.normal(size=[8, 6]).astype('f')
  half = tf.repeat([1.0, 0.0], 4)
  with tf.GradientTape() as tape:
    embeddings = model.embed(observation)
    mean, stddev = model.infer_windows(
        embeddings, window, np.ones([8, _WINDOW], bool)
    )
    log_prob = model.log_prob(
        action, tf.gather(embeddings, window[:, -1]), mean + 0.5 * stddev
    )
    loss = objective.safer_objective(
        log_prob, objective.kl_to_prior(mean, stddev), half, 1 - half,
        unsafe_weight=0.1, kl_weight=1.0, unsafe_floor=-20.0,
        freeze_below=-1000.0,
    ).loss
  variables = model.trainable_variables
  assert len({v.ref() for v in variables}) == len(variables) > 30
  for variable, gradient in zip(variables, tape.gradient(loss, variables)):
    assert gradient is not None, variable.name
    assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, variable.name
