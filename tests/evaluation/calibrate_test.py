"""Calibrations and rollouts of a prior alone, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from safer_tf.assurance import certified
from safer_tf.common import errors
from safer_tf.evaluation import calibrate
from safer_tf.evaluation import prior_rollouts
from safer_tf.evaluation import rollouts
from tests.evaluation import small_run

_TASK = small_run.TASK
_record = small_run.record


def _by_hand(given):
  """Episodes of 3, 2 and 1 steps, of which 2, 0 and 1 are unsafe."""

  def roll_out(env, recorder, policy, seeds):
    del recorder
    bound = float(np.max(env.action_spec().maximum))
    given.append((bound, policy(None).tolist(), list(seeds)))
    for seed, unsafe in zip(seeds, ([0, 1, 1], [0, 0], [1])):
      yield _record(unsafe[-1] == 0, unsafe, seed)

  return roll_out


def test_a_calibration_by_hand(root, monkeypatch, capsys):
  given = []
  monkeypatch.setattr(rollouts, 'roll_out', _by_hand(given))
  found = calibrate.calibrate(
      root, 5, task=_TASK, num_steps=6, max_episode_steps=9
  )
  assert given == [
      (
          bound, rollouts.random_latents(6, bound, 5)(None).tolist(),
          list(rollouts.episode_seeds(5, 6, 2)),
      ) for bound in (0.5, 1.0)
  ]
  for row in found['rows']:
    assert (row['steps'], row['episodes'], row['unsafe_episodes']) == (6, 3, 2)
    assert row['unsafe_fraction'] == 0.5
    assert row['unsafe_fraction_upper'] == certified.unsafe_share_upper(
        np.array([2, 0, 1]), np.array([3, 2, 1]), 9
    )
    assert row['success_rate'] == pytest.approx(1 / 3)
  told = capsys.readouterr().out
  assert told.count('50.0% of 6 steps are unsafe') == len(found['rows'])
  assert '(|z| < 0.5): 50.0%' in told
  with pytest.raises(errors.UserError, match='held_out'):
    calibrate.calibrate(
        root, 5, task=_TASK, protocol='held_out', max_episode_steps=9
    )


def test_a_prior_alone_acts_in_its_range_by_its_seed(root, monkeypatch):
  given = []
  monkeypatch.setattr(rollouts, 'roll_out', _by_hand(given))
  prior_rollouts.roll_out_prior(
      root, 7, prior='safer', tasks=(_TASK,), ranges=(0.5, 2.0), num_episodes=3
  )
  assert given == [
      (
          bound, rollouts.random_latents(6, bound, 7)(None).tolist(),
          list(rollouts.episode_seeds(7, 3, 991)),
      ) for bound in (0.5, 2.0)
  ]
