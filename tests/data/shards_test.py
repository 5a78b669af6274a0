from __future__ import annotations

import pytest
import tensorflow as tf

from safer_tf.common import errors
from safer_tf.data import schema
from safer_tf.data import shards
from tests.data import fakes

_SPEC = fakes.IMAGE_SPEC


@pytest.fixture
def episodes():
  return list(fakes.random_episodes(7, _SPEC))


@pytest.fixture
def path(tmp_path, episodes):
  path = str(tmp_path / 'shard.tfrecord.gz')
  shards.write_shard(path, episodes)
  return path


def test_scan_returns_what_was_written(path, episodes):
  found = [episode for _, episode in shards.scan_shard(path, _SPEC)]
  assert len(found) == len(episodes)
  for one, other in zip(found, episodes):
    fakes.assert_same(one, other)


def test_every_episode_can_be_read_alone(path, episodes):
  entries = [entry for entry, _ in shards.scan_shard(path, _SPEC)]
  for number in (5, 0, 6, 2):
    found = shards.read_episode(path, entries[number], _SPEC)
    fakes.assert_same(found, episodes[number])


def test_tensorflow_reads_the_same_records(path, episodes):
  records = tf.data.TFRecordDataset([path], compression_type='GZIP')
  assert [record.numpy() for record in records] == [
      schema.encode(episode) for episode in episodes
  ]


def test_we_read_what_tensorflow_wrote(tmp_path, episodes):
  path = str(tmp_path / 'foreign.tfrecord.gz')
  with tf.io.TFRecordWriter(path, 'GZIP') as writer:
    writer.write(schema.encode(episodes[0]))
  ((_, found),) = shards.scan_shard(path, _SPEC)
  fakes.assert_same(found, episodes[0])


def test_same_episodes_give_the_same_bytes(tmp_path, path, episodes):
  again = tmp_path / 'again.tfrecord.gz'
  shards.write_shard(str(again), episodes)
  with open(path, 'rb') as file:
    assert file.read() == again.read_bytes()


@pytest.mark.parametrize('lost', [1, 30, 60])
def test_truncated_shard_is_named(path, lost):
  entries = [entry for entry, _ in shards.scan_shard(path, _SPEC)]
  assert lost < entries[-1].size
  with open(path, 'r+b') as file:
    file.truncate(entries[-1].offset + entries[-1].size - lost)
  for read in (
      lambda: list(shards.scan_shard(path, _SPEC)),
      lambda: shards.read_episode(path, entries[-1], _SPEC, number=6),
  ):
    with pytest.raises(errors.UserError, match=r'shard\.tfrecord.*episode 6'):
      read()
  shards.read_episode(path, entries[0], _SPEC)  # What is whole can be read.


def test_flipped_bit_never_changes_an_episode(path, episodes):
  entries = [entry for entry, _ in shards.scan_shard(path, _SPEC)]
  entry, found = entries[3], 0
  with open(path, 'rb') as file:
    content = file.read()
  for position in range(entry.offset, entry.offset + entry.size):
    damaged = bytearray(content)
    damaged[position] ^= 1 << position % 8
    with open(path, 'wb') as file:
      file.write(damaged)
    try:
      fakes.assert_same(
          shards.read_episode(path, entry, _SPEC, number=3), episodes[3]
      )
    except errors.UserError as error:
      assert 'episode 3' in str(error)
      found += 1
  # A few bits mean nothing, such as a GZIP header's time or a stream's end.
  assert found > 0.9 * entry.size


def test_wrong_checksum_is_found_though_gzip_is_sound(path, episodes):
  record = bytearray(shards._frame(schema.encode(episodes[0])))
  record[20] ^= 1
  member = shards._compress(bytes(record))
  with open(path, 'wb') as file:
    file.write(member)
  with pytest.raises(errors.UserError, match='wrong checksum'):
    shards.read_episode(path, shards.Entry(0, len(member)), _SPEC)


def test_failing_source_leaves_no_shard(tmp_path, episodes):
  def failing():
    yield episodes[0]
    raise RuntimeError('the simulator crashed')

  path = tmp_path / 'failing.tfrecord.gz'
  with pytest.raises(RuntimeError):
    shards.write_shard(str(path), failing())
  assert not list(tmp_path.iterdir())


def test_missing_shard_is_named(tmp_path):
  with pytest.raises(errors.UserError, match='nowhere.*delete that file'):
    shards.read_episode(str(tmp_path / 'nowhere'), shards.Entry(0, 9), _SPEC)


def test_a_shard_does_not_tell_the_time(tmp_path):
  name = str(tmp_path / 'shard')
  shards.write_shard(name, fakes.random_episodes(1, fakes.VECTOR_SPEC))
  with open(name, 'rb') as file:
    assert file.read(8)[4:] == bytes(4)  # RFC 1952: MTIME.


def test_a_record_of_another_length_is_refused():
  frame = bytearray(shards._frame(b'some data'))
  frame[0] += 1
  with pytest.raises(ValueError, match='wrong record length'):
    shards._unframe(bytes(frame))
