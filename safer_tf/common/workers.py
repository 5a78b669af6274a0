"""Worker processes that start clean, keep quiet and end with their parent."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading


def pool(num_workers: int) -> concurrent.futures.ProcessPoolExecutor:
  """A pool of spawned processes.

  Spawned, because a fork of a process that uses TensorFlow can deadlock.

  Args:
    num_workers: number of processes.

  Returns:
    An executor; what is submitted must be importable by name.
  """
  return concurrent.futures.ProcessPoolExecutor(
      num_workers, mp_context=multiprocessing.get_context('spawn'),
      initializer=_start,
  )


def quiet_imports() -> None:
  """Silences what TensorFlow and gym print when they are imported."""
  # 3, since TensorFlow 2.15 reports harmless double registrations as errors.
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  os.environ.setdefault('PYGAME_HIDE_SUPPORT_PROMPT', '1')
  try:
    from gym_notices import notices
  except ImportError:
    return
  notices.notices.clear()


def _start() -> None:
  quiet_imports()
  # Ctrl-C reaches the whole group; the parent alone answers it.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
  """Keeps a killed parent from leaving workers behind."""
  parent = multiprocessing.parent_process()
  assert parent is not None
  multiprocessing.connection.wait([parent.sentinel])
  os._exit(1)
