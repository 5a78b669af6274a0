"""Cells run once, in order, side by side; failures do not spread."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
import types

import pytest

from safer_tf.experiments import cells
from safer_tf.experiments import executor
from safer_tf.experiments import process
from tests.experiments import script_cells

_cell, _wait_for = script_cells.cell, script_cells.wait_for


def _order(tmp_path):
  return (tmp_path / 'order').read_text().split()


def _execute(todo, tmp_path, workers=2):
  log_dir = str(tmp_path / 'logs')
  return executor.execute(
      todo, executor.LocalPool(log_dir, workers), log_dir
  )


def test_needs_come_first_and_a_second_run_repeats_nothing(tmp_path):
  todo = [
      _cell(tmp_path, 'data', 'import time; time.sleep(0.3)'),
      _cell(tmp_path, 'prior', needs=['data']),
      _cell(tmp_path, 'agent', needs=['prior']),
  ]
  assert set(_execute(todo, tmp_path).values()) == {executor.FINISHED}
  assert _order(tmp_path) == ['data', 'prior', 'agent']
  assert set(_execute(todo, tmp_path).values()) == {executor.FINISHED}
  assert _order(tmp_path) == ['data', 'prior', 'agent']


def test_failure_blocks_only_what_needs_it_and_shows_its_log(tmp_path, capfd):
  todo = [
      _cell(tmp_path, 'bad', 'raise SystemExit("the reason")'),
      _cell(tmp_path, 'after', needs=['bad']),
      _cell(tmp_path, 'later', needs=['after']),
      _cell(tmp_path, 'good'),
  ]
  outcome = _execute(todo, tmp_path)
  assert outcome == {
      'bad': executor.FAILED, 'after': executor.BLOCKED,
      'later': executor.BLOCKED, 'good': executor.FINISHED,
  }
  assert _order(tmp_path) == ['good']
  assert 'the reason' in capfd.readouterr().err


def test_the_outcome_is_told_as_cells_end(tmp_path):
  log_dir, told = str(tmp_path / 'logs'), []
  executor.execute(
      [_cell(tmp_path, 'one'), _cell(tmp_path, 'two', needs=['one'])],
      executor.LocalPool(log_dir, 1), log_dir,
      lambda outcome: told.append(dict(outcome)),
  )
  one = {'one': executor.FINISHED}
  assert told == [one, {**one, 'two': executor.FINISHED}]


def test_a_cell_that_leaves_no_result_has_failed(tmp_path):
  cell = dataclasses.replace(
      _cell(tmp_path, 'liar'), finished_file=str(tmp_path / 'missing')
  )
  assert _execute([cell], tmp_path) == {'liar': executor.FAILED}


def test_a_cell_that_cannot_be_started_has_failed_alone(tmp_path, capfd):
  class Missing(cells.Cell):
    command = [str(tmp_path / 'no' / 'such' / 'python')]

  lost = Missing('lost', 'none', (), str(tmp_path / 'lost.done'))
  assert _execute([lost, _cell(tmp_path, 'good')], tmp_path) == {
      'lost': executor.FAILED, 'good': executor.FINISHED
  }
  assert 'could not be started' in capfd.readouterr().err


def test_an_ended_cells_number_is_not_signalled(tmp_path, monkeypatch):
  pool = executor.LocalPool(str(tmp_path / 'logs'), 1)
  assert pool.start(_cell(tmp_path, 'quick')).result() == ''
  signalled = []
  monkeypatch.setattr(os, 'killpg', lambda *args: signalled.append(args))
  pool.stop()
  assert not signalled


def test_cells_run_side_by_side_but_the_whole_machine_alone(tmp_path):
  note = (
      'import time, os; start = time.time(); time.sleep(0.5);'
      f'open({str(tmp_path)!r} + "/{{}}.span", "w").write('
      'f"{{start}} {{time.time()}}")'
  )
  todo = [
      _cell(tmp_path, name, note.format(name), whole_machine=name == 'whole')
      for name in ('one', 'two', 'whole')
  ]
  _execute(todo, tmp_path)
  spans = {
      cell.name: [
          float(value)
          for value in (tmp_path / f'{cell.name}.span').read_text().split()
      ] for cell in todo
  }
  assert spans['one'][0] < spans['two'][1]
  assert spans['two'][0] < spans['one'][1]
  assert spans['whole'][0] >= max(spans['one'][1], spans['two'][1])


def test_two_runs_at_once_carry_a_cell_out_once(tmp_path):
  cell = _cell(tmp_path, 'once', 'import time; time.sleep(0.5)')
  pools = [executor.LocalPool(str(tmp_path / 'logs'), 1) for _ in range(2)]
  handles = [pool.start(cell) for pool in pools]
  assert [handle.result() for handle in handles] == ['', '']
  assert _order(tmp_path) == ['once']
  for pool in pools:
    pool.stop()


def test_a_stopped_pool_waits_for_no_other_runs_cell(tmp_path):
  cell, log_dir = _cell(tmp_path, 'one', 'pass'), str(tmp_path / 'logs')
  os.makedirs(log_dir)
  pool = executor.LocalPool(log_dir, 1)
  with open(process.log_path(cell, log_dir), 'ab') as log:
    fcntl.flock(log, fcntl.LOCK_EX)  # As another run's.
    handle = pool.start(cell)
    time.sleep(0.2)
    assert not handle.done()
    stopper = threading.Thread(target=pool.stop)
    stopper.start()
    stopper.join(5)
    assert not stopper.is_alive() and 'Another process' in handle.result()


@pytest.mark.skipif(sys.platform != 'linux', reason='needs prctl')
@pytest.mark.parametrize(
    'number', [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
)
def test_an_ended_run_leaves_no_process_and_is_gone_on_with(tmp_path, number):
  cell = _cell(tmp_path, 'slow', f'''
import os, time
open({str(tmp_path / "pid")!r}, 'a').write(str(os.getpid()) + ' ')
if not os.path.exists({str(tmp_path / "again")!r}): time.sleep(60)
''')
  # Whoever starts the tests in the background of a shell has SIGINT ignored.
  runner = subprocess.Popen([sys.executable, '-c', f'''
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from safer_tf.experiments import cells, executor
class Cell(cells.Cell):
  command = {cell.command!r}
log_dir = {str(tmp_path / "logs")!r}
executor.execute(
    [Cell('slow', 'none', (), {cell.finished_file!r})],
    executor.LocalPool(log_dir, 1), log_dir)
'''])
  pids = tmp_path / 'pid'
  _wait_for(lambda: pids.exists() and pids.read_text())
  runner.send_signal(number)
  runner.wait(20)
  first = int(pids.read_text().split()[0])
  _wait_for(lambda: not os.path.exists(f'/proc/{first}'))
  (tmp_path / 'again').touch()
  assert _execute([cell], tmp_path) == {'slow': executor.FINISHED}


def test_the_tail_of_a_log_resolves_progress_bars(tmp_path):
  log = tmp_path / 'a.log'
  log.write_text('start\nTraining:  10%|#  |\rTraining:  70%|## |\r')
  assert process.tail(str(log), 2) == ['start', 'Training:  70%|## |']
  assert process.fraction(str(log)) == 0.7
  assert process.fraction(str(tmp_path / 'none.log')) == 0.0


def test_a_cell_has_the_threads_that_it_is_given(tmp_path):
  script = 'import os; print(os.environ["TF_NUM_INTRAOP_THREADS"])'
  cell = _cell(tmp_path, 'threads', script)
  process.run_cell(cell, str(tmp_path / 'logs'), 3)
  log = process.log_path(cell, str(tmp_path / 'logs'))
  assert process.tail(log, 1) == ['3']


@pytest.mark.parametrize('whole', [False, True])
def test_the_threads_of_a_cell_do_not_depend_on_the_workers(
    tmp_path, monkeypatch, whole
):
  monkeypatch.setattr(os, 'cpu_count', lambda: 6)
  given = []
  monkeypatch.setattr(
      process, 'run_cell', lambda cell, logs, threads, *_: given.append(threads)
  )
  cell = dataclasses.replace(_cell(tmp_path, 'a'), whole_machine=whole)
  for workers in (1, 2, None):
    pool = executor.LocalPool(str(tmp_path), workers)
    pool.start(cell).result()
    pool.stop()
  assert given == 3 * [6 if whole else 1]


def test_inputs_of_finished_cells_alone_are_left_out(tmp_path):
  everything = [
      _cell(tmp_path, 'a'), _cell(tmp_path, 'b', needs=['a']),
      _cell(tmp_path, 'c'), _cell(tmp_path, 'd', needs=['b']),
      _cell(tmp_path, 'e', needs=['b', 'c']),
  ]
  assert cells.without_unneeded(everything) == everything

  def names(*finished):
    todo = [
        dataclasses.replace(cell, recorded=cell.name in finished)
        for cell in everything
    ]
    return ''.join(cell.name for cell in cells.without_unneeded(todo))

  assert names('d') == 'abcde'
  assert names('e') == 'abde'
  assert names('b') == 'bcde'  # What only a finished cell was made from.
  assert names('d', 'e') == 'de'


def test_finished_cells_need_nothing_that_is_gone(tmp_path):
  done = dataclasses.replace(
      _cell(tmp_path, 'd', needs=['b']), recorded=True
  )
  outcome = _execute([done], tmp_path)
  assert outcome == {'d': executor.FINISHED}


@pytest.mark.parametrize('before, left', [(0, '00:20'), (50, '01:00')])
def test_time_left_is_by_what_this_run_did(
    tmp_path, monkeypatch, capsys, before, left
):
  cell, other = _cell(tmp_path, 'one'), _cell(tmp_path, 'two')
  log_dir = str(tmp_path / 'logs')
  log = process.log_path(cell, log_dir)
  os.makedirs(os.path.dirname(log))

  def reach(percent):
    with open(log, 'a', encoding='utf-8') as file:
      file.write(f'Training: {percent}%|##  \n')

  now = [100.0]
  monkeypatch.setattr(time, 'monotonic', lambda: now[0])
  if before:  # Of the run that was killed.
    reach(before)
  display = executor._Display([cell, other], log_dir, 1)
  display.show({}, [cell])
  reach(80)
  now[0] += 15.1 if before else 13.4
  display._said = -1e9
  display.show({}, [cell])
  # 0.8 of 2 cells are done: in this run 0.8 in 13.4 s, or only 0.3 in 15.1 s.
  said = capsys.readouterr().err
  assert f'{left} left' in said


@pytest.mark.parametrize('running, ready, started', [
    ('', 'abc', 'ab'), ('d', 'abc', 'a'), ('', 'Wab', 'W'),
    ('d', 'Wab', ''), ('W', 'abc', ''), ('', 'aWb', 'ab'),
])
def test_cells_start_in_their_order_and_none_beside_one_of_all_cores(
    tmp_path, running, ready, started
):
  running, ready = (
      [_cell(tmp_path, name, whole_machine=name == 'W') for name in names]
      for names in (running, ready)
  )
  found = executor._startable(
      ready, running, {}, types.SimpleNamespace(workers=2)
  )
  assert ''.join(cell.name for cell in found) == started


def test_a_cell_that_starts_while_the_pool_stops_is_ended(tmp_path):
  pool = executor.LocalPool(str(tmp_path), 1)
  pool.stop()
  late = subprocess.Popen(['sleep', '60'], start_new_session=True)
  pool._note(late)
  assert late.wait(5) == -signal.SIGTERM


def test_a_failed_cell_is_told_while_others_run(tmp_path):
  log_dir, told = str(tmp_path / 'logs'), []
  executor.execute(
      [_cell(tmp_path, 'bad', 'raise SystemExit(1)'), _cell(tmp_path, 'two')],
      executor.LocalPool(log_dir, 1), log_dir,
      lambda outcome: told.append(dict(outcome)),
  )
  assert told[0] == {'bad': executor.FAILED}
