"""The data card: what a dataset holds, in counts and shares."""

from __future__ import annotations

import typing
from typing import Any

import numpy as np

from safer_tf.data import splits

if typing.TYPE_CHECKING:
  from safer_tf.data import dataset


def data_card(index: dataset.Index) -> dict[str, Any]:
  """Counts a dataset.

  Args:
    index: of the dataset.

  Returns:
    JSON-ready counts and shares (fractions) over all episodes, and by task, by
    the policy's noise and by split. `natural_unsafe_share` is the share of
    unsafe steps in the union of the unsafe set and the safe set (safe steps of
    successful episodes), as collected: the paper's mix.
  """
  part = splits.split_of(index)
  return {
      'total': _counts(index, np.ones(len(index), bool)),
      'by_task': _by(index, index.task),
      'by_noise': _by(index, index.noise),
      'by_split': _by(index, np.array(splits.NAMES)[part]),
  }


def _by(index: dataset.Index, keys: np.ndarray) -> dict[str, Any]:
  return {
      str(key): _counts(index, keys == key) for key in np.unique(keys)
  }


def _counts(index: dataset.Index, chosen: np.ndarray) -> dict[str, Any]:
  steps = np.repeat(chosen, index.length)
  successful = np.repeat(index.success, index.length)
  unsafe = int(index.unsafe[steps].sum())
  safe = int((~index.unsafe & successful)[steps].sum())
  episodes, count = int(chosen.sum()), int(steps.sum())
  return {
      'episodes': episodes,
      'steps': count,
      'mean_length': count / episodes,
      'success_share': float(index.success[chosen].mean()),
      'unsafe_share': unsafe / count,
      'unsafe_steps': unsafe,
      'safe_steps_of_successful_episodes': safe,
      'natural_unsafe_share': unsafe / max(unsafe + safe, 1),
  }
