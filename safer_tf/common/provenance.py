"""What a result was made from: code, versions, config, seed, inputs."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import subprocess
import time
from typing import Any, Mapping

import safer_tf
from safer_tf.common import config
from safer_tf.common import files

_PACKAGES = (
    'tensorflow', 'tensorflow-probability', 'tf-agents', 'pybullet',
    'gin-config', 'numpy',
)
_CPU_INFO = '/proc/cpuinfo'
_VECTORS = ('avx512f', 'avx2', 'avx')  # Linux' names, the widest first.


@functools.cache
def git_revision() -> str:
  """Revision of the checkout the code runs from, `+` if it was modified."""
  here = os.path.dirname(os.path.abspath(safer_tf.__file__))
  try:
    # Installed inside somebody's checkout it is no part of that.
    _git(here, 'ls-files', '--error-unmatch', '--', '__init__.py')
    revision = _git(here, 'rev-parse', '--short=12', 'HEAD')
    # What runs write is no part of what ran.
    modified = _git(
        here, 'status', '--porcelain', '--untracked-files=no', '--', ':/',
        ':(top,exclude)results',
    )
  except (OSError, subprocess.CalledProcessError):
    return f'release-{safer_tf.__version__}'
  return revision + ('+' if modified else '')


def _git(directory: str, *arguments: str) -> str:
  return subprocess.run(
      # A lock would be in the way of a commit meanwhile.
      ('git', '--no-optional-locks', '-C', directory, *arguments),
      check=True, text=True, capture_output=True,
  ).stdout.strip()


def hashes(paths: Mapping[str, str]) -> dict[str, str]:
  """Content hashes of a stage's input files, to be taken as it reads them.

  Args:
    paths: path of each file by its name.

  Returns:
    SHA-256 by name.
  """
  return {name: files.sha256(path) for name, path in paths.items()}


def record(
    seed: int, inputs: Mapping[str, str] | None = None, **extra: Any
) -> dict[str, Any]:
  """Describes how a stage's output came about.

  Args:
    seed: the stage's random seed.
    inputs: `hashes` of its input files.
    **extra: further JSON values of the stage, e.g. `wall_seconds`.

  Returns:
    A JSON-ready dictionary.
  """
  return {
      'version': safer_tf.__version__,
      'git_revision': git_revision(),
      'packages': {
          name: importlib.metadata.version(name) for name in _PACKAGES
      },
      'python': platform.python_version(),
      'machine': machine(),
      'seed': seed,
      'config': config.operative(),
      'inputs': dict(inputs or {}),
      'finished': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()),
      **extra,
  }


def machine() -> str:
  """Processor, its widest vectors, core count: beside a time or a result.

  Processors of one name can differ in their vectors, and sums may then round
  otherwise.
  """
  name, flags = platform.processor() or platform.machine(), []
  try:
    with open(_CPU_INFO, encoding='utf-8') as file:
      for line in file:
        key, _, value = (part.strip() for part in line.partition(':'))
        if key == 'model name':
          name = value
        elif key == 'flags':
          flags = value.split()
          break
  except OSError:
    pass
  widest = next((f' {each}' for each in _VECTORS if each in flags), '')
  return f'{name}{widest}, {os.cpu_count()} cores'


# Now, for the code that this process runs: a commit may be made before it ends.
git_revision()
