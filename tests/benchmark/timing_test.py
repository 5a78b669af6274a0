"""Turns, processes of stated size, and what two of them gain."""

from __future__ import annotations

import os

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


def work(number, name):
  scaling.spin(200_000)
  return number, name


def test_peak_memory_is_of_this_process_alone():
  held = np.ones(100_000_000)  # 0.8 GB.
  assert timing.peak_memory() > held.nbytes / 1e9
  assert timing.alone(f'{_HERE}:timing.peak_memory') < held.nbytes / 1e9


def test_functions_take_turns():
  order = []
  calls = {name: (lambda name=name: order.append(name)) for name in 'ab'}
  found = timing.interleaved(calls, 2, {'b': 3})
  assert order == list('abbbabbb')
  assert set(found) == {'a', 'b'} and min(found.values()) >= 0


def test_a_process_gets_its_threads_and_core():
  before = dict(os.environ)
  threads, cores, process = timing.alone(
      f'{_HERE}:surroundings', threads=3, one_core=True
  )
  assert (threads, cores) == ('3', 1)
  assert process != os.getpid()
  assert dict(os.environ) == before
  assert timing.cores() == min(2, len(os.sched_getaffinity(0)))


def test_errors_come_back():
  with pytest.raises(errors.UserError, match='no such thing'):
    timing.alone(f'{_HERE}:fail', 'no such thing')
  with pytest.raises(RuntimeError, match='TypeError'):
    timing.alone(f'{_HERE}:fail')


def test_both_pieces_are_done_in_each_turn():
  found = scaling.compare(
      work, [[(1,), (2,)], [(3,), (4,)]], [(0,), (0,)], loop_iterations=1000
  )
  assert found.results == [[(1, 'two'), (2, 'two')], [(3, 'two'), (4, 'two')]]
  assert len(found.pair_seconds) == 2
  assert found.ours > 0 and found.loops > 0
