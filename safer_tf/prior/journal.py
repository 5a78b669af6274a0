"""What a prior's training leaves to read: history.csv and TensorBoard."""

from __future__ import annotations

import csv
import io
import os
from typing import Any, Mapping

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
    self._writer = tf.summary.create_file_writer(
        os.path.join(directory, layout.TENSORBOARD_DIR)
    )
    if step == 0:
      with self._writer.as_default(step=0):
        # Four spaces make it a code block in TensorBoard's Markdown.
        lines = config.operative().splitlines()
        tf.summary.text('config', '\n'.join('    ' + line for line in lines))

  def train_step(self, step: int, metrics: Mapping[str, Any]) -> None:
    """Writes a training step's scalars to TensorBoard."""
    with self._writer.as_default(step=step):
      for name, value in metrics.items():
        tf.summary.scalar(f'train/{name}', value)

  def validation(
      self, step: int, statistics: Mapping[str, float],
      found: likelihoods_lib.Likelihoods,
  ) -> None:
    """Appends a row to history.csv, writes scalars and histograms.

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
    with self._writer.as_default(step=step):
      for name, value in statistics.items():
        if np.isfinite(value):
          tf.summary.scalar(f'validation/{name}', value)
      for kind, chosen in (('safe', found.safe), ('unsafe', found.unsafe)):
        if chosen.any():
          tf.summary.histogram(
              f'abs_max_latent/{kind}', found.abs_max_latent[chosen]
          )
          tf.summary.histogram(f'log_prob/{kind}', found.log_prob[chosen])
    self._writer.flush()

  def close(self) -> None:
    """Writes out what is pending."""
    self._writer.close()


def _read_rows(path: str) -> list[dict[str, str]]:
  if not os.path.exists(path):
    return []
  with open(path, newline='', encoding='utf-8') as file:
    return list(csv.DictReader(file))
