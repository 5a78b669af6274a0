"""One cell as a process."""

from __future__ import annotations

import signal
import subprocess

from safer_tf.experiments import process
from tests.experiments import script_cells

_cell, _wait_for = script_cells.cell, script_cells.wait_for


def test_a_log_is_gone_on_with(tmp_path):
  cell = _cell(tmp_path, 'a', 'print("why"); raise SystemExit(1)')
  for _ in range(2):
    process.run_cell(cell, str(tmp_path), 1)
  with open(process.log_path(cell, str(tmp_path)), encoding='utf-8') as file:
    assert file.read().splitlines().count('why') == 2


def test_what_does_not_hear_is_ended_by_force(tmp_path):
  stubborn = subprocess.Popen([
      'sh', '-c',
      f'trap "" TERM; touch {tmp_path}/on; while :; do sleep 1; done',
  ], start_new_session=True)
  _wait_for((tmp_path / 'on').exists)
  process.terminate(stubborn, patience_seconds=0.2)
  assert stubborn.wait(5) == -signal.SIGKILL


def test_what_a_cell_started_ends_with_it(tmp_path):
  parent = subprocess.Popen([
      'sh', '-c',
      f'sleep 60 & echo $! > {tmp_path}/pid; touch {tmp_path}/on; wait',
  ], start_new_session=True)
  _wait_for((tmp_path / 'on').exists)
  process.terminate(parent)
  child = int((tmp_path / 'pid').read_text())

  def ended():
    try:
      with open(f'/proc/{child}/stat', encoding='ascii') as file:
        return file.read().split()[2] == 'Z'
    except FileNotFoundError:
      return True

  _wait_for(ended, 5)


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
