"""The buffer: true pairs only, pure sampling, exact chunks."""

from __future__ import annotations

import os

import numpy as np
import pytest
from tf_agents.specs import array_spec

from safer_tf.common import errors
from safer_tf.rl import replay

OBSERVATION = array_spec.BoundedArraySpec((2, 2, 1), np.uint8, 0, 255)
ACTION = array_spec.BoundedArraySpec((2,), np.float32, -1, 1)


def _buffer(capacity=100, seed=5):
  return replay.TransitionReplayBuffer(OBSERVATION, ACTION, capacity, seed)


def _frame(episode, step):
  return np.array([episode, step, 0, 0], np.uint8).reshape(2, 2, 1)


def _play(buffer, episodes, length=4):
  """Episodes whose frames say where they are from; truncated if even."""
  for episode in episodes:
    buffer.begin(_frame(episode, 0))
    for step in range(length):
      over = step == length - 1 and episode % 2
      buffer.append(
          np.float32([episode, step]), -step, 0.0 if over else 1.0,
          _frame(episode, step + 1),
      )


def test_no_pair_crosses_an_episode_and_truncation_keeps_the_discount():
  buffer = _buffer()
  _play(buffer, range(6))
  batch = buffer.sample(5000, step=1)
  before, after = (
      array.reshape(-1, 4) for array in (
          batch.observation, batch.next_observation
      )
  )
  np.testing.assert_array_equal(before[:, 0], after[:, 0])  # Episode.
  np.testing.assert_array_equal(before[:, 1] + 1, after[:, 1])  # Step.
  np.testing.assert_array_equal(batch.action, before[:, :2])
  np.testing.assert_array_equal(batch.reward, -before[:, 1].astype(float))
  ended = (before[:, 1] == 3) & (before[:, 0] % 2 == 1)
  np.testing.assert_array_equal(batch.discount, np.where(ended, 0, 1))
  assert len(np.unique(before[:, :2], axis=0)) == 24


def test_sampling_is_a_function_of_seed_and_step_and_uniform():
  buffers = [_buffer(), _buffer(), _buffer(seed=6)]
  for buffer in buffers:
    _play(buffer, range(3))
  draws = [buffer.sample(30, 7).action for buffer in buffers]
  np.testing.assert_array_equal(draws[0], draws[1])
  assert not np.array_equal(draws[0], draws[2])
  assert not np.array_equal(draws[0], buffers[0].sample(30, 8).action)
  _, counts = np.unique(
      buffers[0].sample(12_000, 1).action, axis=0, return_counts=True
  )
  assert counts.shape == (12,)
  assert np.abs(counts - 1000).max() < 160  # Five standard deviations.


def test_chunks_restore_a_checkpoint_and_drop_what_came_after(tmp_path):
  directory = str(tmp_path)
  buffer = _buffer()
  _play(buffer, range(2))
  buffer.save(directory)
  _play(buffer, range(2, 4))
  buffer.save(directory)
  count = buffer.num_frames()
  expected = buffer.sample(50, 3)
  _play(buffer, [4])  # Begun after the checkpoint, killed after its chunk.
  buffer.save(directory)
  assert len(os.listdir(directory)) == 3

  restored = _buffer()
  restored.load(directory, count)
  for found, wanted in zip(restored.sample(50, 3), expected):
    np.testing.assert_array_equal(found, wanted)
  _play(restored, [4, 5])
  restored.save(directory)
  _play(buffer, [5])
  again = _buffer()
  again.load(directory, restored.num_frames())
  for found, wanted in zip(again.sample(50, 9), buffer.sample(50, 9)):
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    'damage', ['missing', 'truncated', 'empty', 'too_long']
)
def test_damaged_chunks_are_named(tmp_path, damage):
  directory = str(tmp_path)
  buffer = _buffer()
  _play(buffer, range(2))
  buffer.save(directory)
  path = os.path.join(directory, os.listdir(directory)[0])
  count = buffer.num_frames()
  if damage == 'missing':
    os.remove(path)
  elif damage in ('truncated', 'empty'):
    with open(path, 'r+b') as file:
      file.truncate(
          os.path.getsize(path) // 2 if damage == 'truncated' else 0
      )
  else:
    count -= 1
  with pytest.raises(errors.UserError, match='replay-000000000.npz'):
    _buffer().load(directory, count)


def test_a_full_buffer_says_so():
  buffer = _buffer(capacity=3)
  with pytest.raises(errors.UserError, match='full'):
    _play(buffer, [0])


def test_tf_agents_interface():
  source, buffer = _buffer(), _buffer()
  _play(source, range(3))
  everything = source.gather_all()
  buffer.add_batch(everything)
  assert buffer.num_frames() == 12 and buffer.capacity == 100
  np.testing.assert_array_equal(
      buffer.gather_all().next_time_step.observation,
      everything.next_time_step.observation,
  )
  transition, _ = buffer.get_next(sample_batch_size=8)
  assert transition.time_step.observation.shape == (8, 2, 2, 1)
  dataset = buffer.as_dataset(sample_batch_size=8)
  item, _ = next(iter(dataset))
  np.testing.assert_array_equal(
      item.action_step.action[:, 0],
      item.time_step.observation[:, 0, 0, 0].numpy().astype(float),
  )
  rows = list(buffer.as_dataset(single_deterministic_pass=True))
  assert len(rows) == 12
  buffer.clear()
  assert buffer.num_frames() == 0


def test_episodes_of_one_step_fit_up_to_the_capacity():
  buffer = _buffer(capacity=4)
  _play(buffer, range(4), length=1)
  assert buffer.num_frames() == 4
  np.testing.assert_array_equal(
      buffer.gather_all().time_step.observation[:, 0, 0, 0], range(4)
  )


def test_what_was_loaded_is_not_saved_again(tmp_path):
  directory = str(tmp_path)
  buffer = _buffer()
  _play(buffer, range(2))
  buffer.save(directory)
  restored = _buffer()
  restored.load(directory, buffer.num_frames())
  _play(restored, [2])
  restored.save(directory)
  path = os.path.join(directory, 'replay-000000008.npz')
  with np.load(path) as chunk:
    assert len(chunk['reward']) == 4


def test_a_cleared_buffer_saves_what_is_added_from_its_start(tmp_path):
  buffer = _buffer()
  _play(buffer, range(2))
  buffer.save(str(tmp_path / 'old'))
  buffer.clear()
  _play(buffer, range(2, 4))
  (tmp_path / 'new').mkdir()
  buffer.save(str(tmp_path / 'new'))
  restored = _buffer()
  restored.load(str(tmp_path / 'new'), 8)
  np.testing.assert_array_equal(
      restored.gather_all().action_step.action,
      buffer.gather_all().action_step.action,
  )
