"""No checkpoint is taken for none, but where none was taken."""

from __future__ import annotations

import pytest
import tensorflow as tf

from safer_tf.common import checkpoint
from safer_tf.common import errors


@pytest.fixture
def directory(tmp_path):
  path = tmp_path / 'checkpoints'
  tf.train.CheckpointManager(
      tf.train.Checkpoint(value=tf.Variable(1.0)), str(path), max_to_keep=1
  ).save(checkpoint_number=7)
  return path


def test_the_latest_is_found(directory, tmp_path):
  assert checkpoint.latest(str(directory), 'it').endswith('ckpt-7')
  assert checkpoint.latest(str(tmp_path), 'it') is None
  # Stopped within the first: it has no list yet.
  (directory / 'checkpoint').unlink()
  assert checkpoint.latest(str(directory), 'it') is None


@pytest.mark.parametrize('damage', [
    lambda text: '', lambda text: text[:9],
    lambda text: text.replace('ckpt-7', 'ckpt-6'),
])
def test_a_damaged_list_is_told(directory, damage):
  listed = directory / 'checkpoint'
  listed.write_text(damage(listed.read_text()))
  with pytest.raises(errors.UserError, match='damaged.*delete the run'):
    checkpoint.latest(str(directory), 'the run')
