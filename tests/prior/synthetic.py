"""A small dataset in which the state and the history tell safe from unsafe."""

from __future__ import annotations

from typing import Iterator, Sequence

import numpy as np

from safer_tf.common import layout
from safer_tf.data import dataset
from safer_tf.data import schema

ACTION_SIZE = 3
VECTOR = schema.EpisodeSpec((5,), 'float32', ACTION_SIZE)
IMAGE = schema.EpisodeSpec((12, 12, 3), 'uint8', ACTION_SIZE)


def write(
    root_dir: str, spec: schema.EpisodeSpec = VECTOR,
    tasks: Sequence[str] = ('one', 'two'), per_task: int = 100, steps: int = 8,
    broken: Sequence[str] = (), scale: float = 1.0, offset: float = 0.0,
) -> None:
  """Writes a dataset below a run directory.

  Args:
    root_dir: run directory.
    spec: vectors or images.
    tasks: names of the tasks.
    per_task: episodes of each.
    steps: of the longest episode.
    broken: tasks whose observations are so large that the loss overflows.
    scale: of the observations of vectors, here and below.
    offset: beside 0.
  """
  dataset.write_dataset(
      layout.data_dir(root_dir), spec,
      _episodes(spec, tasks, per_task, steps, broken, scale, offset),
  )


def _episodes(
    spec: schema.EpisodeSpec, tasks: Sequence[str], per_task: int, steps: int,
    broken: Sequence[str], scale: float, offset: float,
) -> Iterator[schema.Episode]:
  random = np.random.default_rng(0)
  for task in tasks:
    for index in range(per_task):
      length = int(random.integers(3, steps + 1))
      state = random.random([length, *spec.observation_shape])
      unsafe = random.random(length) < 0.4
      centre = state.reshape(length, -1)[:, :spec.action_size] - 0.5
      action = np.where(unsafe[:, np.newaxis], -centre, centre)
      action += 0.05 * random.normal(size=action.shape)
      if spec.observation_dtype == 'uint8':
        state = np.round(state * 255)
      else:
        state = scale * state + offset
      if task in broken:
        state[:] = 1e38
      yield schema.Episode(
          observation=state.astype(spec.observation_dtype),
          action=action.astype(np.float32),
          reward=np.full(length, -1, np.float32), unsafe=unsafe,
          success=bool(random.random() < 0.8), task=task, noise=0.0, seed=0,
          index=index,
      )
