"""Turns, processes of stated size, and what two of them gain."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from safer_tf.benchmark import scaling
from safer_tf.benchmark import timing
from safer_tf.common import errors

_HERE = 'tests.benchmark.timing_test'


def surroundings():
  return os.environ['OMP_NUM_THREADS'], timing.cores(), os.getpid()


def fail(message):
  raise errors.UserError(message)


def note(log, number, name):
  with open(log, 'a', encoding='ascii') as file:
    file.write(f'{name} {number}\n')
  return number


def test_peak_memory_is_of_this_process_alone():
  held = np.ones(100_000_000)  # 0.8 GB.
  assert timing.peak_memory() > held.nbytes / 1e9
  assert timing.alone(f'{_HERE}:timing.peak_memory') < held.nbytes / 1e9


def test_functions_take_turns():
  order = []
  calls = {name: (lambda name=name: order.append(name)) for name in 'ab'}
  found = timing.interleaved(calls, 2, {'b': 3})
  assert order == list('aabbbb') * 2
  assert set(found) == {'a', 'b'} and min(found.values()) >= 0


def test_a_process_gets_its_threads_and_core():
  before = dict(os.environ)
  threads, cores, process = timing.alone(
      f'{_HERE}:surroundings', threads=3, core=0
  )
  assert (threads, cores) == ('3', 1)
  assert process != os.getpid()
  assert dict(os.environ) == before
  assert timing.cores() == min(2, len(os.sched_getaffinity(0)))


def test_cores_come_before_second_threads_and_fast_ones_before_slow(tmp_path):
  # Two fast cores of two threads each, and two slow ones.
  for cpu, (threads, speed) in enumerate(
      [('0-1', 9), ('0-1', 9), ('2-3', 9), ('2-3', 9), ('4', 5), ('5', 5)]
  ):
    for name, value in (
        ('topology/thread_siblings_list', threads),
        ('cpufreq/cpuinfo_max_freq', speed),
    ):
      path = tmp_path / f'cpu{cpu}' / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text(f'{value}\n')
  assert timing.ranked(range(6), str(tmp_path)) == [3, 1, 5, 4, 2, 0]
  assert timing.ranked({0, 2, 4}, str(tmp_path)) == [2, 0, 4]
  assert timing.ranked({0, 5, 7}, str(tmp_path / 'none')) == [7, 5, 0]


def test_errors_come_back():
  with pytest.raises(errors.UserError, match='no such thing'):
    timing.alone(f'{_HERE}:fail', 'no such thing')
  with pytest.raises(RuntimeError, match='TypeError'):
    timing.alone(f'{_HERE}:fail')


def test_gain_is_the_time_apart_over_the_time_together(tmp_path, monkeypatch):
  # A loop on each core and both, then one piece and the other, both, and loops
  # again; in the second turn both pieces come first.
  clock = iter([3, 5, 4, 3, 3, 2, 2, 2, 2, 6, 2, 4, 5, 7, 8, 1, 3, 2])

  def seconds(function):
    function()
    return next(clock)

  monkeypatch.setattr(timing, 'seconds', seconds)
  log = str(tmp_path / 'log')
  turns = [[(log, 1), (log, 2)], [(log, 3), (log, 4)]]
  found = scaling.compare(
      f'{_HERE}:note', turns, [(log, 0), (log, 0)], loop_iterations=10
  )
  assert next(clock, None) is None
  assert found.results == [[1, 2], [3, 4]]
  assert found.pair_seconds == [2, 5]
  assert found.ours == 3 and found.loops == 2
  with open(log, encoding='ascii') as file:
    order = [line.split() for line in file if 'warm' not in line]
  assert [name for name, _ in order] == [
      'one', 'one', 'two', 'two', 'two', 'two', 'one', 'one'
  ]


def test_one_slow_turn_does_not_count(monkeypatch):
  times = iter([1.0, 2.0, 900.0])
  monkeypatch.setattr(timing, 'seconds', lambda call: next(times))
  assert timing.interleaved({'a': lambda: None}, 3) == {'a': 2.0}


def test_peak_memory_is_what_was_resident():
  # In a process of its own, as others' tests have touched what they have.
  line = (
      'import numpy as np; from safer_tf.benchmark import timing; '
      'reserved = np.empty(1_000_000_000); '  # 8 GB that nobody touches.
      'print(timing.peak_memory())'
  )
  printed = subprocess.run(
      [sys.executable, '-c', line], capture_output=True, text=True, check=True
  ).stdout
  assert 0 < float(printed.splitlines()[-1]) < 4
