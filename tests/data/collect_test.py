from __future__ import annotations

import functools
import os
import subprocess
import sys
import time

import gin
import numpy as np
import psutil
import pytest
from tf_agents.specs import array_spec

import envs
from envs import scripted
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import labels
from safer_tf.common import layout
from safer_tf.data import collect
from safer_tf.data import dataset
from safer_tf.data import rollout
from safer_tf.data import shards
from safer_tf.data import store as store_lib
from tests.data import fakes

_POINTS = {
    'num_steps': 301, 'tasks': fakes.TASKS, 'steps_per_shard': 60,
    'make_env': fakes.PointEnv, 'make_policy': fakes.PointPolicy,
    'noise_levels': (0.0, 0.5), 'seed': 3,
}


def _collect_points(root_dir, **changes):
  return collect.collect_data(str(root_dir), **{
      'num_workers': 1, **_POINTS, **changes
  })


def _shard_hashes(data_dir):
  return {
      name: files.sha256(os.path.join(data_dir, name))
      for name in sorted(os.listdir(data_dir)) if name.endswith('.gz')
  }


def test_parts_make_the_same_dataset(tmp_path):
  whole, parts = str(tmp_path / 'whole'), str(tmp_path / 'parts')
  _collect_points(whole)
  for k in (1, 0):
    _collect_points(parts, part=(k, 2))
    assert os.path.exists(layout.data_part(parts, k, 2))
    # Not a dataset yet.
    assert not os.path.exists(
        os.path.join(layout.data_dir(parts), layout.DATA_INDEX)
    )
  _collect_points(parts)
  ours, theirs = (
      store_lib.EpisodeStore(layout.data_dir(root)).fingerprint()
      for root in (parts, whole)
  )
  assert ours == theirs


@pytest.mark.parametrize('part', [(2, 2), (-1, 2), (0,), (0.0, 2)])
def test_a_part_that_is_none_is_refused(tmp_path, part):
  with pytest.raises(errors.UserError, match='collect_data.part'):
    _collect_points(tmp_path, part=part)


def test_plan_spreads_the_steps_evenly():
  units = collect.plan(1003, ('a', 'b', 'c'), 100)
  assert len(set(units)) == len(units)
  assert max(unit.num_steps for unit in units) == 100
  for task, expected in (('a', 335), ('b', 334), ('c', 334)):
    steps = [unit.num_steps for unit in units if unit.task == task]
    assert sum(steps) == expected


def test_one_worker_and_four_write_the_same_bytes(tmp_path):
  one = _collect_points(tmp_path / 'one')
  four = _collect_points(tmp_path / 'four', num_workers=4)
  hashes = _shard_hashes(one)
  assert len(hashes) == 6 and hashes == _shard_hashes(four)
  left, right = store_lib.EpisodeStore(one), store_lib.EpisodeStore(four)
  for name in ('task', 'offset', 'unsafe', 'index', 'shard_names'):
    np.testing.assert_array_equal(
        getattr(left.index, name), getattr(right.index, name)
    )


def test_own_environment_by_gin(tmp_path):
  gin.external_configurable(fakes.PointEnv, module='fakes')
  gin.external_configurable(fakes.PointPolicy, module='fakes')
  gin.parse_config("""
      collect_data.make_env = @fakes.PointEnv
      collect_data.make_policy = @fakes.PointPolicy
      collect_data.tasks = ('left',)
      collect_data.num_steps = 30
      collect_data.num_workers = 1
  """)
  data_dir = collect.collect_data(str(tmp_path))
  gin.clear_config()
  store = store_lib.EpisodeStore(data_dir)
  assert store.spec == fakes.VECTOR_SPEC and set(store.index.task) == {'left'}


def test_another_seed_gives_other_episodes(tmp_path):
  one = _shard_hashes(_collect_points(tmp_path / 'one'))
  other = _shard_hashes(_collect_points(tmp_path / 'other', seed=4))
  assert not set(one.values()) & set(other.values())


def test_dataset_holds_what_was_asked_for(tmp_path):
  store = store_lib.EpisodeStore(_collect_points(tmp_path))
  index = store.index
  assert store.spec == fakes.VECTOR_SPEC
  for task in fakes.TASKS:
    steps = index.length[index.task == task].sum()
    # Three shards a task, each at most an episode over.
    assert 150 <= steps < 151 + 3 * 12
  assert set(index.noise) == {0.0, 0.5}
  assert len(set(zip(index.task, index.index))) == len(index)
  assert len(set(index.seed)) == len(index)


def test_episode_is_a_pure_function_of_its_record(tmp_path):
  store = store_lib.EpisodeStore(_collect_points(tmp_path))
  for number in (0, 7, len(store) - 1):
    episode = store.read(number)
    env = fakes.PointEnv(episode.task)
    chosen = rollout.draw(
        episode.task, _POINTS['seed'], episode.index, _POINTS['noise_levels']
    )
    again = rollout.roll_out(
        env, fakes.PointPolicy(env), episode.task, chosen, episode.index
    )
    fakes.assert_same(again, episode)


def test_policy_and_environment_draw_from_seeds_of_their_own():
  seeds = []

  class Env(fakes.PointEnv):

    def seed(self, seed):
      seeds.append(seed)
      super().seed(seed)

  class Policy(fakes.PointPolicy):

    def reset(self, seed, noise):
      seeds.append(seed)
      super().reset(seed, noise)

  env = Env('left')
  seeds.clear()
  rollout.roll_out(env, Policy(env), 'left', rollout.Draw(3, 0.0), 0)
  assert len(seeds) == 2 and seeds[0] != seeds[1]
  # Nor may it be that of another episode's environment.
  drawn = [rollout.draw('left', 0, i, (0.0,)).seed for i in range(200)]
  assert seeds[1] > max(drawn)


def test_an_environment_that_never_ends_is_told(monkeypatch):
  monkeypatch.setattr(labels, 'LONGEST_EPISODE', 2)
  env = fakes.PointEnv('left')
  with pytest.raises(errors.UserError, match='not ended after 2 steps'):
    rollout.roll_out(
        env, fakes.PointPolicy(env), 'left', rollout.Draw(3, 5.0), 0
    )


def test_resume_keeps_what_is_whole_and_collects_the_rest(tmp_path):
  data_dir = _collect_points(tmp_path)
  expected = _shard_hashes(data_dir)
  names = sorted(expected)
  for name in (layout.STAGE, layout.DATA_INDEX, names[1], names[4]):
    os.remove(os.path.join(data_dir, name))
  kept = os.stat(os.path.join(data_dir, names[0])).st_mtime_ns
  _collect_points(tmp_path)
  assert _shard_hashes(data_dir) == expected
  assert os.stat(os.path.join(data_dir, names[0])).st_mtime_ns == kept


def test_deleting_a_damaged_shard_mends_a_finished_dataset(tmp_path):
  data_dir = _collect_points(tmp_path)
  expected = _shard_hashes(data_dir)
  os.remove(os.path.join(data_dir, sorted(expected)[2]))
  _collect_points(tmp_path)
  assert _shard_hashes(data_dir) == expected


def test_finished_dataset_is_reused(tmp_path, monkeypatch, capsys):
  data_dir = _collect_points(tmp_path)
  index = store_lib.EpisodeStore(data_dir).index
  assert (
      f'{len(index.unsafe)} steps of {len(index.length)} episodes'
  ) in capsys.readouterr().out
  stage = files.sha256(os.path.join(data_dir, layout.STAGE))
  monkeypatch.setattr(shards, 'write_shard', None)
  monkeypatch.setattr(shards, 'scan_shard', None)
  _collect_points(tmp_path)
  assert files.sha256(os.path.join(data_dir, layout.STAGE)) == stage
  assert 'nothing to do' in capsys.readouterr().out
  with open(os.path.join(data_dir, layout.DATA_INDEX), 'r+b') as file:
    file.truncate(100)
  with pytest.raises(errors.UserError, match='index.npz is damaged'):
    _collect_points(tmp_path)


def test_an_environment_that_has_changed_is_told(tmp_path, monkeypatch):
  data_dir = _collect_points(tmp_path)
  os.remove(os.path.join(data_dir, layout.STAGE))
  before = files.sha256(os.path.join(data_dir, layout.EPISODE_SPEC))
  monkeypatch.setattr(
      fakes.PointEnv, 'observation_spec',
      lambda env: array_spec.ArraySpec((4,), np.float32),
  )
  with pytest.raises(errors.UserError, match=r'\[3\].* now has .*\[4\]'):
    _collect_points(tmp_path)
  assert files.sha256(os.path.join(data_dir, layout.EPISODE_SPEC)) == before


@pytest.mark.parametrize('change', [
    {'seed': 4}, {'num_steps': 302}, {'noise_levels': (0.1,)},
], ids=str)
def test_two_datasets_are_never_mixed(tmp_path, change):
  _collect_points(tmp_path)
  with pytest.raises(errors.UserError, match='holds a dataset with '):
    _collect_points(tmp_path, **change)


def test_damaged_shard_stops_a_resume(tmp_path):
  data_dir = _collect_points(tmp_path)
  os.remove(os.path.join(data_dir, layout.STAGE))
  name = sorted(_shard_hashes(data_dir))[0]
  with open(os.path.join(data_dir, name), 'r+b') as file:
    file.truncate(100)
  with pytest.raises(errors.UserError, match=f'{name}.*delete that file'):
    _collect_points(tmp_path)


@pytest.mark.parametrize('change, message', [
    ({'num_steps': 0}, 'num_steps is 0'),
    ({'num_workers': 0}, 'num_workers is 0'),
    ({'tasks': ()}, 'tasks'),
    ({'tasks': ('a', 'b', 'a')}, 'names a more than once'),
    ({'make_env': lambda name: fakes.PointEnv(name)}, 'top level'),
    ({'make_env': functools.partial(fakes.PointEnv)}, 'no name.*top level'),
    ({'make_env': fakes.UnlabelledEnv}, 'UnlabelledEnv.*unsafe'),
    ({'make_policy': fakes.no_policy}, 'list, which .* makes, has no reset'),
    ({'make_policy': fakes.IdlePolicy}, r'the action nan; expected \[2\]'),
])
def test_bad_values_are_named(tmp_path, change, message):
  with pytest.raises(errors.UserError, match=message):
    _collect_points(tmp_path, **change)


def test_error_in_a_worker_reaches_the_user(tmp_path):
  with pytest.raises(errors.UserError, match='UnlabelledEnv.*unsafe'):
    _collect_points(tmp_path, make_env=fakes.UnlabelledEnv, num_workers=2)


def test_wrong_task_name_lists_the_nearest(tmp_path):
  with pytest.raises(envs.EnvError, match='extract_00'):
    collect.collect_data(
        str(tmp_path), num_steps=10, tasks=('extract_00', 'extrakt_00')
    )
  assert not os.path.exists(layout.data_dir(str(tmp_path)))


def test_real_tasks_from_one_worker_and_two(tmp_path):
  config = {'num_steps': 160, 'tasks': envs.ALL[:2], 'steps_per_shard': 40}
  one = collect.collect_data(str(tmp_path / 'one'), num_workers=1, **config)
  two = collect.collect_data(str(tmp_path / 'two'), num_workers=2, **config)
  assert _shard_hashes(one) == _shard_hashes(two)
  store = store_lib.EpisodeStore(one)
  assert str(store.spec) == 'observations uint8 [48, 48, 3], actions [6]'
  # An environment with another past repeats a stored episode bit for bit.
  episode = store.read(len(store) - 1)
  env = envs.load_task(episode.task)
  again = rollout.roll_out(
      env, scripted.ScriptedPolicy(env), episode.task,
      rollout.Draw(episode.seed, episode.noise), episode.index,
  )
  fakes.assert_same(again, episode)
  env.close()


_SCRIPT = """
from safer_tf.data import collect

if __name__ == '__main__':
  collect.collect_data(
      {root_dir!r}, num_steps=100000, tasks=('extract_00', 'extract_01'),
      steps_per_shard=40,
  )
"""


def test_killed_collection_leaves_no_worker_and_no_broken_shard(tmp_path):
  script = tmp_path / 'script.py'
  script.write_text(_SCRIPT.format(root_dir=str(tmp_path)))
  process = subprocess.Popen(
      [sys.executable, str(script)], start_new_session=True,
      stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
  )
  data_dir = layout.data_dir(str(tmp_path))
  try:
    _wait(lambda: os.path.isdir(data_dir) and _shard_hashes(data_dir))
    process.kill()
    process.wait()
    _wait(lambda: not _living(process.pid))
  finally:
    for each in _living(process.pid):
      each.kill()
  spec, _ = dataset.read_spec(data_dir)
  for name in _shard_hashes(data_dir):
    assert list(shards.scan_shard(os.path.join(data_dir, name), spec))


def _living(group):
  """Processes of a group that still run."""
  found = []
  for process in psutil.process_iter():
    try:
      dead = process.status() == psutil.STATUS_ZOMBIE
      if os.getpgid(process.pid) == group and not dead:
        found.append(process)
    except (psutil.NoSuchProcess, ProcessLookupError):
      pass
  return found


def _wait(condition, seconds=120):
  for _ in range(seconds * 10):
    if condition():
      return
    time.sleep(0.1)
  raise AssertionError(f'not within {seconds} s')


def test_noise_is_not_told_by_the_seed():
  drawn = [rollout.draw('left', 0, index, (0.0, 0.5)) for index in range(400)]
  odd = [draw.noise for draw in drawn if draw.seed % 2]
  assert 0.15 < np.mean(odd) < 0.35


class OtherPolicy(fakes.PointPolicy):
  """Another policy."""


@pytest.mark.parametrize('change', [
    {'steps_per_shard': 75}, {'tasks': fakes.TASKS[:1]},
    {'make_policy': OtherPolicy},
], ids=str)
def test_nor_are_datasets_of_other_shards_tasks_or_policies(tmp_path, change):
  _collect_points(tmp_path)
  with pytest.raises(errors.UserError, match='holds a dataset with '):
    _collect_points(tmp_path, **change)
