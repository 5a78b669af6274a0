"""Random numbers are apart in seed, stream and step, and come again."""

from __future__ import annotations

import itertools

from safer_tf.rl import streams

_STREAMS = (
    streams.EPISODE, streams.REPLAY, streams.EXPLORE, streams.MIXTURE
)


def _draws(*arguments):
  # More than a step of Philox makes, so that one would run into the next.
  return streams.generator(*arguments).integers(2**63, size=20).tolist()


def test_other_seeds_streams_and_steps_share_no_number():
  found = [
      number for arguments in itertools.product(range(3), _STREAMS, range(3))
      for number in _draws(*arguments)
  ]
  assert len(set(found)) == len(found)
  assert _draws(1, streams.REPLAY, 2) == _draws(1, streams.REPLAY, 2)


def test_every_episode_of_a_run_has_a_seed_of_its_own():
  found = [
      streams.episode_seed(seed, episode)
      for seed, episode in itertools.product(range(3), range(40))
  ]
  assert len(set(found)) == len(found)
  assert 0 <= min(found) and max(found) < 2**31
