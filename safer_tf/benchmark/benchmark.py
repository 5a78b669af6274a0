"""The whole benchmark: every row, one table, one file."""

from __future__ import annotations

import importlib
import os
import time
from typing import Sequence

from safer_tf.benchmark import measurement
from safer_tf.benchmark import sizes as sizes_lib
from safer_tf.benchmark import table
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout

# Each is a module with `measure(root_dir, sizes, full)`; of `LEARNING` the last
# argument is the directory of the results.
PARTS = ('simulation', 'collection', 'priors', 'latent', 'updates', 'cells')
LEARNING = 'learning'  # Only of a full benchmark.


def run(
    root_dir: str, results_dir: str, only: Sequence[str] = (),
    full: bool = False,
) -> list[measurement.Measurement]:
  """Measures, prints the table and writes `benchmark.json`.

  Args:
    root_dir: run directory for what the measures need.
    results_dir: where the files of a complete benchmark go; those of a part
      go below `root_dir`.
    only: parts to run, of `PARTS` and `LEARNING`; all if empty.
    full: runs wholes instead of scaling parts up, and compares learning.

  Returns:
    The measurements.

  Raises:
    UserError: there is no such part, or a gin value is missing or of
      another configurable.
  """
  available = (*PARTS, LEARNING) if full else PARTS
  unknown = sorted(set(only) - set(available))
  if unknown:
    raise errors.UserError(
        f'--only={",".join(unknown)}: expected some of {", ".join(available)}'
        f'{"" if full else f"; {LEARNING} needs --full"}.'
    )
  sizes_lib.check_alone()
  sizes = sizes_lib.Sizes()
  here = layout.results_dir(root_dir)
  if only:
    results_dir = here
  files.ensure_dir(results_dir)
  origin = table.origin()
  took: dict[str, float] = {}
  measurements: list[measurement.Measurement] = []
  for name in available:
    if only and name not in only:
      continue
    start = time.monotonic()
    print(f'Measuring {name} ...', flush=True)
    part = importlib.import_module(f'safer_tf.benchmark.{name}')
    measurements += part.measure(
        root_dir, sizes, results_dir if name == LEARNING else full
    )
    took[name] = time.monotonic() - start
    print(f'  took {took[name]:.0f} s', flush=True)
    measurements.sort(key=lambda line: line.row)
    # What was measured outlives an end before the last part.
    table.write(table.default_path(here, full), measurements, origin, took)
  path = table.default_path(results_dir, full)
  table.write(path, measurements, origin, took)
  print(f'\n{table.text(measurements, origin)}\n\n{os.path.abspath(path)}')
  return measurements
