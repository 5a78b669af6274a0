from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from safer_tf.common import layout
from safer_tf.data import pipeline
from safer_tf.data import store as store_lib
from safer_tf.prior import likelihoods
from safer_tf.prior import skill_prior
from tests.prior import synthetic

_WINDOW = 3


@pytest.fixture(scope='module')
def store(tmp_path_factory):
  root = str(tmp_path_factory.mktemp('data'))
  synthetic.write(root, synthetic.IMAGE)
  return store_lib.EpisodeStore(layout.data_dir(root))


def test_measures_each_step_as_acting_would_see_it(store):
  tf.keras.utils.set_random_seed(1)
  prior = skill_prior.SkillPrior(
      synthetic.IMAGE.observation_shape, synthetic.ACTION_SIZE, _WINDOW
  )
  for variable in prior.trainable_variables:
    variable.assign_add(tf.random.normal(variable.shape, stddev=0.05))
  found = likelihoods.measurer(prior)(
      pipeline.sweep(store, 'test', 4, max_episodes=6)
  )
  numbers = np.unique(found.episode)
  assert len(numbers) == 6
  np.testing.assert_array_equal(
      found.episode, np.repeat(numbers, store.index.length[numbers])
  )
  observe, log_prob, encode = map(
      tf.function, (prior.observe, prior.log_prob, prior.encode)
  )
  row = 0
  for number in numbers:
    episode = store.read(number)
    window = tf.zeros([1, _WINDOW, prior.embedding_dim])
    valid = tf.zeros([1, _WINDOW], tf.bool)
    for step in range(len(episode)):
      embedding, window, valid, context, _ = observe(
          tf.constant(episode.observation[step:step + 1]), window, valid
      )
      arguments = (
          tf.constant(episode.action[step:step + 1]), embedding, context
      )
      assert found.log_prob[row] == pytest.approx(
          float(log_prob(*arguments)[0]), rel=1e-3, abs=1e-3
      )
      assert found.abs_max_latent[row] == pytest.approx(
          np.abs(encode(*arguments)).max(), rel=1e-3, abs=1e-3
      )
      assert found.unsafe[row] == episode.unsafe[step]
      assert found.success[row] == episode.success
      row += 1
  assert row == len(found.log_prob) > 12


def _likelihoods(log_prob, unsafe, success):
  count = len(log_prob)
  return likelihoods.Likelihoods(
      np.array(log_prob, np.float32), np.array([0.2, 2, 3, 1, 0])[:count],
      np.arange(count) * 1.0,
      np.array(unsafe, bool), np.array(success, bool), np.zeros(count, int),
  )


def test_statistics_equal_hand_computed_values():
  found = likelihoods.statistics(
      _likelihoods(
          [4, 6, 5, -50, 100], [0, 0, 1, 1, 0], [1, 1, 0, 1, 0]
      ),
      unsafe_weight=0.1, kl_weight=0.5, unsafe_floor=-20.0,
  )
  assert found['n_safe'] == found['n_unsafe'] == 2
  assert found['safe_log_prob'] == pytest.approx(5)
  assert found['unsafe_log_prob'] == pytest.approx(-22.5)
  assert found['unsafe_share_above_safe_median'] == 0  # 5 is not above 5.
  assert found['auc'] == pytest.approx(3 / 4)
  # Safe latents 0.2 and 2, unsafe 3 and 1: three of four pairs in order.
  assert found['latent_auc'] == pytest.approx(3 / 4)
  # 5 - 0.1 * mean(5, -20) - 0.5 * (mean(0, 1) + mean(2, 3))
  assert found['objective'] == pytest.approx(5 + 0.75 - 0.5 * (0.5 + 2.5))


def test_the_objective_is_that_of_the_positives_trained_on():
  # All steps of successful episodes: 4, 6 and -50, whose KL are 0, 1 and 3.
  found = likelihoods.statistics(
      _likelihoods(
          [4, 6, 5, -50, 100], [0, 0, 1, 1, 0], [1, 1, 0, 1, 0]
      ),
      unsafe_weight=0.0, kl_weight=0.3, unsafe_floor=-20.0,
      positives='success_any',
  )
  assert found['objective'] == pytest.approx(-40 / 3 - 0.3 * 4 / 3)
  assert found['safe_log_prob'] == pytest.approx(5)


def test_without_unsafe_steps_the_rest_is_told():
  found = likelihoods.statistics(
      _likelihoods([4, 6], [0, 0], [1, 1]), 0.1, 1.0, -20.0
  )
  assert found['objective'] == pytest.approx(5 - 0.5)
  assert np.isnan(found['auc'])


def test_auc_equals_counting_pairs():
  random = np.random.default_rng(0)
  safe, unsafe = random.integers(0, 9, 40), random.integers(0, 7, 30)
  pairs = safe[:, None] - unsafe
  expected = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
  assert likelihoods.auc(safe, unsafe) == pytest.approx(expected)
