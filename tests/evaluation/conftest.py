"""What tests of evaluation and of calibration share."""

from __future__ import annotations

import pytest

from tests.evaluation import small_run


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  """A run directory of `small_run`."""
  root_dir = str(tmp_path_factory.mktemp('run'))
  small_run.make(root_dir)
  return root_dir
