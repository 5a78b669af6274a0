"""A run directory with a real, small prior and agent."""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf

import envs
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.evaluation import rollouts
from safer_tf.prior import encoders
from safer_tf.prior import export
from safer_tf.prior import skill_prior
from safer_tf.rl import train_agent

TASK = envs.ALL[0]
TABLE = [
    {'mode': mode, 'max_unsafe_fraction': target, 'latent_bound': bound}
    for mode, target, bound in (
        ('exact', 0.0, 0.5), ('exact', 0.15, 1.0), ('paper', 0.15, 0.5),
        ('certified', 0.15, 0.0),
    )
]


def make(root_dir):
  """Makes an untrained prior, its bounds and an agent that hardly learnt."""
  tf.keras.utils.set_random_seed(0)
  prior = skill_prior.SkillPrior(
      (48, 48, 3), 6, window=2, context_dim=2,
      make_encoder=lambda shape: encoders.image_encoder(
          shape, filters=(4,), embedding_dim=8
      ),
  )
  path = layout.export_dir(root_dir, 'seen', 'safer')
  export.export_prior(prior, path, 'safer', 'uint8', {})
  files.write_json(os.path.join(path, layout.ASSURANCE), {'table': TABLE})
  train_agent.train_agent(
      root_dir, 0, task=TASK, method='safer', num_steps=40, prior='safer',
      initial_steps=38, batch_size=4,
  )


def record(success, unsafe, seed=1):
  """An episode of given labels, as if it had been rolled out."""
  return rollouts.EpisodeRecord(
      seed, success, -3.0, np.full((len(unsafe), 6), 0.1, np.float32),
      np.array(unsafe, bool),
  )
