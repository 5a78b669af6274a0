"""A dataset as a frozen encoder sees it."""

from __future__ import annotations

import dataclasses
from typing import Callable

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
  embed = tf.function(prior.embed)
  found: dict[int, schema.Episode] = {}
  with progress.bar(len(numbers), 'Embedding', 'episode') as bar:
    for group, episodes in zip(groups, pipeline.prefetched(
        lambda group: [store.read(number) for number in group], groups,
        depth=2,
    )):
      frames = np.concatenate([each.observation for each in episodes])
      ends = np.cumsum([len(each) for each in episodes])
      parts = np.split(_in_pieces(embed, frames), ends[:-1])
      for number, episode, part in zip(group, episodes, parts):
        found[int(number)] = dataclasses.replace(episode, observation=part)
      bar.update(len(group))
  return store.holding(found, dataclasses.replace(
      store.spec, observation_shape=(prior.embedding_dim,),
      observation_dtype='float32',
  ))


def _in_pieces(
    embed: Callable[[np.ndarray], tf.Tensor], frames: np.ndarray
) -> np.ndarray:
  """Embeds frames [N, ...] by as many at a time as a sweep does; [N, E]."""
  found = []
  for first in range(0, len(frames), pipeline.FRAMES):
    piece = frames[first:first + pipeline.FRAMES]
    # One shape for all: convolutions are set up anew for every batch size.
    padded = np.zeros((pipeline.FRAMES, *frames.shape[1:]), frames.dtype)
    padded[:len(piece)] = piece
    found.append(embed(padded)[:len(piece)].numpy())
  return np.concatenate(found)
