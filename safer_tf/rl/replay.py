"""Replay buffer of true transitions, each frame stored once."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tf_agents.replay_buffers import replay_buffer
from tf_agents.trajectories import policy_step
from tf_agents.trajectories import time_step as ts
from tf_agents.trajectories import trajectory

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.rl import streams

_CHUNK = 'replay-{:09d}.npz'  # Number of the first transition inside.


class Batch(NamedTuple):
  """Transitions: observation [B, ...], action [B, A], the others [B]."""

  observation: np.ndarray
  action: np.ndarray
  reward: np.ndarray
  discount: np.ndarray
  next_observation: np.ndarray


class TransitionReplayBuffer(replay_buffer.ReplayBuffer):
  """Holds every transition of one cell in preallocated arrays.

  An episode of T steps stores T + 1 frames in a row; a transition holds the
  index of its first frame, so no frame is stored twice and no pair across an
  episode boundary can be formed. Memory is touched as it fills. Sampling is a
  function of (seed, step) and of what is stored.

  TF-Agents' interface deals in `Transition`s; `begin`, `append` and `sample`
  are the same without its nests.
  """

  def __init__(
      self,
      observation_spec: Any,
      action_spec: Any,
      capacity: int,
      seed: int = 0,
  ):
    """Allocates the arrays.

    Args:
      observation_spec: array spec of one observation.
      action_spec: array spec of one action.
      capacity: number of transitions the buffer can hold.
      seed: seed of the sampling.
    """
    super().__init__(_transition_spec(observation_spec, action_spec), capacity)
    # At worst every episode has one step and thus two frames.
    self._frames = np.empty(
        (2 * capacity, *observation_spec.shape), observation_spec.dtype
    )
    self._first = np.empty(capacity, np.int64)
    self._action = np.empty((capacity, *action_spec.shape), action_spec.dtype)
    self._reward = np.empty(capacity, np.float32)
    self._discount = np.empty(capacity, np.float32)
    self._seed = seed
    self._count = 0  # Transitions stored.
    self._last_frame = -1
    self._saved = 0  # Transitions that are in chunk files.
    self._draws = 0

  def begin(self, observation: np.ndarray) -> None:
    """Starts an episode with its first observation."""
    self._last_frame += 1
    self._frames[self._last_frame] = observation

  def append(
      self,
      action: np.ndarray,
      reward: float,
      discount: float,
      next_observation: np.ndarray,
  ) -> None:
    """Adds the transition from the last observation to the next.

    Args:
      action: [A].
      reward: of this step.
      discount: 0 where the episode truly ended, 1 at a time limit.
      next_observation: what the step led to.

    Raises:
      UserError: the buffer is full.
    """
    count = self._count
    if count == self._capacity:
      raise errors.UserError(
          f'The replay buffer is full: it holds {count} transitions. Give it '
          'a capacity of at least the number of environment steps.'
      )
    self._first[count] = self._last_frame
    self._action[count] = action
    self._reward[count] = reward
    self._discount[count] = discount
    self._last_frame += 1
    self._frames[self._last_frame] = next_observation
    self._count = count + 1

  def sample(self, batch_size: int, step: int) -> Batch:
    """Draws transitions uniformly, with replacement.

    Args:
      batch_size: number B of transitions.
      step: the draw is a function of the seed, this number and the contents.

    Returns:
      A batch of NumPy arrays.
    """
    random = streams.generator(self._seed, streams.REPLAY, step)
    chosen = random.integers(self._count, size=batch_size)
    first = self._first[chosen]
    return Batch(
        self._frames[first], self._action[chosen], self._reward[chosen],
        self._discount[chosen], self._frames[first + 1],
    )

  def save(self, directory: str) -> None:
    """Appends one chunk file with what was added since the last one.

    Call it between episodes only.

    Args:
      directory: where the chunks of this buffer stand.
    """
    start, stop = self._saved, self._count
    if start == stop:
      return
    with files.replacing(os.path.join(directory, _CHUNK.format(start))) as new:
      with open(new, 'wb') as file:
        np.savez_compressed(
            file, first=self._first[start:stop] - self._first[start],
            frames=self._frames[self._first[start]:self._last_frame + 1],
            action=self._action[start:stop], reward=self._reward[start:stop],
            discount=self._discount[start:stop],
        )
    self._saved = stop

  def load(self, directory: str, count: int) -> None:
    """Replaces the contents by the first transitions of the chunk files.

    Args:
      directory: where the chunks stand.
      count: number of transitions when the checkpoint was made; a chunk that
        was begun after it is left aside, and overwritten by the next `save`.

    Raises:
      UserError: a chunk is missing, damaged or ends elsewhere.
    """
    self._clear()
    while self._count < count:
      path = os.path.join(directory, _CHUNK.format(self._count))
      try:
        with np.load(path) as chunk:
          self._extend(chunk)
      except files.DAMAGED_ARRAYS as error:
        raise _damaged(path, str(error)) from error
    if self._count != count:
      raise _damaged(path, f'{self._count} transitions instead of {count}')
    self._saved = count

  def _extend(self, chunk: Any) -> None:
    """Copies a chunk behind what is there."""
    frames, first = chunk['frames'], chunk['first']
    offset, start = self._last_frame + 1, self._count
    stop = start + len(first)
    self._frames[offset:offset + len(frames)] = frames
    self._first[start:stop] = first + offset
    self._action[start:stop] = chunk['action']
    self._reward[start:stop] = chunk['reward']
    self._discount[start:stop] = chunk['discount']
    self._last_frame += len(frames)
    self._count = stop

  def _num_frames(self) -> int:
    return self._count

  def _add_batch(self, items: trajectory.Transition) -> None:
    """Adds transitions that need not follow on from one another."""
    before, after = items.time_step, items.next_time_step
    for i in range(len(after.reward)):
      self.begin(np.asarray(before.observation[i]))
      self.append(
          np.asarray(items.action_step.action[i]), after.reward[i],
          after.discount[i], np.asarray(after.observation[i]),
      )

  def _get_next(self, sample_batch_size, num_steps, time_stacked):
    del time_stacked
    if num_steps not in (None, 2):
      raise ValueError(f'A transition is two steps; asked for {num_steps}.')
    self._draws += 1
    batch = self.sample(sample_batch_size or 1, self._draws)
    transition = self._as_transition(batch)
    if sample_batch_size is None:
      transition = tf.nest.map_structure(lambda array: array[0], transition)
    return transition, ()

  def _as_dataset(
      self, sample_batch_size, num_steps, sequence_preprocess_fn,
      num_parallel_calls,
  ):
    del sequence_preprocess_fn, num_parallel_calls
    signature = self._data_spec
    if sample_batch_size is not None:
      signature = tf.nest.map_structure(
          lambda spec: tf.TensorSpec((sample_batch_size, *spec.shape),
                                     spec.dtype), signature
      )

    def draws():
      while True:
        yield self._get_next(sample_batch_size, num_steps, True)

    return tf.data.Dataset.from_generator(
        draws, output_signature=(signature, ())
    )

  def _single_deterministic_pass_dataset(self, **unused_arguments):
    return tf.data.Dataset.from_tensor_slices((self._gather_all(), ()))

  def _gather_all(self) -> trajectory.Transition:
    first, count = self._first[:self._count], self._count
    return self._as_transition(Batch(
        self._frames[first], self._action[:count], self._reward[:count],
        self._discount[:count], self._frames[first + 1],
    ))

  def _clear(self) -> None:
    self._count, self._last_frame, self._saved = 0, -1, 0
    self._draws = 0

  def _as_transition(self, batch: Batch) -> trajectory.Transition:
    size = len(batch.reward)
    # A stored pair never starts at an episode's end; which of its steps was
    # the first or the last is not kept, the discount says all that matters.
    middle = np.full(size, ts.StepType.MID)
    return trajectory.Transition(
        ts.TimeStep(
            middle, np.zeros(size, np.float32), np.ones(size, np.float32),
            batch.observation,
        ),
        policy_step.PolicyStep(batch.action, (), ()),
        ts.TimeStep(
            middle, batch.reward, batch.discount, batch.next_observation
        ),
    )


def _transition_spec(observation_spec: Any, action_spec: Any) -> Any:
  observation = tf.TensorSpec(observation_spec.shape, observation_spec.dtype)
  time_step = ts.TimeStep(
      tf.TensorSpec((), tf.int32), tf.TensorSpec((), tf.float32),
      tf.TensorSpec((), tf.float32), observation,
  )
  action = tf.TensorSpec(action_spec.shape, action_spec.dtype)
  return trajectory.Transition(
      time_step, policy_step.PolicyStep(action, (), ()), time_step
  )


def _damaged(path: str, reason: str) -> errors.UserError:
  return errors.UserError(
      f'{path} does not hold the transitions of its checkpoint ({reason}). '
      'Delete this agent\'s directory and run it again.'
  )
