from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from safer_tf.common import errors
from safer_tf.data import dataset
from safer_tf.data import pipeline
from safer_tf.data import splits
from safer_tf.data import store as store_lib
from tests.data import fakes

_WINDOW, _LENGTH = 4, 3


@pytest.fixture(scope='module')
def store(tmp_path_factory):
  path = str(tmp_path_factory.mktemp('store') / 'data')
  episodes = fakes.random_episodes(60, fakes.IMAGE_SPEC)
  dataset.write_dataset(path, fakes.IMAGE_SPEC, episodes)
  return store_lib.EpisodeStore(path)


def _sampler(store, seed=0, kinds=(('safe_success', 5), ('unsafe', 3))):
  return pipeline.RunSampler(store, 'train', kinds, _WINDOW, _LENGTH, seed)


def _number_and_step(frame):
  return int(frame.ravel()[0]) - 1, int(frame.ravel()[1]) - 1


def test_tuples_are_the_wanted_steps_of_the_runs(store):
  sampler = _sampler(store)
  kinds = 'safe_success', 'unsafe'
  for step in range(20):
    batch, (runs, kind) = sampler.batch(step), sampler._draw(step)
    expected = []
    for number, start, each in zip(*runs, kind):
      offset, wanted = store.step_offset[number], store.wanted(kinds[each])
      steps = range(max(start, 0), min(
          start + _LENGTH, store.index.length[number]
      ))
      found = [(each, number, time) for time in steps if wanted[offset + time]]
      assert found  # Every run holds a wanted step.
      expected += found
    counted = batch.kind >= 0
    # Frames are scaled by their type.
    assert batch.observation.dtype == store.spec.observation_dtype
    current = batch.observation[batch.window[counted, -1]]
    assert expected == [
        (each, *_number_and_step(frame))
        for each, frame in zip(batch.kind[counted], current)
    ]
    for action, (_, number, time) in zip(batch.action[counted], expected):
      np.testing.assert_array_equal(action, store.read(number).action[time])


def test_windows_hold_the_frames_up_to_the_step_and_never_cross_episodes(store):
  batch = _sampler(store).batch(3)
  for row in np.flatnonzero(batch.kind >= 0):
    number, time = _number_and_step(batch.observation[batch.window[row, -1]])
    for back in range(_WINDOW):
      slot = _WINDOW - 1 - back
      assert batch.valid[row, slot] == (time >= back)
      if time >= back:
        frame = batch.observation[batch.window[row, slot]]
        assert _number_and_step(frame) == (number, time - back)
  assert not batch.valid[batch.kind < 0].any()


def test_no_frame_is_handed_on_that_no_tuple_needs(store, monkeypatch):
  rounded = _sampler(store).batch(0)
  assert len(rounded.observation) % 32 == len(rounded.kind) % 32 == 0
  monkeypatch.setattr(pipeline, '_MULTIPLE', 1)
  batch = _sampler(store).batch(0)
  assert (batch.kind >= 0).all()
  assert len(set(batch.window[batch.valid])) == len(batch.observation)
  assert len(batch.observation) < 8 * (_WINDOW - 1 + _LENGTH)


def test_every_wanted_step_is_equally_likely(store):
  sampler = _sampler(store, kinds=(('unsafe', 50),))
  counts = np.zeros(store.step_offset[-1])
  for step in range(60):
    batch = sampler.batch(step)
    for place in batch.window[batch.kind >= 0, -1]:
      number, time = _number_and_step(batch.observation[place])
      counts[store.step_offset[number] + time] += 1
  in_train = np.isin(
      np.repeat(np.arange(len(store)), store.index.length), store.split('train')
  )
  wanted = store.index.unsafe & in_train
  assert not counts[~wanted].any()
  # A chi-square statistic of independent draws would be near 1 a degree of
  # freedom; steps of one run come together, which raises it up to threefold.
  expected = counts.sum() / wanted.sum()
  statistic = ((counts[wanted] - expected) ** 2 / expected).mean()
  assert statistic < 1.6
  # And no step of an edge is rarer: first and last steps against the rest.
  first = np.zeros(len(counts), bool)
  first[store.step_offset[:-1]] = True
  ratio = counts[wanted & first].mean() / counts[wanted & ~first].mean()
  assert 0.8 < ratio < 1.25


def test_episodes_are_those_that_batches_are_drawn_from(store):
  for kinds in ((('unsafe', 9),), (('safe_success', 5), ('unsafe', 3))):
    sampler = _sampler(store, kinds=kinds)
    drawn = {
        number for step in range(200)
        for number in sampler._draw(step)[0].episode
    }
    assert sorted(drawn) == sampler.episodes.tolist()
    assert len(drawn) < len(store)


def test_batch_is_a_function_of_seed_and_step(store):
  one, same = _sampler(store), _sampler(store)
  for step in (7, 0):
    for left, right in zip(one.batch(step), same.batch(step)):
      np.testing.assert_array_equal(left, right)
  others = one.batch(0), one.batch(1), _sampler(store, 1).batch(0)
  for left, right in itertools.combinations(others, 2):
    assert not np.array_equal(left.action, right.action)


def test_resumed_training_sees_the_batches_it_would_have_seen(store):
  whole = pipeline.training_batches(_sampler(store))
  resumed = pipeline.training_batches(_sampler(store), first_step=5)
  for left, right in itertools.islice(
      zip(itertools.islice(whole, 5, None), resumed), 6
  ):
    for one, other in zip(left, right):
      np.testing.assert_array_equal(one, other)
  whole.close()
  resumed.close()


@pytest.mark.parametrize('frames, shapes', [(1_024, 1), (48, 2), (7, 2)])
def test_sweep_visits_every_episode_once_in_few_shapes(
    store, monkeypatch, frames, shapes
):
  monkeypatch.setattr(pipeline, 'FRAMES', frames)
  batches = list(pipeline.sweep(store, 'train', batch_size=7))
  assert len({batch.valid.shape for batch in batches}) >= shapes
  longest = store.index.length[store.split('train')].max()
  for batch in batches:
    count, steps = batch.valid.shape
    assert count == 1 or count * steps <= frames
    assert count <= 7 and steps <= longest
    assert steps < 2 * batch.valid.numpy().sum(1).max() or steps == longest
  numbers = np.concatenate([batch.episode for batch in batches])
  assert numbers[numbers >= 0].tolist() == store.split('train').tolist()
  for batch in batches:
    for row, number in enumerate(batch.episode.numpy()):
      valid = batch.valid[row].numpy()
      if number < 0:
        assert not valid.any()
        continue
      episode = store.read(number)
      assert valid.sum() == len(episode) and valid[:len(episode)].all()
      for name in ('observation', 'action', 'unsafe'):
        found = getattr(batch, name)[row].numpy()
        np.testing.assert_array_equal(found[valid], getattr(episode, name))
        assert not found[~valid].any()
      assert bool(batch.success[row]) == episode.success


def test_one_long_episode_makes_no_other_batch_longer(tmp_path):
  episodes = list(fakes.random_episodes(60, fakes.IMAGE_SPEC, max_length=8))
  long, = fakes.random_episodes(1, fakes.IMAGE_SPEC, max_length=1)
  repeated = {
      name: np.repeat(getattr(long, name), 3_000, axis=0)
      for name in ('observation', 'action', 'reward', 'unsafe')
  }
  episodes[30] = dataclasses.replace(long, index=30, seed=30, **repeated)
  path = str(tmp_path / 'data')
  dataset.write_dataset(path, fakes.IMAGE_SPEC, episodes)
  batches = list(pipeline.sweep(store_lib.EpisodeStore(path), splits.ALL))
  numbers = np.concatenate([batch.episode for batch in batches])
  assert sorted(numbers[numbers >= 0]) == list(range(60))
  assert sorted(tuple(batch.valid.shape) for batch in batches) == [
      (1, 3_000), (32, 8), (32, 8)
  ]


def test_sweep_over_a_part_is_spread_out(store):
  (batch,) = pipeline.sweep(store, 'train', batch_size=5, max_episodes=5)
  split = store.split('train')
  assert batch.episode[0] == split[0] and batch.episode[-1] == split[-1]
  assert len(set(batch.episode.numpy())) == 5


def test_error_in_the_background_reaches_the_consumer():
  def failing(step):
    if step == 3:
      raise errors.UserError('damaged')
    return step

  results = pipeline.prefetched(failing, itertools.count())
  assert list(itertools.islice(results, 3)) == [0, 1, 2]
  with pytest.raises(errors.UserError, match='damaged'):
    next(results)


def test_results_are_made_ahead_by_the_depth_and_no_more():
  drawn = []
  items = (drawn.append(item) or item for item in itertools.count())
  results = pipeline.prefetched(lambda item: item, items, depth=3)
  for count in range(1, 6):
    assert next(results) == count - 1
    assert len(drawn) == count + 3
  results.close()


@pytest.mark.parametrize('window, length', [(0, 3), (4, 0), (4, -1)])
def test_windows_and_runs_of_no_step_are_refused(store, window, length):
  message = r'train_prior\.(window is 0|run_length is (0|-1));'
  with pytest.raises(errors.UserError, match=message):
    pipeline.RunSampler(store, 'train', [('unsafe', 1)], window, length, 0)


def test_kind_that_the_split_lacks_is_named(tmp_path):
  episodes = list(fakes.random_episodes(20, fakes.IMAGE_SPEC))
  for episode in episodes:
    episode.unsafe[:] = False
  path = str(tmp_path / 'data')
  dataset.write_dataset(path, fakes.IMAGE_SPEC, episodes)
  with pytest.raises(errors.UserError, match='train split has no unsafe'):
    _sampler(store_lib.EpisodeStore(path))
