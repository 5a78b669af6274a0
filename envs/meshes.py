"""Meshes of `pybullet_data`'s random objects."""

from __future__ import annotations

import functools
import os

import numpy as np
import pybullet_data
from scipy import spatial


def mesh_path(object_id: str) -> str:
  """Path of an object's mesh among `pybullet_data`'s random objects."""
  return os.path.join(
      pybullet_data.getDataPath(), 'random_urdfs', object_id,
      f'{object_id}.obj',
  )


@functools.lru_cache(maxsize=64)
def mesh(object_id: str, scale: float) -> tuple[np.ndarray, np.ndarray]:
  """An object's triangles, scaled.

  Args:
    object_id: three digits.
    scale: metres per unit of the mesh file.

  Returns:
    [N, 3] vertices in metres about the bounding box's centre, and int [M, 3]
    the vertices of each triangle.
  """
  rows, faces = [], []
  with open(mesh_path(object_id), encoding='utf-8') as file:
    for line in file:
      if line.startswith('v '):
        rows.append([float(number) for number in line.split()[1:4]])
      elif line.startswith('f '):
        faces.append([
            int(corner.split('/')[0]) - 1 for corner in line.split()[1:4]
        ])
  vertices = np.asarray(rows) * scale
  center = (vertices.max(0) + vertices.min(0)) / 2
  return vertices - center, np.asarray(faces)


def write_flat_shaded(
    path: str, vertices: np.ndarray, faces: np.ndarray
) -> None:
  """Writes triangles with a normal of their own each, as a Wavefront file.

  Args:
    path: file to write.
    vertices: [N, 3] metres.
    faces: int [M, 3] vertices of each triangle.
  """
  corners = vertices[faces]
  first, second, third = np.moveaxis(corners, 1, 0)
  normals = np.cross(second - first, third - first)
  normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
  lines = [f'v {x:.9g} {y:.9g} {z:.9g}' for x, y, z in corners.reshape(-1, 3)]
  lines += [f'vn {x:.9g} {y:.9g} {z:.9g}' for x, y, z in normals]
  lines += [
      f'f {3 * face + 1}//{face + 1} {3 * face + 2}//{face + 1} '
      f'{3 * face + 3}//{face + 1}'
      for face in range(len(faces))
  ]
  with open(path, 'w', encoding='utf-8') as file:
    file.write('\n'.join(lines) + '\n')


@functools.lru_cache(maxsize=64)
def hull_vertices(object_id: str, scale: float) -> np.ndarray:
  """[M, 3] vertices of an object's convex hull about its centre, metres."""
  vertices, _ = mesh(object_id, scale)
  return vertices[spatial.ConvexHull(vertices).vertices]
