"""Which bound a gin value means."""

from __future__ import annotations

import math

import pytest

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.rl import latent_bound

TABLE = [
    {'mode': 'exact', 'max_unsafe_fraction': 0.15, 'latent_bound': 0.9},
    {'mode': 'exact', 'max_unsafe_fraction': 0.3, 'latent_bound': 1.7},
    {'mode': 'certified', 'max_unsafe_fraction': 0.15, 'latent_bound': 0.0},
]


@pytest.fixture(name='export_dir')
def _export_dir(tmp_path):
  files.write_json(str(tmp_path / 'assurance.json'), {'table': TABLE})
  return str(tmp_path)


@pytest.mark.parametrize('wanted, mode, target, expected', [
    ('assurance', 'exact', 0.15, 0.9), ('assurance', 'exact', 0.3, 1.7),
    (2, 'exact', 0.15, 2.0), (0.5, 'nonsense', 0.15, 0.5),
    ('unbounded', 'exact', 0.15, math.inf),
])
def test_resolves(export_dir, wanted, mode, target, expected):
  assert latent_bound.resolve(wanted, export_dir, mode, target) == expected


@pytest.mark.parametrize('wanted, mode, target, message', [
    ('assurance', 'certified', 0.15, 'admits no action'),
    ('assurance', 'exact', 0.45, 'exact at 0.15'),
    ('assurance', 'paper', 0.15, 'no bound of mode'),
    (0, 'exact', 0.15, 'admits no action'),
    (math.nan, 'exact', 0.15, 'admits no action'),
    ('asurance', 'exact', 0.15, 'expected a positive number'),
    (True, 'exact', 0.15, 'expected a positive number'),
])
def test_refuses(export_dir, wanted, mode, target, message):
  with pytest.raises(errors.UserError, match=message):
    latent_bound.resolve(wanted, export_dir, mode, target)


@pytest.mark.parametrize('content', [[], {}, {'table': [{'mode': 'exact'}]}])
def test_refuses_a_damaged_file(tmp_path, content):
  files.write_json(str(tmp_path / 'assurance.json'), content)
  with pytest.raises(errors.UserError, match='no table of bounds'):
    latent_bound.resolve('assurance', str(tmp_path), 'exact', 0.15)


def test_refuses_a_missing_file(tmp_path):
  with pytest.raises(errors.UserError, match='compute_assurance'):
    latent_bound.resolve('assurance', str(tmp_path), 'exact', 0.15)
