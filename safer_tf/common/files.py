"""Files that are either whole or absent."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from typing import Any, Iterator, Sequence

from safer_tf.common import errors

# What numpy raises of a damaged .npz, when it is opened or its arrays are read.
DAMAGED_ARRAYS = (
    OSError, EOFError, ValueError, TypeError, KeyError, zipfile.BadZipFile,
    zlib.error,
)


def ensure_dir(path: str) -> str:
  """Makes a directory if needed.

  Args:
    path: directory to make.

  Returns:
    The same path.

  Raises:
    UserError: the directory cannot be made or written to.
  """
  try:
    os.makedirs(path, exist_ok=True)
  except OSError as error:
    raise errors.UserError(
        f'Cannot make directory {path}: {error.strerror}. Choose a '
        'directory that you can write to.'
    ) from error
  if not os.access(path, os.W_OK):
    raise errors.UserError(
        f'Directory {path} is not writable. Choose one that you can write '
        'to.'
    )
  return path


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
  """Keeps other processes out of what a lock file stands for.

  The lock ends with its process, however that ends.

  Args:
    path: of the lock file, which is made if needed and stays.

  Raises:
    UserError: another process holds the lock.
  """
  directory = ensure_dir(os.path.dirname(path))
  with open(path, 'ab') as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise errors.UserError(
          f'Another process is at work in {directory}. Wait for its end, or '
          'end it and run this again.'
      ) from error
    yield


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
  """Yields a path beside `path`; renames it to `path` if the body succeeds.

  Works for a file or a directory. Whatever stood at `path` is replaced only
  once the new one is whole; a failing body leaves it as it was.

  Args:
    path: final name.

  Yields:
    A temporary name in the same directory, not existing yet.

  Raises:
    UserError: the disk is full or the directory cannot be written to.
  """
  path = os.path.abspath(path)
  parent = ensure_dir(os.path.dirname(path))
  try:
    holder = tempfile.mkdtemp(
        prefix=f'.{os.path.basename(path)}.', suffix='.tmp', dir=parent
    )
  except OSError as error:
    raise _write_error(path, error) from error
  beside = os.path.join(holder, os.path.basename(path))
  try:
    yield beside
    if os.path.isdir(path) and not os.path.islink(path):
      _replace_dir(beside, path, os.path.join(holder, 'old'))
    else:
      os.replace(beside, path)
  except OSError as error:
    raise _write_error(path, error) from error
  finally:
    shutil.rmtree(holder, ignore_errors=True)


def _replace_dir(beside: str, path: str, aside: str) -> None:
  """In two steps, as a directory cannot be replaced in one."""
  os.rename(path, aside)
  try:
    os.rename(beside, path)
  except OSError:
    os.rename(aside, path)
    raise


def _write_error(path: str, error: OSError) -> errors.UserError:
  return errors.UserError(
      f'Cannot write {path}: {error.strerror or error}. Free some disk space '
      'or choose another --root_dir; what was finished is kept.'
  )


@contextlib.contextmanager
def writing_by_tensorflow(path: str) -> Iterator[None]:
  """Tells in one line what TensorFlow raises where it cannot write.

  Args:
    path: what is written, e.g. a checkpoint or a SavedModel.

  Raises:
    UserError: the disk is full or the directory cannot be written to.
  """
  import tensorflow as tf  # pylint: disable=g-import-not-at-top

  try:
    yield
  except tf.errors.OpError as error:
    # TensorFlow names the node of its graph and more beside the cause.
    cause = re.sub(r'\{\{.*?\}\}', '', error.message).split('\n')[0].strip()
    raise errors.UserError(
        f'Cannot write {path}: {cause}. Free some disk space or choose '
        'another --root_dir; what was finished is kept.'
    ) from error


def write_text(path: str, text: str) -> None:
  """Writes a whole text file or none of it."""
  with replacing(path) as beside:
    with open(beside, 'w', encoding='utf-8') as file:
      file.write(text)


def write_json(path: str, value: Any) -> None:
  """Writes a whole JSON file or none of it."""
  write_text(path, json.dumps(value, indent=2, sort_keys=True) + '\n')


def read_json(path: str, what: str, fields: Sequence[str] = ()) -> Any:
  """Reads a JSON file.

  Args:
    path: file to read.
    what: what the file is, and how it comes about, for the error message.
    fields: names that its object must have; none if it may be anything.

  Returns:
    The parsed value.

  Raises:
    UserError: the file is missing, is no JSON, or lacks a field.
  """
  try:
    with open(path, encoding='utf-8') as file:
      value = json.load(file)
  except FileNotFoundError as error:
    raise errors.UserError(f'{path} is missing: expected {what}.') from error
  except (OSError, ValueError) as error:
    raise errors.UserError(
        f'{path} cannot be read as JSON ({error}): expected {what}.'
    ) from error
  held = value if isinstance(value, dict) else {}
  missing = [name for name in fields if name not in held]
  if missing:
    raise errors.UserError(
        f'{path} does not hold {", ".join(missing)}: expected {what}.'
    )
  return value


def sha256(path: str) -> str:
  """Hex digest of a file's bytes."""
  digest = hashlib.sha256()
  with open(path, 'rb') as file:
    for block in iter(lambda: file.read(1 << 20), b''):
      digest.update(block)
  return digest.hexdigest()
