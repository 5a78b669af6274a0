"""Turns about the vertical, as PyBullet's quaternions (x, y, z, w)."""

from __future__ import annotations

import math

import pybullet


def yaw_quaternion(yaw: float) -> tuple[float, float, float, float]:
  """Quaternion of a turn about the vertical, radians."""
  return (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2))


def turned(orientation, rest) -> float:
  """Turn about the vertical that brings a rest orientation to another.

  Args:
    orientation: [4] quaternion.
    rest: [4] quaternion.

  Returns:
    Radians, of which a turn below -2 pi / 3 has 2 pi too many: PyBullet gives
    either sign of a quaternion. No object starts turned so far, and the
    recorded episodes were collected like this.
  """
  _, inverse = pybullet.invertTransform((0, 0, 0), rest)
  _, change = pybullet.multiplyTransforms(
      (0, 0, 0), orientation, (0, 0, 0), inverse
  )
  return 2 * math.atan2(change[2], change[3])
