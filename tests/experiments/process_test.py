"""One cell as a process."""

from __future__ import annotations

import signal
import subprocess

import psutil

from safer_tf.experiments import process
from tests.experiments import script_cells

_cell, _wait_for = script_cells.cell, script_cells.wait_for


def test_a_log_is_gone_on_with(tmp_path):
  cell = _cell(tmp_path, 'a', 'print("why"); raise SystemExit(1)')
  for _ in range(2):
    process.run_cell(cell, str(tmp_path), 1)
  with open(process.log_path(cell, str(tmp_path)), encoding='utf-8') as file:
    assert file.read().splitlines().count('why') == 2


def _started(tmp_path, script):
  """A shell in a session of its own, once it has got to `: > on`."""
  shell = subprocess.Popen(
      ['sh', '-c', script], cwd=tmp_path, start_new_session=True
  )
  _wait_for((tmp_path / 'on').exists)
  return shell


def test_what_does_not_hear_is_ended_by_force(tmp_path):
  stubborn = _started(
      tmp_path, 'trap "" TERM; : > on; while :; do sleep 1; done'
  )
  process.terminate(stubborn, patience_seconds=0.2)
  assert stubborn.wait(5) == -signal.SIGKILL


def test_what_a_cell_started_ends_with_it(tmp_path):
  parent = _started(tmp_path, 'sleep 60 & echo $! > pid; : > on; wait')
  child = psutil.Process(int((tmp_path / 'pid').read_text()))
  assert child.is_running()
  process.terminate(parent)
  _, left = psutil.wait_procs([child], timeout=5)
  assert not left or child.status() == psutil.STATUS_ZOMBIE


def test_every_librarys_threads_are_limited(tmp_path):
  names = (
      'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS',
      'TF_NUM_INTRAOP_THREADS', 'TF_NUM_INTEROP_THREADS',
  )
  cell = _cell(tmp_path, 'threads', (
      f'import os; print([os.environ[name] for name in {names}])'
  ))
  process.run_cell(cell, str(tmp_path / 'logs'), 3)
  log = process.log_path(cell, str(tmp_path / 'logs'))
  assert process.tail(log, 1) == [str(['3'] * 5)]
