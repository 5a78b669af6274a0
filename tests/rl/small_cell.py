"""A cell of some hundred steps, and what it left behind."""

from __future__ import annotations

import csv
import glob
import os

from safer_tf.common import layout
from safer_tf.rl import train_agent
from tests.rl import fakes

_SMALL = {
    'num_steps': 230, 'initial_steps': 40, 'batch_size': 16,
    'checkpoint_steps': 60,
}


def train(root, make_env=lambda name: fakes.ReachEnv(), **changes):
  """Trains an agent; gives its directory."""
  arguments = dict(
      _SMALL, task='reach', method='safer', prior='safer', latent_bound=0.9,
      make_env=make_env, seed=4,
  )
  arguments.update(changes)
  return train_agent.train_agent(root, **arguments)


def curve(directory):
  """Rows of its curve."""
  with open(os.path.join(directory, layout.CURVE), encoding='utf-8') as file:
    return list(csv.DictReader(file))


def results(root):
  """Result files of all agents below a run directory."""
  return glob.glob(
      os.path.join(root, 'agents', '**', layout.RESULT), recursive=True
  )
