"""The baseline of another library, in a virtual environment of its own.

stable-baselines3 needs a torch whose typing-extensions TF-Agents forbids.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from typing import Optional, Sequence

from safer_tf.common import config

VENV = '.venv-sb3'


class Server:
  """A process that times updates of stable-baselines3's SAC on request."""

  def __init__(
      self, python: str, batch_size: int, hidden_units: Sequence[int],
      most_threads: int,
  ):
    """Starts it and waits until it is ready.

    Args:
      python: interpreter that has stable-baselines3.
      batch_size: transitions of an update.
      hidden_units: of actor and critics.
      most_threads: of torch.
    """
    script = os.path.join(os.path.dirname(__file__), 'sb3_server.py')
    self._process = subprocess.Popen(
        [python, script, *map(str, (batch_size, *hidden_units))], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )
    assert self._process.stdin is not None
    assert self._process.stdout is not None
    self._requests, self._answers = self._process.stdin, self._process.stdout
    # Where other processes run too, torch is faster on one thread by far.
    self._found: dict[int, list[float]] = {1: [], most_threads: []}
    (self.version,) = self._answer()
    self.updates(1)
    for times in self._found.values():
      times.clear()  # The first one warms up.

  def updates(self, count: int) -> None:
    """Times some updates with one thread, and as many with most."""
    for threads, times in self._found.items():
      self._requests.write(f'{count} {threads}\n')
      self._requests.flush()
      times += self._answer()

  @property
  def median(self) -> float:
    """Seconds of an update with the number of threads that suits it best."""
    return min(map(statistics.median, self._found.values()))

  def close(self) -> None:
    """Ends the process."""
    self._requests.close()
    self._process.wait()

  def _answer(self) -> list:
    line = self._answers.readline()
    if not line:
      raise RuntimeError('stable-baselines3 ended; what it printed is above.')
    return json.loads(line)


def find_python() -> Optional[str]:
  """Interpreter of `.venv-sb3` beside the shipped config, if it works."""
  checkout = os.path.dirname(config.config_dir())
  python = os.path.join(checkout, VENV, 'bin', 'python')
  works = os.path.exists(python) and subprocess.run(
      [python, '-c', 'import stable_baselines3'], capture_output=True
  ).returncode == 0
  return python if works else None
