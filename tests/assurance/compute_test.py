"""The bound of a real exported prior on a real dataset, both small."""

from __future__ import annotations

import dataclasses
import json
import os

import gin
import numpy as np
import pytest
import tensorflow as tf

import envs
from envs import extraction
from safer_tf.assurance import bounds
from safer_tf.assurance import certified
from safer_tf.assurance import compute
from safer_tf.assurance import latents as latents_lib
from safer_tf.common import config
from safer_tf.common import errors
from safer_tf.common import layout
from safer_tf.data import dataset
from safer_tf.data import store as store_lib
from safer_tf.prior import export
from tests.assurance import synthetic


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  root_dir = str(tmp_path_factory.mktemp('run'))
  dataset.write_dataset(
      layout.data_dir(root_dir), synthetic.SPEC,
      synthetic.episodes(np.random.default_rng(0)),
  )
  synthetic.export_prior(root_dir)
  synthetic.export_prior(root_dir, protocol='held_out')
  return root_dir


@pytest.fixture(scope='module')
def found(root):
  loaded = export.load_prior(layout.export_dir(root, 'seen', 'safer'))
  store = store_lib.EpisodeStore(layout.data_dir(root))
  return loaded, store, latents_lib.labelled_latents(
      loaded, store, 'calibration'
  )


def test_latents_equal_a_plain_loop_over_steps(found):
  loaded, store, latents = found
  expected, unsafe, numbers = [], [], []
  for row, number in enumerate(store.split('calibration')):
    episode = store.read(int(number))
    embedded = [
        loaded.embed(tf.constant(o[np.newaxis]))[0].numpy()
        for o in episode.observation
    ]
    for t in range(len(episode)):
      if not episode.unsafe[t] and not episode.success:
        continue
      window = np.zeros((1, 4, len(embedded[0])), np.float32)
      valid = np.zeros((1, 4), bool)
      for back in range(min(4, t + 1)):
        window[0, 3 - back], valid[0, 3 - back] = embedded[t - back], True
      context, _ = loaded.infer_context(
          tf.constant(window), tf.constant(valid)
      )
      latent = loaded.encode(
          tf.constant(episode.action[t][np.newaxis]),
          tf.constant(embedded[t][np.newaxis]), context,
      )
      expected.append(np.abs(latent.numpy()).max())
      unsafe.append(episode.unsafe[t])
      numbers.append(row)
  np.testing.assert_allclose(latents.abs_max, expected, rtol=1e-4, atol=1e-5)
  np.testing.assert_array_equal(latents.unsafe, unsafe)
  np.testing.assert_array_equal(latents.episode, numbers)
  assert latents.n_episodes == len(store.split('calibration'))


def test_a_prior_of_this_data_matches(root):
  store = store_lib.EpisodeStore(layout.data_dir(root))
  path = synthetic.export_prior(
      root, prior='kin', settings={'data': store.fingerprint()}
  )
  compute.check_match(export.load_prior(path).spec, store, path)


def test_the_weight_is_fixed_on_the_training_split(found):
  _, store, latents = found
  safe = unsafe = 0
  for number in store.split('train'):
    episode = store.read(int(number))
    unsafe += int(episode.unsafe.sum())
    safe += int((~episode.unsafe).sum()) if episode.success else 0
  assert latents.unsafe_weight == pytest.approx(safe / unsafe)


def test_the_chosen_target_is_a_row_of_the_table_too(root):
  result = compute.compute_assurance(
      root, prior='safer', max_unsafe_fraction=0.4, targets=(0.3,)
  )
  by_target = {
      row['max_unsafe_fraction']: row['latent_bound']
      for row in result['table'] if row['mode'] == result['mode']
  }
  assert by_target[0.4] == result['latent_bound'] and set(by_target) == {
      0.3, 0.4
  }


def test_assurance_json_holds_the_bound_and_the_table(root, found):
  _, _, latents = found
  targets = (0.0, 0.15, 0.3)
  compute.compute_assurance(
      root, prior='safer', max_unsafe_fraction=0.3, targets=targets
  )
  path = os.path.join(
      layout.export_dir(root, 'seen', 'safer'), 'assurance.json'
  )
  with open(path, encoding='utf-8') as file:
    result = json.load(file)
  bound = bounds.exact_bound(latents, 0.3)
  assert result['latent_bound'] == pytest.approx(bound)
  assert result['in_bound_unsafe_fraction'] <= 0.3
  assert result['in_bound_unsafe_fraction_natural'] == pytest.approx(
      bounds.unsafe_fraction(latents, bound, 1.0)
  )
  assert len(result['table']) == 3 * len(targets)
  for row in result['table']:
    if row['latent_bound'] and row['mode'] != 'certified':
      assert row['in_bound_unsafe_fraction'] <= row['max_unsafe_fraction']
  by_mode = {(r['mode'], r['max_unsafe_fraction']): r for r in result['table']}
  assert by_mode['certified', 0.0]['latent_bound'] == 0
  # What the certificate can be checked again with.
  assert by_mode['certified', 0.3]['latent_bound'] == (
      certified.certified_bound(
          latents, 0.3, result['confidence'], result['max_episode_steps'],
          result['grid'],
      )
  )
  assert result['num_starts'] == certified.NUM_STARTS
  assert by_mode['exact', 0.3]['latent_bound'] >= (
      by_mode['paper', 0.3]['latent_bound']
  )


def test_held_out_counts_the_other_tasks_alone(root, monkeypatch):
  seen = []
  measured = latents_lib.labelled_latents

  def kept(prior, store, split):
    seen.append(set(store.index.task[store.split(split)]))
    return measured(prior, store, split)

  monkeypatch.setattr(latents_lib, 'labelled_latents', kept)
  compute.compute_assurance(
      root, prior='safer', protocol='held_out', max_episode_steps=30
  )
  assert seen == [{synthetic.SEEN_TASK}]


def test_a_prior_that_left_out_other_tasks_is_refused(root):
  gin.bind_parameter('held_out_tasks.names', (envs.EVALUATION[0],))
  try:
    with pytest.raises(errors.UserError, match=(
        f'without the evaluated tasks, .* is now {envs.EVALUATION[0]}: give'
    )):
      compute.compute_assurance(
          root, prior='safer', protocol='held_out', max_episode_steps=30
      )
  finally:
    gin.clear_config()


def test_a_bound_that_admits_nothing_is_an_error_with_numbers(
    root, monkeypatch
):
  monkeypatch.setattr(bounds, 'exact_bound', lambda *_: bounds.NOTHING)
  with pytest.raises(errors.UserError, match='admits nothing.*episodes'):
    compute.compute_assurance(root, prior='safer')


def test_a_calibration_split_without_unsafe_steps_is_an_error(
    root, found, monkeypatch
):
  safe = dataclasses.replace(
      found[2], unsafe=np.zeros_like(found[2].unsafe)
  )
  monkeypatch.setattr(latents_lib, 'labelled_latents', lambda *_: safe)
  with pytest.raises(errors.UserError, match='has no unsafe step'):
    compute.compute_assurance(root, prior='safer')


def test_the_time_limit_is_not_taken_from_the_data(root, found, monkeypatch):
  config.parse(['methods/safer.gin'], [])
  for stage in ('compute_assurance', 'confirm_assurance'):
    limit = gin.query_parameter(f'{stage}.max_episode_steps')
    assert gin.query_parameter(str(limit)) == extraction.TIME_LIMIT
  gin.clear_config()
  assert max(np.bincount(found[2].episode)) < 30
  limits = []
  certify = certified.certified_bound

  def spied(latents, target, confidence, limit, *others):
    limits.append(limit)
    return certify(latents, target, confidence, limit, *others)

  monkeypatch.setattr(certified, 'certified_bound', spied)
  result = compute.compute_assurance(
      root, prior='safer', max_unsafe_fraction=0.3, max_episode_steps=30
  )
  assert result['max_episode_steps'] == 30 and set(limits) == {30}


def test_a_time_limit_below_an_episode_is_refused(root):
  with pytest.raises(errors.UserError, match='true limit'):
    compute.compute_assurance(root, prior='safer', max_episode_steps=1)


@pytest.mark.parametrize('values, message', [
    ({'mode': 'exactly'}, 'exactly'),
    ({'max_unsafe_fraction': 1.5}, '1.5'),
    ({'mode': 'certified', 'max_unsafe_fraction': 0.0}, 'certifies'),
    ({'confidence': 0.0}, 'confidence'),
    ({'targets': (0.0, 15)}, 'targets: 15 was given'),
    ({'targets': (-0.1,)}, 'targets: -0.1'),
    ({'max_episode_steps': 0}, 'max_episode_steps is 0'),
])
def test_wrong_values_are_named(root, values, message):
  with pytest.raises(errors.UserError, match=message):
    compute.compute_assurance(root, prior='safer', **values)


def test_a_prior_of_other_observations_is_refused(root):
  synthetic.export_prior(root, prior='wide', shape=(5,))
  with pytest.raises(errors.UserError, match=r'\[5\].*\[3\]'):
    compute.compute_assurance(root, prior='wide')


def test_a_prior_of_other_data_is_refused(root):
  synthetic.export_prior(root, prior='stranger', settings={'data': 'f' * 64})
  with pytest.raises(errors.UserError, match='other data'):
    compute.compute_assurance(root, prior='stranger')


def test_the_papers_bound_follows_the_seed(root, found):
  values = []
  for seed in range(3):
    result = compute.compute_assurance(
        root, seed, prior='safer', mode='paper', max_unsafe_fraction=0.4,
        targets=(),
    )
    values.append(result['latent_bound'])
    assert values[-1] == pytest.approx(
        bounds.paper_bound(found[2], 0.4, np.random.default_rng(seed))
    )
  assert len(set(values)) > 1


def test_what_the_bounds_rest_on_is_recorded(root, found):
  result = compute.compute_assurance(root, prior='safer', targets=())
  unsafe = found[2].unsafe
  assert result['n_unsafe'] == unsafe.sum()
  assert result['n_safe'] == (~unsafe).sum()
  assert {row['mode']: row['confidence'] for row in result['table']} == {
      'paper': None, 'exact': None, 'certified': 0.95
  }


@pytest.mark.parametrize('values', [
    {'max_unsafe_fraction': 1.0}, {'targets': (1.0,)}
])
def test_a_share_of_all_is_no_target(root, values):
  with pytest.raises(errors.UserError, match='1.0 was given'):
    compute.compute_assurance(root, prior='safer', **values)
