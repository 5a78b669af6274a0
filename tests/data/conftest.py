"""A small dataset, written and as it was."""

from __future__ import annotations

import pytest

from safer_tf.data import dataset
from tests.data import fakes


@pytest.fixture
def episodes():
  return list(fakes.random_episodes(40, fakes.VECTOR_SPEC))


@pytest.fixture
def path(tmp_path, episodes):
  path = str(tmp_path / 'data')
  dataset.write_dataset(
      path, fakes.VECTOR_SPEC, episodes, episodes_per_shard=7
  )
  return path
