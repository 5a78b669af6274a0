"""Draws the table of tasks; `python -m envs.selection` runs it.

Each draw takes one of `pybullet_data`'s random objects, lets it come to rest
on a plane, scales it so that the gripper can span its narrow side, and fits a
container around it with random clearance and height. A fixed seed makes the
table; `envs.selection` says which draw was kept.
"""

from __future__ import annotations

import csv
import dataclasses
import math
from typing import Any

import numpy as np
import pybullet

from envs import meshes
from envs import rotations
from envs import scene
from envs import tasks

NUM_TASKS = 40
_NUM_OBJECTS = 1000
_UNIT = 0.006  # m per mesh unit while an object comes to rest
_FINGERS = 2 * (scene.FINGER_TRAVEL + 0.008)  # m, outer width when open
_HAND = 0.030  # m, thickness of the hand along the arm
_FINGER_TIP = 0.005  # m that a finger reaches below the tool point
# Of the objects: far from the container's grey and the gripper's
# yellow.
_COLORS = (
    (0.85, 0.15, 0.15), (0.15, 0.35, 0.90), (0.10, 0.65, 0.25),
    (0.60, 0.20, 0.75), (0.90, 0.45, 0.75),
)


@dataclasses.dataclass(frozen=True)
class Difficulty:
  """Ranges that a draw takes its containers from; all in metres.

  Attributes:
    narrow: the object's narrow side.
    clearance_width: between the open gripper and each side wall.
    clearance_length: between the object or hand and each end wall.
    height: of the walls.
    slack: share of the clearance by which an object may lie off the centre.
  """

  narrow: tuple[float, float]
  clearance_width: tuple[float, float]
  clearance_length: tuple[float, float]
  height: tuple[float, float]
  slack: float = 0.4


# Tried in this order until a draw has six evaluation tasks; see
# `envs.selection` and the record it keeps in `draws.json`.
DIFFICULTIES = (
    Difficulty((0.024, 0.046), (0.002, 0.010), (0.005, 0.016), (0.035, 0.085)),
    Difficulty((0.028, 0.048), (0.002, 0.008), (0.004, 0.012), (0.045, 0.090)),
    Difficulty((0.032, 0.048), (0.001, 0.006), (0.003, 0.009), (0.055, 0.095)),
)


def generate(seed: int, difficulty: Difficulty) -> list[tasks.Task]:
  """Draws the tasks.

  Args:
    seed: of all draws.
    difficulty: what containers are drawn from.

  Returns:
    40 tasks.
  """
  generator = np.random.default_rng(seed)
  drawn: list[tasks.Task] = []
  for index in generator.permutation(_NUM_OBJECTS):
    if len(drawn) == NUM_TASKS:
      break
    task = _draw(
        f'extract_{len(drawn):02d}', f'{index:03d}', generator, difficulty,
        _COLORS[len(drawn) % len(_COLORS)],
    )
    if task is not None:
      drawn.append(task)
  return drawn


def _draw(
    name: str, object_id: str, generator: Any, difficulty: Difficulty, color
) -> tasks.Task | None:
  """A task for one object, or None if the gripper could not take it."""
  vertices, _ = meshes.mesh(object_id, _UNIT)
  if not np.isfinite(vertices).all():
    return None
  start = _random_face_down(generator)
  pose = _rest(object_id, start)
  if pose is None:
    return None
  rotated = vertices @ _matrix(pose).T
  yaw = _narrowest_yaw(rotated[:, :2])
  _, orientation = pybullet.multiplyTransforms(
      (0, 0, 0), rotations.yaw_quaternion(yaw), (0, 0, 0), pose
  )
  extent = np.ptp(vertices @ _matrix(orientation).T, axis=0)
  factor = generator.uniform(*difficulty.narrow) / extent[1]
  length, _, height = extent * factor
  clearance_width = generator.uniform(*difficulty.clearance_width)
  clearance_length = generator.uniform(*difficulty.clearance_length)
  walls = generator.uniform(*difficulty.height)
  if length > 0.085 or not 0.014 < height < 0.06:
    return None
  task = tasks.Task(
      name=name, object_id=object_id, scale=_UNIT * factor,
      width=_FINGERS + 2 * clearance_width,
      length=max(length, _HAND) + 2 * clearance_length, height=walls,
      rest_orientation=tuple(orientation), rest_height=height / 2,
      grip_height=max(0.5 * height, _FINGER_TIP + 0.004),
      slack_x=difficulty.slack * clearance_length,
      slack_y=difficulty.slack * clearance_width, color=color,
  )
  # What is used is what the table holds, to the last digit.
  return tasks.parse(tasks.unparse(task))


def _random_face_down(generator) -> tuple[float, float, float, float]:
  turns = generator.integers(0, 4, 2) * (math.pi / 2)
  return pybullet.getQuaternionFromEuler((turns[0], turns[1], 0.0))


def _matrix(orientation) -> np.ndarray:
  return np.reshape(pybullet.getMatrixFromQuaternion(orientation), (3, 3))


def _rest(object_id: str, orientation) -> tuple | None:
  """Orientation in which an object comes to rest on a plane, or None."""
  client = pybullet.connect(pybullet.DIRECT)
  try:
    plane = pybullet.createCollisionShape(
        pybullet.GEOM_PLANE, physicsClientId=client
    )
    pybullet.createMultiBody(0, plane, physicsClientId=client)
    hull = meshes.hull_vertices(object_id, _UNIT)
    shape = pybullet.createCollisionShape(
        pybullet.GEOM_MESH, vertices=hull.tolist(), physicsClientId=client
    )
    lowest = float((hull @ _matrix(orientation).T)[:, 2].min())
    body = pybullet.createMultiBody(
        0.04, shape, basePosition=[0, 0, 0.001 - lowest],
        baseOrientation=orientation, physicsClientId=client,
    )
    pybullet.setGravity(0, 0, -9.81, physicsClientId=client)
    for _ in range(480):
      pybullet.stepSimulation(physicsClientId=client)
    velocity = np.abs(
        pybullet.getBaseVelocity(body, physicsClientId=client)
    ).max()
    _, rested = pybullet.getBasePositionAndOrientation(
        body, physicsClientId=client
    )
    return rested if velocity < 0.02 else None
  finally:
    pybullet.disconnect(client)


def _narrowest_yaw(points: np.ndarray) -> float:
  """Turn about the vertical that makes [N, 2] points narrowest along y."""
  turns = np.linspace(-math.pi / 2, math.pi / 2, 181)[:-1]
  across = np.outer(np.sin(turns), points[:, 0]) + np.outer(
      np.cos(turns), points[:, 1]
  )
  return float(turns[np.ptp(across, axis=1).argmin()])


def write(drawn: list[tasks.Task], path: str) -> None:
  """Writes a table of tasks."""
  with open(path, 'w', encoding='utf-8', newline='') as file:
    names = [field.name for field in dataclasses.fields(tasks.Task)]
    writer = csv.DictWriter(file, names, lineterminator='\n')
    writer.writeheader()
    writer.writerows(tasks.unparse(task) for task in drawn)
