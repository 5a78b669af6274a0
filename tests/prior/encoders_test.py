from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from safer_tf.common import errors
from safer_tf.prior import encoders
from safer_tf.prior import skill_prior


@pytest.mark.parametrize('shape', [(48, 48, 3), (20, 30, 1), (9,)])
def test_default_encoder_embeds_images_and_vectors(shape):
  encoder = encoders.default_encoder(shape)
  observation = np.random.default_rng(0).random([3, *shape], 'f')
  embedding = encoder(observation).numpy()
  assert embedding.shape == (3, 128)
  assert np.abs(embedding[0] - embedding[1]).max() > 0


def test_an_observation_of_another_rank_is_told():
  with pytest.raises(errors.UserError, match=r'\[4, 5\].*make_encoder'):
    encoders.default_encoder((4, 5))


@pytest.mark.parametrize('make', [
    lambda shape: tf.keras.layers.Dense(8),
    lambda shape: lambda observation: observation,
    lambda shape: None,
    lambda shape: tf.keras.Sequential([tf.keras.Input(shape)]),
    lambda shape: tf.keras.Sequential([
        tf.keras.Input(shape), tf.keras.layers.Flatten(dtype='float64')
    ]),
])
def test_an_encoder_that_gives_no_embedding_is_told(make):
  with pytest.raises(errors.UserError, match='make_encoder gives .*E]'):
    skill_prior.SkillPrior((6, 4, 3), 2, window=3, make_encoder=make)


def test_an_encoder_that_is_built_when_called_is_one():
  class Own(tf.keras.Model):

    def __init__(self):
      super().__init__()
      self._dense = tf.keras.layers.Dense(9)

    def call(self, inputs):
      return self._dense(tf.reshape(inputs, [-1, 12]))

  prior = skill_prior.SkillPrior(
      (2, 2, 3), 2, window=3, make_encoder=lambda shape: Own()
  )
  assert prior.embedding_dim == 9


def test_vectors_are_standardised_by_what_they_were_adapted_to():
  random = np.random.default_rng(0)
  vectors = random.normal([5, -300, 0, 7], [1e-4, 20, 3, 0], [500, 4])
  layer = encoders.Standardise()
  given = vectors.astype('f')
  # Left alone before.
  np.testing.assert_array_equal(layer(given), given)
  layer.adapt(given)
  found = layer(given).numpy()
  np.testing.assert_allclose(found.mean(0), 0, atol=0.02)
  # 1e-4 beside 5 has two digits in float32.
  np.testing.assert_allclose(found.std(0), [1, 1, 1, 0], atol=0.01)


def test_a_vector_that_never_varies_is_no_division_by_zero():
  layer = encoders.Standardise()
  layer.build(tf.TensorShape([None, 2]))
  layer.adapt(np.zeros([9, 2], 'f'))
  np.testing.assert_array_equal(layer(np.ones([1, 2], 'f')), [[1, 1]])
