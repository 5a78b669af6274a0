"""What an episode is, in memory and as a `tf.train.Example`."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from safer_tf.common import errors

FORMAT_VERSION = 1

# Observations that are stored as raw bytes; others as a list of floats.
_BYTES = 'uint8'
_DTYPES = (_BYTES, 'float32')


@dataclasses.dataclass(frozen=True)
class EpisodeSpec:
  """Shapes and types that all episodes of a dataset share.

  Attributes:
    observation_shape: of one observation, e.g. (48, 48, 3).
    observation_dtype: `uint8` (images) or `float32` (vectors); its name, or
      numpy's or TensorFlow's type.
    action_size: components of a float32 action in [-1, 1]; 2 or more.
  """

  observation_shape: tuple[int, ...]
  observation_dtype: str
  action_size: int

  def __post_init__(self):
    try:
      normal = {
          'observation_shape': tuple(map(int, self.observation_shape)),
          'observation_dtype': tf.as_dtype(self.observation_dtype).name,
          'action_size': int(self.action_size),
      }
    except (TypeError, ValueError) as error:
      raise errors.UserError(
          f'{self!r} is no spec ({error}): expected e.g. '
          'EpisodeSpec((48, 48, 3), \'uint8\', action_size=6).'
      ) from error
    for name, value in normal.items():
      object.__setattr__(self, name, value)  # Frozen.
    if self.observation_dtype not in _DTYPES:
      raise errors.UserError(
          f'Observations of type {self.observation_dtype} cannot be stored: '
          f'expected {" or ".join(_DTYPES)}. Cast them in the environment.'
      )
    if self.action_size < 2:
      raise errors.UserError(
          f'Actions of {self.action_size} component(s): expected 2 or more, as '
          'the flow transforms one half given the other. Add a component '
          'that does nothing.'
      )

  @classmethod
  def of_env(cls, env: Any) -> EpisodeSpec:
    """The spec of a TF-Agents `PyEnvironment`'s episodes."""
    observation, action = env.observation_spec(), env.action_spec()
    if not hasattr(observation, 'shape') or len(action.shape) != 1:
      raise errors.UserError(
          f'{type(env).__name__} cannot be collected: expected one observation '
          f'array and one action vector, found {observation} and {action}.'
      )
    low, high = getattr(action, 'minimum', ()), getattr(action, 'maximum', ())
    if not np.size(low) or action.dtype != np.float32:
      raise errors.UserError(
          f'{type(env).__name__} cannot be collected: its actions are '
          f'{action}; expected float32 in [-1, 1], a BoundedArraySpec.'
      )
    if np.any(np.not_equal(low, -1)) or np.any(np.not_equal(high, 1)):
      raise errors.UserError(
          f'{type(env).__name__} cannot be collected: its actions lie in {low} '
          f'to {high}; expected [-1, 1]. Scale them in a wrapper '
          '(docs/data.md).'
      )
    return cls(
        tuple(observation.shape), np.dtype(observation.dtype).name,
        action.shape[0],
    )

  def to_json(self) -> dict[str, Any]:
    """A JSON-ready dictionary."""
    return dataclasses.asdict(self)

  @classmethod
  def from_json(cls, value: dict[str, Any]) -> EpisodeSpec:
    """The inverse of `to_json`."""
    return cls(
        tuple(value['observation_shape']), value['observation_dtype'],
        value['action_size'],
    )

  def __str__(self) -> str:
    shape = ', '.join(map(str, self.observation_shape))
    return (
        f'observations {self.observation_dtype} [{shape}], actions '
        f'[{self.action_size}]'
    )


@dataclasses.dataclass(frozen=True)
class Episode:
  """T steps of one task.

  Attributes:
    observation: [T, ...] the state in which each action was taken.
    action: float32 [T, A] in [-1, 1].
    reward: float32 [T] that followed each action.
    unsafe: bool [T] whether the action was unsafe.
    success: whether the whole episode reached its goal.
    task: name of the task.
    noise: standard deviation of the policy's noise; 0 if it is not known.
    seed: of the environment; any number of yours for logs.
    index: of the episode within its task. Task, seed and index name an episode
      and decide its split.
  """

  observation: np.ndarray
  action: np.ndarray
  reward: np.ndarray
  unsafe: np.ndarray
  success: bool
  task: str
  noise: float
  seed: int
  index: int

  def __len__(self) -> int:
    return len(self.action)


def encode(episode: Episode) -> bytes:
  """An episode as a serialised `tf.train.Example`.

  Args:
    episode: any episode of at least one step.

  Returns:
    The same bytes for the same episode.
  """
  observation = np.ascontiguousarray(episode.observation)
  features = {
      'observation': (
          _bytes(observation.tobytes()) if observation.dtype == _BYTES
          else _floats(observation)
      ),
      'action': _floats(episode.action),
      'reward': _floats(episode.reward),
      'unsafe': _ints(episode.unsafe),
      'success': _ints([episode.success]),
      'task': _bytes(episode.task.encode()),
      'noise': _floats([episode.noise]),
      'seed': _ints([episode.seed]),
      'index': _ints([episode.index]),
  }
  example = tf.train.Example(features=tf.train.Features(feature=features))
  return example.SerializeToString(deterministic=True)


def decode(record: bytes, spec: EpisodeSpec) -> Episode:
  """The inverse of `encode`.

  Args:
    record: a serialised `tf.train.Example`.
    spec: of the dataset it comes from.

  Returns:
    The episode; its observation may be read-only.

  Raises:
    ValueError: the record does not hold an episode of that spec.
  """
  try:
    feature = tf.train.Example.FromString(record).features.feature
  except Exception as error:  # protobuf's error type differs by backend.
    raise ValueError(f'no tf.train.Example ({error})') from error
  reward = np.array(feature['reward'].float_list.value, np.float32)
  steps = len(reward)
  if spec.observation_dtype == _BYTES:
    values = feature['observation'].bytes_list.value
    observation = np.frombuffer(values[0] if values else b'', np.uint8)
  else:
    values = feature['observation'].float_list.value
    observation = np.array(values, np.float32)
  action = np.array(feature['action'].float_list.value, np.float32)
  return Episode(
      observation=observation.reshape((steps,) + spec.observation_shape),
      action=action.reshape((steps, spec.action_size)),
      reward=reward,
      unsafe=np.array(feature['unsafe'].int64_list.value, bool),
      success=bool(_only(feature['success'].int64_list)),
      task=_only(feature['task'].bytes_list).decode(),
      # Stored as float32; six digits bring the stated level back.
      noise=round(_only(feature['noise'].float_list), 6),
      seed=_only(feature['seed'].int64_list),
      index=_only(feature['index'].int64_list),
  )


def _only(values: Any) -> Any:
  (value,) = values.value
  return value


def _bytes(value: bytes) -> tf.train.Feature:
  return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _floats(value: Any) -> tf.train.Feature:
  flat = np.asarray(value, np.float32).ravel()
  return tf.train.Feature(float_list=tf.train.FloatList(value=flat))


def _ints(value: Any) -> tf.train.Feature:
  flat = np.asarray(value, np.int64).ravel()
  return tf.train.Feature(int64_list=tf.train.Int64List(value=flat))
