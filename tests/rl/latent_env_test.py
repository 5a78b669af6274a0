"""The wrapper: its window, its actions and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.environments import batched_py_environment
from tf_agents.environments import utils
from tf_agents.specs import array_spec

from safer_tf.common import errors
from safer_tf.prior import export
from safer_tf.rl import latent_env
from tests.rl import fakes


@pytest.fixture(scope='module', name='prior')
def _prior(tmp_path_factory):
  path = str(tmp_path_factory.mktemp('prior') / 'export')
  return export.load_prior(fakes.export_prior(path))


@pytest.fixture(scope='module', name='image_prior')
def _image_prior(tmp_path_factory):
  path = str(tmp_path_factory.mktemp('image_prior') / 'export')
  return export.load_prior(fakes.export_prior(path, images=True))


def _from_scratch(prior, observations):
  """Window and context by embedding every frame of the window anew."""
  window, size = prior.spec.window, prior.spec.embedding_dim
  recent = observations[-window:]
  embeddings = np.zeros((1, window, size), np.float32)
  valid = np.zeros((1, window), bool)
  embeddings[0, -len(recent):] = prior.embed(
      tf.constant(np.stack(recent))
  )
  valid[0, -len(recent):] = True
  mean, _ = prior.infer_context(tf.constant(embeddings), tf.constant(valid))
  return embeddings, mean


@pytest.mark.parametrize('images', [False, True])
def test_window_and_action_equal_recomputation(prior, image_prior, images):
  prior = image_prior if images else prior
  env = latent_env.LatentActionEnvironment(
      fakes.ReachEnv(images, goal_radius=0.0), prior, 0.7
  )
  for episode in range(2):  # The second one must not see the first one.
    env.seed(episode)
    env.reset()
    seen = [env.frame]
    for step in range(2 * fakes.WINDOW + 1):
      latent = np.array([0.5, -0.1 * step % 0.7], np.float32)
      embeddings, mean = _from_scratch(prior, seen)
      expected = prior.decode(
          tf.constant(latent[np.newaxis]),
          tf.constant(embeddings[:, -1]), mean,
      ).numpy()[0]
      np.testing.assert_allclose(env.window[0], embeddings[0], atol=1e-5)
      np.testing.assert_allclose(env.context, mean.numpy()[0], atol=1e-5)
      np.testing.assert_allclose(
          env.prior_action(latent), np.clip(expected, -1, 1), atol=1e-5
      )
      time_step = env.step(latent)
      np.testing.assert_allclose(
          time_step.observation, env.window[0][-1], atol=1e-6
      )
      seen.append(env.frame)


def test_is_a_valid_environment_and_clears_its_window_on_auto_reset(prior):
  env = latent_env.LatentActionEnvironment(
      fakes.ReachEnv(goal_radius=0.0), prior, 0.7
  )
  utils.validate_py_environment(env, episodes=2)
  time_step = env.reset()
  while not time_step.is_last():
    time_step = env.step(np.zeros(2, np.float32))
  assert env.window[1].all()
  assert env.step(np.zeros(2, np.float32)).is_first()
  np.testing.assert_array_equal(env.window[1], [False] * 3 + [True])


def test_the_action_after_the_last_step_is_ignored(prior):
  env = latent_env.LatentActionEnvironment(
      fakes.ReachEnv(goal_radius=0.0), prior, 0.7
  )
  env.reset()
  while not env.step(np.zeros(2, np.float32)).is_last():
    pass
  steps, clipped = env.steps, env.clipped_steps
  time_step = env.step(np.full(2, np.nan, np.float32))
  assert time_step.is_first() and env.window[1].sum() == 1
  assert (env.steps, env.clipped_steps) == (steps, clipped)


def test_restored_state_repeats_what_followed(prior):
  env = latent_env.LatentActionEnvironment(fakes.ReachEnv(), prior, 0.7)
  env.reset()
  latent = np.array([0.2, -0.6], np.float32)
  for _ in range(2):
    env.step(latent)
  state = env.get_state()
  expected = [env.step(latent).observation for _ in range(3)]
  env.set_state(state)
  for observation in expected:
    np.testing.assert_array_equal(env.step(latent).observation, observation)


def test_own_encoder_sees_the_frame_and_raw_actions_pass(image_prior):
  inner = fakes.ReachEnv(images=True)
  env = latent_env.wrap(inner, image_prior, 0.5, 'own')
  assert env.observation_spec() == inner.observation_spec()
  assert env.reset().observation.dtype == np.uint8
  assert env.action_spec().maximum == pytest.approx(0.5)
  raw = latent_env.wrap(inner, image_prior, None, 'prior')
  assert raw.action_spec() == inner.action_spec()
  assert raw.reset().observation.shape == (image_prior.spec.embedding_dim,)
  assert latent_env.wrap(inner, None, None, 'own') is inner


def test_clip_rate_counts_steps_with_a_clipped_action(prior):
  env = latent_env.LatentActionEnvironment(
      fakes.ReachEnv(goal_radius=0.0), prior, 30.0
  )
  env.reset()
  clipped = 0
  for step in range(10):
    latent = np.full(2, 0.1 if step % 2 else 30.0, np.float32)
    action = prior.decode(
        tf.constant(latent[np.newaxis]),
        tf.constant(env.window[0][np.newaxis, -1]),
        tf.constant(env.context[np.newaxis]),
    ).numpy()
    clipped += np.abs(action).max() > 1
    env.step(latent)
  assert 0 < clipped < 10
  assert env.clip_rate == clipped / 10


def test_unsafe_steps_are_counted_where_they_are_labelled(prior):
  inner = fakes.ReachEnv(goal_radius=0.0)
  env = latent_env.LatentActionEnvironment(inner, prior, 30.0)
  env.reset()
  unsafe = 0
  for _ in range(2 * fakes.TIME_LIMIT):  # Resets on the way.
    time_step = env.step(np.full(2, 30.0, np.float32))
    unsafe += not time_step.is_first() and inner.get_info()['unsafe']
  assert 0 < unsafe < env.steps
  assert env.unsafe_steps == unsafe


@pytest.mark.parametrize(
    'info', [None, {}, NotImplementedError(), {'unsafe': 3.2}]
)
def test_without_labels_no_violations_are_claimed(prior, info, monkeypatch):
  inner = fakes.ReachEnv()

  def get_info():
    if isinstance(info, Exception):
      raise info
    return info

  monkeypatch.setattr(inner, 'get_info', get_info)
  env = latent_env.LatentActionEnvironment(inner, prior, 0.7)
  env.reset()
  env.step(np.zeros(2, np.float32))
  assert env.unsafe_steps is None


@pytest.mark.parametrize('latent, message', [
    ([np.nan, 0.0], 'not finite'), ([0.0, np.inf], 'not finite'),
    ([0.9, 0.0], 'outside the bound.*ActionClipWrapper'),
    ([0.1, 0.1, 0.1], r'shape \[3\]; expected \[2\]'),
])
def test_refuses_bad_latents(prior, latent, message):
  env = latent_env.LatentActionEnvironment(fakes.ReachEnv(), prior, 0.7)
  env.reset()
  with pytest.raises(errors.UserError, match=message):
    env.step(np.array(latent, np.float32))
  env.step(np.float32([0.7, -0.7]))  # The bound itself is what tanh reaches.


def test_an_observation_that_is_not_as_its_spec_is_named(prior):
  class Double(fakes.ReachEnv):

    def _observe(self):
      return super()._observe().astype(np.float64)

  env = latent_env.LatentActionEnvironment(Double(), prior, 0.7)
  with pytest.raises(errors.UserError, match='Double: .* dtype float64, by'):
    env.reset()

  class Later(Double):

    def _observe(self):
      observation = super()._observe()
      return observation if self._steps else np.float32(observation)

  env = latent_env.LatentActionEnvironment(Later(), prior, 0.7)
  env.reset()
  with pytest.raises(errors.UserError, match='Later: .* dtype float64, by'):
    env.step(np.float32([0.1, 0.1]))


_VECTOR = array_spec.ArraySpec((4,), np.float32)
_ACTION = array_spec.BoundedArraySpec((2,), np.float32, -3, 2)


@pytest.mark.parametrize('observation, action, message', [
    (_VECTOR, _ACTION, None),
    (array_spec.ArraySpec((8, 8, 3), np.uint8), _ACTION, None),
    (array_spec.ArraySpec((4,), np.float64), _ACTION, 'observations are.*64'),
    (array_spec.ArraySpec((4, 4), np.float32), _ACTION, 'observations are'),
    ({'state': _VECTOR}, _ACTION, 'observations are.*one array'),
    (_VECTOR, array_spec.ArraySpec((2,), np.float32), 'actions are'),
    (
        _VECTOR, array_spec.BoundedArraySpec((2,), np.float32, -np.inf, 1),
        'actions are.*finite bounds',
    ),
    (_VECTOR, array_spec.BoundedArraySpec((2,), np.float64, -1, 1), 'actions'),
    (_VECTOR, array_spec.BoundedArraySpec((), np.int32, 0, 3), 'actions are'),
])
def test_without_a_prior_the_environment_must_suit_the_agent(
    observation, action, message
):
  class Env(fakes.ReachEnv):

    def observation_spec(self):
      return observation

    def action_spec(self):
      return action

  env = Env()
  if message is None:
    assert latent_env.wrap(env, None, None, 'own') is env
    return
  with pytest.raises(errors.UserError, match=message):
    latent_env.wrap(env, None, None, 'own')


def test_an_observation_that_is_not_finite_moves_nothing(prior):
  steps = []

  class Env(fakes.ReachEnv):

    def _step(self, action):
      steps.append(action)
      return super()._step(action)

    def _observe(self):
      return super()._observe() * (np.nan if steps else 1)

  env = latent_env.LatentActionEnvironment(Env(), prior, 0.7)
  env.reset()
  env.step(np.float32([0.1, 0.1]))
  with pytest.raises(errors.UserError, match='No step was taken'):
    env.step(np.float32([0.1, 0.1]))
  assert len(steps) == 1


@pytest.mark.parametrize(
    'bound', [0.0, -1.0, np.nan, np.inf, 'assurance', None, [0.5]]
)
def test_refuses_a_bound_that_admits_nothing_or_all(prior, bound):
  with pytest.raises(errors.UserError, match='latent_bound'):
    latent_env.LatentActionEnvironment(fakes.ReachEnv(), prior, bound)


def test_refuses_an_environment_that_is_not_the_priors(prior, image_prior):
  with pytest.raises(errors.UserError, match='observations'):
    latent_env.PriorEnvironment(fakes.ReachEnv(images=True), prior)
  with pytest.raises(errors.UserError, match='observations'):
    latent_env.PriorEnvironment(fakes.ReachEnv(), image_prior)

  class Unbounded(fakes.ReachEnv):

    def action_spec(self):
      return array_spec.ArraySpec((2,), np.float32)

  class Wider(fakes.ReachEnv):

    def action_spec(self):
      return array_spec.BoundedArraySpec((3,), np.float32, -1, 1)

  class Small(fakes.ReachEnv):

    def action_spec(self):
      return array_spec.BoundedArraySpec((2,), np.float32, -0.05, 0.05)

  with pytest.raises(errors.UserError, match=r'-0.05.*\[-1, 1\]'):
    latent_env.PriorEnvironment(Small(), prior)
  batched = batched_py_environment.BatchedPyEnvironment([fakes.ReachEnv()])
  with pytest.raises(errors.UserError, match='is batched'):
    latent_env.PriorEnvironment(batched, prior)
  with pytest.raises(errors.UserError, match='load_prior'):
    latent_env.PriorEnvironment(fakes.ReachEnv(), tf.Module())
  with pytest.raises(errors.UserError, match='no bounds'):
    latent_env.PriorEnvironment(Unbounded(), prior)
  with pytest.raises(errors.UserError, match='actions'):
    latent_env.PriorEnvironment(Wider(), prior)
