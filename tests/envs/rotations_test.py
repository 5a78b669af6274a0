"""Turns about the vertical."""

from __future__ import annotations

import math

import numpy as np
import pybullet
import pytest

from envs import rotations


@pytest.mark.parametrize('yaw', [-3.0, -2.0, -0.4, 0.0, 0.3, 1.5, 3.0])
def test_a_turn_is_found_again_whatever_the_rest(yaw):
  quaternion = rotations.yaw_quaternion(yaw)
  np.testing.assert_allclose(
      pybullet.rotateVector(quaternion, (1, 0, 0)),
      (math.cos(yaw), math.sin(yaw), 0), atol=1e-6,
  )
  for rest in np.random.default_rng(0).normal(size=(20, 4)):
    rest /= np.linalg.norm(rest)
    _, orientation = pybullet.multiplyTransforms(
        (0, 0, 0), quaternion, (0, 0, 0), rest
    )
    found = rotations.turned(orientation, rest)
    assert math.cos(found - yaw) == pytest.approx(1)  # But for whole turns.
    if yaw > -2 * math.pi / 3:
      assert found == pytest.approx(yaw, abs=1e-5)
