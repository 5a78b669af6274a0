"""Episodes of few steps and priors of them, for what bounds latents."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import envs
from safer_tf.common import layout
from safer_tf.data import schema
from safer_tf.prior import export
from safer_tf.prior import skill_prior

SPEC = schema.EpisodeSpec((3,), 'float32', 2)
SEEN_TASK = next(t for t in envs.ALL if t not in envs.EVALUATION)
TASKS = (SEEN_TASK, envs.EVALUATION[0])


def episodes(rng, count=120):
  """Unsafe steps have large actions, and so large latents."""
  for number in range(count):
    steps = int(rng.integers(3, 9))
    unsafe = rng.random(steps) < 0.4
    scale = np.where(unsafe, 0.9, 0.3)[:, np.newaxis]
    yield schema.Episode(
        observation=rng.normal(size=(steps, 3)).astype(np.float32),
        action=(scale * rng.uniform(-1, 1, (steps, 2))).astype(np.float32),
        reward=-np.ones(steps, np.float32), unsafe=unsafe,
        success=bool(rng.random() < 0.7), task=TASKS[number % 2],
        noise=0.0, seed=number, index=number,
    )


def export_prior(
    root_dir, prior='safer', shape=(3,), protocol='seen', **record
):
  """An untrained prior, whose record is given."""
  tf.keras.utils.set_random_seed(1)
  model = skill_prior.SkillPrior(shape, 2, window=4, context_dim=2)
  path = layout.export_dir(str(root_dir), protocol, prior)
  export.export_prior(model, path, prior, 'float32', record)
  return path
