"""Cells on a Ray cluster of two nodes, one of which is killed."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time

import pytest

from safer_tf.common import errors
from safer_tf.experiments import executor
from safer_tf.experiments import process
from safer_tf.experiments import ray_pool
from tests.experiments import script_cells


def test_ray_is_asked_for_where_it_is_missing(monkeypatch, tmp_path):
  monkeypatch.setitem(sys.modules, 'ray', None)
  with pytest.raises(errors.UserError, match=r'safer_tf\[cluster\]'):
    ray_pool.RayPool(str(tmp_path))


def test_an_address_where_nobody_listens_is_told_at_once(tmp_path):
  pytest.importorskip('ray')
  with socket.socket() as unheard:
    unheard.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{unheard.getsockname()[1]}'
    start = time.monotonic()
    with pytest.raises(errors.UserError, match=f'reached at {address}'):
      ray_pool.RayPool(str(tmp_path), address)
    assert time.monotonic() - start < 60


def test_an_address_of_any_family_is_heard():
  with socket.socket(socket.AF_INET6) as heard:
    try:
      heard.bind(('::1', 0))
    except OSError:
      pytest.skip('This machine has no IPv6.')
    heard.listen()
    port = heard.getsockname()[1]
    ray_pool._check_listening(f'[::1]:{port}')
    ray_pool._check_listening(f'ray://[::1]:{port}')


def test_every_cell_finishes_once_though_a_node_is_killed(tmp_path):
  ray = pytest.importorskip('ray')
  from ray import cloudpickle
  from ray import cluster_utils

  # The workers cannot import this test.
  cloudpickle.register_pickle_by_value(sys.modules[__name__])
  log_dir = str(tmp_path / 'logs')
  order = tmp_path / 'order'
  todo = [
      script_cells.ScriptCell(
          f'cell{i}', 'none', (), str(tmp_path / f'{i}.done'), (), 1.0,
          script='import time; time.sleep(3);'
          f'open({str(order)!r}, "a").write("{i} ");'
          f'open({str(tmp_path / f"{i}.done")!r}, "w").close()',
      ) for i in range(4)
  ]
  cluster = cluster_utils.Cluster(
      initialize_head=True, head_node_args={'num_cpus': 1}
  )
  node = cluster.add_node(num_cpus=1)
  killer = threading.Thread(target=_kill_once_busy, args=(
      cluster, node, [process.log_path(cell, log_dir) for cell in todo]
  ))
  try:
    pool = ray_pool.RayPool(log_dir, cluster.address)
    assert pool.workers == 2
    killer.start()
    outcome = executor.execute(todo, pool, log_dir)
  finally:
    if killer.ident is not None:
      killer.join()
    ray.shutdown()
    cluster.shutdown()
  assert set(outcome.values()) == {executor.FINISHED}
  assert sorted(order.read_text().split()) == ['0', '1', '2', '3']
  # The killed node's cell was begun again elsewhere.
  assert sum(_starts(process.log_path(cell, log_dir)) for cell in todo) == 5


def test_a_cell_that_spreads_has_a_whole_node(tmp_path):
  ray = pytest.importorskip('ray')
  from ray import cloudpickle
  from ray import cluster_utils

  cloudpickle.register_pickle_by_value(sys.modules[__name__])
  log_dir = str(tmp_path / 'logs')
  todo = [
      script_cells.ScriptCell(
          name, 'none', (), str(tmp_path / name), (), 1.0, name == 'whole',
          script=f'import os; open({str(tmp_path / name)!r}, "w").write('
          'os.environ["TF_NUM_INTRAOP_THREADS"])',
      ) for name in ('whole', 'part')
  ]
  cluster = cluster_utils.Cluster(
      initialize_head=True, head_node_args={'num_cpus': 1}
  )
  cluster.add_node(num_cpus=3)
  try:
    pool = ray_pool.RayPool(log_dir, cluster.address)
    executor.execute(todo, pool, log_dir)
  finally:
    ray.shutdown()
    cluster.shutdown()
  assert (tmp_path / 'whole').read_text() == '3'
  assert (tmp_path / 'part').read_text() == '1'


def test_a_cell_that_no_living_node_can_hold_has_failed(tmp_path, capfd):
  ray = pytest.importorskip('ray')
  from ray import cloudpickle
  from ray import cluster_utils

  cloudpickle.register_pickle_by_value(sys.modules[__name__])
  log_dir = str(tmp_path / 'logs')
  cell = script_cells.ScriptCell(
      'whole', 'none', (), str(tmp_path / 'whole'), (), 1.0, True,
      script='import time; time.sleep(300)',
  )
  cluster = cluster_utils.Cluster(
      initialize_head=True, head_node_args={'num_cpus': 1}
  )
  node = cluster.add_node(num_cpus=3)
  killer = threading.Thread(target=_kill_once_busy, args=(
      cluster, node, [process.log_path(cell, log_dir)], 1
  ))
  try:
    pool = ray_pool.RayPool(log_dir, cluster.address)
    killer.start()
    outcome = executor.execute([cell], pool, log_dir)
  finally:
    if killer.ident is not None:
      killer.join()
    ray.shutdown()
    cluster.shutdown()
  assert outcome == {'whole': executor.FAILED}
  assert 'no living node has 3 CPUs' in capfd.readouterr().err


def _kill_once_busy(cluster, node, logs, cells_running=2):
  """Kills a node when so many cells run."""
  end = time.time() + 60
  while sum(map(_starts, logs)) < cells_running and time.time() < end:
    time.sleep(0.1)
  time.sleep(0.5)
  cluster.remove_node(node, allow_graceful=False)


def _starts(log):
  """How often a cell was begun."""
  if not os.path.exists(log):
    return 0
  with open(log, encoding='utf-8') as file:
    return sum(line.startswith('$ ') for line in file)
