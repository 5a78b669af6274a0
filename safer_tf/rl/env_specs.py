"""Which environments suit a skill prior, or an agent without one."""

from __future__ import annotations

from typing import Any

import numpy as np
from tf_agents.environments import py_environment
from tf_agents.specs import array_spec

from safer_tf.common import errors
from safer_tf.prior import export


def check_observation(spec: Any, observation: Any, env_name: str) -> None:
  """Checks that an environment observes as it says.

  Args:
    spec: of its observations.
    observation: what it gave.
    env_name: its name, for the message.

  Raises:
    UserError: shape or dtype are not those of the spec.
  """
  found = (np.shape(observation), getattr(observation, 'dtype', None))
  if isinstance(spec, array_spec.ArraySpec) and found != (
      tuple(spec.shape), spec.dtype
  ):
    raise errors.UserError(
        f'Environment {env_name}: an observation is of shape {list(found[0])} '
        f'and dtype {found[1]}, by its spec of {list(spec.shape)} and '
        f'{np.dtype(spec.dtype)}. Cast it in the environment.'
    )


def check_for_agent(env: py_environment.PyEnvironment) -> None:
  """Checks that an agent without a prior can observe an environment and act.

  Args:
    env: not wrapped by a prior.

  Raises:
    UserError: it cannot.
  """
  _check_not_batched(env)
  observation, action = env.observation_spec(), env.action_spec()
  if not isinstance(observation, array_spec.ArraySpec) or (
      len(observation.shape) not in (1, 3)
      or observation.dtype not in (np.uint8, np.float32)
  ):
    raise errors.UserError(
        f'The environment\'s observations are {observation}; expected one '
        'array of shape [size] or [height, width, channels], uint8 or float32. '
        'Cast or join them in a wrapper.'
    )
  if not isinstance(action, array_spec.BoundedArraySpec) or (
      len(action.shape) != 1 or action.dtype != np.float32
      # Where there is no bound TF-Agents has the largest number.
      or np.any(action.minimum == np.finfo(np.float32).min)
      or np.any(action.maximum == np.finfo(np.float32).max)
  ):
    raise errors.UserError(
        f'The environment\'s actions are {action}; expected one float32 vector '
        'within finite bounds. Wrap them, as for a prior\'s data '
        '(docs/data.md).'
    )


def check_for_prior(
    env: py_environment.PyEnvironment, spec: export.PriorSpec
) -> None:
  """Checks that an environment observes and acts as a prior's data did.

  Args:
    env: that the prior is to act in.
    spec: the prior's card.

  Raises:
    UserError: it does not.
  """
  _check_not_batched(env)
  observation, action = env.observation_spec(), env.action_spec()
  for what, found, expected in (
      ('observations', observation,
       (spec.observation_shape, np.dtype(spec.observation_dtype))),
      ('actions', action, ((spec.action_dim,), np.dtype(np.float32))),
  ):
    is_array = isinstance(found, array_spec.ArraySpec)
    if not is_array or (tuple(found.shape), found.dtype) != expected:
      raise errors.UserError(
          f'The environment\'s {what} are {found}; the prior '
          f'{spec.prior!r} expects one array of shape {list(expected[0])} and '
          f'dtype {expected[1]}. Use the environment of the prior\'s data, '
          'cast or resize what this one gives, or train a prior on its data.'
      )
  if not isinstance(action, array_spec.BoundedArraySpec):
    raise errors.UserError(
        f'The environment\'s action spec {action} has no bounds; expected a '
        'BoundedArraySpec to clip decoded actions to.'
    )
  if np.any(action.minimum != -1) or np.any(action.maximum != 1):
    raise errors.UserError(
        f'The environment\'s actions lie in {action.minimum.tolist()} to '
        f'{action.maximum.tolist()}; a prior\'s lie in [-1, 1]. Scale '
        'them in a wrapper, as for the prior\'s data (docs/data.md).'
    )


def _check_not_batched(env: py_environment.PyEnvironment) -> None:
  if env.batched:
    raise errors.UserError(
        f'{type(env).__name__} is batched; wrap each of its environments, and '
        'batch the wrapped ones.'
    )
