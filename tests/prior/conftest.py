"""What the tests of small trainings share: their config, and data."""

from __future__ import annotations

import os

import gin
import pytest

from safer_tf.common import layout
from tests.prior import synthetic

_SMALL = """
train_prior.prior = 'safer'
train_prior.num_steps = 6
train_prior.safe_runs = 3
train_prior.unsafe_runs = 3
train_prior.run_length = 4
train_prior.window = 3
train_prior.unsafe_weight = 0.1
train_prior.validation_interval = 2
train_prior.checkpoint_interval = 3
train_prior.summary_interval = 2
ConditionalRealNVP.num_couplings = 2
ConditionalRealNVP.hidden = (16,)
TransformerPosterior.width = 8
vector_encoder.embedding_dim = 16
"""


@pytest.fixture
def small():
  """Trainings of six steps; no gin value is left behind."""
  gin.clear_config()
  gin.parse_config(_SMALL)
  yield
  gin.clear_config()


@pytest.fixture(scope='module', name='small_data')
def _small_data(tmp_path_factory):
  root = str(tmp_path_factory.mktemp('data'))
  synthetic.write(root)
  return layout.data_dir(root)


@pytest.fixture(name='root')
def _root(small_data, tmp_path):
  """A run directory that has data."""
  os.symlink(small_data, tmp_path / layout.DATA_DIR)
  return str(tmp_path)
