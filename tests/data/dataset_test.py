"""Writing a dataset, what suits one, and what is damaged."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.data import dataset
from safer_tf.data import store as store_lib
from tests.data import fakes


def test_unsuitable_episode_is_refused_and_leaves_no_dataset(tmp_path):
  episodes = list(fakes.random_episodes(9, fakes.VECTOR_SPEC))
  wrong = dataclasses.replace(episodes[8], action=episodes[8].action * np.nan)
  path = str(tmp_path / 'data')
  with pytest.raises(errors.UserError, match='Episode 8 of left.*action'):
    dataset.write_dataset(
        path, fakes.VECTOR_SPEC, [*episodes[:8], wrong], episodes_per_shard=2
    )
  with pytest.raises(errors.UserError, match='not finished'):
    store_lib.EpisodeStore(path)
  # Mended, in fewer shards: nothing of the first attempt stays.
  dataset.write_dataset(path, fakes.VECTOR_SPEC, episodes)
  assert len(store_lib.EpisodeStore(path)) == 9
  assert len([name for name in os.listdir(path) if 'tfrecord' in name]) == 1


def test_an_index_does_not_outlive_its_shards(path, episodes):
  def interrupted():
    yield from episodes[:3]
    raise KeyboardInterrupt

  os.remove(os.path.join(path, layout.STAGE))
  with pytest.raises(KeyboardInterrupt):
    dataset.write_dataset(
        path, fakes.VECTOR_SPEC, interrupted(), episodes_per_shard=1
    )
  with pytest.raises(errors.UserError, match='not finished.*write them again'):
    store_lib.EpisodeStore(path)


def test_a_finished_dataset_is_not_written_over(path, episodes):
  before = store_lib.EpisodeStore(path).fingerprint()
  with pytest.raises(errors.UserError, match='holds a dataset already'):
    dataset.write_dataset(path, fakes.VECTOR_SPEC, episodes[:1])
  assert store_lib.EpisodeStore(path).fingerprint() == before


@pytest.mark.parametrize('change, message', [
    ({'action': lambda e: 3 * np.ones_like(e.action)}, r'3 .*scale.*\[-1, 1\]'),
    ({'action': lambda e: e.action[:, :1]}, 'action has shape'),
    ({'unsafe': lambda e: np.full(len(e), 0.9)}, 'unsafe holds.*label'),
    ({'observation': lambda e: e.observation * np.inf}, 'observation holds'),
    ({'observation': lambda e: e.observation.astype(float)}, 'float64'),
    ({'action': lambda e: e.action[1:]}, 'action has shape.*rewards'),
    ({'reward': lambda e: [None] * len(e)}, 'reward is object'),
    ({'reward': lambda e: None}, 'no rewards'),
    ({'reward': lambda e: e.reward[:, None]}, r'reward has shape .*, 1\)'),
    ({'reward': lambda e: [[1], [1, 2]]}, 'ragged'),
    ({'noise': lambda e: None}, 'noise is None'),
    ({'task': lambda e: 'a/b'}, "task is 'a/b'"),
    ({'task': lambda e: ''}, "task is ''"),
    ({'index': lambda e: 1 << 63}, 'index is 9.*63 bits'),
    ({'noise': lambda e: np.nan}, 'noise is nan'),
    ({'success': lambda e: 0.7}, 'success is 0.7'),
    ({'success': lambda e: e.unsafe}, 'success is'),
    ({'index': lambda e: None}, 'index is None'),
    ({'task': lambda e: b'left'}, "task is b'left'"),
])
def test_what_is_wrong_with_an_episode_is_named(change, message):
  episode, = fakes.random_episodes(1, fakes.VECTOR_SPEC)
  (name, make), = change.items()
  wrong = dataclasses.replace(episode, **{name: make(episode)})
  with pytest.raises(errors.UserError, match=message):
    dataset.check(wrong, fakes.VECTOR_SPEC)


def test_what_is_no_episode_is_named():
  episode, = fakes.random_episodes(1, fakes.VECTOR_SPEC)
  with pytest.raises(errors.UserError, match='dict is no episode'):
    dataset.check(dataclasses.asdict(episode), fakes.VECTOR_SPEC)


def test_plain_sequences_will_do(tmp_path, episodes):
  plain = [
      dataclasses.replace(
          episode, reward=episode.reward.tolist(),
          unsafe=[int(label) for label in episode.unsafe],
          noise=np.float32(episode.noise), index=np.int64(episode.index),
          success=np.bool_(episode.success),
      ) for episode in episodes
  ]
  for name, written in (('arrays', episodes), ('lists', plain)):
    dataset.write_dataset(str(tmp_path / name), fakes.VECTOR_SPEC, written)
  assert store_lib.EpisodeStore(str(tmp_path / 'lists')).fingerprint() == (
      store_lib.EpisodeStore(str(tmp_path / 'arrays')).fingerprint())


def test_actions_may_pass_the_range_by_rounding():
  episode, = fakes.random_episodes(1, fakes.VECTOR_SPEC)
  action = np.full_like(episode.action, np.nextafter(np.float32(1), 2))
  checked = dataset.check(
      dataclasses.replace(episode, action=action), fakes.VECTOR_SPEC
  )
  np.testing.assert_array_equal(checked.action, action)


def test_an_action_is_within_its_limits_to_rounding():
  episode = next(fakes.random_episodes(1, fakes.VECTOR_SPEC))
  episode.action[0, 0] = 1 + 1e-4
  with pytest.raises(errors.UserError, match='scale actions'):
    dataset.check(episode, fakes.VECTOR_SPEC)


def test_two_episodes_of_one_name_are_refused(tmp_path, episodes):
  again = dataclasses.replace(episodes[3], index=episodes[0].index)
  with pytest.raises(errors.UserError, match='Two episodes are named'):
    dataset.write_dataset(
        str(tmp_path / 'data'), fakes.VECTOR_SPEC,
        [episodes[0], dataclasses.replace(again, task=episodes[0].task,
                                          seed=episodes[0].seed)],
    )


@pytest.mark.parametrize('name, value', [
    ('task', '.left'), ('seed', 1 << 63),
])
def test_names_that_no_index_can_hold_are_refused(name, value):
  episode, = fakes.random_episodes(1, fakes.VECTOR_SPEC)
  with pytest.raises(errors.UserError, match=f'{name} is '):
    dataset.check(
        dataclasses.replace(episode, **{name: value}), fakes.VECTOR_SPEC
    )


def test_missing_dataset_is_named(tmp_path):
  with pytest.raises(errors.UserError, match='episode_spec.*collect_data'):
    store_lib.EpisodeStore(str(tmp_path))


def test_unfinished_dataset_is_named(path):
  os.remove(os.path.join(path, layout.DATA_INDEX))
  with pytest.raises(errors.UserError, match='not finished'):
    store_lib.EpisodeStore(path)


@pytest.mark.parametrize('damage', ['truncated', 'flipped'])
def test_damaged_index_is_named(path, damage):
  name = os.path.join(path, layout.DATA_INDEX)
  with open(name, 'rb') as file:
    content = bytearray(file.read())
  if damage == 'truncated':
    content = content[:len(content) // 2]
  else:
    content[len(content) // 3] ^= 255
  with open(name, 'wb') as file:
    file.write(content)
  with pytest.raises(errors.UserError, match=r'index\.npz is damaged'):
    store_lib.EpisodeStore(path)


def test_another_format_version_is_refused(path):
  name = os.path.join(path, layout.EPISODE_SPEC)
  spec = files.read_json(name, 'spec')
  files.write_json(name, {**spec, 'format_version': 99})
  with pytest.raises(errors.UserError, match='version 99, expected 1'):
    store_lib.EpisodeStore(path)
