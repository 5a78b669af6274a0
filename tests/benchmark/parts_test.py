"""Each part at a tiny size, and that both sides do the same work."""

from __future__ import annotations

import dataclasses
import pathlib

import gin
import numpy as np
import pytest
import tensorflow as tf
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import time_step as ts

from safer_tf.benchmark import cells
from safer_tf.benchmark import collection
from safer_tf.benchmark import kept
from safer_tf.benchmark import latent
from safer_tf.benchmark import learning
from safer_tf.benchmark import priors
from safer_tf.benchmark import simulation
from safer_tf.benchmark import sizes as sizes_lib
from safer_tf.benchmark import stock
from safer_tf.benchmark import table
from safer_tf.benchmark import timing
from safer_tf.benchmark import updates
from safer_tf.common import config
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.data import collect
from safer_tf.data import dataset
from safer_tf.data import pipeline
from safer_tf.data import store as store_lib
from safer_tf.evaluation import tables
from safer_tf.rl import agent as sac

_TINY = {
    'rounds': 1, 'prior_batches': 1, 'latent_steps': 5, 'updates': 1,
    'update_batch': 8, 'stored_transitions': (30, 60), 'windows': (2, 3, 4),
}


@pytest.fixture(autouse=True)
def _clear_gin():
  yield
  gin.clear_config()


@pytest.fixture(name='in_process', autouse=True)
def _in_process(monkeypatch):
  """Spares the seconds that a process takes to import everything."""
  monkeypatch.setattr(
      timing, 'alone', lambda reference, *arguments, **_: timing.call(
          reference, arguments
      )
  )


@pytest.fixture(scope='module', name='data_dir')
def _data_dir(tmp_path_factory):
  root = str(tmp_path_factory.mktemp('benchmark'))
  return collect.collect_data(
      root, num_steps=400, tasks=('extract_00', 'extract_01'), num_workers=1
  )


def _sizes(**changes):
  config.parse(['experiments/benchmark.gin'], [])
  return dataclasses.replace(sizes_lib.Sizes(), **{**_TINY, **changes})


def test_shipped_sizes_are_complete():
  config.parse(['experiments/benchmark.gin'], [])
  sizes = sizes_lib.Sizes()
  assert sizes.whole_cell_steps == 50_000
  assert sizes.stored_steps == (10_000, 1_000_000)
  assert sizes.windows == (4, 16, 64)
  assert sizes.stored_transitions == (1_000, 50_000)
  assert sizes.update_batch == 256
  assert sizes.rounds == 5 and len(sizes.learning_seeds) == 3
  assert set(sizes.learning_prior_seeds) > set(sizes.learning_seeds)
  assert sizes.full_collection_steps == 1_000_000
  assert sizes.evaluation_episodes == 100


def test_sizes_that_nothing_can_be_measured_with_are_refused():
  with pytest.raises(errors.UserError, match='rounds = 0'):
    _sizes(rounds=0)
  with pytest.raises(errors.UserError, match='cell_steps'):
    _sizes(cell_steps=(800, 800))


def test_what_is_kept_is_kept_for_the_same_code(monkeypatch, tmp_path):
  first = kept.directory('runs', 'whole')
  assert first == kept.directory('runs', 'whole')
  assert first != kept.directory('runs', 'learning')
  (tmp_path / 'base.gin').write_text('')
  monkeypatch.setattr(kept.config, 'config_dir', lambda: str(tmp_path))
  assert kept.directory('runs', 'whole') != first


def test_simulation_counts_steps(monkeypatch):
  # PyBullet's own environment takes client 0: not in a process of tests.
  monkeypatch.setattr(simulation, '_kuka', lambda: None)
  monkeypatch.setattr(
      simulation, '_kuka_episode',
      lambda env: (simulation._Counted(8, 2.0), 600),
  )
  sizes = _sizes(simulation_steps=20, kuka_episodes=2)
  monkeypatch.setattr(simulation.envs, 'ALL', simulation.envs.ALL[:2])
  line, substeps = simulation.measure('', sizes, False)
  assert line.baseline_value == pytest.approx(4)
  assert 0 < line.value < 100_000 and line.floor > 0
  assert substeps.value == 8 * line.value and substeps.baseline_value == 300


def test_a_collected_shard_is_counted_and_removed(tmp_path, monkeypatch):
  monkeypatch.setattr(collection.tempfile, 'tempdir', str(tmp_path))
  part = collection.collect_shard('extract_00', 0, 40, 'once')
  assert 40 <= part.steps < 70
  assert part.seconds > 0 and part.memory > 0
  assert not list(tmp_path.iterdir())


def test_a_whole_collection_is_kept_and_an_interrupted_one_begins_again(
    tmp_path,
):
  sizes = _sizes(full_collection_steps=60)
  with gin.unlock_config():
    gin.bind_parameter('collect_data.tasks', ('extract_00',))
  data_dir = collection.whole(str(tmp_path), sizes)
  shards = sorted(pathlib.Path(data_dir).glob('*.tfrecord*'))
  assert shards
  written = [shard.stat().st_mtime_ns for shard in shards]
  assert collection.whole(str(tmp_path), sizes) == data_dir
  assert [shard.stat().st_mtime_ns for shard in shards] == written
  (pathlib.Path(data_dir) / layout.STAGE).unlink()
  collection.whole(str(tmp_path), sizes)
  assert all(
      shard.stat().st_mtime_ns != before
      for shard, before in zip(shards, written)
  )


def test_priors_are_measured(tmp_path):
  lines = priors.measure(str(tmp_path), _sizes(
      data_steps=1000, stored_steps=(500, 3000), prior_batches=2
  ), False)
  assert [line.row for line in lines] == [3, 3, 4, 4, 10]
  assert all(line.value > 0 and line.baseline_value > 0 for line in lines)
  assert lines[0].value == lines[1].value == lines[2].baseline_value


def test_separate_windows_compute_the_same(data_dir):
  config.parse(['methods/safer.gin'], [
      'train_prior.safe_runs = 2', 'train_prior.unsafe_runs = 2',
      'train_prior.run_length = 6',
  ])
  sampler = pipeline.RunSampler(
      store_lib.EpisodeStore(data_dir), 'train',
      [('safe_success', 2), ('unsafe', 2)], 16, 6, seed=0,
  )
  batch = pipeline.TupleBatch(*map(tf.convert_to_tensor, sampler.batch(0)))
  ours, *others = (
      priors._learner(kind) for kind in (
          priors.learner_lib.Learner, priors.SeparateWindows,
          priors.SeparateFrames,
      )
  )
  random = np.random.default_rng(0)
  for one, *same in zip(
      ours.prior.variables, *(each.prior.variables for each in others)
  ):
    # A new flow ignores its condition: its weights have to be moved.
    one.assign_add(random.normal(0, 0.05, one.shape))
    for other in same:
      other.assign(one)
  for separate in others:
    for one, other in zip(ours.terms(batch), separate.terms(batch)):
      np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_stretched_datasets_hold_the_same_episodes(data_dir, tmp_path):
  index = dataset.read_index(data_dir)
  for steps in (100, 3_000):
    target = priors.stretched(data_dir, str(tmp_path), steps)
    store = store_lib.EpisodeStore(target)
    assert store.step_offset[-1] == pytest.approx(steps, rel=0.2)
    number = len(store) - 1
    episode = store.read(number)
    first, last = store.step_offset[number], store.step_offset[number + 1]
    np.testing.assert_array_equal(
        episode.unsafe, store.index.unsafe[first:last]
    )
    assert (episode.task, episode.index) in set(zip(index.task, index.index))


def test_latent_environment_is_measured(tmp_path):
  lines = latent.measure(str(tmp_path), _sizes(), False)
  assert [line.row for line in lines] == [5] * 4
  assert all(line.value > 0 and line.floor > 0 for line in lines)


def test_updates_are_measured_without_the_other_library(monkeypatch):
  monkeypatch.setattr(updates.sb3, 'find_python', lambda: None)
  lines = updates.measure('', _sizes(), False)
  assert [line.row for line in lines] == [6, 6, 7, 10, 10]
  absent = lines[1]
  assert absent.reached is None and 'not installed' in absent.baseline
  assert all(line.reached is not None for line in lines if line is not absent)


def test_stock_agent_learns_as_our_loop_wants_it():
  with gin.unlock_config():
    gin.parse_config('make_agent.gamma = 0.5')
  spec = ts.time_step_spec(updates.IMAGE)
  half = tensor_spec.BoundedTensorSpec((6,), tf.float32, -0.5, 0.5)
  agent = stock.make_agent(tensor_spec.from_spec(spec), half, seed=0)
  assert agent._gamma == 0.5
  ours = sac.make_agent(tensor_spec.from_spec(spec), half, seed=0)
  # The same target, told in the density of another box.
  assert agent._target_entropy == pytest.approx(
      ours._target_entropy + 6 * np.log(0.5)
  )
  batch = updates.filled(updates.IMAGE, 40).sample(16, 0)
  before = [variable.numpy() for variable in agent.trainable_variables]
  report = agent.update(*batch).numpy()
  assert report.shape == (len(sac.Diagnostics._fields),)
  assert np.isfinite(report).all()
  assert any(
      (old != new.numpy()).any()
      for old, new in zip(before, agent.trainable_variables)
  )
  action = agent.act(tf.constant(batch.observation[:1]), tf.constant(0))
  assert action.shape == (1, 6) and np.abs(action).max() <= 0.5


def test_a_cell_is_scaled_up_from_two_parts(monkeypatch):
  sizes = _sizes(
      cell_steps=(100, 300), whole_cell_steps=1100, evaluation_episodes=20
  )

  def seconds(run_dir, name, gin_files, steps, episodes, threads, core):
    return 60.0 + steps * 0.6, (episodes or 0) * 6.0

  monkeypatch.setattr(cells, 'cell_seconds', seconds)
  monkeypatch.setattr(timing, 'alone', lambda function, *_, **__: (
      (128, 100) if function.endswith('shipped') else 0.3
  ))
  scaled = cells._whole_cell('', sizes, False, 'prior', (), 1, 12)
  whole = cells._whole_cell('', sizes, True, 'prior', (), 1, 12)
  # 1 minute once, 0.01 for each of 1,100 steps, 0.1 for each of 20 episodes.
  assert scaled.value == pytest.approx(1 + 11 + 2)
  assert whole.value == pytest.approx(scaled.value)
  assert scaled.scaled and not whole.scaled
  assert scaled.baseline_value == pytest.approx(1000 * 0.3 / 60)
  assert scaled.reached is False
  assert 'one core' in scaled.name


def test_batch_sizes_are_those_of_the_shipped_configs():
  assert cells.shipped(()) == (128, 500)
  gin.clear_config()
  assert cells.shipped(('encoders/own.gin',)) == (64, 500)


def test_a_cell_runs_as_its_own_processes(tmp_path):
  root = str(tmp_path)
  latent.untrained_prior(layout.export_dir(root, 'seen', 'safer'))
  trained, evaluated = cells.cell_seconds(root, 'prior', (), 40, 1, 1, 0)
  assert trained > 0 and evaluated > 0


def test_learning_curve_counts_complete_episodes(tmp_path):
  path = tmp_path / 'curve.csv'
  path.write_text(
      'env_steps,success,complete\n20,0,1\n50,1,1\n70,0,1\n100,1,1\n110,1,0\n'
  )
  assert learning.read_curve(str(path), 120, 2) == [(60, 0.5), (120, 0.5)]


def test_learning_is_compared_and_drawn(tmp_path, monkeypatch):
  def one_by_one(function, arguments):
    for each in arguments:
      gin.clear_config()
      learning.quietly(function, each)

  made = []

  def counting(module):
    make = module.make_agent

    def make_and_count(*arguments, **named):
      made.append(module)
      return make(*arguments, **named)

    monkeypatch.setattr(module, 'make_agent', make_and_count)

  counting(stock)
  counting(sac)
  monkeypatch.setattr(learning, '_side_by_side', one_by_one)
  sizes = _sizes(
      learning_steps=30, learning_prior_steps=2, learning_data_steps=1000,
      learning_seeds=(0,), learning_prior_seeds=(0,),
  )
  lines = learning.measure(str(tmp_path), sizes, str(tmp_path))
  assert [line.row for line in lines] == [11] * 9
  run_dir, = tmp_path.glob('learning-*')
  # The plain versions are plain: one of the two agents of each encoder, and
  # priors of single tuples.
  assert made.count(stock) == made.count(sac) == 2
  lengths = {
      version: files.read_json(
          str(run_dir / 'priors/seen' / f'{version}0' / layout.STAGE),
          'a prior',
      )['settings']['train_prior']['run_length']
      for version in ('fast', 'plain')
  }
  assert lengths['plain'] == 1 < lengths['fast']
  rows = (tmp_path / learning.CURVES).read_text().splitlines()
  assert rows[0] == ','.join(tables.FOREIGN['benchmark_learning'])
  assert {tuple(row.split(',')[:3]) for row in rows[1:]} == {
      (encoder, version, '0')
      for encoder in ('own', 'prior') for version in ('fast', 'plain')
  }
  figure = tmp_path / table.FIGURE
  assert figure.read_bytes().startswith(b'\x89PNG')


def test_learning_must_not_be_worse_than_the_worst_plain_seed():
  plain = [0.5, 0.7]
  more = learning.within_spread(plain, more_is_better=True)
  less = learning.within_spread(plain, more_is_better=False)
  assert (more.relation, more.bound) == ('>=', 0.5)
  assert (less.relation, less.bound) == ('<=', 0.7)
