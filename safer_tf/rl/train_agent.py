"""Trains one agent on one task with one seed: a cell of the experiment."""

from __future__ import annotations

import json
import math
import os
import time
from typing import Any, Callable, Optional, Union

import gin
import numpy as np
import tensorflow as tf
from tf_agents.environments import py_environment
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import time_step as ts
from tf_agents.utils import common

import envs
from safer_tf.common import config
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.common import progress
from safer_tf.common import provenance
from safer_tf.prior import export
from safer_tf.rl import agent as sac
from safer_tf.rl import collect_policy
from safer_tf.rl import curve
from safer_tf.rl import latent_bound as bounds
from safer_tf.rl import latent_env
from safer_tf.rl import policies
from safer_tf.rl import replay
from safer_tf.rl import streams

# Steps at the end of training whose episodes make `train_success_rate`.
SUCCESS_WINDOW = 5_000

_FRAMES_SHOWN = 5
# TensorBoard events are written out at checkpoints only, so that a resumed
# run does not show what it takes back.
_NEVER = 10**9


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
    assurance_mode: str = 'exact',
    max_unsafe_fraction: float = 0.15,
    prior_probability: float = 0.0,
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
    assurance_mode: `paper`, `exact` or `certified`.
    max_unsafe_fraction: the assurance's target, in [0, 1].
    prior_probability: share of raw actions taken from the prior while
      collecting (Prior-Explore).
    batch_size: transitions in an update.
    initial_steps: environment steps before the first update.
    checkpoint_steps: environment steps from one checkpoint to the next; it is
      taken when the episode ends.
    make_env: makes the environment of a task's name.

  Returns:
    The agent's directory.

  Raises:
    UserError: an input is missing or does not fit.
  """
  settings = {
      **locals(), 'make_env': f'{make_env.__module__}.{make_env.__qualname__}'
  }
  directory = layout.agent_dir(
      root_dir, protocol, task, method, variant, seed
  )
  _check_choices(action_space, encoder, prior_probability, prior)
  loaded, bound = None, None
  inputs = {}
  if action_space == 'latent' or encoder == 'prior' or prior_probability > 0:
    path = layout.export_dir(root_dir, protocol, prior)
    loaded = export.load_prior(path)
    inputs['prior_spec'] = os.path.join(path, layout.PRIOR_SPEC)
  if action_space == 'latent' or prior_probability > 0:
    path = layout.export_dir(root_dir, protocol, bound_prior)
    bound = bounds.resolve(
        latent_bound, path, assurance_mode, max_unsafe_fraction
    )
    if latent_bound == bounds.ASSURANCE:
      inputs['assurance'] = os.path.join(path, layout.ASSURANCE)
  identity = _identity(settings, inputs)
  if _is_finished(directory, identity):
    print(f'{directory} is finished with these settings; nothing to do.')
    return directory
  env = latent_env.wrap(
      _checked(make_env(task), task), loaded,
      bound if action_space == 'latent' else None, encoder,
  )
  files.write_json(os.path.join(directory, layout.SETTINGS), identity)
  cell = _Cell(directory, env, seed, num_steps, batch_size)
  cell.collect_with(initial_steps, prior_probability, bound)
  cell.run(checkpoint_steps)
  computed = latent_bound == bounds.ASSURANCE and bound is not None
  cell.finish(
      inputs, protocol=protocol, task=task, method=method, variant=variant,
      prior=prior if loaded is not None else None, encoder=encoder,
      action_space=action_space,
      latent_bound=None if bound in (None, math.inf) else bound,
      assurance_mode=assurance_mode if computed else None,
      max_unsafe_fraction=max_unsafe_fraction if computed else None,
  )
  return directory


class _Cell:
  """The state of one training run and its files."""

  def __init__(
      self,
      directory: str,
      env: py_environment.PyEnvironment,
      seed: int,
      num_steps: int,
      batch_size: int,
  ):
    self._directory = files.ensure_dir(directory)
    self._env = env
    self._seed = seed
    self._num_steps = num_steps
    self._batch_size = batch_size
    self._agent = sac.make_agent(
        tensor_spec.from_spec(ts.time_step_spec(env.observation_spec())),
        tensor_spec.from_spec(env.action_spec()), seed=seed,
    )
    self._replay = replay.TransitionReplayBuffer(
        env.observation_spec(), env.action_spec(), num_steps, seed
    )
    self._curve = curve.Curve()
    self._episodes = tf.Variable(0, dtype=tf.int64)
    self._wall_seconds = tf.Variable(0.0, dtype=tf.float64)
    self._checkpoints = os.path.join(directory, layout.CHECKPOINTS_DIR)
    self._restore()
    self._writer = tf.summary.create_file_writer(
        os.path.join(directory, layout.TENSORBOARD_DIR), max_queue=_NEVER,
        flush_millis=_NEVER,
    )

  def collect_with(
      self, initial_steps: int, prior_probability: float,
      bound: Optional[float],
  ) -> None:
    """Chooses the collectors; arguments as those of `train_agent`."""
    env, seed = self._env, self._seed
    self._initial_steps = initial_steps
    self._collect = collect_policy.from_agent(self._agent)
    if isinstance(env, latent_env.LatentActionEnvironment):
      size = env.action_spec().shape[0]
      self._explore = collect_policy.from_prior(size, bound, seed)
    else:
      self._explore = collect_policy.uniform(env.action_spec(), seed)
    if prior_probability > 0:
      self._collect, self._explore = (
          collect_policy.prior_explore(
              base, env, prior_probability, bound, seed
          ) for base in (self._collect, self._explore)
      )

  def run(self, checkpoint_steps: int) -> None:
    """Steps and updates up to `num_steps`."""
    done = self._curve.env_steps
    due = done + checkpoint_steps
    # Time of earlier processes counts too, up to their last checkpoint.
    began = time.monotonic() - float(self._wall_seconds.numpy())
    bar = progress.bar(
        self._num_steps, 'Training agent', 'step', initial=done
    )
    with bar, self._writer.as_default():
      while done < self._num_steps:
        frames = self._episode()
        row = self._curve.result()
        curve.write_summaries(row, self._curve.success_rate(SUCCESS_WINDOW))
        bar.update(row.env_steps - done)
        bar.set_postfix(
            violations=row.cumulative_violations,
            success=f'{self._curve.success_rate(SUCCESS_WINDOW):.2f}',
        )
        done = row.env_steps
        if done >= due or done == self._num_steps:
          self._wall_seconds.assign(time.monotonic() - began)
          self._checkpoint(frames)
          due = done + checkpoint_steps

  def finish(self, inputs: dict[str, str], **facts: Any) -> None:
    """Writes policies, `result.json` and, last, `stage.json`.

    Args:
      inputs: input files by name.
      **facts: what the cell was, for `result.json`.
    """
    policies.save(
        self._agent, os.path.join(self._directory, layout.POLICIES_DIR)
    )
    record = provenance.record(self._seed, inputs)
    files.write_json(os.path.join(self._directory, layout.RESULT), {
        **facts,
        'seed': self._seed,
        'env_steps': self._curve.env_steps,
        'train_success_rate': self._curve.success_rate(SUCCESS_WINDOW),
        'violations': self._curve.violations,
        'clip_rate': self._curve.clip_rate,
        'wall_seconds': float(self._wall_seconds.numpy()),
        'git_revision': record['git_revision'],
    })
    files.write_json(os.path.join(self._directory, layout.STAGE), record)

  def _episode(self) -> list[np.ndarray]:
    """Plays one seeded episode, an update a step; returns its frames."""
    env, record = self._env, self._curve
    env.seed(streams.episode_seed(self._seed, len(record.rows)))
    time_step = env.reset()
    record.begin()
    self._replay.begin(time_step.observation)
    frames = []
    clipped = getattr(env, 'clipped_steps', 0)
    while not time_step.is_last() and record.env_steps < self._num_steps:
      step = record.env_steps
      collect = self._collect if step >= self._initial_steps else self._explore
      action = collect(time_step.observation, step)
      time_step = env.step(action)
      frames.append(getattr(env, 'frame', time_step.observation))
      before, clipped = clipped, getattr(env, 'clipped_steps', 0)
      record.add_step(time_step.reward, env.get_info(), clipped > before)
      self._replay.append(
          action, time_step.reward, time_step.discount, time_step.observation
      )
      if step >= self._initial_steps:
        self._update(step)
    record.end(complete=bool(time_step.is_last()))
    return frames

  def _update(self, step: int) -> None:
    report = self._agent.update(
        *self._replay.sample(self._batch_size, step)
    ).numpy()
    if not np.isfinite(report).all():
      values = dict(zip(sac.Diagnostics._fields, report.tolist()))
      raise errors.UserError(
          f'{self._directory}: SAC diverged at environment step {step}: '
          f'{values}. The last good checkpoint is in {self._checkpoints}; '
          'lower make_agent\'s learning rates and run it anew.'
      )
    self._curve.add_update(report)

  def _checkpoint(self, frames: list[np.ndarray]) -> None:
    """Saves everything; the checkpointer's own file comes last and counts."""
    self._replay.save(self._checkpoints)
    self._curve.save(os.path.join(self._directory, layout.CURVE))
    self._episodes.assign(len(self._curve.rows))
    self._checkpointer.save(tf.constant(self._curve.env_steps, tf.int64))
    _write_frames(frames, self._curve.env_steps)
    tf.summary.text('gin', _as_markdown(config.operative()), step=0)
    self._writer.flush()

  def _restore(self) -> None:
    files.ensure_dir(self._checkpoints)
    self._checkpointer = common.Checkpointer(
        self._checkpoints, max_to_keep=1, agent=self._agent,
        episodes=self._episodes, wall_seconds=self._wall_seconds,
    )
    if not self._checkpointer.checkpoint_exists:
      return
    self._curve.load(
        os.path.join(self._directory, layout.CURVE),
        int(self._episodes.numpy()),
    )
    self._replay.load(self._checkpoints, self._curve.env_steps)


def _check_choices(
    action_space: str, encoder: str, prior_probability: float,
    prior: Optional[str],
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
  if not 0 <= prior_probability <= 1 or (
      prior_probability > 0 and action_space == 'latent'
  ):
    raise errors.UserError(
        f'train_agent.prior_probability is {prior_probability}; expected a '
        'probability, and 0 unless train_agent.action_space is \'raw\'.'
    )
  if prior is None and (
      action_space == 'latent' or encoder == 'prior' or prior_probability > 0
  ):
    raise errors.UserError(
        'train_agent.prior is not set; only raw actions with encoder '
        '\'own\' and without Prior-Explore need none.'
    )


def _identity(
    settings: dict[str, Any], inputs: dict[str, str]
) -> dict[str, Any]:
  """What makes two cells the same: settings, agent and inputs."""
  identity = {
      name: value for name, value in settings.items()
      if name not in ('root_dir', 'checkpoint_steps')
  }
  for name in ('make_agent', 'ImageEncoder'):
    identity[name] = gin.get_bindings(name)
  identity.update({name: files.sha256(path) for name, path in inputs.items()})
  return json.loads(json.dumps(identity))


def _is_finished(directory: str, identity: dict[str, Any]) -> bool:
  """Whether the cell is finished; raises UserError if it is another's."""
  path = os.path.join(directory, layout.SETTINGS)
  if not os.path.exists(path):
    return False
  found = files.read_json(path, 'the settings of an agent')
  if found != identity:
    different = [
        f'{name} was {found.get(name)!r}, is now {identity.get(name)!r}'
        for name in sorted({*found, *identity})
        if found.get(name) != identity.get(name)
    ]
    raise errors.UserError(
        f'{directory} holds an agent of other settings: '
        f'{"; ".join(different)}. Choose another train_agent.variant or '
        '--root_dir, or delete that directory to train anew.'
    )
  return os.path.exists(os.path.join(directory, layout.STAGE))


def _checked(
    env: py_environment.PyEnvironment, task: str
) -> py_environment.PyEnvironment:
  """The environment, if it tells what is counted."""
  env.reset()
  info = env.get_info()
  if not {'unsafe', 'success'} <= set(info):
    raise errors.UserError(
        f'Environment {task}: get_info() gives {sorted(info)}; expected '
        '`unsafe` and `success`.'
    )
  return env


def _write_frames(frames: list[np.ndarray], step: int) -> None:
  """Shows an episode from its first to its last frame, if it has images."""
  if frames[0].ndim != 3:
    return
  shown = np.linspace(0, len(frames) - 1, _FRAMES_SHOWN).round().astype(int)
  strip = np.concatenate([frames[i] for i in shown], axis=1)
  tf.summary.image('episode/frames', strip[np.newaxis], step)


def _as_markdown(text: str) -> str:
  return '    ' + text.replace('\n', '\n    ')
