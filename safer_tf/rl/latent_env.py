"""Environments that a policy sees through a skill prior."""

from __future__ import annotations

import math
from typing import Any, Mapping, Optional

import numpy as np
import tensorflow as tf
from tf_agents.environments import py_environment
from tf_agents.environments import wrappers
from tf_agents.specs import array_spec
from tf_agents.trajectories import time_step as ts

from safer_tf.common import errors
from safer_tf.prior import export
from safer_tf.rl import env_specs

ENCODERS = ('prior', 'own')

# A tanh in float32 reaches the bound, and its product may pass it by an ulp.
_ROUNDING = 1e-5


class PriorEnvironment(wrappers.PyEnvironmentBaseWrapper):
  """Follows an environment with a skill prior; actions stay raw.

  Keeps the window of the last W embeddings and the safety variable at its
  posterior mean (Algorithm 1); each frame is embedded once. Works around any
  environment whose specs are the prior's.
  """

  def __init__(
      self,
      env: py_environment.PyEnvironment,
      prior: export.LoadedPrior,
      encoder: str = 'prior',
  ):
    """Wraps an environment.

    Args:
      env: environment with one array as observation and one as action.
      prior: loaded skill prior.
      encoder: what a policy observes: `prior`, the prior's embedding [E], or
        `own`, the environment's observation for an encoder of its own.

    Raises:
      UserError: the environment's specs are not the prior's.
    """
    super().__init__(env)
    if not isinstance(prior, export.LoadedPrior):
      raise errors.UserError(
          f'The prior is a {type(prior).__name__}; expected what '
          'safer_tf.prior.export.load_prior gives.'
      )
    env_specs.check_for_prior(env, prior.spec)
    if encoder not in ENCODERS:
      raise errors.UserError(
          f'encoder is {encoder!r}; expected one of {", ".join(ENCODERS)}.'
      )
    self._prior = prior  # Its variables must outlive its functions.
    self._observe_one = prior.for_one('observe')
    self._decode_one = prior.for_one('decode')
    self._encoder = encoder
    spec = prior.spec
    self._no_embeddings = tf.zeros((1, spec.window, spec.embedding_dim))
    self._none_valid = tf.zeros((1, spec.window), tf.bool)
    action_spec = env.action_spec()
    self._low = np.broadcast_to(action_spec.minimum, action_spec.shape)
    self._high = np.broadcast_to(action_spec.maximum, action_spec.shape)
    self._frame_spec = env.observation_spec()
    self._env_name = type(_innermost(env)).__name__
    self._embedding_spec = array_spec.ArraySpec(
        (spec.embedding_dim,), np.float32, 'embedding'
    )
    self._forget()
    self.steps = 0
    self.clipped_steps = 0
    self._unsafe_steps: Optional[int] = 0

  def observation_spec(self) -> Any:
    """Spec of what the policy observes."""
    if self._encoder == 'prior':
      return self._embedding_spec
    return self._env.observation_spec()

  @property
  def clip_rate(self) -> float:
    """Share of all steps so far whose decoded action had to be clipped."""
    return self.clipped_steps / max(1, self.steps)

  @property
  def unsafe_steps(self) -> Optional[int]:
    """Violations so far; None where the environment does not label steps."""
    return self._unsafe_steps

  @property
  def window(self) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings [W, E] and valid [W], oldest first, current state last."""
    return self._embeddings.numpy()[0], self._valid.numpy()[0]

  @property
  def context(self) -> np.ndarray:
    """Posterior mean [C] of the safety variable in the current state."""
    return self._context.numpy()[0]

  @property
  def frame(self) -> np.ndarray:
    """The wrapped environment's own current observation."""
    return self._frame

  def prior_action(self, latent: np.ndarray) -> np.ndarray:
    """The prior's action in the current state.

    Args:
      latent: float32 [A], z.

    Returns:
      a = f(z; s, c) (Eq. 1) clipped to the action spec, float32 [A].

    Raises:
      UserError: the latent has another size or holds a NaN or an infinity, or
        the observation does.
    """
    latent = np.asarray(latent, np.float32)[np.newaxis]
    if latent.shape[1:] != self._low.shape:
      raise errors.UserError(
          f'A latent of shape {list(latent.shape[1:])}; expected '
          f'{list(self._low.shape)}, as actions have.'
      )
    if not np.isfinite(latent).all():
      raise errors.UserError(
          f'Latent action {latent[0].tolist()} is not finite: the '
          'policy has diverged. Resume from an earlier checkpoint or lower '
          'the learning rates.'
      )
    action = self._decode_one(
        latent, self._embedding, self._context
    ).numpy()[0]
    if not np.isfinite(action).all():
      raise errors.UserError(
          f'The prior\'s action is {action.tolist()}: the observation that it '
          'is for, or one within its window, is not finite. No step was taken.'
      )
    clipped = np.minimum(np.maximum(action, self._low), self._high)
    self.clipped_steps += bool((action != clipped).any())
    return clipped

  def render(self, mode: str = 'rgb_array', **size: int) -> np.ndarray:
    """Renders the wrapped environment; `size` is `height` and `width`."""
    return self._env.render(mode, **size)

  def get_state(self) -> Any:
    """State of the wrapped environment and of the window."""
    return self._env.get_state(), (
        self._frame, self._embedding, self._embeddings, self._valid,
        self._context, self._current_time_step,
    )

  def set_state(self, state: Any) -> None:
    """Restores what `get_state` saved."""
    inner, (
        self._frame, self._embedding, self._embeddings, self._valid,
        self._context, self._current_time_step,
    ) = state
    self._env.set_state(inner)

  def _reset(self) -> ts.TimeStep:
    self._forget()
    return self._observe(self._env.reset())

  def _step(self, action: np.ndarray) -> ts.TimeStep:
    time_step = self._env.step(action)
    if time_step.is_first():  # The wrapped environment has reset itself.
      self._forget()
    else:
      self.steps += 1
      self._count()
    return self._observe(time_step)

  def _count(self) -> None:
    if self._unsafe_steps is None:
      return
    try:
      info = self._env.get_info()
    except NotImplementedError:  # As TF-Agents' base class has it.
      info = None
    unsafe = info.get('unsafe') if isinstance(info, Mapping) else None
    # A cost, say, is no label: nothing is claimed of it.
    self._unsafe_steps = (
        self._unsafe_steps + bool(unsafe) if unsafe in (0, 1) else None
    )

  def _forget(self) -> None:
    self._embeddings = self._no_embeddings
    self._valid = self._none_valid

  def _observe(self, time_step: ts.TimeStep) -> ts.TimeStep:
    env_specs.check_observation(
        self._frame_spec, time_step.observation, self._env_name
    )
    self._frame = time_step.observation
    self._embedding, self._embeddings, self._valid, self._context, _ = (
        self._observe_one(
            self._frame[np.newaxis], self._embeddings, self._valid
        )
    )
    if self._encoder == 'own':
      return time_step
    return time_step._replace(observation=self._embedding.numpy()[0])


class LatentActionEnvironment(PriorEnvironment):
  """An environment acted on in the prior's latent space (Algorithm 1).

  Its action is a latent z [A] in (-latent_bound, latent_bound); what reaches
  the wrapped environment is f(z; s, c), clipped to its action spec.
  """

  def __init__(
      self,
      env: py_environment.PyEnvironment,
      prior: export.LoadedPrior,
      latent_bound: float,
      encoder: str = 'prior',
  ):
    """Wraps an environment.

    Args:
      env: environment with one array as observation and one as action.
      prior: loaded skill prior.
      latent_bound: largest |z|_inf (eta).
      encoder: as in `PriorEnvironment`.

    Raises:
      UserError: the specs do not match or the bound admits nothing.
    """
    super().__init__(env, prior, encoder)
    if not isinstance(latent_bound, (int, float, np.number)) or (
        not 0 < latent_bound < math.inf
    ):
      raise errors.UserError(
          f'latent_bound is {latent_bound!r}; expected a positive number '
          '(assurance.json holds the one that was computed). A bound of 0 '
          'admits no latent action: raise max_unsafe_fraction, or set the '
          'bound by hand.'
      )
    self._latent_spec = array_spec.BoundedArraySpec(
        env.action_spec().shape, np.float32, -latent_bound, latent_bound,
        name='latent',
    )
    self._largest = latent_bound * (1 + _ROUNDING)

  def action_spec(self) -> array_spec.BoundedArraySpec:
    """Spec of the latent."""
    return self._latent_spec

  def _step(self, action: np.ndarray) -> ts.TimeStep:
    if self._current_time_step.is_last():
      return self._reset()  # TF-Agents ignores the action after the last step.
    # Not `>`: a NaN must not pass; `prior_action` then names it.
    if not np.abs(action).max() <= self._largest:
      action = self._refused(action)
    return super()._step(self.prior_action(action))

  def _refused(self, latent: np.ndarray) -> np.ndarray:
    if not np.isfinite(latent).all():
      return latent
    raise errors.UserError(
        f'Latent action {np.asarray(latent).tolist()} is outside the bound '
        f'{self._latent_spec.maximum}: the policy was trained for another '
        'bound (that of its result.json), or it does not keep to its action '
        'spec, as PPO\'s samples: wrap this environment in TF-Agents\' '
        'ActionClipWrapper.'
    )


def wrap(
    env: py_environment.PyEnvironment,
    prior: Optional[export.LoadedPrior],
    latent_bound: Optional[float],
    encoder: str,
) -> py_environment.PyEnvironment:
  """Gives an environment the observations and actions of a method.

  Args:
    env: environment to wrap.
    prior: skill prior; None only for raw actions with `own` encoder.
    latent_bound: bound of the latent actions; None for raw actions.
    encoder: `prior` or `own`.

  Returns:
    A `LatentActionEnvironment`, a `PriorEnvironment`, or, where nothing of a
    prior is needed, `env`.

  Raises:
    UserError: the specs are not those that are needed, or the values do not go
      together.
  """
  if prior is None:
    if encoder != 'own' or latent_bound is not None:
      raise errors.UserError(
          f'There is no prior, but encoder is {encoder!r} and latent_bound '
          f'{latent_bound}; expected \'own\' and None.'
      )
    env_specs.check_for_agent(env)
    return env
  if latent_bound is None:
    return PriorEnvironment(env, prior, encoder)
  return LatentActionEnvironment(env, prior, latent_bound, encoder)


def _innermost(env: py_environment.PyEnvironment) -> Any:
  while isinstance(env, wrappers.PyEnvironmentBaseWrapper):
    env = env.wrapped_env()
  return env
