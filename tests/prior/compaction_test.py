from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from safer_tf.data import pipeline
from safer_tf.prior import compaction

_RUNS, _STEPS, _SAFE_RUNS = 6, 5, 2


def _batch(window):
  """Frames and actions that carry their run and place."""
  random = np.random.default_rng(window)
  frames = window - 1 + _STEPS
  valid = np.zeros([_RUNS, frames], bool)
  weight = np.zeros([_RUNS, _STEPS], 'f')
  for run in range(_RUNS):
    first = random.integers(0, frames - 1)
    valid[run, first:first + random.integers(1, frames)] = True
    weight[run] = (random.random(_STEPS) < 0.5) & valid[run, window - 1:]
  # The first tuple is the one that fills up: it must not count twice.
  valid[0, window - 1] = weight[0, 0] = True
  place = 100 * np.arange(1, _RUNS + 1)[:, None] + np.arange(frames)
  observation = np.where(valid, place, 0)[..., None].astype('f')
  return pipeline.RunBatch(
      observation, valid, observation[:, window - 1:], weight
  )


@pytest.mark.parametrize('window', [1, 2, 4])
def test_weighted_tuples_and_their_windows_are_kept(window):
  batch = _batch(window)
  found = compaction.compact(
      pipeline.RunBatch(*map(tf.convert_to_tensor, batch)), window, _SAFE_RUNS
  )
  counted = (found.safe + found.unsafe).numpy() > 0
  expected = [
      (
          np.where(valid, frames, 0), valid, batch.action[run, step, 0],
          run < _SAFE_RUNS,
      )
      for run, step in zip(*np.nonzero(batch.weight))
      for frames in [batch.observation[run, step:step + window, 0]]
      for valid in [batch.valid[run, step:step + window]]
  ]
  assert counted.sum() == len(expected) > 2
  frames = found.observation.numpy()[found.window.numpy(), 0]
  for row, (window_frames, valid, action, is_safe) in enumerate(expected):
    np.testing.assert_array_equal(found.valid[row], valid)
    np.testing.assert_array_equal(
        np.where(valid, frames[row], 0), window_frames
    )
    assert found.action[row, 0] == action
    assert (found.safe[row], found.unsafe[row]) == (is_safe, not is_safe)


def test_no_frame_is_kept_that_no_tuple_needs(monkeypatch):
  monkeypatch.setattr(compaction, '_MULTIPLE', 1)
  batch = _batch(4)
  found = compaction.compact(
      pipeline.RunBatch(*map(tf.convert_to_tensor, batch)), 4, _SAFE_RUNS
  )
  needed = {
      (run, step + back)
      for run, step in zip(*np.nonzero(batch.weight)) for back in range(4)
      if batch.valid[run, step + back]
  }
  assert len(found.observation) == len(needed) < batch.valid.sum()


def test_counts_are_rounded_up_to_few_shapes():
  found = compaction.compact(
      pipeline.RunBatch(*map(tf.convert_to_tensor, _batch(4))), 4, _SAFE_RUNS
  )
  assert len(found.observation) % compaction._MULTIPLE == 0
  assert len(found.action) % compaction._MULTIPLE == 0


