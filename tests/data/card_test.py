"""The data card."""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from safer_tf.common import files
from safer_tf.common import layout
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


def test_the_card_counts_by_hand(path, episodes):
  found = files.read_json(os.path.join(path, layout.DATA_CARD), 'a card')
  assert found == card.data_card(store_lib.EpisodeStore(path).index)
  for group in ('by_task', 'by_noise', 'by_split'):
    steps = sum(counts['steps'] for counts in found[group].values())
    assert steps == found['total']['steps'] == sum(map(len, episodes))
  for task, counts in found['by_task'].items():
    ours = [each for each in episodes if each.task == task]
    unsafe = sum(each.unsafe.sum() for each in ours)
    safe = sum((~each.unsafe).sum() for each in ours if each.success)
    assert counts['success_share'] == np.mean([each.success for each in ours])
    assert counts['unsafe_steps'] == unsafe
    assert counts['safe_steps_of_successful_episodes'] == safe
    assert counts['natural_unsafe_share'] == unsafe / (unsafe + safe)
    assert counts['steps'] == sum(map(len, ours))
    assert counts['mean_length'] == counts['steps'] / len(ours)


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
