from __future__ import annotations

import os

import numpy as np
import pytest
import tensorflow as tf

from safer_tf.common import errors
from safer_tf.prior import checkpoints


class _Learner(tf.Module):
  """As much of a learner as a checkpoint sees."""

  def __init__(self):
    super().__init__()
    self.step = tf.Variable(0, dtype=tf.int64)
    self.prior = tf.Module()
    self.prior.weight = tf.Variable([0.0])

  def at(self, step):
    self.step.assign(step)
    self.prior.weight.assign([float(step)])


def _opened(directory):
  learner = _Learner()
  return learner, checkpoints.Checkpoints(learner, str(directory), num_best=3)


def test_latest_and_best_are_restored(tmp_path):
  learner, first = _opened(tmp_path)
  assert first.latest is None
  for step, objective in [(1, 1.0), (2, 3.0), (3, 2.0), (4, float('nan'))]:
    learner.at(step)
    assert first.keep_if_best(objective) == (step in (1, 2))
    first.save(seconds=10.0 * step)
  learner, second = _opened(tmp_path)
  second.restore_latest()
  assert learner.step == 4
  assert second.seconds == 40
  np.testing.assert_array_equal(learner.prior.weight, [4])
  assert second.best_step == 2
  assert not second.keep_if_best(2.5)
  second.restore_best()
  np.testing.assert_array_equal(learner.prior.weight, [2])


def test_a_best_is_kept_for_as_long_as_one_of_the_latest_names_it(tmp_path):
  learner, opened = _opened(tmp_path)
  for step in range(1, 10):  # Each is the best so far, every third is saved.
    learner.at(step)
    opened.keep_if_best(float(step))
    if step % 3 == 0 and step < 9:
      opened.save(0.0)
  for name, best in (('ckpt-3', 3), ('ckpt-6', 6)):
    _, again = _opened(tmp_path)
    path = str(tmp_path / 'latest' / name)
    tf.train.Checkpoint(best_step=again._best_step).restore(
        path).expect_partial()
    assert again.best_step == best
    again.restore_best()
    np.testing.assert_array_equal(again._learner.prior.weight, [best])


def test_without_a_best_the_last_is_left(tmp_path):
  learner, opened = _opened(tmp_path)
  learner.at(5)
  opened.restore_latest()
  opened.restore_best()
  np.testing.assert_array_equal(learner.prior.weight, [5])


def test_a_damaged_checkpoint_is_told(tmp_path):
  _, opened = _opened(tmp_path)
  opened.save(1.0)
  with open(f'{opened.latest}.index', 'r+b') as file:
    file.truncate(20)
  with pytest.raises(errors.UserError, match='ckpt-0 cannot be read'):
    opened.restore_latest()


def test_what_cannot_be_written_is_told(tmp_path):
  _, opened = _opened(tmp_path)
  directory = os.path.join(tmp_path, 'latest')
  if os.path.isdir(directory):
    os.rmdir(directory)
  with open(directory, 'w') as file:
    file.write('in the way')
  with pytest.raises(errors.UserError, match=f'Cannot write {directory}'):
    opened.save(1.0)


@pytest.mark.parametrize('which', ['latest', 'best'])
def test_a_damaged_list_of_checkpoints_is_told(tmp_path, which):
  _, opened = _opened(tmp_path)
  opened.keep_if_best(1.0)
  opened.save(1.0)
  (tmp_path / which / 'checkpoint').write_text('')
  with pytest.raises(errors.UserError, match=f'{which}/checkpoint names no'):
    _opened(tmp_path)


def test_a_damaged_best_is_told(tmp_path):
  learner, opened = _opened(tmp_path)
  learner.at(1)
  opened.keep_if_best(1.0)
  os.remove(tmp_path / 'best' / 'ckpt-1.index')
  with pytest.raises(errors.UserError, match='ckpt-1 cannot be read'):
    opened.restore_best()
