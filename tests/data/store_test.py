"""Reading a finished dataset, and what it is known by."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from safer_tf.common import errors
from safer_tf.data import dataset
from safer_tf.data import schema
from safer_tf.data import shards
from safer_tf.data import store as store_lib
from tests.data import fakes


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
