"""Cells of matrices for tests."""

from __future__ import annotations

from safer_tf.experiments import builder
from safer_tf.experiments import cells
from safer_tf.experiments import matrix

SIZES = builder.Sizes(1000, 10, 10, 2, 10, 3)


def build(**kwargs) -> list[cells.Cell]:
  """Cells of a matrix of these values."""
  made = builder.Builder('/runs/a', 7, ['experiments/x.gin'], [], SIZES)
  return made.build(matrix.Matrix(**kwargs))
