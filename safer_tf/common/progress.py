"""One style of progress bar: count, rate and remaining time."""

from __future__ import annotations

import os
import sys
from typing import Any

import tqdm

# Set for processes whose log is watched.
SECONDS_VARIABLE = 'SAFER_PROGRESS_SECONDS'


def bar(total: int, name: str, unit: str, initial: int = 0) -> Any:
  """A progress bar for a long stage.

  Args:
    total: number of units at the end.
    name: what is being done, e.g. `Training safer prior`.
    unit: singular name of a unit, e.g. `step`.
    initial: units that an earlier process finished.

  Returns:
    A tqdm bar; a line every 30 seconds where there is no terminal, or as often
    as the environment variable `SAFER_PROGRESS_SECONDS` says.
  """
  terminal = sys.stderr.isatty()
  return tqdm.tqdm(
      total=total, desc=name, unit=unit, initial=initial, unit_scale=True,
      dynamic_ncols=terminal, ascii=not terminal,
      mininterval=0.5 if terminal else _seconds_between_lines(),
  )


def _seconds_between_lines() -> float:
  return float(os.environ.get(SECONDS_VARIABLE, 30))
