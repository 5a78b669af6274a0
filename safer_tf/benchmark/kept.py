"""Directories that a later benchmark of the same code finds again."""

from __future__ import annotations

import hashlib
import os
import pathlib

import envs
import safer_tf
from safer_tf.common import config

_KINDS = ('.py', '.gin', '.urdf', '.csv', '.json')


def directory(root_dir: str, name: str) -> str:
  """Where something lies that is kept while the code stays the same.

  Args:
    root_dir: run directory of the benchmark.
    name: of what is kept.

  Returns:
    A path that no other code has: what that made tells nothing of this.
  """
  digest = hashlib.sha256()
  for root in (
      os.path.dirname(os.path.abspath(safer_tf.__file__)),
      os.path.dirname(os.path.abspath(envs.__file__)), config.config_dir(),
  ):
    for path in sorted(pathlib.Path(root).rglob('*')):
      if path.suffix in _KINDS:
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
  return os.path.join(root_dir, f'{name}-{digest.hexdigest()[:12]}')
