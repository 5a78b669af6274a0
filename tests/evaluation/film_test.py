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
  recorder = rollouts.Recorder(envs.load_task(envs.ALL[0]), envs.ALL[0])
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


def _take():
  frames = np.zeros((5, 40, 40, 3), np.uint8)
  return film.Take(frames, np.array([False, True, False, False]), 'a title')


def test_only_the_frame_after_an_unsafe_step_is_marked(tmp_path):
  import imageio

  film.write_video(_take(), str(tmp_path / 'film.mp4'))
  reader = imageio.get_reader(tmp_path / 'film.mp4', format='FFMPEG')
  red = [int(frame[2, 2, 0]) for frame in reader.iter_data()][:5]
  assert [value > 100 for value in red] == [False, False, True, False, False]


def test_only_the_picture_after_an_unsafe_step_is_named():
  figure = film.filmstrip([_take()])
  assert [axes.get_xlabel() for axes in figure.axes[:5]] == [
      'step 0', 'step 1', 'step 2: contact', 'step 3', 'step 4'
  ]


def test_a_strip_holds_the_first_of_several_contacts():
  unsafe = np.zeros(30, bool)
  unsafe[[12, 22, 28]] = True
  assert 13 in film.strip_steps(unsafe, 7)


@pytest.mark.parametrize('labels, success, says', [
    ([True, False], True, 'unsafe episode, object extracted'),
    ([False, False], False, ': safe episode, object not extracted'),
])
def test_a_title_tells_how_an_episode_ended(monkeypatch, labels, success, says):
  told = iter(labels)

  class Env:
    def seed(self, _):
      pass

    def reset(self):
      pass

    def step(self, _):
      pass

    def close(self):
      pass

    def render(self, *_, **__):
      return np.zeros((4, 4, 3), np.uint8)

    def get_info(self):
      return {'unsafe': next(told)}

  monkeypatch.setattr(envs, 'load_task', lambda name: Env())
  assert film.play({
      'task': 'a', 'method': 'safer', 'seed': 1, 'success': success,
      'actions': [[0.0]] * 2, 'unsafe': labels,
  }).title.endswith(says)
