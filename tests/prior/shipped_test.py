"""The trained priors of this repository."""

from __future__ import annotations

import glob
import os

import gin
import numpy as np
import pytest
import tensorflow as tf

import envs
from safer_tf.common import config
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.prior import export

_ROOT = os.path.dirname(config.config_dir())


_PRIORS = sorted(
    os.path.relpath(path, os.path.join(_ROOT, 'priors'))
    for path in glob.glob(os.path.join(_ROOT, 'priors', '*', '*', ''))
)


@pytest.fixture(scope='module')
def frames():
  """The first frame of an episode of each evaluation task."""
  found = []
  for task in envs.EVALUATION:
    env = envs.load_task(task)
    found.append(env.reset().observation)
    env.close()
  return found


def test_the_priors_of_table_1_are_shipped():
  assert {
      'seen/safer', 'seen/parrot', 'seen/context_parrot', 'held_out/safer',
      'held_out/parrot',
  } <= set(_PRIORS)


@pytest.mark.parametrize('prior', _PRIORS)
def test_shipped_prior_is_whole_and_inverts(prior, frames):
  protocol, name = prior.split('/')
  loaded = export.load_prior(
      layout.export_dir(_ROOT, protocol, name), prior=name
  )
  embedding = loaded.embed(tf.constant(np.stack(frames)))
  context = tf.zeros((len(frames), loaded.spec.context_dim))
  latent = tf.constant(
      np.random.default_rng(0).uniform(-0.5, 0.5, (len(frames), 6)), tf.float32
  )
  action = loaded.decode(latent, embedding, context)
  assert np.abs(action).max() <= 1.01
  np.testing.assert_allclose(
      loaded.encode(action, embedding, context), latent, atol=2e-3
  )


def test_shipped_bound_keeps_what_the_card_says():
  path = layout.export_dir(_ROOT, 'seen', 'safer')
  card = files.read_json(os.path.join(path, layout.ASSURANCE), 'its bounds')
  rows = {
      (row['mode'], row['max_unsafe_fraction']): row for row in card['table']
  }
  config.parse(['methods/safer.gin', 'experiments/paper.gin'], [])
  targets = gin.query_parameter('compute_assurance.targets')
  target = gin.query_parameter('MAX_UNSAFE_FRACTION/gin.macro.value')
  gin.clear_config()
  # What the recorded agents acted within, and what others will look up.
  assert card['latent_bound'] == rows['exact', target]['latent_bound']
  assert {('exact', each) for each in targets} <= set(rows)
  for mode in ('exact', 'certified'):
    row = rows[mode, 0.15]
    assert row['in_bound_unsafe_fraction'] <= 0.15
    assert row['safe_actions_in_bound'] >= 0.5
