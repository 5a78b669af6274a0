"""Shards: TFRecord files of episodes, each of which can be read alone.

A shard is a GZIP TFRecord file, so `tf.data.TFRecordDataset(path, 'GZIP')`
reads it through. Each record is a GZIP member of its own (RFC 1952 allows a
file to be several), so one episode is read by its offset and size alone.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import Iterable, Iterator, NamedTuple

import google_crc32c
from isal import isal_zlib

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.data import schema

_GZIP = 31  # zlib's name for a GZIP member with the largest window.
# Scenes of a fixed camera: 205 bytes a frame at 28 us. Level 1 takes 326 bytes
# and 14 us, level 9 takes 186 bytes and 124 us.
_LEVEL = 6
_LENGTH, _CRC = struct.Struct('<Q'), struct.Struct('<I')


class Entry(NamedTuple):
  """Where an episode's member lies in its shard, in bytes."""

  offset: int
  size: int


def write_shard(path: str, episodes: Iterable[schema.Episode]) -> None:
  """Writes a whole shard or none of it.

  Args:
    path: final name.
    episodes: consumed one at a time.

  Raises:
    UserError: the file cannot be written.
  """
  with files.replacing(path) as beside:
    with open(beside, 'wb') as file:
      for episode in episodes:
        file.write(_compress(_frame(schema.encode(episode))))


def scan_shard(
    path: str, spec: schema.EpisodeSpec
) -> Iterator[tuple[Entry, schema.Episode]]:
  """Reads a shard through and verifies every byte of it.

  Args:
    path: of the shard.
    spec: of its dataset.

  Yields:
    Each episode and where it lies.

  Raises:
    UserError: the shard is damaged.
  """
  with open(path, 'rb') as file:
    content = memoryview(file.read())
  offset = number = 0
  while offset < len(content):
    try:
      inflater = zlib.decompressobj(_GZIP)
      record = inflater.decompress(content[offset:])
      if not inflater.eof:
        raise ValueError('truncated')
      episode = schema.decode(_unframe(record), spec)
    except (ValueError, zlib.error) as error:
      raise _damaged(path, number, error) from error
    size = len(content) - offset - len(inflater.unused_data)
    yield Entry(offset, size), episode
    offset, number = offset + size, number + 1


def read_episode(
    path: str, entry: Entry, spec: schema.EpisodeSpec, number: int = 0
) -> schema.Episode:
  """Reads and verifies one episode without touching the others.

  Args:
    path: of the shard.
    entry: where the episode lies.
    spec: of the dataset.
    number: of the episode, for the error message.

  Returns:
    The episode.

  Raises:
    UserError: the shard is missing or damaged.
  """
  try:
    descriptor = os.open(path, os.O_RDONLY)
    try:
      member = os.pread(descriptor, entry.size, entry.offset)
    finally:
      os.close(descriptor)
    if len(member) != entry.size:
      raise ValueError('truncated')
    # A third of zlib's time; training reads 7 MB of frames a batch.
    record = isal_zlib.decompress(member, _GZIP)
    return schema.decode(_unframe(record), spec)
  except (OSError, ValueError, zlib.error, isal_zlib.error) as error:
    raise _damaged(path, number, error) from error


def _damaged(path: str, number: int, error: Exception) -> errors.UserError:
  return errors.UserError(
      f'Shard {path} cannot be read at episode {number} ({error}); delete that '
      f'file and {layout.STAGE} beside it, and collect again with the same '
      'config: only what is missing is collected, and comes out the same. Data '
      'of your own: write them again.'
  )


def _compress(record: bytes) -> bytes:
  # gzip.compress would write the time of day into the header.
  deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
  return deflater.compress(record) + deflater.flush()


def _frame(data: bytes) -> bytes:
  """TFRecord framing: length, its checksum, data, its checksum."""
  length = _LENGTH.pack(len(data))
  return b''.join((length, _masked_crc(length), data, _masked_crc(data)))


def _unframe(record: bytes) -> bytes:
  head = _LENGTH.size + _CRC.size
  data = record[head:-_CRC.size]
  if record[:_LENGTH.size] != _LENGTH.pack(len(data)):
    raise ValueError('wrong record length')
  if record[-_CRC.size:] != _masked_crc(data):
    raise ValueError('wrong checksum')
  return data


def _masked_crc(data: bytes) -> bytes:
  crc = google_crc32c.value(data)
  rotated = (crc >> 15 | crc << 17) & 0xFFFFFFFF
  return _CRC.pack((rotated + 0xA282EAD8) & 0xFFFFFFFF)
