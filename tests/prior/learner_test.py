from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from safer_tf.common import errors
from safer_tf.data import pipeline
from safer_tf.prior import learner
from safer_tf.prior import objective
from safer_tf.prior import skill_prior

_WINDOW = 3


def _settings(**changes):
  return learner.Settings(**{
      'unsafe_weight': 0.1, 'kl_weight': 0.5,
      'unsafe_floor': -20.0, 'freeze_below': -1000.0, 'sample_context': False,
      'max_gradient_norm': 10.0, 'seed': 0, **changes,
  })


def _learner(optimizer='adam', rate=1e-3, final=1e-3, **changes):
  tf.keras.utils.set_random_seed(1)
  prior = skill_prior.SkillPrior((4,), 2, window=_WINDOW)
  for variable in prior.trainable_variables:
    variable.assign_add(tf.random.normal(variable.shape, stddev=0.05))
  return learner.Learner(
      prior, learner.make_optimizer(optimizer, rate, final, 0.9, 10),
      _settings(**changes),
  )


def _batch(frames=40, tuples=20):
  random = np.random.default_rng(0)
  time = np.minimum(np.arange(tuples) % 7, _WINDOW - 1)
  kind = np.repeat([0, 1, -1], [tuples // 2, tuples // 4, tuples // 4])
  return pipeline.TupleBatch(*map(tf.convert_to_tensor, (
      random.normal(size=[frames, 4]).astype('f'),
      random.integers(frames, size=[tuples, _WINDOW]).astype(np.int32),
      np.arange(_WINDOW)[::-1] <= time[:, np.newaxis],
      random.normal(size=[tuples, 2]).astype('f'), kind.astype(np.int32),
  )))


def test_objective_equals_embedding_every_window_separately():
  model, batch = _learner(), _batch()
  prior = model.prior
  counted = batch.kind.numpy() >= 0
  window, valid, action, kind = (
      part.numpy()[counted] for part in batch[1:]
  )
  embeddings = tf.reshape(
      prior.embed(batch.observation.numpy()[window.ravel()]),
      [len(kind), _WINDOW, -1],
  )
  mean, stddev = prior.infer_context(embeddings, valid)
  log_prob = prior.log_prob(action, embeddings[:, -1], mean)
  safe = (kind == 0).astype('f')
  assert 0 < safe.sum() < len(safe) < len(counted)
  expected = objective.safer_objective(
      log_prob, objective.kl_to_prior(mean, stddev), safe, 1 - safe,
      unsafe_weight=0.1, kl_weight=0.5, unsafe_floor=-20.0,
      freeze_below=-1000.0,
  )
  terms = model.terms(batch)
  for name, value in expected._asdict().items():
    assert float(getattr(terms, name)) == pytest.approx(
        float(value), rel=1e-4, abs=1e-5
    ), name


def test_the_anchor_is_the_safe_tuples_distance_to_what_zero_decodes_to():
  batch = _batch()
  plain, anchored = _learner(), _learner(anchor_weight=2.0)
  prior = plain.prior
  embeddings = prior.embed(batch.observation)
  mean, _ = prior.infer_windows(embeddings, batch.window, batch.valid)
  centre = prior.decode(
      tf.zeros_like(batch.action),
      tf.gather(embeddings, batch.window[:, -1]), mean,
  )
  safe = batch.kind.numpy() == 0
  distance = np.square(centre.numpy() - batch.action.numpy()).sum(-1)[safe]
  assert (anchored.terms(batch).loss - plain.terms(batch).loss).numpy() == (
      pytest.approx(2 * distance.mean(), rel=1e-4)
  )


def test_the_anchor_draws_the_centre_to_the_mean_safe_action():
  # Of three in four actions near one corner, one near the opposite: z = 0 of
  # the likeliest flow is near the many, the mean is between.
  batch = _batch(tuples=40)
  many = np.arange(40) % 4 > 0
  action = np.where(many, 0.8, -0.8)[:, np.newaxis].repeat(2, 1)
  action += np.random.default_rng(1).normal(size=action.shape) / 20
  batch = batch._replace(
      action=tf.constant(action.astype('f')),
      observation=tf.zeros_like(batch.observation),
      kind=tf.zeros([40], tf.int32),
  )
  found = {}
  for weight in (0.0, 5.0):
    model = _learner(rate=1e-2, final=1e-2, anchor_weight=weight)
    for _ in range(150):
      model.train_step(batch)
    embedding = model.prior.embed(batch.observation[:1])
    mean, _ = model.prior.infer_windows(
        embedding, np.zeros([1, _WINDOW], 'i'), np.ones([1, _WINDOW], bool)
    )
    centre = model.prior.decode(np.zeros([1, 2], 'f'), embedding, mean)
    found[weight] = np.abs(centre.numpy() - action.mean(0)).max()
  assert found[5.0] < 0.1 < found[0.0]


def test_the_flow_alone_learns_where_only_it_is_to():
  tf.keras.utils.set_random_seed(1)
  prior = skill_prior.SkillPrior((4,), 2, window=_WINDOW)
  model = learner.Learner(
      prior, learner.make_optimizer('adam', 1e-3, 1e-3, 0.9, 10),
      _settings(), flow_only=True,
  )
  before = [variable.numpy() for variable in prior.trainable_variables]
  model.train_step(_batch())
  flow = {variable.ref() for variable in prior.flow_variables}
  assert 0 < len(flow) < len(before)
  for variable, old in zip(prior.trainable_variables, before):
    changed = not np.array_equal(variable, old)
    assert changed == (variable.ref() in flow), variable.name


def test_batches_of_all_sizes_share_one_trace():
  model = _learner()
  counts = set()
  for frames, tuples in ((40, 20), (24, 32), (8, 8)):
    found = model.train_step(_batch(frames, tuples))
    assert found['tuples'] == tuples * 3 // 4
    counts.add(model._traced.experimental_get_tracing_count())
  assert len(counts) == 1


def test_samples_of_the_context_follow_seed_and_step():
  mean, stddev = tf.zeros([5, 2]), tf.ones([5, 2])

  def samples(seed):
    model = _learner(sample_context=True, seed=seed)
    first = model._context(mean, stddev).numpy()
    np.testing.assert_array_equal(first, model._context(mean, stddev))
    model.step.assign_add(1)
    return first, model._context(mean, stddev).numpy()

  drawn = np.stack([*samples(0), *samples(1)])
  assert len(np.unique(drawn)) == drawn.size
  np.testing.assert_array_equal(samples(0), drawn[:2])


def test_the_objective_is_that_of_sampled_contexts():
  batch = _batch()
  sampled = _learner(sample_context=True)
  found = [float(sampled.terms(batch).safe_log_prob)]
  sampled.step.assign_add(1)
  found.append(float(sampled.terms(batch).safe_log_prob))
  found.append(float(_learner().terms(batch).safe_log_prob))  # At the mean.
  assert len(set(found)) == 3


def test_samples_of_the_context_are_reparameterised():
  model = _learner(sample_context=True)
  random = np.random.default_rng(0)
  noise = model._context(tf.zeros([5, 2]), tf.ones([5, 2])).numpy()
  mean, stddev = (
      tf.Variable(random.uniform(0.5, 2, (5, 2)), dtype=tf.float32)
      for _ in range(2)
  )
  with tf.GradientTape() as tape:
    sample = model._context(mean, stddev)
  np.testing.assert_allclose(sample, mean + stddev * noise, rtol=1e-6)
  by_mean, by_stddev = tape.gradient(sample, (mean, stddev))
  np.testing.assert_array_equal(by_mean, np.ones((5, 2)))
  np.testing.assert_allclose(by_stddev, noise, rtol=1e-6)


@pytest.mark.parametrize('optimizer', ['adam', 'sgd'])
def test_a_step_lowers_the_loss(optimizer):
  model, batch = _learner(optimizer), _batch()
  first, *_, last = (model.train_step(batch) for _ in range(6))
  assert first['tuples'] == np.sum(batch.kind.numpy() >= 0)
  assert learner.is_finite(last)
  assert last['loss'] < first['loss']
  assert model.step.numpy() == 6


def test_gradients_are_clipped():
  # The first step of SGD is the rate times the gradient.
  model = _learner('sgd', rate=1.0, final=1.0, max_gradient_norm=0.01)
  before = [v.numpy() for v in model.prior.trainable_variables]
  assert model.train_step(_batch())['gradient_norm'] > 0.01
  moved = [
      np.sum((v.numpy() - old) ** 2)
      for v, old in zip(model.prior.trainable_variables, before)
  ]
  assert np.sqrt(np.sum(moved)) == pytest.approx(0.01, rel=1e-2)


def test_learning_rate_falls_on_a_half_cosine():
  rate = learner.make_optimizer('adam', 1e-2, 1e-4, 0.9, 10).learning_rate
  assert rate(0).numpy() == pytest.approx(1e-2)
  assert rate(5).numpy() == pytest.approx((1e-2 + 1e-4) / 2)
  assert rate(10).numpy() == pytest.approx(1e-4)


def test_an_unknown_optimizer_is_told():
  with pytest.raises(errors.UserError, match='lion.*adam, sgd'):
    learner.make_optimizer('lion', 1e-3, 1e-3, 0.9, 10)
