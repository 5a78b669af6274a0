"""Carries one cell out as a process of its own."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from typing import Callable, Iterator

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import progress
from safer_tf.experiments import cells

_LOCK_POLL_SECONDS = 0.5
_TAIL_BYTES = 4096
_PROGRESS_SECONDS = '2'  # The log is what the overall progress is read from.
_PR_SET_PDEATHSIG = 1
# What sizes the thread pools of NumPy, OpenMP and TensorFlow.
THREAD_VARIABLES = (
    'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS',
    'TF_NUM_INTRAOP_THREADS', 'TF_NUM_INTEROP_THREADS',
)
_PERCENT = re.compile(r'(\d+)%\|')
_libc = ctypes.CDLL(None) if sys.platform == 'linux' else None


def log_path(cell: cells.Cell, log_dir: str) -> str:
  """File that collects what a cell prints."""
  return os.path.join(log_dir, f'{cell.name}.log')


def run_cell(
    cell: cells.Cell, log_dir: str, threads: int,
    on_start: Callable[[subprocess.Popen], None] = lambda process: None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> int:
  """Runs a cell to its end, unless it is finished.

  A cell never runs twice at a time, and does not outlive the one that runs it:
  its log is locked for as long as any process writes to it, and its process
  is ended when its parent dies.

  Args:
    cell: what to run.
    log_dir: directory of the logs.
    threads: size of the cell's thread pools.
    on_start: is given the running process.
    is_stopped: asked while another process carries the cell out; if so, it is
      not waited for any longer.

  Returns:
    The exit code; 0 also if the cell was finished already.

  Raises:
    UserError: it was waited for and `is_stopped`.
  """
  with _locked_log(log_path(cell, log_dir), is_stopped) as log:
    if cell.finished:
      return 0
    log.write(f'$ {" ".join(cell.command)}\n'.encode())
    log.flush()
    process = subprocess.Popen(
        cell.command, stdin=subprocess.DEVNULL, stdout=log,
        stderr=subprocess.STDOUT, env=_environment(threads),
        start_new_session=True, preexec_fn=_die_with_parent,
    )
    on_start(process)
    return process.wait()


def terminate(process: subprocess.Popen, patience_seconds: float = 10) -> None:
  """Ends a cell's process and all it started; by force after some seconds."""
  for number, patience in (
      (signal.SIGTERM, patience_seconds), (signal.SIGKILL, patience_seconds)
  ):
    if process.poll() is not None:
      return  # Its number may be another process's by now.
    with contextlib.suppress(ProcessLookupError, PermissionError):
      os.killpg(process.pid, number)
    try:
      process.wait(patience)
      return
    except subprocess.TimeoutExpired:
      continue


def tail(path: str, lines: int) -> list[str]:
  """Last lines of a log, progress bars resolved; none if there is no log."""
  try:
    with open(path, 'rb') as file:
      file.seek(0, os.SEEK_END)
      file.seek(max(0, file.tell() - _TAIL_BYTES))
      text = file.read().decode('utf-8', 'replace')
  except OSError:
    return []
  # A bar redraws itself after a carriage return: the last state counts.
  shown = [line.rstrip('\r').split('\r')[-1] for line in text.split('\n')]
  return [line for line in shown if line.strip()][-lines:]


def fraction(path: str) -> float:
  """How far the last progress bar in a log is, in [0, 1]; 0 if unknown."""
  found = [
      match for line in tail(path, 5) for match in _PERCENT.findall(line)
  ]
  return min(int(found[-1]) / 100, 1.0) if found else 0.0


@contextlib.contextmanager
def _locked_log(path: str, is_stopped: Callable[[], bool]) -> Iterator:
  """Yields the log opened for appending, once nobody else writes to it."""
  files.ensure_dir(os.path.dirname(path))
  with open(path, 'ab') as log:
    while True:
      try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        break
      except BlockingIOError:
        if is_stopped():
          raise errors.UserError(f'Another process writes to {path}.') from None
        time.sleep(_LOCK_POLL_SECONDS)
    yield log


def _environment(threads: int) -> dict[str, str]:
  environment = dict(
      os.environ, PYTHONUNBUFFERED='1', MPLBACKEND='Agg',
      **{progress.SECONDS_VARIABLE: _PROGRESS_SECONDS},
  )
  environment.update({name: str(threads) for name in THREAD_VARIABLES})
  return environment


def _die_with_parent() -> None:
  """Asks the kernel to end this process when the thread that made it ends."""
  if _libc is not None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
