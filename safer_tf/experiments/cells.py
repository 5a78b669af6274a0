"""What a matrix of runs consists of.

A cell is one binary's command line, the file that says it is finished, and the
cells whose output it reads. It is a pure function of config and seed, so it
may run anywhere, once; but for the rounding of another kind of processor, and
of another number of cores where it takes the whole machine.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import Iterable, Sequence


@dataclasses.dataclass(frozen=True)
class Cell:
  """One run of one binary.

  Attributes:
    name: unique and readable, e.g. `agent/seen/extract_08/safer/default/seed0`;
      also the name of its log file.
    binary: module of `safer_tf.bin`.
    arguments: flags of the binary.
    finished_file: path that the cell leaves last.
    needs: names of the cells whose output it reads.
    cost: rough duration on one core, in seconds; only weights the progress.
    whole_machine: whether the binary spreads over all cores by itself.
    recorded: whether its result is known from an earlier run.
  """

  name: str
  binary: str
  arguments: tuple[str, ...]
  finished_file: str
  needs: tuple[str, ...] = ()
  cost: float = 60.0
  whole_machine: bool = False
  recorded: bool = False

  @property
  def command(self) -> list[str]:
    """Command line that carries the cell out, or goes on with it."""
    return [
        sys.executable, '-m', f'safer_tf.bin.{self.binary}', *self.arguments
    ]

  @property
  def kind(self) -> str:
    """What it does, the first part of its name, e.g. `agent`."""
    return self.name.partition('/')[0]

  def given(self, flag: str) -> list[str]:
    """What its command line gives a flag, in order."""
    start = f'--{flag}='
    return [
        each[len(start):] for each in self.arguments if each.startswith(start)
    ]

  @property
  def finished(self) -> bool:
    """Whether the cell was carried out before."""
    return self.recorded or os.path.exists(self.finished_file)


def arguments(
    root_dir: str, seed: int, gin_files: Iterable[str],
    bindings: Iterable[str] = (), extra: Sequence[str] = (),
) -> tuple[str, ...]:
  """Flags that every binary shares.

  Args:
    root_dir: run directory.
    seed: seed of the cell.
    gin_files: gin files in order.
    bindings: gin bindings.
    extra: flags of the binary's own.

  Returns:
    The flags as they stand on a command line.
  """
  return (
      f'--root_dir={root_dir}', f'--seed={seed}',
      *(f'--gin_file={name}' for name in gin_files),
      *(f'--gin_bindings={binding}' for binding in bindings), *extra,
  )


def without_unneeded(everything: Sequence[Cell]) -> list[Cell]:
  """Leaves out inputs that only finished cells need.

  Args:
    everything: all cells, each after those it needs.

  Returns:
    Cells that nothing else needs, and what the unfinished ones need, directly
    or through other unfinished ones; in the same order.
  """
  inputs = {need for cell in everything for need in cell.needs}
  wanted = {cell.name for cell in everything} - inputs
  for cell in reversed(everything):
    if cell.name in wanted and not cell.finished:
      wanted.update(cell.needs)
  return [cell for cell in everything if cell.name in wanted]
