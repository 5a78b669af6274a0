from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from safer_tf.prior import posterior

_WINDOW = 5


@pytest.fixture(scope='module')
def model():
  """A posterior far from where it starts, on windows [B, W, E]."""
  tf.keras.utils.set_random_seed(1)
  shared = posterior.TransformerPosterior(
      _WINDOW, embedding_dim=7, context_dim=3, width=8, num_heads=2,
      feedforward=16,
  )
  for variable in shared.trainable_variables:
    variable.assign_add(tf.random.normal(variable.shape, stddev=0.3))
  return lambda embeddings, valid: _separately(shared, embeddings, valid)


def _separately(shared, embeddings, valid):
  count, length = valid.shape
  window = np.arange(count * length).reshape(count, length)
  return shared(embeddings.reshape(count * length, 7), window, valid)


def _embeddings(batch=4):
  return np.random.default_rng(0).normal(size=[batch, _WINDOW, 7]).astype('f')


def _valid(lengths):
  return np.arange(_WINDOW) >= _WINDOW - np.array(lengths)[:, np.newaxis]


@pytest.mark.parametrize('garbage', [0.0, 1e3, np.nan, np.inf])
def test_padding_does_not_matter(model, garbage):
  embeddings, valid = _embeddings(), _valid([1, 2, 4, 5])
  clean = np.where(valid[..., np.newaxis], embeddings, 0).astype('f')
  dirty = np.where(valid[..., np.newaxis], embeddings, garbage).astype('f')
  for expected, found in zip(model(clean, valid), model(dirty, valid)):
    np.testing.assert_array_equal(expected, found)


def test_every_valid_state_matters(model):
  embeddings, valid = _embeddings(1), _valid([_WINDOW])
  mean, _ = model(embeddings, valid)
  for position in range(_WINDOW):
    changed = embeddings.copy()
    changed[0, position] += 1
    assert np.abs(model(changed, valid)[0] - mean).max() > 1e-5


def test_order_matters(model):
  embeddings, valid = _embeddings(1), _valid([_WINDOW])
  swapped = embeddings[:, [1, 0, 2, 3, 4]]
  assert np.abs(
      model(swapped, valid)[0] - model(embeddings, valid)[0]
  ).max() > 1e-6


def test_positions_count_from_the_end(model):
  # A window cut to its valid states is the same window.
  embeddings, valid = _embeddings(1), _valid([3])
  for whole, cut in zip(
      model(embeddings, valid), model(embeddings[:, -3:], valid[:, -3:])
  ):
    np.testing.assert_allclose(whole, cut, rtol=1e-5, atol=1e-5)


def test_a_state_may_stand_in_several_windows(model):
  del model
  tf.keras.utils.set_random_seed(1)
  shared = posterior.TransformerPosterior(_WINDOW, 7, 3)
  states, valid = _embeddings(1)[0], _valid([5, 4, 3])
  window = np.array([[0, 1, 2, 3, 4], [4, 4, 0, 1, 3], [2, 2, 2, 2, 2]])
  for expected, found in zip(
      _separately(shared, states[window], valid),
      shared(states, window, valid),
  ):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_starts_near_the_prior():
  shared = posterior.TransformerPosterior(_WINDOW, 7, 3)
  mean, stddev = _separately(shared, _embeddings(), _valid([5] * 4))
  np.testing.assert_allclose(mean, 0, atol=0.5)
  np.testing.assert_allclose(stddev, 1, atol=0.4)


def test_stddev_has_a_floor():
  shared = posterior.TransformerPosterior(
      _WINDOW, 7, 3, min_stddev=0.25
  )
  for variable in shared.trainable_variables:
    variable.assign(tf.random.normal(variable.shape, stddev=10))
  _, stddev = _separately(shared, _embeddings(), _valid([5] * 4))
  assert stddev.numpy().min() == 0.25
