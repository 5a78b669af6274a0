"""Closed-form kinematics of the 5-joint arm (WidowX-250 dimensions).

The tool point lies between the finger tips. Its pose is (x, y, z, pitch, yaw):
metres from the arm's base, `pitch` the angle of the tool below the horizontal
(pi/2 points straight down) and `yaw` the direction of the finger axis in the
plane across the tool, measured as if the waist stood at zero, so that a hand
pointing down keeps its fingers' heading when it moves sideways.

Reference: two links in the vertical plane of the waist, e.g. Craig,
Introduction to Robotics, section 4.4.
"""

from __future__ import annotations

import math

from envs import errors

SHOULDER_HEIGHT = 0.11065  # m
_ELBOW_FORWARD = 0.04975  # m, of the elbow at shoulder angle zero
_ELBOW_UP = 0.25  # m
_UPPER_ARM = math.hypot(_ELBOW_FORWARD, _ELBOW_UP)  # m
_UPPER_ARM_REST = math.atan2(_ELBOW_UP, _ELBOW_FORWARD)  # rad
_FOREARM = 0.25  # m
TOOL = 0.17  # m, wrist joint to tool point

# (lower, upper) in radians: waist, shoulder, elbow, wrist angle, wrist rotate.
JOINT_LIMITS = (
    (-math.pi, math.pi),
    (math.radians(-108), math.radians(114)),
    (math.radians(-123), math.radians(92)),
    (math.radians(-100), math.radians(123)),
    (-math.pi, math.pi),
)


def inverse(
    x: float, y: float, z: float, pitch: float, yaw: float
) -> tuple[float, float, float, float, float]:
  """Joint angles that bring the tool point to a pose, elbow up.

  Args:
    x: forward, metres.
    y: left, metres.
    z: up, metres.
    pitch: of the tool below the horizontal, radians.
    yaw: of the finger axis, radians.

  Returns:
    Waist, shoulder, elbow, wrist angle and wrist rotate, radians.

  Raises:
    EnvError: the pose is out of reach.
  """
  waist = math.atan2(y, x)
  wrist_r = math.hypot(x, y) - TOOL * math.cos(pitch)
  wrist_z = z + TOOL * math.sin(pitch) - SHOULDER_HEIGHT
  distance = math.hypot(wrist_r, wrist_z)
  cosine = (_UPPER_ARM**2 + distance**2 - _FOREARM**2) / (
      2 * _UPPER_ARM * max(distance, 1e-9)
  )
  if abs(cosine) > 1:
    raise errors.EnvError(
        f'Tool pose x={x:.3f} y={y:.3f} z={z:.3f} pitch={pitch:.2f} is out of '
        'the arm\'s reach; choose one nearer to its base.'
    )
  upper = math.atan2(wrist_z, wrist_r) + math.acos(cosine)
  forearm = math.atan2(
      wrist_z - _UPPER_ARM * math.sin(upper),
      wrist_r - _UPPER_ARM * math.cos(upper),
  )
  shoulder = _UPPER_ARM_REST - upper
  elbow = shoulder + forearm
  wrist_angle = -forearm - pitch
  # Seen from above a tool that points down turns against the waist.
  wrist_rotate = _wrapped(waist - yaw)
  return waist, shoulder, elbow, wrist_angle, wrist_rotate


def forward(
    waist: float, shoulder: float, elbow: float, wrist_angle: float,
    wrist_rotate: float,
) -> tuple[float, float, float, float, float]:
  """Tool pose of joint angles; the inverse of `inverse`.

  Args:
    waist: radians.
    shoulder: radians.
    elbow: radians.
    wrist_angle: radians.
    wrist_rotate: radians.

  Returns:
    x, y, z (metres), pitch and yaw (radians).
  """
  upper = _UPPER_ARM_REST - shoulder
  forearm = elbow - shoulder
  pitch = -forearm - wrist_angle
  reach = (
      _UPPER_ARM * math.cos(upper) + _FOREARM * math.cos(forearm)
      + TOOL * math.cos(pitch)
  )
  z = (
      SHOULDER_HEIGHT + _UPPER_ARM * math.sin(upper)
      + _FOREARM * math.sin(forearm) - TOOL * math.sin(pitch)
  )
  x, y = reach * math.cos(waist), reach * math.sin(waist)
  return x, y, z, pitch, _wrapped(waist - wrist_rotate)


def _wrapped(angle: float) -> float:
  return (angle + math.pi) % (2 * math.pi) - math.pi
