"""Rows 6, 7 and 10: one update of SAC, and drawing its batch."""

from __future__ import annotations

import functools
from typing import Any, Optional

import numpy as np
import tensorflow as tf
from tf_agents.specs import array_spec
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import time_step as ts

from safer_tf.benchmark import measurement
from safer_tf.benchmark import sb3
from safer_tf.benchmark import sizes as sizes_lib
from safer_tf.benchmark import stock
from safer_tf.benchmark import timing
from safer_tf.common import config
from safer_tf.rl import agent as sac
from safer_tf.rl import networks
from safer_tf.rl import replay

IMAGE = array_spec.BoundedArraySpec((48, 48, 3), np.uint8, 0, 255)
EMBEDDING = array_spec.ArraySpec((128,), np.float32)
LATENT = array_spec.BoundedArraySpec((6,), np.float32, -1.0, 1.0)
_STORED = 2000  # Transitions that updates draw from.
_EPISODE = 25  # Steps.
_DRAWS = 20  # In a turn, for a draw is quick.
_CACHE_BYTES = 1 << 26  # More than a cache holds.
_HERE = 'safer_tf.benchmark.updates'
_CONFIG = ('methods/safer.gin',)
# Products of a [B, n] with a matrix in an update. Of the second layer 8 forward
# (two targets and the actor on the next states; two critics on the stored and
# on the actor's actions, and the actor) and 8 backward (two for each of two
# critics and the actor, one for each critic under the actor's actions). Of the
# first layer 6 forward (the critics' serve both kinds of actions) and 3
# backward (nothing lies before it that is trained).
_SECOND_LAYER, _FIRST_LAYER = 16, 9


def measure(
    root_dir: str, sizes: sizes_lib.Sizes, full: bool
) -> list[measurement.Measurement]:
  """Measures rows 6 and 7 and the part of row 10 about the replay buffer.

  Args:
    root_dir: not used.
    sizes: how much of each measure is run.
    full: no difference here.

  Returns:
    The measurements.
  """
  del root_dir, full
  found = timing.alone(
      f'{_HERE}:update_times', sizes.update_batch, sizes.rounds, sizes.updates,
      sb3.find_python(), timing.cores(), threads=timing.cores(),
  )
  ms = {name: 1e3 * value for name, value in found.items()}
  batch = sizes.update_batch
  encoder_floor = 'encoder alone: forward twice, backward once'
  return [
      measurement.Measurement(
          6, f'SAC update, batch {batch}, own encoder', ms['own'], 'ms',
          'stock TF-Agents SacAgent, three encoders', ms['stock'],
          (measurement.Target('ratio', '<=', 0.4),), ms['own_floor'],
          encoder_floor, note='ours draws its batch, the stock one does not',
      ),
      measurement.Measurement(
          6, f'SAC update, batch {batch}, own encoder', ms['own'], 'ms',
          'stable-baselines3 SAC, CnnPolicy (an encoder of its own kind)' + (
              '' if 'sb3' in ms else ' (baseline not installed)'
          ), ms.get('sb3'), (measurement.Target('ratio', '<=', 0.6),),
          ms['own_floor'], encoder_floor,
          note='both draw their batch; theirs on one thread or all, whichever '
          'is faster' if 'sb3' in ms
          else f'`make setup-sb3` installs it into {sb3.VENV} and tells why '
          'it could not',
      ),
      measurement.Measurement(
          7, f'SAC update, batch {batch}, prior embedding', ms['prior'], 'ms',
          'stock TF-Agents SacAgent from pixels', ms['stock'],
          (measurement.Target('ratio', '<=', 0.08),), ms['prior_floor'],
          'its matrix products alone',
      ),
      *_flatness(sizes),
  ]


def _flatness(sizes: sizes_lib.Sizes) -> list[measurement.Measurement]:
  few, many = sizes.stored_transitions
  lines = []
  for name in ('embeddings', 'images'):
    times = timing.alone(
        f'{_HERE}:draw_times', name == 'images', sizes.stored_transitions,
        sizes.update_batch, sizes.rounds,
    )
    lines.append(measurement.Measurement(
        10, f'drawing {sizes.update_batch} of {many:,} {name}',
        1e3 * times[1], 'ms', f'of {few:,}', 1e3 * times[0],
        (measurement.Target('ratio', '<=', 1.25),), 1e3 * times[0],
        measurement.FLAT, note='with a cold cache, as between updates',
    ))
  return lines


def update_times(
    batch_size: int, rounds: int, updates: int, python: Optional[str],
    threads: int,
) -> dict[str, float]:
  """Times all agents by turns.

  Args:
    batch_size: transitions of an update.
    rounds: turns.
    updates: of a turn; the stock agent gets a third, `prior` four times.
    python: interpreter with stable-baselines3; None leaves it out.
    threads: of torch.

  Returns:
    Median seconds of an update by `own`, `prior`, `stock`, perhaps `sb3`, and
    the floors `own_floor` and `prior_floor`.
  """
  config.parse(_CONFIG, [])
  agents = {
      'own': sac.make_agent(_time_step(IMAGE), _tensor(LATENT), seed=0),
      'prior': sac.make_agent(_time_step(EMBEDDING), _tensor(LATENT), seed=0),
  }
  buffers = {'own': filled(IMAGE, _STORED), 'prior': filled(EMBEDDING, _STORED)}
  calls = {
      name: _drawn_update(agent, buffers[name], batch_size)
      for name, agent in agents.items()
  }
  calls['stock'] = stock_update(buffers['own'], batch_size)
  calls['own_floor'] = _encoder_passes(buffers['own'], batch_size)
  calls['prior_floor'] = _products(batch_size)
  for call in calls.values():
    call()
    call()
  third = max(1, updates // 3)
  counts = {
      'own': updates, 'prior': 4 * updates, 'stock': third,
      'own_floor': third, 'prior_floor': updates,
  }
  server = sb3.Server(
      python, batch_size, stock.hyper_parameters()['hidden_units'], threads
  ) if python else None
  if server is not None:
    calls['sb3'] = lambda: server.updates(third)
  found = timing.interleaved(calls, rounds, counts)
  if server is not None:
    # Its own clock, without the words that pass between the processes.
    found['sb3'] = server.median
    server.close()
  return found


def floor_seconds(images: bool, batch_size: int, updates: int) -> float:
  """Median seconds of what no update can do without, in this process.

  Args:
    images: whether the agent has an encoder of its own.
    batch_size: transitions of an update.
    updates: how often it is timed.

  Returns:
    Of the encoder's passes (row 6), or of the matrix products (row 7).
  """
  config.parse(_CONFIG, [])
  call = (
      _encoder_passes(filled(IMAGE, 4 * batch_size), batch_size) if images
      else _products(batch_size)
  )
  call()
  return timing.interleaved({'floor': call}, updates)['floor']


def stock_seconds(batch_size: int, updates: int) -> float:
  """Median seconds of a stock update from pixels, in this process."""
  config.parse(_CONFIG, [])
  call = stock_update(filled(IMAGE, 4 * batch_size), batch_size)
  call()
  return timing.interleaved({'stock': call}, updates)['stock']


def stock_update(
    buffer: replay.TransitionReplayBuffer, batch_size: int
) -> Any:
  """A stock update on one batch that is drawn beforehand."""
  agent = stock.make_agent(_time_step(IMAGE), _tensor(LATENT), seed=0)
  batch = [tf.constant(part) for part in buffer.sample(batch_size, 0)]
  experience = stock.as_transition(*batch)
  return lambda: agent.train_once(experience).loss.numpy()


def draw_times(
    images: bool, stored: tuple[int, ...], batch_size: int, rounds: int
) -> list[float]:
  """Times draws from buffers of several fillings, by turns.

  Between two draws the processor's cache is filled with other things, as an
  update does it; else a small buffer would be read from there.

  Args:
    images: whether images are stored, or embeddings.
    stored: transitions in each buffer.
    batch_size: of a draw.
    rounds: turns.

  Returns:
    Median seconds of a draw from each.
  """
  buffers = [filled(IMAGE if images else EMBEDDING, count) for count in stored]
  found: list[list[float]] = [[] for _ in stored]
  other = np.zeros(_CACHE_BYTES, np.uint8)
  for step in range(_DRAWS * rounds):
    for buffer, times in zip(buffers, found):
      other += 1
      times.append(timing.seconds(
          functools.partial(buffer.sample, batch_size, step)
      ))
  return [float(np.median(times)) for times in found]


def filled(spec: Any, count: int) -> replay.TransitionReplayBuffer:
  """A replay buffer of so many random transitions.

  Args:
    spec: array spec of an observation.
    count: transitions.

  Returns:
    The buffer, with episodes of a usual length.
  """
  random = np.random.default_rng(0)
  pool = random.integers(0, 256, (64, *spec.shape)).astype(spec.dtype)
  buffer = replay.TransitionReplayBuffer(spec, LATENT, count)
  for number in range(count):
    if number % _EPISODE == 0:
      buffer.begin(pool[number % 64])
    buffer.append(
        random.uniform(-1, 1, 6), -1.0, 1.0, pool[(number + 1) % 64]
    )
  return buffer


def _drawn_update(agent: Any, buffer: Any, batch_size: int) -> Any:
  steps = iter(range(10**9))
  return lambda: agent.update(*buffer.sample(batch_size, next(steps))).numpy()


def _encoder_passes(buffer: Any, batch_size: int) -> Any:
  """The encoder on two batches, and back on one."""
  encoder = networks.ImageEncoder()
  batch = buffer.sample(batch_size, 0)
  before, after = tf.constant(batch[0]), tf.constant(batch[-1])

  @tf.function
  def passes():
    with tf.GradientTape() as tape:
      total = tf.reduce_sum(encoder(before))
    gradients = tape.gradient(total, encoder.trainable_variables)
    return tf.reduce_sum(encoder(after)), gradients

  return lambda: passes()[0].numpy()


def _products(batch_size: int) -> Any:
  hidden = stock.hyper_parameters()['hidden_units']
  features = tf.random.normal([batch_size, EMBEDDING.shape[0]])
  first = tf.random.normal([EMBEDDING.shape[0], hidden[0]])
  second = tf.random.normal(hidden)

  @tf.function
  def products():
    total, between = 0.0, features
    for number in range(_SECOND_LAYER):
      # Scaled, so that none is a copy of another that could be left out.
      if number < _FIRST_LAYER:
        between = tf.matmul(features * (1.0 + number), first)
      total += tf.matmul(between * (2.0 + number), second)[0, 0]
    return total

  return lambda: products().numpy()


def _tensor(spec: Any) -> Any:
  return tensor_spec.from_spec(spec)


def _time_step(spec: Any) -> Any:
  return _tensor(ts.time_step_spec(spec))
