"""Trained agents, ready to act: the policy, and what it acts in."""

from __future__ import annotations

import math
import os
from typing import Any, Optional

from tf_agents.environments import py_environment

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.prior import export
from safer_tf.rl import latent_env
from safer_tf.rl import policies


def load_agent(
    directory: str,
    env: py_environment.PyEnvironment,
    prior_dir: Optional[str],
    policy: str = policies.GREEDY,
) -> tuple[py_environment.PyEnvironment, Any]:
  """Loads what `train_agent` made and gives an environment its actions.

  A policy means nothing without the prior, the bound and the encoder that it
  was trained with: the prior is compared, bound and encoder are looked up.

  Args:
    directory: of the agent, with its `result.json`, `stage.json` and
      `policies/`.
    env: environment as the agent's own was before it was wrapped.
    prior_dir: exported prior that it was trained with; not looked at for an
      agent without one (raw actions and an encoder of its own).
    policy: `greedy` or `collect`.

  Returns:
    The wrapped environment, and the policy with `action(time_step, ())` on
    batched time steps of it.

  Raises:
    UserError: the agent is not there, or another prior than its own is.
  """
  result = read_result(directory)
  prior = None
  if result['prior'] is not None:
    prior = _own_prior(directory, result['prior'], prior_dir)
  return wrap(env, prior, result), policies.load(
      os.path.join(directory, layout.POLICIES_DIR), policy
  )


def read_result(directory: str) -> dict[str, Any]:
  """The `result.json` of a trained agent.

  Args:
    directory: of the agent.

  Returns:
    Its content.

  Raises:
    UserError: there is none, or it is damaged.
  """
  return files.read_json(
      os.path.join(directory, layout.RESULT), 'the result of a trained '
      'agent, which train_agent writes; run it for this cell first, once '
      f'{layout.STAGE} beside it is deleted if it is there',
      ('prior', 'action_space', 'latent_bound', 'encoder'),
  )


def wrap(
    env: py_environment.PyEnvironment, prior: Optional[export.LoadedPrior],
    result: dict[str, Any],
) -> py_environment.PyEnvironment:
  """Gives an environment the observations and actions of a result.

  Args:
    env: environment to wrap.
    prior: that of the result.
    result: with `action_space`, `latent_bound` and `encoder` of `result.json`.

  Returns:
    The environment as the policy saw it.
  """
  bound = None
  if result['action_space'] == 'latent':
    bound = result['latent_bound'] or math.inf
  return latent_env.wrap(env, prior, bound, result['encoder'])


def _own_prior(
    directory: str, name: str, prior_dir: Optional[str]
) -> export.LoadedPrior:
  """The prior, if it is the one that the agent was trained with."""
  if prior_dir is None:
    raise errors.UserError(
        f'The agent in {directory} acts through a prior: give the directory of '
        f'the exported prior {name!r}.'
    )
  prior = export.load_prior(prior_dir, prior=name)
  wanted = _trained_with(directory)
  found = files.sha256(os.path.join(prior_dir, layout.PRIOR_SPEC))
  if wanted is not None and wanted != found:
    raise errors.UserError(
        f'The agent in {directory} was trained with another prior than '
        f'{prior_dir} holds (its {layout.PRIOR_SPEC} had the hash '
        f'{wanted[:12]}, found {found[:12]}). Put that prior back, or train '
        'the agent anew.'
    )
  return prior


def _trained_with(directory: str) -> Optional[str]:
  """Hash of the prior's card by an agent's record; None if it has none."""
  stage = os.path.join(directory, layout.STAGE)
  if os.path.exists(stage):
    record = files.read_json(stage, 'the record of an agent')
    return record.get('inputs', {}).get('prior_spec')
  print(
      f'{directory} has no {layout.STAGE}: whether its prior is the one that '
      'it was trained with is not checked.'
  )
  return None
