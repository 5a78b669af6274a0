"""The data card; see `store_test` for its counts."""

from __future__ import annotations

import dataclasses

import numpy as np

from safer_tf.data import card
from safer_tf.data import dataset
from safer_tf.data import store as store_lib
from tests.data import fakes


def test_neither_unsafe_nor_successful_episodes_have_a_card(tmp_path):
  dataset.write_dataset(str(tmp_path), fakes.VECTOR_SPEC, [
      dataclasses.replace(
          episode, unsafe=np.zeros(len(episode), bool), success=False
      ) for episode in fakes.random_episodes(4, fakes.VECTOR_SPEC)
  ])
  index = store_lib.EpisodeStore(str(tmp_path)).index
  found = card.data_card(index)['total']
  assert found['natural_unsafe_share'] == found['unsafe_share'] == 0
