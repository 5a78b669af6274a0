"""Runs cells on the machines of a Ray cluster that share a file system."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any, Iterable, Sequence

from safer_tf.common import errors
from safer_tf.experiments import cells
from safer_tf.experiments import process

# A node that dies takes its cells with it; they start again elsewhere, and go
# on from their checkpoints.
_MAX_RETRIES = 5
_CONNECT_SECONDS = 10


class RayPool:
  """One CPU of the cluster a cell, or a node where a cell wants a machine.

  The run directory must be seen by all, on a file system whose locks all
  respect: they keep a cell from being carried out twice.
  """

  def __init__(
      self, log_dir: str, address: str | None = None,
      workers: int | None = None,
  ):
    """Connects to a cluster.

    Args:
      log_dir: directory of the cells' logs, on the shared file system.
      address: of the cluster; starts one on this machine if None.
      workers: cells at a time; one for each CPU of the cluster if None.

    Raises:
      UserError: Ray is not installed or the cluster cannot be reached.
    """
    try:
      import ray  # pylint: disable=g-import-not-at-top
    except ImportError as error:
      raise errors.UserError(
          '--executor=ray needs Ray, which is not installed: pip install '
          '"safer_tf[cluster]".'
      ) from error
    self._ray = ray
    address = address or os.environ.get('RAY_ADDRESS')  # As Ray has it.
    try:
      _check_listening(address)
      ray.init(
          address=address, ignore_reinit_error=True, log_to_driver=False,
          logging_level=logging.ERROR,
      )
    except (OSError, ValueError, RuntimeError) as error:
      raise errors.UserError(
          f'No Ray cluster was reached at {address}: {error}. Start one with '
          '`ray start --head`, and give its --address.'
      ) from error
    self._log_dir = os.path.abspath(log_dir)
    self.workers = workers or max(1, int(ray.cluster_resources().get('CPU', 1)))
    self._run = ray.remote(max_retries=_MAX_RETRIES)(_run)
    self._cores: dict[Any, int] = {}  # That a handle's cell asked for.

  def start(self, cell: cells.Cell) -> Any:
    """See `executor.Pool`."""
    cores = self._largest_node() if cell.whole_machine else 1
    handle = self._run.options(num_cpus=cores).remote(
        cell, self._log_dir, cores
    )
    self._cores[handle] = cores
    return handle

  def done(self, handles: Sequence[Any], timeout: float) -> dict[Any, str]:
    """See `executor.Pool`."""
    ended, _ = self._ray.wait(list(handles), num_returns=1, timeout=timeout)
    found = {handle: self._error(handle) for handle in ended}
    spread = {
        handle for handle in handles
        if handle not in found and self._cores[handle] > 1
    }
    if spread:
      found.update(self._stranded(spread))
    return found

  def stop(self) -> None:
    """See `executor.Pool`."""
    self._ray.shutdown()

  def _stranded(self, handles: Iterable[Any]) -> dict[Any, str]:
    """Cells whose only fitting node has died: Ray would wait for good."""
    largest = self._largest_node()
    found = {}
    for handle in handles:
      cores = self._cores[handle]
      if cores > largest:
        self._ray.cancel(handle, force=True)
        found[handle] = f'no living node has {cores} CPUs any more'
    return found

  def _largest_node(self) -> int:
    return max((
        int(node['Resources'].get('CPU', 1)) for node in self._ray.nodes()
        if node['Alive']
    ), default=1)

  def _error(self, handle: Any) -> str:
    try:
      code = self._ray.get(handle)
    except self._ray.exceptions.RayError as error:
      return f'Ray gave up: {str(error).splitlines()[0]}'
    return '' if code == 0 else f'exit code {code}'


def _check_listening(address: str | None) -> None:
  """Raises OSError where nobody listens, which Ray tells after 15 minutes."""
  host, _, port = (address or '').rpartition('://')[2].rpartition(':')
  if host and port.isdecimal():  # Not `auto` and the like.
    socket.create_connection(
        (host.strip('[]'), int(port)), _CONNECT_SECONDS
    ).close()


def _run(cell: cells.Cell, log_dir: str, threads: int) -> int:
  """Runs a cell on the node that Ray chose, its process with this worker's."""
  return process.run_cell(cell, log_dir, threads)
