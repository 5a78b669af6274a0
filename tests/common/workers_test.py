"""Worker processes."""

from __future__ import annotations

import os
import signal
import time

import pytest

from safer_tf.common import workers

_of_parent = []  # What a fork would take over.


@pytest.fixture(name='interruptible')
def _interruptible():
  # Whoever starts the tests in the background of a shell has SIGINT ignored.
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  yield
  signal.signal(signal.SIGINT, before)


def _found(_):
  time.sleep(0.02)
  return (
      os.getpid(), len(_of_parent), signal.getsignal(signal.SIGINT),
      os.environ.get('TF_CPP_MIN_LOG_LEVEL'),
  )


@pytest.mark.usefixtures('interruptible')
def test_workers_start_clean_and_quiet_and_leave_interrupts_to_their_parent(
    monkeypatch
):
  monkeypatch.delenv('TF_CPP_MIN_LOG_LEVEL', raising=False)
  monkeypatch.setattr(f'{__name__}._of_parent', [1])
  with workers.pool(1) as pool:
    found = set(pool.map(_found, range(4)))
  (pid, *rest), = found  # All by one process.
  assert pid != os.getpid()
  assert rest == [0, signal.SIG_IGN, '3']
