"""Splits, which no episode ever changes."""

from __future__ import annotations

import os
import types

import numpy as np
import pytest

from safer_tf.common import errors
from safer_tf.data import dataset
from safer_tf.data import splits
from safer_tf.data import store as store_lib
from tests.data import fakes


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
