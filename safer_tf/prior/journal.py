"""What a prior's training leaves to read: history.csv and TensorBoard."""

from __future__ import annotations

import csv
import io
import os
from typing import Any, Callable, Mapping

import numpy as np
import tensorflow as tf

from safer_tf.common import config
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.prior import likelihoods as likelihoods_lib


class Journal:
  """Records a training; a resumed one goes on where it was left."""

  def __init__(self, directory: str, step: int):
    """Opens the journal.

    Args:
      directory: of the prior.
      step: steps done; what an interrupted run recorded beyond is dropped.
    """
    self._path = os.path.join(directory, layout.HISTORY)
    self._rows: list[dict[str, Any]] = [
        row for row in _read_rows(self._path) if int(row['step']) <= step
    ]
    # Of TensorBoard, since the last `commit`: a writer cannot drop what it was
    # given, and a run that goes on from a checkpoint records it again.
    self._pending: list[Callable[[], None]] = []
    self._writer = tf.summary.create_file_writer(
        os.path.join(directory, layout.TENSORBOARD_DIR)
    )
    if step == 0:
      with self._writer.as_default(step=0):
        tf.summary.text('gin', config.operative_markdown())

  def train_step(self, step: int, metrics: Mapping[str, Any]) -> None:
    """Keeps a training step's scalars for `commit`."""
    self._keep_scalars('train', step, metrics)

  def validation(
      self, step: int, statistics: Mapping[str, float],
      found: likelihoods_lib.Likelihoods,
  ) -> None:
    """Appends a row to history.csv; keeps scalars and histograms for `commit`.

    Args:
      step: steps done.
      statistics: the row.
      found: the held-out steps behind it.
    """
    self._rows.append({'step': step, **statistics})
    text = io.StringIO()
    writer = csv.DictWriter(text, list(self._rows[-1]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(self._rows)
    files.write_text(self._path, text.getvalue())
    self._keep_scalars('validation', step, {
        name: value for name, value in statistics.items()
        if np.isfinite(value)
    })
    self._pending.append(lambda: _write_histograms(step, found))

  def commit(self) -> None:
    """Writes to TensorBoard what was kept; due once a checkpoint knows of it.
    """
    with self._writer.as_default():  # Flushes at its end.
      for write in self._pending:
        write()
    self._pending.clear()

  def close(self) -> None:
    """Commits, and ends."""
    self.commit()
    self._writer.close()

  def _keep_scalars(
      self, group: str, step: int, scalars: Mapping[str, Any]
  ) -> None:
    values = {name: float(value) for name, value in scalars.items()}

    def write() -> None:
      for name, value in values.items():
        tf.summary.scalar(f'{group}/{name}', value, step)

    self._pending.append(write)


def _write_histograms(step: int, found: likelihoods_lib.Likelihoods) -> None:
  for kind, chosen in (('safe', found.safe), ('unsafe', found.unsafe)):
    if chosen.any():
      tf.summary.histogram(
          f'abs_max_latent/{kind}', found.abs_max_latent[chosen], step
      )
      tf.summary.histogram(f'log_prob/{kind}', found.log_prob[chosen], step)


def _read_rows(path: str) -> list[dict[str, str]]:
  if not os.path.exists(path):
    return []
  with open(path, newline='', encoding='utf-8') as file:
    return list(csv.DictReader(file))
