"""An agent's policies as SavedModels."""

from __future__ import annotations

import contextlib
import os
import warnings
from typing import Iterator

import numpy as np
import tensorflow as tf
from absl import logging
from tf_agents.policies import greedy_policy
from tf_agents.policies import policy_saver
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import time_step as ts

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.rl import agent as sac

GREEDY = 'greedy'
COLLECT = 'collect'

_TOLERANCE = 1e-5  # Of the reloaded policy, relative to the action range.


def save(agent: sac.LatentSacAgent, directory: str) -> None:
  """Saves the greedy and the collect policy with TF-Agents' PolicySaver.

  Both are written beside, the greedy one is loaded again and compared, and only
  then do they get their name.

  Args:
    agent: trained agent.
    directory: where `greedy/` and `collect/` will stand.

  Raises:
    UserError: the saved policy acts otherwise than the live one.
  """
  greedy = greedy_policy.GreedyPolicy(agent.policy)
  with files.replacing(directory) as beside:
    for name, policy in ((GREEDY, greedy), (COLLECT, agent.collect_policy)):
      saver = policy_saver.PolicySaver(
          policy, train_step=agent.train_step_counter
      )
      with files.writing_by_tensorflow(directory), _quietly():
        saver.save(os.path.join(beside, name))
    example = _example(agent.time_step_spec)
    loaded = load(beside)
    difference = np.abs(
        loaded.action(example, ()).action - greedy.action(example, ()).action
    ).max()
    if not difference <= _TOLERANCE * float(np.max(agent.action_spec.maximum)):
      raise errors.UserError(
          f'The policy saved in {directory} differs from the live one by '
          f'{difference}; check the disk and run the command again.'
      )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
  """Without TensorFlow's words on names and types of TF-Agents' functions."""
  before = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)
  try:
    with warnings.catch_warnings():
      warnings.filterwarnings('ignore', 'Encoding a StructuredValue')
      yield
  finally:
    logging.set_verbosity(before)


def _example(time_step_spec: ts.TimeStep) -> ts.TimeStep:
  """Two time steps on which a policy's actions are numbers."""
  example = tensor_spec.sample_spec_nest(
      time_step_spec, seed=0, outer_dims=(2,)
  )
  if not example.observation.dtype.is_floating:
    return example
  # Of a vector without bounds TF-Agents draws numbers up to 1e38: sums of them
  # overflow, and two infinities of either sign give nan.
  return example._replace(observation=tf.random.stateless_normal(
      example.observation.shape, (0, 0)
  ))


def load(directory: str, name: str = GREEDY):
  """Loads a saved policy.

  Args:
    directory: `policies` directory of an agent.
    name: `greedy` or `collect`.

  Returns:
    An object with `action(time_step, policy_state, seed)` on batched time
    steps, as TF-Agents' policies have.

  Raises:
    UserError: there is no such policy, or it is damaged.
  """
  path = os.path.join(directory, name)
  try:
    return tf.saved_model.load(path)
  except Exception as error:  # TensorFlow's many ways to say damaged.
    stage = os.path.join(os.path.dirname(directory), layout.STAGE)
    first = f'Delete {stage} and run' if os.path.exists(stage) else 'Run'
    raise errors.UserError(
        f'The policy in {path} cannot be loaded ({error}). {first} train_agent '
        'for this cell: it writes the policies of its last checkpoint.'
    ) from error
