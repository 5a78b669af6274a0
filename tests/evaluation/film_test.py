"""Episodes play again as recorded; strips hold the first contact."""

from __future__ import annotations

import numpy as np
import pytest

import envs
from safer_tf.common import errors
from safer_tf.evaluation import film
from safer_tf.evaluation import rollouts


@pytest.fixture(scope='module')
def replay():
  """Straight down: the hand ends in the container."""
  down = np.array([0.3, 0.9, -0.9, 0, 0, 0.8], np.float32)
  recorder = rollouts.Recorder(envs.load_task(envs.ALL[0]))
  record = next(rollouts.roll_out(recorder, recorder, lambda _: down, [5]))
  recorder.close()
  return {
      'task': envs.ALL[0], 'method': 'safer', 'seed': 5,
      'success': record.success,
      'actions': record.actions.tolist(), 'unsafe': record.unsafe.tolist(),
  }


def test_a_recorded_episode_plays_again(replay):
  take = film.play(replay, pixels=64)
  assert take.frames.shape == (len(replay['actions']) + 1, 64, 64, 3)
  assert take.unsafe.any()
  assert (take.frames[0] != take.frames[5]).any()
  assert 'SAFER' in take.title


def test_an_episode_that_plays_otherwise_is_refused(replay):
  flipped = [not label for label in replay['unsafe']]
  with pytest.raises(errors.UserError, match='no longer plays'):
    film.play({**replay, 'unsafe': flipped}, pixels=32)


def test_a_video_is_written_and_marks_unsafe_frames(replay, tmp_path):
  take = film.play(replay, pixels=64)
  path = tmp_path / 'a' / 'film.mp4'
  before = take.frames.copy()
  film.write_video(take, str(path))
  np.testing.assert_array_equal(take.frames, before)
  import imageio

  reader = imageio.get_reader(path, format='FFMPEG')
  frames = np.stack([frame for frame in reader.iter_data()])
  assert len(frames) >= len(take.frames)
  unsafe = int(np.argmax(take.unsafe)) + 1
  orange = np.array([213, 94, 0])
  corner = frames[:, 2, 2].astype(int)
  assert np.abs(corner[unsafe] - orange).max() < 60
  assert np.abs(corner[0] - orange).max() > 60


@pytest.mark.parametrize('length, contact', [
    (30, None), (30, 1), (30, 30), (30, 13), (4, 2), (1, 1)
])
def test_a_strip_is_spread_out_and_holds_the_first_contact(length, contact):
  unsafe = np.zeros(length, bool)
  if contact is not None:
    unsafe[contact - 1] = True
  steps = film.strip_steps(unsafe, 7)
  assert steps == sorted(set(steps))
  assert 1 <= len(steps) <= 7
  assert steps[0] == 0 and steps[-1] == length
  assert contact is None or contact in steps


def test_the_strip_and_the_tasks_are_drawn(replay):
  take = film.play(replay, pixels=32)
  figure = film.filmstrip([take])
  texts = [axes.get_xlabel() for axes in figure.axes]
  assert any('contact' in text for text in texts)
  names = (envs.ALL[0], envs.EVALUATION[0])
  titles = [axes.get_title() for axes in film.tasks_figure(names).axes]
  assert titles[:2] == [envs.ALL[0], f'Task 1: {envs.EVALUATION[0]}']
