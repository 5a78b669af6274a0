"""The record of training, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from safer_tf.common import labels
from safer_tf.rl import agent as sac
from safer_tf.rl import curve as curve_lib


def _episode(curve, steps, complete=True, losses=()):
  """Adds an episode of (success, unsafe, clipped) steps."""
  curve.begin()
  for success, unsafe, clipped in steps:
    curve.add_step(
        -1.0, labels.Labels(bool(unsafe), bool(success)), bool(clipped)
    )
  for loss in losses:
    curve.add_update(np.full(len(sac.Diagnostics._fields), loss))
  curve.end(complete)


def _curve():
  curve = curve_lib.Curve()
  _episode(curve, [(1, 0, 1), (0, 1, 1)], losses=(1.0, 3.0))
  _episode(curve, [(0, 1, 0)] * 6, losses=(5.0,))
  _episode(curve, [(1, 0, 0)] * 2, complete=False)
  return curve


def test_rows_are_of_their_own_episode():
  first, second, third = _curve().rows
  assert (first.success, second.success, third.success) == (1, 0, 1)
  assert (first.clip_rate, second.clip_rate, third.clip_rate) == (1, 0, 0)
  assert (first.critic_loss, second.critic_loss) == (2, 5)
  assert math.isnan(third.critic_loss)
  assert [row.violations for row in (first, second, third)] == [1, 6, 0]
  assert [row.cumulative_violations for row in (first, second, third)] == [
      1, 7, 7
  ]


def test_rates_are_of_steps_and_of_complete_episodes():
  curve = _curve()
  assert curve.env_steps == 10
  assert curve.clip_rate == pytest.approx(0.2)
  # The last episode was cut off; the first ended 8 steps ago.
  assert curve.success_rate(9) == pytest.approx(0.5)
  assert curve.success_rate(8) == 0
  assert math.isnan(curve.success_rate(2))


def test_the_first_episodes_of_a_file_are_loaded(tmp_path):
  path = str(tmp_path / 'curve.csv')
  curve = _curve()
  curve.save(path)
  loaded = curve_lib.Curve()
  loaded.load(path, 2)
  assert loaded.rows == curve.rows[:2]
