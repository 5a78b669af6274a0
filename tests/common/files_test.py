from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from safer_tf.common import errors
from safer_tf.common import files


def test_failing_write_leaves_the_old_file(tmp_path):
  path = tmp_path / 'value.json'
  files.write_json(str(path), {'old': 1})
  with pytest.raises(TypeError):
    files.write_json(str(path), {'new': object()})
  with pytest.raises(RuntimeError):
    with files.replacing(str(path)) as beside:
      with open(beside, 'w') as file:
        file.write('half')
      raise RuntimeError('stopped')
  assert files.read_json(str(path), 'a value') == {'old': 1}
  assert os.listdir(tmp_path) == ['value.json']


def test_full_disk_is_told_and_leaves_the_old_file(tmp_path):
  path = tmp_path / 'value.txt'
  files.write_text(str(path), 'old')
  with pytest.raises(errors.UserError, match='value.txt.*No space left'):
    with files.replacing(str(path)):
      raise OSError(errno.ENOSPC, 'No space left on device')
  assert path.read_text() == 'old'
  assert os.listdir(tmp_path) == ['value.txt']


def test_directory_is_replaced_as_a_whole(tmp_path):
  path = tmp_path / 'model'
  for name in ('one', 'two'):
    with files.replacing(str(path)) as beside:
      os.mkdir(beside)
      files.write_text(os.path.join(beside, name), name)
  assert os.listdir(path) == ['two']
  assert os.listdir(tmp_path) == ['model']


def test_unwritable_folder_is_named(tmp_path):
  blocking = tmp_path / 'file'
  blocking.write_text('')
  with pytest.raises(errors.UserError, match='Cannot make.*file/run'):
    files.ensure_dir(str(blocking / 'run'))


def test_read_only_folder_is_named(tmp_path, monkeypatch):
  # The superuser may write anywhere, so the answer of the system is given.
  monkeypatch.setattr(os, 'access', lambda path, mode: False)
  with pytest.raises(errors.UserError, match='is not writable'):
    files.ensure_dir(str(tmp_path))


@pytest.mark.parametrize('content, message', [
    (None, 'is missing: expected a spec'),
    ('{"half', 'cannot be read as JSON.*expected a spec'),
    ('{"size": 1}', 'does not hold name: expected a spec'),
    ('["name"]', 'does not hold size, name: expected a spec'),
])
def test_bad_json_is_named(tmp_path, content, message):
  path = tmp_path / 'spec.json'
  if content is not None:
    path.write_text(content)
  with pytest.raises(errors.UserError, match=message):
    files.read_json(str(path), 'a spec', ('size', 'name'))


def test_json_round_trip_and_hash(tmp_path):
  one, two = str(tmp_path / 'one'), str(tmp_path / 'two')
  value = {'b': [1, 2.5], 'a': 'é'}
  files.write_json(one, value)
  files.write_json(two, dict(reversed(value.items())))
  assert files.read_json(one, 'a value') == value
  assert files.sha256(one) == files.sha256(two)


def test_what_tensorflow_cannot_write_is_told_without_its_graph():
  import tensorflow as tf

  message = '{{function_node __wrapped__Save}} No space left [Op:Save]\nmore'
  with pytest.raises(errors.UserError, match='/x: No space left') as error:
    with files.writing_by_tensorflow('/x'):
      raise tf.errors.ResourceExhaustedError(None, None, message)
  assert '{{' not in str(error.value) and '\n' not in str(error.value)


def test_a_lock_keeps_others_out_and_ends_with_its_process(tmp_path):
  path = str(tmp_path / 'run' / 'lock')
  holder = subprocess.Popen([
      sys.executable, '-c', 'import sys, time\n'
      'from safer_tf.common import files\n'
      'with files.locked(sys.argv[1]):\n'
      '  print("held", flush=True)\n'
      '  time.sleep(60)\n', path,
  ], stdout=subprocess.PIPE, text=True)
  try:
    assert holder.stdout.readline() == 'held\n'
    with pytest.raises(errors.UserError, match='at work in .*run'):
      with files.locked(path):
        pass
  finally:
    holder.kill()
    holder.communicate()
  with files.locked(path):
    pass


def test_a_text_that_cannot_be_written_leaves_the_old_one(tmp_path):
  path = tmp_path / 'a.csv'
  files.write_text(str(path), 'old')
  with pytest.raises(UnicodeEncodeError):
    files.write_text(str(path), 'half\ud800')
  assert path.read_text() == 'old'


def test_a_hash_is_of_the_whole_file(tmp_path):
  found = set()
  for end in b'ab':
    (tmp_path / 'a').write_bytes(bytes(3 << 20) + bytes([end]))
    found.add(files.sha256(str(tmp_path / 'a')))
  assert len(found) == 2


def test_a_directory_that_cannot_be_replaced_is_left(tmp_path):
  path = tmp_path / 'model'
  path.mkdir()
  (path / 'old').touch()
  with pytest.raises(errors.UserError, match=f'Cannot write {path}'):
    with files.replacing(str(path)):
      pass  # Nothing was made that could take its place.
  assert os.listdir(path) == ['old']
