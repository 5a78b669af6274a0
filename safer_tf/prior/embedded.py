"""A dataset as a frozen encoder sees it."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from safer_tf.common import progress
from safer_tf.data import pipeline
from safer_tf.data import schema
from safer_tf.data import store as store_lib
from safer_tf.prior import skill_prior

_EPISODES = 32  # Embedded at a time.


def embedded(
    store: store_lib.EpisodeStore, prior: skill_prior.SkillPrior,
    numbers: np.ndarray,
) -> store_lib.EpisodeStore:
  """Embeds every frame once, for a training that leaves the encoder alone.

  Args:
    store: dataset.
    prior: whose encoder embeds, as it is now.
    numbers: int [n] of the episodes that will be read; 4 E bytes of each of
      their steps are held in memory (0.5 GB for 1,000,000 and E = 128).

  Returns:
    The dataset of these episodes, their observations float32 [T, E].

  Raises:
    UserError: a shard is missing or damaged.
  """
  groups = np.split(numbers, range(_EPISODES, len(numbers), _EPISODES))
  # One shape for all: convolutions are set up anew for every batch size.
  shape = (
      _EPISODES * int(store.index.length.max()), *prior.observation_shape
  )
  embed = tf.function(prior.embed)
  found: dict[int, schema.Episode] = {}
  with progress.bar(len(numbers), 'Embedding', 'episode') as bar:
    for group, episodes in zip(groups, pipeline.prefetched(
        lambda group: [store.read(number) for number in group], groups
    )):
      frames = np.concatenate([each.observation for each in episodes])
      padded = np.zeros(shape, frames.dtype)
      padded[:len(frames)] = frames
      ends = np.cumsum([len(each) for each in episodes])
      # Cut before it is an array: a view would keep the padding alive.
      parts = np.split(embed(padded)[:len(frames)].numpy(), ends[:-1])
      for number, episode, part in zip(group, episodes, parts):
        found[int(number)] = dataclasses.replace(episode, observation=part)
      bar.update(len(group))
  return store.holding(found, dataclasses.replace(
      store.spec, observation_shape=(prior.embedding_dim,),
      observation_dtype='float32',
  ))
