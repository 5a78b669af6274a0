"""One style of progress bar: count, rate and remaining time."""

from __future__ import annotations

import sys
from typing import Any

import tqdm


def bar(total: int, name: str, unit: str, initial: int = 0) -> Any:
  """A progress bar for a long stage.

  Args:
    total: number of units at the end.
    name: what is being done, e.g. `Training safer prior`.
    unit: singular name of a unit, e.g. `step`.
    initial: units that an earlier process finished.

  Returns:
    A tqdm bar; a line every 30 seconds where there is no terminal.
  """
  terminal = sys.stderr.isatty()
  return tqdm.tqdm(
      total=total, desc=name, unit=unit, initial=initial, unit_scale=True,
      dynamic_ncols=terminal, mininterval=0.5 if terminal else 30,
      ascii=not terminal,
  )
