"""Which split an episode belongs to."""

from __future__ import annotations

import hashlib
import typing

import numpy as np

if typing.TYPE_CHECKING:
  from safer_tf.data import dataset

# Name and share in percent. Training; the choice of lambda and of checkpoints;
# the assurance; the reported likelihoods.
_SHARES = {'train': 80, 'validation': 5, 'calibration': 10, 'test': 5}
NAMES = tuple(_SHARES)
ALL = 'all'  # The splits together.


def split_of(index: dataset.Index) -> np.ndarray:
  """The split of every episode: by a hash, so that it never changes.

  Args:
    index: of the dataset.

  Returns:
    int [N], an index into `NAMES`.
  """
  bounds = np.cumsum(list(_SHARES.values()))
  percent = [
      _percent(*row) for row in zip(index.task, index.seed, index.index)
  ]
  return np.searchsorted(bounds, percent, side='right')


def _percent(task: str, seed: int, number: int) -> int:
  digest = hashlib.sha256(f'{task}/{seed}/{number}'.encode()).digest()
  return int.from_bytes(digest[:8], 'big') % 100
