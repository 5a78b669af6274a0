from __future__ import annotations

import collections

import numpy as np
import pytest

from safer_tf.data import windows


def _brute_force(lengths, wanted, run_length):
  """All (row, start) that overlap a wanted step, by trying each."""
  found, offset = set(), 0
  for row, length in enumerate(lengths):
    for start in range(-(run_length - 1), length):
      steps = range(max(start, 0), min(start + run_length, length))
      if any(wanted[offset + step] for step in steps):
        found.add((row, start))
    offset += length
  return found


@pytest.mark.parametrize('run_length', [1, 3, 8])
def test_placements_equal_brute_force(run_length):
  generator = np.random.default_rng(run_length)
  lengths = generator.integers(1, 12, size=30)
  wanted = generator.random(lengths.sum()) < 0.15
  episodes = np.arange(30) * 10
  placements = windows.Placements(episodes, lengths, wanted, run_length)
  expected = _brute_force(lengths, wanted, run_length)
  assert len(placements) == len(expected)
  drawn = placements.sample(np.random.default_rng(0), 20 * len(expected))
  assert set(zip(drawn.episode // 10, drawn.start)) == expected


def test_every_wanted_step_is_covered_by_as_many_placements():
  lengths = np.array([1, 5, 20])
  run_length = 4
  wanted = np.random.default_rng(1).random(26) < 0.5
  counts, offset = collections.Counter(), np.cumsum(lengths) - lengths
  for row, start in _brute_force(lengths, wanted, run_length):
    for step in range(max(start, 0), min(start + run_length, lengths[row])):
      counts[offset[row] + step] += 1
  assert {counts[step] for step in np.flatnonzero(wanted)} == {run_length}


def test_no_wanted_step_gives_no_placement():
  none = windows.Placements(np.arange(2), np.array([3, 4]), np.zeros(7), 2)
  assert not len(none)


@pytest.mark.parametrize('window', [1, 2, 5])
def test_needed_frames_equal_brute_force(window):
  random = np.random.default_rng(window)
  weighted = random.random((20, 6)) < 0.3
  valid = random.random((20, window - 1 + 6)) < 0.7
  expected = np.zeros_like(valid)
  for run, step in zip(*np.nonzero(weighted)):
    expected[run, step:step + window] = True
  np.testing.assert_array_equal(
      windows.needed_frames(weighted, valid), expected & valid
  )
