from __future__ import annotations

import numpy as np
import pytest

from safer_tf.common import layout
from safer_tf.data import pipeline
from safer_tf.data import store as store_lib
from safer_tf.prior import embedded
from safer_tf.prior import skill_prior
from tests.prior import synthetic


@pytest.fixture(scope='module')
def store(tmp_path_factory):
  root = str(tmp_path_factory.mktemp('data'))
  synthetic.write(root, synthetic.IMAGE)
  return store_lib.EpisodeStore(layout.data_dir(root))


@pytest.fixture(scope='module')
def prior(store):
  return skill_prior.SkillPrior(
      store.spec.observation_shape, store.spec.action_size, window=3
  )


@pytest.mark.parametrize('frames', [pipeline.FRAMES, 7])
def test_every_episode_that_is_asked_for_is_embedded(
    store, prior, monkeypatch, frames
):
  monkeypatch.setattr(pipeline, 'FRAMES', frames)
  numbers = np.union1d(store.split('train')[1:], store.split('validation'))
  found = embedded.embedded(store, prior, numbers)
  assert found.spec.observation_shape == (prior.embedding_dim,)
  assert found.spec.observation_dtype == 'float32'
  assert found.spec.action_size == store.spec.action_size
  held = {}
  for number in numbers:
    ours, recorded = found.read(number), store.read(number)
    assert ours.observation.dtype == np.float32
    np.testing.assert_allclose(
        ours.observation, prior.embed(recorded.observation), atol=1e-5
    )
    np.testing.assert_array_equal(ours.action, recorded.action)
    base = ours.observation.base
    held[id(base)] = base.nbytes
  # No padding is kept with them.
  steps = store.index.length[numbers].sum()
  assert sum(held.values()) == 4 * prior.embedding_dim * steps
  # What was not embedded is not handed out as if it were.
  with pytest.raises(KeyError):
    found.read(store.split('train')[0])
  assert store.spec.observation_shape == store.read(0).observation.shape[1:]
