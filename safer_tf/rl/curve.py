"""The record of an agent's training: one row an episode."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import os
from typing import Mapping

import numpy as np
import tensorflow as tf

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import labels
from safer_tf.rl import agent as sac


@dataclasses.dataclass
class Row:
  """One training episode; a row of `curve.csv`.

  Attributes:
    episode: number of the episode, from 0.
    env_steps: environment steps so far, this episode included.
    episode_return: sum of its rewards.
    length: its steps.
    success: 1 if a step of it succeeded, as `success` of data.
    complete: 0 for a last episode that the end of training cut off.
    violations: its unsafe steps.
    cumulative_violations: unsafe steps so far.
    clip_rate: share of its steps whose decoded action had to be clipped.
    critic_loss, actor_loss, alpha_loss, alpha, q_mean, entropy: means over
      the episode's updates; NaN before the first update.
  """

  episode: int
  env_steps: int
  episode_return: float = 0.0
  length: int = 0
  success: int = 0
  complete: int = 0
  violations: int = 0
  cumulative_violations: int = 0
  clip_rate: float = 0.0
  critic_loss: float = math.nan
  actor_loss: float = math.nan
  alpha_loss: float = math.nan
  alpha: float = math.nan
  q_mean: float = math.nan
  entropy: float = math.nan


class Curve:
  """Keeps a row for every episode."""

  def __init__(self) -> None:
    self.rows: list[Row] = []

  @property
  def env_steps(self) -> int:
    """Environment steps so far."""
    return self.rows[-1].env_steps if self.rows else 0

  @property
  def violations(self) -> int:
    """Unsafe steps so far."""
    return self.rows[-1].cumulative_violations if self.rows else 0

  @property
  def clip_rate(self) -> float:
    """Share of all steps so far whose decoded action had to be clipped."""
    clipped = sum(row.clip_rate * row.length for row in self.rows)
    return clipped / max(1, self.env_steps)

  def success_rate(self, last_steps: int) -> float:
    """Share of successes.

    Args:
      last_steps: only complete episodes that ended within this many last
        environment steps count.

    Returns:
      A fraction, NaN where no episode counts.
    """
    since = self.env_steps - last_steps
    chosen = [
        row.success for row in self.rows
        if row.complete and row.env_steps > since
    ]
    return sum(chosen) / len(chosen) if chosen else math.nan

  def begin(self) -> None:
    """Starts the row of a new episode."""
    self.rows.append(Row(
        len(self.rows), self.env_steps, cumulative_violations=self.violations
    ))
    self._reports = np.zeros(len(sac.Diagnostics._fields))
    self._updates = 0
    self._clipped = 0

  def add_step(
      self, reward: float, label: labels.Labels, clipped: bool
  ) -> None:
    """Counts an environment step.

    Args:
      reward: of the step.
      label: what the environment said of it.
      clipped: whether the decoded action had to be clipped.
    """
    row = self.rows[-1]
    row.env_steps += 1
    row.length += 1
    row.episode_return += float(reward)
    row.violations += label.unsafe
    row.cumulative_violations += label.unsafe
    row.success |= int(label.success)
    self._clipped += clipped

  def add_update(self, report: np.ndarray) -> None:
    """Counts an update; `report` holds the values of `Diagnostics`."""
    self._reports += report
    self._updates += 1

  def end(self, complete: bool) -> None:
    """Finishes the episode's row."""
    row = self.rows[-1]
    row.complete = int(complete)
    row.clip_rate = self._clipped / max(1, row.length)
    if self._updates:
      means = self._reports / self._updates
      for name, value in zip(sac.Diagnostics._fields, means):
        setattr(row, name, float(value))

  def save(self, path: str) -> None:
    """Writes all rows as CSV."""
    text = io.StringIO()
    names = [field.name for field in dataclasses.fields(Row)]
    writer = csv.DictWriter(text, names, lineterminator='\n')
    writer.writeheader()
    writer.writerows(dataclasses.asdict(row) for row in self.rows)
    files.write_text(path, text.getvalue())

  def load(self, path: str, episodes: int) -> None:
    """Reads the first episodes of a file that `save` wrote.

    Args:
      path: CSV file.
      episodes: number of rows that the checkpoint knows of.

    Raises:
      UserError: the file is missing, damaged or too short.
    """
    try:
      with open(path, encoding='utf-8', newline='') as file:
        self.rows = [_parsed(row) for row in csv.DictReader(file)][:episodes]
    except (
        OSError, ValueError, KeyError, TypeError, csv.Error
    ) as error:
      raise errors.UserError(
          f'{path} cannot be read ({error}); it belongs to a checkpoint. '
          f'Delete {os.path.dirname(path)} and run the agent again.'
      ) from error
    if len(self.rows) != episodes:
      raise errors.UserError(
          f'{path} has {len(self.rows)} episodes, its checkpoint {episodes}. '
          f'Delete {os.path.dirname(path)} and run the agent again.'
      )


def write_summaries(row: Row, success_rate: float) -> None:
  """Writes an episode to the default TensorBoard writer.

  Args:
    row: the episode.
    success_rate: over recent episodes.
  """
  step = row.env_steps
  for tag, value in (
      ('episode/success', row.success),
      (
          f'episode/success_rate_last_{labels.SUCCESS_WINDOW}_steps',
          success_rate,
      ),
      ('episode/return', row.episode_return),
      ('episode/length', row.length),
      ('safety/violations', row.violations),
      ('safety/cumulative_violations', row.cumulative_violations),
      ('safety/clip_rate', row.clip_rate),
      ('loss/critic', row.critic_loss),
      ('loss/actor', row.actor_loss),
      ('loss/alpha', row.alpha_loss),
      ('sac/alpha', row.alpha),
      ('sac/q_mean', row.q_mean),
      ('sac/entropy', row.entropy),
  ):
    if not math.isnan(value):
      tf.summary.scalar(tag, value, step)


def _parsed(row: Mapping[str, str]) -> Row:
  kinds = {'int': int, 'float': float}
  return Row(**{
      field.name: kinds[str(field.type)](row[field.name])
      for field in dataclasses.fields(Row)
  })
