"""Closed-form kinematics against PyBullet's."""

from __future__ import annotations

import math

import numpy as np
import pybullet
import pytest

from envs import errors
from envs import extraction
from envs import kinematics
from envs import scene

_TOOL_IN_HAND = (0.105, 0.0, 0.0)  # m


@pytest.fixture(scope='module', name='arm')
def _arm():
  client = pybullet.connect(pybullet.DIRECT)
  body = pybullet.loadURDF(
      scene._ARM_URDF, useFixedBase=True, physicsClientId=client
  )
  yield client, body
  pybullet.disconnect(client)


def _poses(count):
  draw = np.random.default_rng(0).uniform
  return [draw(extraction._LOWER, extraction._UPPER) for _ in range(count)]


def test_inverse_agrees_with_pybullets_forward(arm):
  client, body = arm
  for pose in _poses(200):
    angles = kinematics.inverse(*pose)
    for joint, angle in enumerate(angles):
      pybullet.resetJointState(body, joint, angle, physicsClientId=client)
    state = pybullet.getLinkState(
        body, 4, computeForwardKinematics=True, physicsClientId=client
    )
    rotation = np.reshape(pybullet.getMatrixFromQuaternion(state[5]), (3, 3))
    tool = np.asarray(state[4]) + rotation @ _TOOL_IN_HAND
    np.testing.assert_allclose(tool, pose[:3], atol=1e-6)
    # The tool's axis dips by `pitch`.
    assert math.asin(-rotation[2, 0]) == pytest.approx(
        math.pi - pose[3] if pose[3] > math.pi / 2 else pose[3], abs=1e-5
    )


def test_yaw_is_the_heading_of_the_fingers_when_pointing_down(arm):
  client, body = arm
  for yaw in (-0.7, 0.0, 0.4):
    angles = kinematics.inverse(0.28, 0.06, 0.1, math.pi / 2, yaw)
    for joint, angle in enumerate(angles):
      pybullet.resetJointState(body, joint, angle, physicsClientId=client)
    state = pybullet.getLinkState(
        body, 4, computeForwardKinematics=True, physicsClientId=client
    )
    rotation = np.reshape(pybullet.getMatrixFromQuaternion(state[5]), (3, 3))
    heading = math.atan2(-rotation[0, 1], rotation[1, 1])
    assert heading == pytest.approx(yaw, abs=1e-5)


def test_forward_inverts_inverse():
  for pose in _poses(200):
    np.testing.assert_allclose(
        kinematics.forward(*kinematics.inverse(*pose)), pose, atol=1e-9
    )


def test_all_commands_lie_within_the_joint_limits():
  """The corners of the command box, where the limits bind."""
  box = np.array([extraction._LOWER, extraction._UPPER])
  for corner in np.ndindex(*[2] * 5):
    pose = [box[bit, axis] for axis, bit in enumerate(corner)]
    for angle, (low, high) in zip(
        kinematics.inverse(*pose), kinematics.JOINT_LIMITS
    ):
      assert low <= angle <= high, pose


def test_poses_all_round_the_base_need_no_more_than_a_turn():
  for heading in np.linspace(-3.1, 3.1, 12):
    for yaw in (-2.5, 0.0, 2.5):
      x, y = 0.28 * math.cos(heading), 0.28 * math.sin(heading)
      pose = (x, y, 0.1, math.pi / 2, yaw)
      angles = kinematics.inverse(*pose)
      assert max(abs(angles[0]), abs(angles[4])) <= math.pi
      np.testing.assert_allclose(kinematics.forward(*angles), pose, atol=1e-9)


def test_the_joint_limits_are_those_of_the_model(arm):
  client, body = arm
  for joint, limits in enumerate(kinematics.JOINT_LIMITS):
    info = pybullet.getJointInfo(body, joint, physicsClientId=client)
    assert info[8:10] == pytest.approx(limits, abs=1e-3)


@pytest.mark.parametrize('x, z, pitch', [
    (0.9, 0.1, math.pi / 2),
    # The wrist at the shoulder.
    (kinematics.TOOL, kinematics.SHOULDER_HEIGHT, 0.0),
])
def test_out_of_reach_is_refused(x, z, pitch):
  with pytest.raises(errors.EnvError, match='reach'):
    kinematics.inverse(x, 0.0, z, pitch, 0.0)
