"""Meshes of objects."""

from __future__ import annotations

import numpy as np

from envs import meshes


def test_a_mesh_is_about_its_centre_and_its_faces_are_its_own():
  vertices, faces = meshes.mesh('459', 0.5)
  np.testing.assert_allclose(vertices.max(0), -vertices.min(0))
  assert faces.min() == 0 and faces.max() == len(vertices) - 1
  twice, _ = meshes.mesh('459', 1.0)
  np.testing.assert_allclose(twice, 2 * vertices)


def test_normals_point_outwards(tmp_path):
  corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
  faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
  meshes.write_flat_shaded(str(tmp_path / 'a.obj'), corners, faces)
  lines = [
      line.split() for line in (tmp_path / 'a.obj').read_text().splitlines()
  ]
  normals = np.array([row[1:] for row in lines if row[0] == 'vn'], float)
  outwards = corners[faces].mean(1) - corners.mean(0)
  assert ((normals * outwards).sum(1) > 0).all()
