from __future__ import annotations

import itertools

import numpy as np
import pytest

from safer_tf.common import errors
from safer_tf.data import dataset
from safer_tf.data import pipeline
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


def test_runs_never_cross_episodes_and_pad_as_stated(store):
  for step in range(20):
    batch = _sampler(store).batch(step)
    for row in range(8):
      found = {
          slot: _number_and_step(frame)
          for slot, frame in enumerate(batch.observation[row])
          if batch.valid[row, slot]
      }
      (number,) = {number for number, _ in found.values()}
      (first,) = {step - slot for slot, (_, step) in found.items()}
      for slot in range(_WINDOW - 1 + _LENGTH):
        exists = 0 <= first + slot < store.index.length[number]
        assert batch.valid[row, slot] == exists
        if not exists:
          assert not batch.observation[row, slot].any()


def test_actions_and_weights_belong_to_their_frames(store):
  batch = _sampler(store).batch(3)
  wanted = [store.wanted('safe_success')] * 5 + [store.wanted('unsafe')] * 3
  for row, step in itertools.product(range(8), range(_LENGTH)):
    slot = _WINDOW - 1 + step
    if not batch.valid[row, slot]:
      assert batch.weight[row, step] == 0
      assert not batch.action[row, step].any()
      continue
    number, time = _number_and_step(batch.observation[row, slot])
    np.testing.assert_array_equal(
        batch.action[row, step], store.read(number).action[time]
    )
    offset = store.step_offset[number] + time
    assert batch.weight[row, step] == wanted[row][offset]
  assert (batch.weight.sum(1) > 0).all()  # Every run holds a wanted step.


def test_every_wanted_step_is_equally_likely(store):
  sampler = _sampler(store, kinds=(('unsafe', 50),))
  counts = np.zeros(store.step_offset[-1])
  for step in range(60):
    batch = sampler.batch(step)
    for row, column in zip(*np.nonzero(batch.weight)):
      frame = batch.observation[row, _WINDOW - 1 + column]
      number, time = _number_and_step(frame)
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


def test_batch_is_a_function_of_seed_and_step(store):
  one, same = _sampler(store), _sampler(store)
  for step in (7, 0):
    for left, right in zip(one.batch(step), same.batch(step)):
      np.testing.assert_array_equal(left, right)
  assert (one.batch(0).action != one.batch(1).action).any()
  assert (one.batch(0).action != _sampler(store, 1).batch(0).action).any()


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


def test_sweep_visits_every_episode_once_in_one_shape(store):
  batches = list(pipeline.sweep(store, 'train', batch_size=7))
  assert len({batch.observation.shape for batch in batches}) == 1
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


def test_kind_that_the_split_lacks_is_named(tmp_path):
  episodes = list(fakes.random_episodes(20, fakes.IMAGE_SPEC))
  for episode in episodes:
    episode.unsafe[:] = False
  path = str(tmp_path / 'data')
  dataset.write_dataset(path, fakes.IMAGE_SPEC, episodes)
  with pytest.raises(errors.UserError, match='train split has no unsafe'):
    _sampler(store_lib.EpisodeStore(path))
