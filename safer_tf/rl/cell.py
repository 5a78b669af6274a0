"""The loop of one training run, and its files."""

from __future__ import annotations

import math
import os
import time
from typing import Any

import numpy as np
import tensorflow as tf
from tf_agents.environments import py_environment
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import time_step as ts

from safer_tf.common import checkpoint
from safer_tf.common import config
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import labels
from safer_tf.common import layout
from safer_tf.common import progress
from safer_tf.common import provenance
from safer_tf.rl import agent as sac
from safer_tf.rl import collect_policy
from safer_tf.rl import curve
from safer_tf.rl import latent_env
from safer_tf.rl import policies
from safer_tf.rl import replay
from safer_tf.rl import streams

_FRAMES_SHOWN = 5
_CHANNELS_SHOWN = (1, 3, 4)  # What TensorBoard takes for an image.


class Cell:
  """One agent in one environment; restored from its directory if it can be.

  A checkpoint is taken between episodes. Each episode is a function of (seed,
  its number), so the simulator's state need not be kept.
  """

  def __init__(
      self,
      directory: str,
      env: py_environment.PyEnvironment,
      seed: int,
      num_steps: int,
      batch_size: int,
      violation_penalty: float = 0.0,
  ):
    """Builds or restores the run.

    Args:
      directory: of the agent.
      env: environment as the agent is to see it.
      seed: of everything random.
      num_steps: environment steps at the end.
      batch_size: transitions in an update.
      violation_penalty: off what the agent learns from, at an unsafe step.
    """
    self._directory = files.ensure_dir(directory)
    self._env = env
    self._seed = seed
    self._num_steps = num_steps
    self._batch_size = batch_size
    self._penalty = violation_penalty
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
        os.path.join(directory, layout.TENSORBOARD_DIR)
    )
    # Of TensorBoard, since the last checkpoint: a run that goes on from there
    # does not show twice what it takes back.
    self._pending: list[tuple[curve.Row, float]] = []

  def collect_with(
      self, initial_steps: int, prior_probability: float, bound: float
  ) -> None:
    """Chooses what acts.

    Args:
      initial_steps: environment steps before the first update.
      prior_probability: share of the prior's actions (Prior-Explore).
      bound: of the latents, possibly infinite.
    """
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
    """Steps and updates up to `num_steps`.

    Args:
      checkpoint_steps: environment steps from one checkpoint to the next.

    Raises:
      UserError: the agent diverged.
    """
    done = self._curve.env_steps
    due = done + checkpoint_steps
    # Time of earlier processes counts too, up to their last checkpoint.
    began = time.monotonic() - float(self._wall_seconds.numpy())
    bar = progress.bar(
        self._num_steps, 'Training agent', 'step', initial=done
    )
    with bar:
      while done < self._num_steps:
        frames = self._episode()
        row = self._curve.rows[-1]
        success = self._curve.success_rate(labels.SUCCESS_WINDOW)
        self._pending.append((row, success))
        bar.set_postfix(
            violations=row.cumulative_violations, success=f'{success:.2f}',
            refresh=False,
        )
        bar.update(row.env_steps - done)
        done = row.env_steps
        if done >= due or done == self._num_steps:
          self._wall_seconds.assign(time.monotonic() - began)
          self._checkpoint(frames)
          due = done + checkpoint_steps

  def finish(self, hashes: dict[str, str], **facts: Any) -> None:
    """Writes policies, `result.json` and, last, `stage.json`.

    Args:
      hashes: of the input files, by name.
      **facts: what the cell was, for `result.json`.
    """
    policies.save(
        self._agent, os.path.join(self._directory, layout.POLICIES_DIR)
    )
    record = provenance.record(self._seed, hashes)
    success = self._curve.success_rate(labels.SUCCESS_WINDOW)
    files.write_json(os.path.join(self._directory, layout.RESULT), {
        **facts,
        'seed': self._seed,
        'env_steps': self._curve.env_steps,
        # Too short a run ends no episode, and JSON knows no NaN.
        'train_success_rate': None if math.isnan(success) else success,
        'violations': self._curve.violations,
        'clip_rate': self._curve.clip_rate,
        'wall_seconds': float(self._wall_seconds.numpy()),
        'git_revision': record['git_revision'],
    })
    files.write_json(os.path.join(self._directory, layout.STAGE), record)
    shown = '' if math.isnan(success) else (
        f'; of the episodes of the last {labels.SUCCESS_WINDOW:,} steps '
        f'{success:.1%} succeed'
    )
    print(
        f'{self._directory}: {self._curve.violations:,} violations in '
        f'{self._curve.env_steps:,} steps{shown}.'
    )

  def _episode(self) -> list[np.ndarray]:
    """Plays one seeded episode, an update a step; returns its frames."""
    env, record = self._env, self._curve
    env.seed(streams.episode_seed(self._seed, len(record.rows)))
    time_step = env.reset()
    _check_finite(
        time_step.observation, f'before environment step {record.env_steps}'
    )
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
      labels.check_length(len(frames))
      before, clipped = clipped, getattr(env, 'clipped_steps', 0)
      if not math.isfinite(time_step.reward):
        raise errors.UserError(
            f'The reward of environment step {step} is {time_step.reward}: '
            'expected a finite number. Mend the environment.'
        )
      _check_finite(time_step.observation, f'after environment step {step}')
      label = labels.read(env.get_info())
      record.add_step(time_step.reward, label, clipped > before)
      self._replay.append(
          action, time_step.reward - self._penalty * label.unsafe,
          time_step.discount, time_step.observation,
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
      last = self._manager.latest_checkpoint or 'none yet'
      raise errors.UserError(
          f'{self._directory}: SAC diverged at environment step {step}: '
          f'{values}. The last good checkpoint: {last}. Lower make_agent\'s '
          'learning rates, delete the directory and train anew.'
      )
    self._curve.add_update(report)

  def _checkpoint(self, frames: list[np.ndarray]) -> None:
    """Saves everything; TensorFlow's own file comes last and counts."""
    self._replay.save(self._checkpoints)
    self._curve.save(os.path.join(self._directory, layout.CURVE))
    self._episodes.assign(len(self._curve.rows))
    is_first = self._manager.latest_checkpoint is None
    with files.writing_by_tensorflow(self._directory):
      self._manager.save(checkpoint_number=self._curve.env_steps)
      with self._writer.as_default():  # Flushes at its end.
        for row, success in self._pending:
          curve.write_summaries(row, success)
        _write_frames(frames, self._curve.env_steps)
        if is_first:
          tf.summary.text('gin', config.operative_markdown(), step=0)
    self._pending.clear()

  def _restore(self) -> None:
    self._manager = tf.train.CheckpointManager(
        tf.train.Checkpoint(
            agent=self._agent, episodes=self._episodes,
            wall_seconds=self._wall_seconds,
        ),
        files.ensure_dir(self._checkpoints), max_to_keep=1,
    )
    latest = self._manager.latest_checkpoint
    if latest is None:
      if os.path.exists(
          os.path.join(self._directory, layout.TENSORBOARD_DIR)
      ):
        print(
            f'{self._directory} was stopped before its first checkpoint '
            '(train_agent.checkpoint_steps): it starts anew.'
        )
      return
    checkpoint.restore(self._manager.checkpoint, latest, self._directory)
    self._curve.load(
        os.path.join(self._directory, layout.CURVE),
        int(self._episodes.numpy()),
    )
    self._replay.load(self._checkpoints, self._curve.env_steps)


def _check_finite(observation: np.ndarray, when: str) -> None:
  if not np.isfinite(observation).all():
    raise errors.UserError(
        f'The observation {when} holds a NaN or an infinity: expected finite '
        'numbers. Mend the environment.'
    )


def _write_frames(frames: list[np.ndarray], step: int) -> None:
  """Shows an episode from its first to its last frame, if it has images."""
  if frames[0].ndim != 3 or frames[0].shape[-1] not in _CHANNELS_SHOWN:
    return
  shown = np.linspace(0, len(frames) - 1, _FRAMES_SHOWN).round().astype(int)
  strip = np.concatenate([frames[i] for i in shown], axis=1)
  tf.summary.image('episode/frames', strip[np.newaxis], step)
