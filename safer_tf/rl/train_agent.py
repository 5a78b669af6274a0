"""Trains one agent on one task with one seed: a cell of the experiment."""

from __future__ import annotations

import json
import math
import os
from typing import Any, Callable, Optional, Union

import gin
from tf_agents.environments import py_environment

import envs
from safer_tf.common import checkpoint
from safer_tf.common import config
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import labels
from safer_tf.common import layout
from safer_tf.common import provenance
from safer_tf.prior import export
from safer_tf.rl import cell as cell_lib
from safer_tf.rl import env_specs
from safer_tf.rl import latent_bound as bounds
from safer_tf.rl import latent_env
from safer_tf.rl import trained


@gin.configurable(denylist=['root_dir', 'seed'])
def train_agent(
    root_dir: str,
    seed: int = 0,
    task: str = gin.REQUIRED,
    method: str = gin.REQUIRED,
    num_steps: int = gin.REQUIRED,
    prior: Optional[str] = None,
    protocol: str = 'seen',
    variant: str = 'default',
    encoder: str = 'prior',
    action_space: str = 'latent',
    latent_bound: Union[str, float] = bounds.ASSURANCE,
    bound_prior: str = 'safer',
    bound_protocol: Optional[str] = None,
    assurance_mode: str = 'exact',
    max_unsafe_fraction: float = 0.15,
    prior_probability: float = 0.0,
    violation_penalty: Optional[float] = None,
    batch_size: int = 128,
    initial_steps: int = 500,
    checkpoint_steps: int = 5_000,
    make_env: Callable[[str], py_environment.PyEnvironment] = envs.load_task,
) -> str:
  """Trains an agent, or goes on with it, and writes its `result.json`.

  One update follows each environment step once `initial_steps` are done. The
  initial steps draw latents from N(0, I) truncated to the bound, or raw actions
  uniformly; Prior-Explore mixes the prior's actions in from the first step on.
  Everything is a function of the config and the seed, whether or not the run
  was interrupted (Algorithm 1 with SAC).

  Args:
    root_dir: run directory that holds the priors.
    seed: seed of weights, episodes and all draws.
    task: name of the task.
    method: method id, for the result and its directory.
    num_steps: environment steps, initial ones included.
    prior: id of the prior that is observed and acted through; None only for
      raw actions with `own` encoder.
    protocol: `seen` or `held_out`, which priors are used.
    variant: name of this configuration of the method, for its directory.
    encoder: `prior`, the policy sees the prior's embedding, or `own`, it sees
      the observation through an encoder trained with the critics.
    action_space: `latent` or `raw`.
    latent_bound: a number, `assurance` (looked up for `bound_prior`), or, for
      Prior-Explore's latents, `unbounded`.
    bound_prior: id of the prior whose assurance gives the bound.
    bound_protocol: protocol of that prior; `protocol` if None.
    assurance_mode: `paper`, `exact` or `certified`.
    max_unsafe_fraction: the assurance's target, in [0, 1].
    prior_probability: share of raw actions taken from the prior while
      collecting (Prior-Explore).
    violation_penalty: taken off the reward that the agent learns from, at every
      violating step; None where it is not to know of them.
    batch_size: transitions in an update.
    initial_steps: environment steps before the first update.
    checkpoint_steps: environment steps from one checkpoint to the next; it is
      taken when the episode ends.
    make_env: makes the environment of a task's name.

  Returns:
    The agent's directory.

  Raises:
    UserError: an input is missing or does not fit, or another process trains
      this agent.
  """
  settings = {
      **locals(), 'make_env': config.name_of(make_env).replace(':', '.')
  }
  directory = layout.agent_dir(
      root_dir, protocol, task, method, variant, seed
  )
  _check_choices(
      action_space, encoder, prior_probability, latent_bound, initial_steps,
      violation_penalty, num_steps=num_steps, batch_size=batch_size,
      checkpoint_steps=checkpoint_steps,
  )
  takes_latents = action_space == 'latent' or prior_probability > 0
  loaded, bound, inputs = None, math.inf, {}
  if takes_latents or encoder == 'prior':
    if prior is None:
      raise errors.UserError(
          'train_agent.prior is not set; only raw actions with encoder '
          '\'own\' and without Prior-Explore need none.'
      )
    path = layout.export_dir(root_dir, protocol, prior)
    loaded = export.load_prior(path, prior=prior)
    inputs['prior_spec'] = os.path.join(path, layout.PRIOR_SPEC)
  if takes_latents:
    path = layout.export_dir(
        root_dir, bound_protocol or protocol, bound_prior
    )
    bound = bounds.resolve(
        latent_bound, path, assurance_mode, max_unsafe_fraction
    )
  computed = takes_latents and latent_bound == bounds.ASSURANCE
  if computed:
    inputs['assurance'] = os.path.join(path, layout.ASSURANCE)
  hashes = provenance.hashes(inputs)
  identity = _identity(settings, hashes, bound if computed else None)
  if _is_finished(directory, identity):
    trained.read_result(directory)
    print(f'{directory} is finished with these settings; nothing to do.')
    return directory
  env = latent_env.wrap(
      _checked(make_env(task), task), loaded,
      bound if action_space == 'latent' else None, encoder,
  )
  with files.locked(os.path.join(directory, layout.LOCK)):
    if _is_finished(directory, identity):  # By another process, meanwhile.
      return directory
    files.write_json(os.path.join(directory, layout.SETTINGS), identity)
    cell = cell_lib.Cell(
        directory, env, seed, num_steps, batch_size, violation_penalty or 0.0
    )
    cell.collect_with(initial_steps, prior_probability, bound)
    cell.run(checkpoint_steps)
    cell.finish(
        hashes, protocol=protocol, task=task, method=method, variant=variant,
        prior=prior if loaded is not None else None, encoder=encoder,
        action_space=action_space,
        latent_bound=None if math.isinf(bound) else bound,
        assurance_mode=assurance_mode if computed else None,
        max_unsafe_fraction=max_unsafe_fraction if computed else None,
        violation_penalty=violation_penalty,
    )
  return directory


def _check_choices(
    action_space: str, encoder: str, prior_probability: float,
    latent_bound: Union[str, float], initial_steps: int,
    violation_penalty: Optional[float], **sizes: int,
) -> None:
  if action_space not in ('latent', 'raw'):
    raise errors.UserError(
        f'train_agent.action_space is {action_space!r}; expected \'latent\' '
        'or \'raw\'.'
    )
  if encoder not in latent_env.ENCODERS:
    raise errors.UserError(
        f'train_agent.encoder is {encoder!r}; expected one of '
        f'{", ".join(latent_env.ENCODERS)}.'
    )
  errors.require_sizes('train_agent', **sizes)
  if not isinstance(initial_steps, int) or initial_steps < 0:
    raise errors.UserError(
        f'train_agent.initial_steps is {initial_steps!r}; expected 0 or more.'
    )
  if violation_penalty is not None and not 0 < violation_penalty < math.inf:
    raise errors.UserError(
        f'train_agent.violation_penalty is {violation_penalty!r}; expected a '
        'number above 0, which is taken off the reward, or None.'
    )
  if action_space == 'latent' and latent_bound == bounds.UNBOUNDED:
    raise errors.UserError(
        'train_agent.latent_bound is \'unbounded\', which is for '
        'Prior-Explore: a policy of latents ends in a tanh and needs a range. '
        'Set a number, e.g. 5.0.'
    )
  if not 0 <= prior_probability <= 1 or (
      prior_probability > 0 and action_space == 'latent'
  ):
    raise errors.UserError(
        f'train_agent.prior_probability is {prior_probability}; expected a '
        'probability, and 0 unless train_agent.action_space is \'raw\'.'
    )


def _identity(
    settings: dict[str, Any], hashes: dict[str, str],
    computed_bound: Optional[float],
) -> dict[str, Any]:
  """What makes two cells the same: settings, agent, prior and bound."""
  identity = {
      name: value for name, value in settings.items()
      if name not in ('root_dir', 'checkpoint_steps')
  }
  for name in ('make_agent', 'ImageEncoder'):
    identity[name] = gin.get_bindings(name)
  # Of an assurance the bound counts: computed again, its file is another.
  identity['computed_bound'] = computed_bound
  identity['prior_spec'] = hashes.get('prior_spec')
  return json.loads(json.dumps(identity))


def _is_finished(directory: str, identity: dict[str, Any]) -> bool:
  """Whether the cell is finished; raises UserError if it is another's."""
  path = os.path.join(directory, layout.SETTINGS)
  finished = os.path.exists(os.path.join(directory, layout.STAGE))
  checkpoints = os.path.join(directory, layout.CHECKPOINTS_DIR)
  begun = checkpoint.latest(checkpoints, directory) is not None
  if not os.path.exists(path) or not (finished or begun):
    return False  # There is nothing of an agent yet.
  found = files.read_json(
      path, f'the settings of an agent; delete {directory} to train it anew',
      ('method', 'task'),
  )
  # A setting that an earlier release did not have is the same unset.
  different = [
      f'{name} was {found.get(name)!r}, is now {identity.get(name)!r}'
      for name in sorted({*found, *identity})
      if found.get(name) != identity.get(name)
  ]
  if different:
    raise errors.UserError(
        f'{directory} holds an agent of other settings: '
        f'{"; ".join(different)}. Choose another train_agent.variant or '
        '--root_dir, or delete that directory to train anew.'
    )
  return finished


def _checked(
    env: py_environment.PyEnvironment, task: str
) -> py_environment.PyEnvironment:
  """The environment, if it tells what is counted and observes as it says."""
  env_specs.check_observation(
      env.observation_spec(), labels.seeded_reset(env, task, 0).observation,
      task,
  )
  return env
