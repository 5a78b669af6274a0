"""What the tests of cells share: a prior and a run directory that has it."""

from __future__ import annotations

import os

import gin
import pytest

from safer_tf.common import layout
from tests.rl import fakes


@pytest.fixture
def small_networks():
  """Agents of small networks; no gin value is left behind."""
  with gin.unlock_config():
    gin.parse_config('make_agent.hidden_units = (32, 32)')
  yield
  gin.clear_config()


@pytest.fixture(scope='module', name='prior_dir')
def _prior_dir(tmp_path_factory):
  path = str(tmp_path_factory.mktemp('run') / 'export')
  return fakes.export_prior(path)


@pytest.fixture(name='root')
def _root(tmp_path, prior_dir):
  path = layout.export_dir(str(tmp_path), 'seen', 'safer')
  os.makedirs(os.path.dirname(path))
  os.symlink(prior_dir, path)
  return str(tmp_path)
