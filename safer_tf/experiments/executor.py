"""Runs cells side by side, each once, in the order of their needs."""

from __future__ import annotations

import concurrent.futures
import itertools
import os
import subprocess
import sys
import threading
import time
from typing import Any, Callable, Mapping, Protocol, Sequence

import tqdm

from safer_tf.common import errors
from safer_tf.experiments import cells
from safer_tf.experiments import process

_POLL_SECONDS = 1.0
_TAIL_LINES = 12
_STATUS_WIDTH = 100
_BAR_WIDTH = 24
# Where there is no terminal.
_SECONDS_BETWEEN_LINES = 30

FINISHED = 'finished'
FAILED = 'failed'
BLOCKED = 'blocked'  # Something it needs failed.


class Pool(Protocol):
  """Where cells run."""

  workers: int

  def start(self, cell: cells.Cell) -> Any:
    """Starts a cell and returns a handle of it."""

  def done(self, handles: Sequence[Any], timeout: float) -> dict[Any, str]:
    """Waits for some handles; error text of each that ended, '' if well."""

  def stop(self) -> None:
    """Ends all that runs."""


class LocalPool:
  """Worker processes on this machine."""

  def __init__(self, log_dir: str, workers: int | None = None):
    """Makes the pool.

    Args:
      log_dir: directory of the cells' logs.
      workers: cells at a time; one for each core if None. Each has one
        thread, however many there are, as on Ray: sums by more round
        otherwise, and what an agent learns follows the last bit.
    """
    cores = os.cpu_count() or 1
    self.workers = workers or cores
    self._log_dir = log_dir
    self._cores = cores
    self._threads = concurrent.futures.ThreadPoolExecutor(self.workers)
    self._processes: set[subprocess.Popen] = set()
    self._lock = threading.Lock()
    self._stopping = False

  def start(self, cell: cells.Cell) -> concurrent.futures.Future:
    """See `Pool`."""
    return self._threads.submit(self._run, cell)

  def done(
      self, handles: Sequence[concurrent.futures.Future], timeout: float
  ) -> dict[concurrent.futures.Future, str]:
    """See `Pool`."""
    ended, _ = concurrent.futures.wait(
        handles, timeout, concurrent.futures.FIRST_COMPLETED
    )
    return {handle: handle.result() for handle in ended}

  def stop(self) -> None:
    """See `Pool`."""
    with self._lock:
      self._stopping = True
      running = list(self._processes)
    for each in running:
      process.terminate(each)
    self._threads.shutdown()

  def _run(self, cell: cells.Cell) -> str:
    threads = self._cores if cell.whole_machine else 1
    try:
      code = process.run_cell(
          cell, self._log_dir, threads, self._note, lambda: self._stopping
      )
    except (OSError, errors.UserError) as error:
      return f'it could not be started: {error}'
    return '' if code == 0 else f'exit code {code}'

  def _note(self, started: subprocess.Popen) -> None:
    with self._lock:
      self._processes.add(started)
      stopping = self._stopping
    if stopping:
      process.terminate(started)


def execute(
    todo: Sequence[cells.Cell], pool: Pool, log_dir: str,
    on_end: Callable[[Mapping[str, str]], None] = lambda outcome: None,
) -> dict[str, str]:
  """Runs all cells that are not finished; goes on where one fails.

  Args:
    todo: cells, each after those it needs; of those ready the first starts
      first.
    pool: where they run. Stopped at the end, or when interrupted.
    log_dir: directory of the cells' logs.
    on_end: is given the outcome so far whenever a cell has ended.

  Returns:
    By name: `FINISHED`, `FAILED`, or `BLOCKED` where a need was not met.
  """
  unknown = {
      need for cell in todo if not cell.finished for need in cell.needs
  } - {cell.name for cell in todo}
  if unknown:
    raise ValueError(f'Cells need what is not among them: {sorted(unknown)}')
  outcome = {cell.name: FINISHED for cell in todo if cell.finished}
  waiting = [cell for cell in todo if not cell.finished]
  running: dict[Any, cells.Cell] = {}
  display = _Display(todo, log_dir, pool.workers)
  try:
    while waiting or running:
      for cell in _startable(waiting, list(running.values()), outcome, pool):
        waiting.remove(cell)
        running[pool.start(cell)] = cell
      for cell in [c for c in waiting if _is_blocked(c, outcome)]:
        waiting.remove(cell)
        outcome[cell.name] = BLOCKED
      display.show(outcome, list(running.values()))
      if not running:
        continue
      for handle, error in pool.done(list(running), _POLL_SECONDS).items():
        cell = running.pop(handle)
        if not error and not cell.finished:
          error = f'it left no {cell.finished_file}'
        outcome[cell.name] = FAILED if error else FINISHED
        display.ended(cell, error)
        on_end(outcome)
  finally:
    display.close()
    pool.stop()
  return outcome


def _startable(
    waiting: Sequence[cells.Cell], running: Sequence[cells.Cell],
    outcome: dict[str, str], pool: Pool,
) -> list[cells.Cell]:
  """Cells to start now; one that takes the whole machine runs alone."""
  free = pool.workers - len(running)
  ready = [
      cell for cell in waiting
      if all(outcome.get(need) == FINISHED for need in cell.needs)
  ]
  if not ready or free <= 0 or any(cell.whole_machine for cell in running):
    return []
  if ready[0].whole_machine:
    return [] if running else ready[:1]
  return [cell for cell in ready if not cell.whole_machine][:free]


def _is_blocked(cell: cells.Cell, outcome: dict[str, str]) -> bool:
  return any(outcome.get(need) in (FAILED, BLOCKED) for need in cell.needs)


class _Display:
  """How far all cells are: redrawn on a terminal, now and then elsewhere."""

  def __init__(
      self, todo: Sequence[cells.Cell], log_dir: str, workers: int
  ):
    self._todo = todo
    self._log_dir = log_dir
    self._best: dict[str, float] = {}
    self._total = sum(cell.cost for cell in todo)
    self._initial = sum(cell.cost for cell in todo if cell.finished)
    self._start = self._said = time.monotonic()
    # One line for the whole, and one for each cell that may run.
    self._lines = [
        tqdm.tqdm(total=0, position=i, bar_format='{desc}', leave=i == 0)
        for i in range(workers + 1)
    ] if sys.stderr.isatty() else []

  def show(
      self, outcome: dict[str, str], running: Sequence[cells.Cell]
  ) -> None:
    """Draws the state of all cells."""
    done = sum(cell.cost for cell in self._todo if cell.name in outcome)
    for cell in running:
      # A cell may show several bars in turn: never step back.
      now = min(
          process.fraction(process.log_path(cell, self._log_dir)), 0.95
      )
      if cell.name not in self._best:
        # Its log goes on: what it had done before says nothing of this run's
        # speed.
        self._initial += now * cell.cost
      self._best[cell.name] = max(self._best.get(cell.name, 0), now)
      done += self._best[cell.name] * cell.cost
    text = self._summary(len(outcome), done)
    if self._lines:
      self._lines[0].set_description_str(text)
      states = itertools.chain(map(self._state, running), itertools.repeat(''))
      for line, state in zip(self._lines[1:], states):
        line.set_description_str(state)
    elif time.monotonic() - self._said > _SECONDS_BETWEEN_LINES:
      self._said = time.monotonic()
      self._write('\n'.join([text, *map(self._state, running)]))

  def _summary(self, count: int, done: float) -> str:
    """E.g. `2 of 10 cells  31% |######      | 1:50 gone, 4:05 left`."""
    elapsed = time.monotonic() - self._start
    rate = (done - self._initial) / elapsed if elapsed else 0
    left = tqdm.tqdm.format_interval((self._total - done) / rate) if (
        rate
    ) else '?'
    share = done / self._total if self._total else 1.0
    bar = ('#' * int(share * _BAR_WIDTH)).ljust(_BAR_WIDTH)
    return (
        f'{count} of {len(self._todo)} cells {share:4.0%} |{bar}| '
        f'{tqdm.tqdm.format_interval(elapsed)} gone, {left} left'
    )

  def _state(self, cell: cells.Cell) -> str:
    """What a running cell printed last."""
    last = process.tail(process.log_path(cell, self._log_dir), 1)
    return f'  {cell.name}: {"".join(last)}'[:_STATUS_WIDTH]

  def ended(self, cell: cells.Cell, error: str) -> None:
    """Says how a cell ended, and shows the end of its log if it failed."""
    if not error:
      self._write(f'finished {cell.name}')
      return
    path = process.log_path(cell, self._log_dir)
    last = ''.join(f'\n  | {line}' for line in process.tail(path, _TAIL_LINES))
    self._write(f'FAILED {cell.name}: {error}. The end of {path}:{last}')

  def _write(self, text: str) -> None:
    if self._lines:
      self._lines[0].write(text, file=sys.stderr)
    else:
      print(text, file=sys.stderr, flush=True)

  def close(self) -> None:
    """Leaves the terminal as it was."""
    for line in reversed(self._lines):
      line.close()
