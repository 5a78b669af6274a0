from __future__ import annotations

import dataclasses
import os
import types

import numpy as np
import pytest

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.data import card
from safer_tf.data import dataset
from safer_tf.data import schema
from safer_tf.data import shards
from safer_tf.data import splits
from safer_tf.data import store as store_lib
from tests.data import fakes


@pytest.fixture
def episodes():
  return list(fakes.random_episodes(40, fakes.VECTOR_SPEC))


@pytest.fixture
def path(tmp_path, episodes):
  path = str(tmp_path / 'data')
  dataset.write_dataset(
      path, fakes.VECTOR_SPEC, episodes, episodes_per_shard=7
  )
  return path


def test_reads_every_episode_of_several_shards(path, episodes):
  store = store_lib.EpisodeStore(path)
  assert len(store) == 40 and len(store.index.shard_names) == 6
  for number, episode in enumerate(episodes):
    fakes.assert_same(store.read(number), episode)


def test_labels_are_those_of_the_episodes(path, episodes):
  store = store_lib.EpisodeStore(path)
  for number, episode in enumerate(episodes):
    steps = slice(*store.step_offset[number:number + 2])
    np.testing.assert_array_equal(store.index.unsafe[steps], episode.unsafe)
    wanted = {kind: store.wanted(kind)[steps] for kind in store_lib.KINDS}
    np.testing.assert_array_equal(wanted['unsafe'], episode.unsafe)
    np.testing.assert_array_equal(
        wanted['safe_success'], ~episode.unsafe & episode.success
    )
    assert (wanted['success_any'] == episode.success).all()


def test_splits_are_disjoint_and_whole(path):
  store = store_lib.EpisodeStore(path)
  parts = [store.split('train'), store.split('calibration')]
  for name in ('validation', 'test'):
    try:
      parts.append(store.split(name))
    except errors.UserError:  # So few episodes may leave a split empty.
      pass
  assert sorted(np.concatenate(parts)) == list(range(40))


@pytest.mark.parametrize('varied', ['task', 'seed', 'index'])
def test_split_shares(varied):
  count = 40000
  columns = {name: np.zeros(count, int) for name in ('task', 'seed', 'index')}
  columns[varied] = np.arange(count)
  split = splits.split_of(types.SimpleNamespace(**columns))
  shares = np.bincount(split, minlength=4) / count
  np.testing.assert_allclose(shares, [0.8, 0.05, 0.1, 0.05], atol=0.006)


def test_split_of_an_episode_does_not_depend_on_the_others(path):
  index = dataset.read_index(path)
  part = dataset.index_shard(
      os.path.join(path, index.shard_names[2]), fakes.VECTOR_SPEC
  )
  np.testing.assert_array_equal(
      splits.split_of(part), splits.split_of(index)[index.shard == 2]
  )


def test_task_filter_limits_the_splits(path):
  store = store_lib.EpisodeStore(path, tasks=['left'])
  assert set(store.index.task[store.split('train')]) == {'left'}
  with pytest.raises(errors.UserError, match='no episodes of up.*left, right'):
    store_lib.EpisodeStore(path, tasks=['left', 'up'])


def test_what_is_left_out_is_in_no_split(path):
  store = store_lib.EpisodeStore(path, without=['left', 'up'])
  assert set(store.index.task[store.split('all')]) == {'right'}
  with pytest.raises(errors.UserError, match='no episodes of tasks other than'):
    store_lib.EpisodeStore(path, without=['left', 'right'])


def test_fingerprint_is_of_the_content_alone(path, episodes, tmp_path):
  def fingerprint(name, kept, episodes_per_shard=5):
    other = str(tmp_path / name)
    dataset.write_dataset(
        other, fakes.VECTOR_SPEC, kept, episodes_per_shard=episodes_per_shard
    )
    return store_lib.EpisodeStore(other).fingerprint()

  ours = store_lib.EpisodeStore(path).fingerprint()
  assert fingerprint('same', episodes) == ours  # In other shards.
  assert fingerprint('fewer', episodes[:-1]) != ours
  moved = dataclasses.replace(episodes[0], action=-episodes[0].action)
  assert fingerprint('moved', [moved, *episodes[1:]]) != ours
  relabelled = dataclasses.replace(episodes[9], unsafe=~episodes[9].unsafe)
  assert fingerprint(
      'relabelled', [*episodes[:9], relabelled, *episodes[10:]]
  ) != ours


def test_another_observation_shape_is_refused(path):
  store = store_lib.EpisodeStore(path)
  store.require(fakes.VECTOR_SPEC, 'prior x')
  other = schema.EpisodeSpec((48, 48, 3), 'uint8', 6)
  with pytest.raises(errors.UserError, match=r'prior x.*uint8.*float32 \[3\]'):
    store.require(other, 'prior x')


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


def test_two_episodes_of_one_name_are_refused(tmp_path, episodes):
  again = dataclasses.replace(episodes[3], index=episodes[0].index)
  with pytest.raises(errors.UserError, match='Two episodes are named'):
    dataset.write_dataset(
        str(tmp_path / 'data'), fakes.VECTOR_SPEC,
        [episodes[0], dataclasses.replace(again, task=episodes[0].task,
                                          seed=episodes[0].seed)],
    )


def test_card_counts(path, episodes):
  card = files.read_json(os.path.join(path, layout.DATA_CARD), 'card')
  left = [episode for episode in episodes if episode.task == 'left']
  unsafe = sum(int(episode.unsafe.sum()) for episode in left)
  safe = sum(
      int((~episode.unsafe).sum()) for episode in left if episode.success
  )
  found = card['by_task']['left']
  assert found['episodes'] == len(left)
  assert found['steps'] == sum(map(len, left))
  assert found['success_share'] == np.mean([e.success for e in left])
  assert found['natural_unsafe_share'] == unsafe / (unsafe + safe)
  for group in ('by_task', 'by_noise', 'by_split'):
    steps = sum(counts['steps'] for counts in card[group].values())
    assert steps == card['total']['steps'] == sum(map(len, episodes))


def test_the_split_of_an_episode_never_changes():
  index = types.SimpleNamespace(
      task=['extract_00'] * 40, seed=[0] * 40, index=range(40)
  )
  found = np.array(splits.NAMES)[splits.split_of(index)]
  assert {
      name: np.flatnonzero(found == name).tolist()
      for name in splits.NAMES[1:]
  } == {
      'validation': [36], 'calibration': [1, 13, 32, 38], 'test': [6, 20],
  }


def test_the_card_counts_by_hand(path, episodes):
  index = store_lib.EpisodeStore(path).index
  for task, counts in card.data_card(index)['by_task'].items():
    ours = [each for each in episodes if each.task == task]
    unsafe = sum(each.unsafe.sum() for each in ours)
    safe = sum((~each.unsafe).sum() for each in ours if each.success)
    assert counts['success_share'] == np.mean([each.success for each in ours])
    assert counts['unsafe_steps'] == unsafe
    assert counts['safe_steps_of_successful_episodes'] == safe
    assert counts['natural_unsafe_share'] == unsafe / (unsafe + safe)
    assert counts['steps'] == sum(map(len, ours))
    assert counts['mean_length'] == counts['steps'] / len(ours)


def test_an_action_is_within_its_limits_to_rounding():
  episode = next(fakes.random_episodes(1, fakes.VECTOR_SPEC))
  episode.action[0, 0] = 1 + 1e-4
  with pytest.raises(errors.UserError, match='scale actions'):
    dataset.check(episode, fakes.VECTOR_SPEC)


def test_the_card_is_by_the_noise_and_the_split_of_each_episode(tmp_path):
  kept = [
      dataclasses.replace(episode, noise=(0.0, 0.5)[number % 3 == 0])
      for number, episode in enumerate(
          fakes.random_episodes(90, fakes.VECTOR_SPEC)
      )
  ]
  dataset.write_dataset(str(tmp_path), fakes.VECTOR_SPEC, kept)
  store = store_lib.EpisodeStore(str(tmp_path))
  found = card.data_card(store.index)
  noise = {name: each['episodes'] for name, each in found['by_noise'].items()}
  assert noise == {'0.0': 60, '0.5': 30}
  for name, each in found['by_split'].items():
    ours = [kept[number] for number in store.split(name)]
    assert each['episodes'] == len(ours)
    assert each['unsafe_share'] == sum(e.unsafe.sum() for e in ours) / sum(
        map(len, ours)
    )


def test_the_fingerprint_is_of_the_frames_at_both_ends(
    path, episodes, tmp_path
):
  found = {store_lib.EpisodeStore(path).fingerprint()}
  for number in (0, 39):
    for name in ('observation', 'action'):
      kept = list(episodes)
      kept[number] = dataclasses.replace(
          kept[number], **{name: -getattr(kept[number], name)}
      )
      other = str(tmp_path / f'{number}{name}')
      dataset.write_dataset(other, fakes.VECTOR_SPEC, kept)
      found.add(store_lib.EpisodeStore(other).fingerprint())
  assert len(found) == 5


def test_the_fingerprint_is_not_of_how_files_are_compressed(
    path, episodes, tmp_path, monkeypatch
):
  monkeypatch.setattr(shards, '_LEVEL', 0)
  other = str(tmp_path / 'other')
  dataset.write_dataset(
      other, fakes.VECTOR_SPEC, episodes, episodes_per_shard=7
  )
  one, two = map(store_lib.EpisodeStore, (path, other))
  assert (one.index.size != two.index.size).any()
  assert one.fingerprint() == two.fingerprint()


@pytest.mark.parametrize('other', [
    schema.EpisodeSpec((3,), 'float32', 3), schema.EpisodeSpec((3,), 'uint8', 2)
])
def test_other_actions_or_types_are_refused(path, other):
  with pytest.raises(errors.UserError, match='does not suit'):
    store_lib.EpisodeStore(path).require(other, 'prior x')


def test_the_fingerprint_is_of_the_tasks_too(path, episodes, tmp_path):
  renamed = dataclasses.replace(episodes[9], task='up')
  other = str(tmp_path / 'other')
  dataset.write_dataset(
      other, fakes.VECTOR_SPEC, [*episodes[:9], renamed, *episodes[10:]]
  )
  one, two = map(store_lib.EpisodeStore, (path, other))
  assert one.fingerprint() != two.fingerprint()


@pytest.mark.parametrize('name, value', [
    ('task', '.left'), ('seed', 1 << 63),
])
def test_names_that_no_index_can_hold_are_refused(name, value):
  episode, = fakes.random_episodes(1, fakes.VECTOR_SPEC)
  with pytest.raises(errors.UserError, match=f'{name} is '):
    dataset.check(
        dataclasses.replace(episode, **{name: value}), fakes.VECTOR_SPEC
    )
