"""The physical scene: arm, container and object in one PyBullet world.

Nothing here knows of rewards or episodes. The arm is driven by joint position
control alone and a grasp holds by friction and force alone.
"""

from __future__ import annotations

import functools
import math
import os
import tempfile
from typing import NamedTuple

import numpy as np
import pybullet

from envs import kinematics
from envs import meshes
from envs import tasks

_ARM_URDF = os.path.join(os.path.dirname(__file__), 'assets', 'arm.urdf')
_ARM_JOINTS = (0, 1, 2, 3, 4)
_FINGER_JOINTS = (5, 6)
FINGER_TRAVEL = 0.026  # m, of each finger from closed to open
CONTAINER_CENTER = (0.28, 0.0)  # m
WALL = 0.005  # m, thickness of walls and floor

_APART = (*CONTAINER_CENTER, 0.16, math.pi / 2, 0.0)  # tool, off everything
TIME_STEP = 1 / 160  # s
SUBSTEPS = 8  # a step of the environment is 50 ms
_SOLVER_ITERATIONS = 30
_ARM_FORCE = (8.0, 8.0, 8.0, 4.0, 4.0)  # N m
_ARM_GAIN = (0.25,) * 5
_FINGER_FORCE = 4.0  # N
_OBJECT_MASS = 0.08  # kg
_OBJECT_FRICTION = 0.6
_WALL_COLOR = (0.62, 0.66, 0.72, 1.0)
_TABLE_COLOR = (0.24, 0.30, 0.27, 1.0)

# The fixed camera stands in front of the arm, above the container.
_CAMERA_TARGET = (0.275, 0.0, 0.055)  # m
_CAMERA_DISTANCE = 0.42  # m
_CAMERA_YAW = 90.0  # degrees: looks back at the arm
_CAMERA_PITCH = -67.0  # degrees
_CAMERA_FOV = 26.0  # degrees
_LIGHT = (0.6, 0.4, 1.0)


class ObjectState(NamedTuple):
  """Pose of the object.

  Attributes:
    position: [3] of its origin (see `tasks.Task`), metres.
    orientation: [4] quaternion x, y, z, w.
  """

  position: tuple[float, float, float]
  orientation: tuple[float, float, float, float]


class Scene:
  """One task's bodies in a PyBullet world of their own."""

  def __init__(self, task: tasks.Task):
    """Builds the world.

    Args:
      task: constants of the task.
    """
    self.task = task
    self._client = pybullet.connect(pybullet.DIRECT)
    self._hull = meshes.hull_vertices(task.object_id, task.scale)
    self._images: dict[tuple[int, int], tuple] = {}
    self._build()
    self._initial = self._call('saveState')()

  def _call(self, name):
    return functools.partial(
        getattr(pybullet, name), physicsClientId=self._client
    )

  def _build(self) -> None:
    self._call('setPhysicsEngineParameter')(
        fixedTimeStep=TIME_STEP, numSolverIterations=_SOLVER_ITERATIONS,
        deterministicOverlappingPairs=1,
    )
    self._call('setGravity')(0, 0, -9.81)
    self._arm = self._call('loadURDF')(
        _ARM_URDF, useFixedBase=True,
        flags=pybullet.URDF_USE_MATERIAL_COLORS_FROM_MTL,
    )
    self._table = self._add_boxes(
        [((0.30, 0.0, -0.02), (0.35, 0.35, 0.02))], _TABLE_COLOR
    )
    self._container = self._add_boxes(
        container_boxes(self.task), _WALL_COLOR
    )
    self._object = self._add_object()
    # Bound once: these are called in every substep.
    self._step = self._call('stepSimulation')
    self._contacts = functools.partial(
        self._call('getContactPoints'), self._arm, self._container
    )

  def _add_boxes(self, boxes, color) -> int:
    centers = [list(center) for center, _ in boxes]
    halves = [list(half) for _, half in boxes]
    kinds = [pybullet.GEOM_BOX] * len(boxes)
    collision = self._call('createCollisionShapeArray')(
        shapeTypes=kinds, halfExtents=halves, collisionFramePositions=centers
    )
    visual = self._call('createVisualShapeArray')(
        shapeTypes=kinds, halfExtents=halves, visualFramePositions=centers,
        rgbaColors=[list(color)] * len(boxes),
    )
    return self._call('createMultiBody')(
        baseMass=0, baseCollisionShapeIndex=collision,
        baseVisualShapeIndex=visual,
    )

  def _add_object(self) -> int:
    vertices, faces = meshes.mesh(self.task.object_id, self.task.scale)
    collision = self._call('createCollisionShape')(
        pybullet.GEOM_MESH, vertices=self._hull.tolist()
    )
    # PyBullet never frees what it is given as a list of vertices.
    with tempfile.TemporaryDirectory() as directory:
      path = os.path.join(directory, 'object.obj')
      meshes.write_flat_shaded(path, vertices, faces)
      visual = self._call('createVisualShape')(
          pybullet.GEOM_MESH, fileName=path
      )
    body = self._call('createMultiBody')(
        baseMass=_OBJECT_MASS, baseCollisionShapeIndex=collision,
        baseVisualShapeIndex=visual, basePosition=[0, 0, 1],
    )
    # A mesh from a file has the colour of its material, and this has none.
    self._call('changeVisualShape')(
        body, -1, rgbaColor=[*self.task.color, 1.0]
    )
    extent = vertices.max(0) - vertices.min(0)
    # That of a solid box of the same size; the meshes' own files have none.
    squares = extent**2
    self._call('changeDynamics')(
        body, -1, lateralFriction=_OBJECT_FRICTION, spinningFriction=0.005,
        rollingFriction=0.0002, restitution=0.0,
        localInertiaDiagonal=(
            _OBJECT_MASS / 12 * (squares.sum() - squares)
        ).tolist(),
    )
    return body

  def save(self, path: str) -> None:
    """Writes the world's state to a file."""
    self._call('saveBullet')(path)

  def restore(self, path: str) -> None:
    """Reads the world's state from a file; motors keep their old targets."""
    self._separate()
    self._call('restoreState')(fileName=path)

  def close(self) -> None:
    """Frees the world."""
    if self._client >= 0:
      pybullet.disconnect(self._client)
      self._client = -1

  def reset(self, tool_pose, object_position, object_orientation) -> None:
    """Puts arm and object to a pose, at rest, gripper open.

    Args:
      tool_pose: x, y, z, pitch, yaw of the tool (metres, radians).
      object_position: [3] metres.
      object_orientation: [4] quaternion.
    """
    self._separate()
    self._call('restoreState')(self._initial)
    self._place(tool_pose, object_position, object_orientation)
    self.drive(kinematics.inverse(*tool_pose), FINGER_TRAVEL)

  def _place(self, tool_pose, object_position, object_orientation) -> None:
    fingers = (FINGER_TRAVEL, FINGER_TRAVEL)
    for joint, value in enumerate(kinematics.inverse(*tool_pose) + fingers):
      self._call('resetJointState')(self._arm, joint, value, 0.0)
    self._call('resetBasePositionAndOrientation')(
        self._object, object_position, object_orientation
    )

  def _separate(self) -> None:
    """Simulates once with nothing in touch.

    A restored state keeps what PyBullet remembers of the contacts before it,
    and an episode would depend, in its last bits, on the one before.
    """
    self._place(_APART, (0, 0, 5), (0, 0, 0, 1))
    self._step()

  def drive(self, angles, opening: float) -> None:
    """Sets the motors' targets.

    Args:
      angles: [5] joint angles, radians.
      opening: of each finger, metres.
    """
    self._call('setJointMotorControlArray')(
        self._arm, _ARM_JOINTS, pybullet.POSITION_CONTROL,
        targetPositions=angles, forces=_ARM_FORCE, positionGains=_ARM_GAIN,
    )
    self._call('setJointMotorControlArray')(
        self._arm, _FINGER_JOINTS, pybullet.POSITION_CONTROL,
        targetPositions=(opening, opening),
        forces=(_FINGER_FORCE, _FINGER_FORCE), positionGains=(0.3, 0.3),
    )

  def advance(self, substeps: int = SUBSTEPS) -> bool:
    """Simulates substeps.

    Args:
      substeps: how many.

    Returns:
      Whether any link of the arm touched the container in any of them.
    """
    touched = False
    for _ in range(substeps):
      self._step()
      # Contact points tell of the last substep only: ask after each.
      if not touched and self._touching():
        touched = True
    return touched

  def _touching(self) -> bool:
    return any(point[8] <= 0 for point in self._contacts())

  def tool_pose(self) -> tuple[float, float, float, float, float]:
    """x, y, z, pitch, yaw of the tool from the measured joint angles."""
    states = self._call('getJointStates')(self._arm, _ARM_JOINTS)
    return kinematics.forward(*(state[0] for state in states))

  def object_state(self) -> ObjectState:
    """Pose of the object."""
    return ObjectState(
        *self._call('getBasePositionAndOrientation')(self._object)
    )

  def object_lowest(self) -> float:
    """Height of the object's lowest vertex, metres."""
    state = self.object_state()
    rotation = pybullet.getMatrixFromQuaternion(state.orientation)
    return state.position[2] + float(
        (self._hull @ np.asarray(rotation[6:9])).min()
    )

  def held(self) -> bool:
    """Whether both fingers touch the object, or nearly.

    PyBullet gives contact points from a small distance on, and all count here;
    what is labelled unsafe asks for touch.
    """
    return all(
        self._call('getContactPoints')(self._arm, self._object, joint)
        for joint in _FINGER_JOINTS
    )

  def image(self, height: int, width: int) -> np.ndarray:
    """Renders the fixed camera's view.

    Args:
      height: pixels.
      width: pixels.

    Returns:
      uint8 [height, width, 3].
    """
    if (height, width) not in self._images:
      self._images[height, width] = _camera(width / height)
    view, projection = self._images[height, width]
    pixels = pybullet.getCameraImage(
        width, height, view, projection, lightDirection=_LIGHT, shadow=0,
        renderer=pybullet.ER_TINY_RENDERER,
        flags=pybullet.ER_NO_SEGMENTATION_MASK, physicsClientId=self._client,
    )[2]
    return np.ascontiguousarray(
        np.reshape(pixels, (height, width, 4))[:, :, :3], dtype=np.uint8
    )

def _camera(aspect: float):
  view = pybullet.computeViewMatrixFromYawPitchRoll(
      _CAMERA_TARGET, _CAMERA_DISTANCE, _CAMERA_YAW, _CAMERA_PITCH, 0.0, 2
  )
  projection = pybullet.computeProjectionMatrixFOV(
      _CAMERA_FOV, aspect, 0.05, 2.0
  )
  return view, projection


def container_boxes(task: tasks.Task):
  """The container's floor and walls as (center, half extents), metres."""
  x, y = CONTAINER_CENTER
  half_length, half_width = task.length / 2, task.width / 2
  half_wall, half_height = WALL / 2, (task.height + WALL) / 2
  walls = [
      ((x, y, half_wall),
       (half_length + WALL, half_width + WALL, half_wall)),
  ]
  for sign in (-1, 1):
    walls.append((
        (x + sign * (half_length + half_wall), y, half_height),
        (half_wall, half_width + WALL, half_height),
    ))
    walls.append((
        (x, y + sign * (half_width + half_wall), half_height),
        (half_length, half_wall, half_height),
    ))
  return walls
