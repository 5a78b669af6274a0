from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.specs import array_spec

from safer_tf.common import errors
from safer_tf.data import schema
from tests.data import fakes

_SPECS = pytest.mark.parametrize(
    'spec', [fakes.VECTOR_SPEC, fakes.IMAGE_SPEC], ids=str
)


@_SPECS
def test_decode_inverts_encode(spec):
  for episode in fakes.random_episodes(5, spec):
    fakes.assert_same(episode, schema.decode(schema.encode(episode), spec))


def test_spec_survives_json():
  spec = fakes.IMAGE_SPEC
  assert schema.EpisodeSpec.from_json(spec.to_json()) == spec


def test_spec_of_an_environment():
  assert schema.EpisodeSpec.of_env(fakes.PointEnv('left')) == fakes.VECTOR_SPEC


def test_decode_refuses_another_shape():
  (episode,) = fakes.random_episodes(1, fakes.IMAGE_SPEC)
  other = schema.EpisodeSpec((5, 5, 3), 'uint8', 2)
  with pytest.raises(ValueError):
    schema.decode(schema.encode(episode), other)


@pytest.mark.parametrize('record', [b'', b'\xff' * 40])
def test_decode_refuses_what_is_no_episode(record):
  with pytest.raises(ValueError):
    schema.decode(record, fakes.IMAGE_SPEC)


@pytest.mark.parametrize('shape', [(3,), [3], np.array([3]), (np.int64(3),)])
@pytest.mark.parametrize('dtype', ['float32', np.float32, tf.float32])
def test_a_spec_is_the_same_however_it_is_written(shape, dtype):
  spec = schema.EpisodeSpec(shape, dtype, np.int64(2))
  assert spec == fakes.VECTOR_SPEC
  assert json.loads(json.dumps(spec.to_json())) == (
      {**fakes.VECTOR_SPEC.to_json(), 'observation_shape': [3]}
  )


@pytest.mark.parametrize('arguments', [
    (3, 'float32', 2), ((3,), 'floats', 2), ((3,), 'float32', 'two'),
])
def test_what_is_no_spec_is_told(arguments):
  with pytest.raises(errors.UserError, match='is no spec .* expected e.g.'):
    schema.EpisodeSpec(*arguments)


def test_spec_refuses_types_that_cannot_be_stored():
  with pytest.raises(errors.UserError, match='float64.*uint8 or float32'):
    schema.EpisodeSpec((3,), np.dtype(np.float64).name, 2)
  with pytest.raises(errors.UserError, match='2 or more'):
    schema.EpisodeSpec((3,), 'float32', 1)


def test_an_environment_with_another_action_range_is_refused():

  class Stronger(fakes.PointEnv):

    def action_spec(self):
      return array_spec.BoundedArraySpec((2,), np.float32, -1, [1, 2])

  with pytest.raises(errors.UserError, match=r'expected \[-1, 1\]'):
    schema.EpisodeSpec.of_env(Stronger('left'))


@pytest.mark.parametrize('spec', [
    array_spec.ArraySpec((2,), np.float32),
    array_spec.BoundedArraySpec((2,), np.float64, -1, 1),
])
def test_actions_that_no_agent_takes_are_not_collected(spec):

  class Other(fakes.PointEnv):

    def action_spec(self):
      return spec

  with pytest.raises(errors.UserError, match='expected float32 in'):
    schema.EpisodeSpec.of_env(Other('left'))


def test_seeds_and_indices_have_63_bits():
  episode = dataclasses.replace(
      next(fakes.random_episodes(1, fakes.VECTOR_SPEC)),
      seed=2**40 + 1, index=2**62,
  )
  fakes.assert_same(
      schema.decode(schema.encode(episode), fakes.VECTOR_SPEC), episode
  )


def test_an_environment_with_another_least_action_is_refused():

  class Positive(fakes.PointEnv):

    def action_spec(self):
      return array_spec.BoundedArraySpec((2,), np.float32, [-1, 0], 1)

  with pytest.raises(errors.UserError, match=r'expected \[-1, 1\]'):
    schema.EpisodeSpec.of_env(Positive('left'))
