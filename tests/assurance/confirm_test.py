"""Bounds tested on later episodes."""

from __future__ import annotations

import dataclasses
import shutil
import types

import gin
import numpy as np
import pytest

from safer_tf.assurance import bounds
from safer_tf.assurance import certified
from safer_tf.assurance import compute
from safer_tf.assurance import confirm
from safer_tf.assurance import latents
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.data import dataset
from safer_tf.data import splits
from safer_tf.data import store as store_lib
from safer_tf.prior import export
from tests.assurance import synthetic


def _collected(seed, count):
  """As if collected with a seed; fewer episodes are the first of more."""
  for episode in synthetic.episodes(np.random.default_rng(seed), count):
    yield dataclasses.replace(episode, seed=seed)


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
  found = []
  for seed in (0, 1):
    root = str(tmp_path_factory.mktemp(f'run{seed}'))
    # More than enough to show 60%, where a half of the actions are unsafe.
    dataset.write_dataset(
        layout.data_dir(root), synthetic.SPEC,
        _collected(seed, 300),
    )
    found.append(root)
  fingerprint = store_lib.EpisodeStore(
      layout.data_dir(found[0])
  ).fingerprint()
  synthetic.export_prior(found[0], seed=0, settings={'data': fingerprint})
  compute.compute_assurance(
      found[0], prior='safer', max_unsafe_fraction=0.6, targets=(0.0, 0.3, 0.6)
  )
  return found


def test_every_bound_is_tested_on_all_later_episodes(roots):
  result = confirm.confirm_assurance(
      *roots, prior='safer', max_episode_steps=30
  )
  assert result['max_episode_steps'] == 30
  assert result['tasks'] == sorted({e.task for e in _collected(1, 300)})
  path = layout.export_dir(roots[0], 'seen', 'safer')
  assert files.read_json(f'{path}/{layout.CONFIRMATION}', 'it') == result
  assurance = files.read_json(f'{path}/{layout.ASSURANCE}', 'it')
  wanted = [row for row in assurance['table'] if row['latent_bound'] > 0]
  assert [row['latent_bound'] for row in result['table']] == [
      row['latent_bound'] for row in wanted
  ]
  store = store_lib.EpisodeStore(layout.data_dir(roots[1]))
  counts = np.repeat(store.index.success, store.index.length)
  assert result['n_unsafe'] == store.index.unsafe.sum()
  assert result['n_safe'] == (counts & ~store.index.unsafe).sum()
  for row in result['table']:
    assert row['n_episodes'] == 300
    assert (row['p_value'] is None) == (row['max_unsafe_fraction'] == 0)


def test_bounds_are_tested_with_the_weight_that_they_were_computed_with(roots):
  result = confirm.confirm_assurance(*roots, prior='safer')
  path = layout.export_dir(roots[0], 'seen', 'safer')
  weight = files.read_json(f'{path}/{layout.ASSURANCE}', 'it')['unsafe_weight']
  found = latents.labelled_latents(
      export.load_prior(path),
      store_lib.EpisodeStore(layout.data_dir(roots[1])), splits.ALL, weight,
  )
  own = latents.labelled_latents(
      export.load_prior(path),
      store_lib.EpisodeStore(layout.data_dir(roots[1])), splits.ALL,
  )
  assert own.unsafe_weight != weight
  for row in result['table']:
    share, wrong = (
        bounds.unsafe_fraction(each, row['latent_bound'])
        for each in (found, own)
    )
    assert row['in_bound_unsafe_fraction'] == pytest.approx(share, nan_ok=True)
    if row['p_value'] is None:
      continue
    p_value, of_own = (
        certified.p_values(
            each, row['max_unsafe_fraction'], result['max_episode_steps'],
            [row['latent_bound']],
        )[0] for each in (found, own)
    )
    assert row['p_value'] == pytest.approx(p_value)
    if 1e-12 < p_value < 0.99:
      assert (share, p_value) != pytest.approx((wrong, of_own))


def test_the_verdict_is_told(roots, capsys):
  table = confirm.confirm_assurance(*roots, prior='safer')['table']
  told = capsys.readouterr().out
  tested = [row for row in table if row['p_value'] is not None]
  assert f'of {len(tested)} bounds above 0%' in told
  named = [
      f'{row["mode"]} {100 * row["max_unsafe_fraction"]:g}%' in told
      for row in tested
  ]
  assert named == [row['p_value'] <= 0.05 for row in tested]
  assert any(named)


def test_the_verdict_follows_the_later_episodes(roots, monkeypatch):
  def table():
    return {
        (row['mode'], row['max_unsafe_fraction']): row
        for row in confirm.confirm_assurance(*roots, prior='safer')['table']
    }

  wide = table()['exact', 0.6]
  assert wide['in_bound_unsafe_fraction'] < 0.6 and wide['p_value'] <= 0.05
  measured = latents.labelled_latents
  # The same latents, all of them unsafe.
  monkeypatch.setattr(latents, 'labelled_latents', lambda *args: (
      dataclasses.replace(
          measured(*args), unsafe=np.ones_like(measured(*args).unsafe)
      )
  ))
  spoilt = table()['exact', 0.6]
  assert spoilt['in_bound_unsafe_fraction'] == 1 and spoilt['p_value'] == 1


def test_a_split_without_an_episode_is_no_matter(roots, tmp_path):
  later = [e for e in _collected(1, 300) if _split(e) != 'test']
  dataset.write_dataset(
      layout.data_dir(str(tmp_path)), synthetic.SPEC, later
  )
  found = confirm.confirm_assurance(roots[0], str(tmp_path), prior='safer')
  assert {row['n_episodes'] for row in found['table']} == {len(later)}


def _split(episode):
  number, = splits.split_of(types.SimpleNamespace(
      task=[episode.task], seed=[episode.seed], index=[episode.index]
  ))
  return splits.NAMES[number]


def test_latents_of_all_splits_keep_episodes_apart(roots):
  prior = export.load_prior(layout.export_dir(roots[0], 'seen', 'safer'))
  store = store_lib.EpisodeStore(layout.data_dir(roots[1]))
  found = latents.labelled_latents(prior, store, splits.ALL, 2.0)
  assert isinstance(found, bounds.LabelledLatents)
  assert found.unsafe_weight == 2 and found.n_episodes == len(store)
  # Unsafe steps always count: as many in each episode as the index has.
  per_episode = np.bincount(
      found.episode, weights=found.unsafe, minlength=len(store)
  )
  ends = np.cumsum(store.index.length)[:-1]
  expected = [part.sum() for part in np.split(store.index.unsafe, ends)]
  assert sorted(per_episode) == sorted(expected)


def test_the_priors_own_data_confirm_nothing(roots):
  with pytest.raises(errors.UserError, match='another --seed'):
    confirm.confirm_assurance(roots[0], roots[0], prior='safer')


def test_a_part_of_the_priors_own_data_confirms_nothing(roots, tmp_path):
  # Collected with the same seed, for fewer steps.
  dataset.write_dataset(
      layout.data_dir(str(tmp_path)), synthetic.SPEC, _collected(0, 50)
  )
  with pytest.raises(errors.UserError, match='shares 50 episodes'):
    confirm.confirm_assurance(roots[0], str(tmp_path), prior='safer')


def test_without_the_priors_own_data_it_says_what_is_not_checked(
    roots, tmp_path, capsys
):
  path = layout.export_dir(str(tmp_path), 'seen', 'safer')
  shutil.copytree(layout.export_dir(roots[0], 'seen', 'safer'), path)
  confirm.confirm_assurance(str(tmp_path), roots[1], prior='safer')
  assert 'is not checked' in capsys.readouterr().out


def test_features_of_other_data_are_told(roots, capsys, monkeypatch):
  load = export.load_prior

  def other(*args, **kwargs):
    loaded = load(*args, **kwargs)
    return dataclasses.replace(loaded, spec=dataclasses.replace(
        loaded.spec, provenance={
            **loaded.spec.provenance, 'features_data': 'another',
        },
    ))

  confirm.confirm_assurance(roots[0], roots[1], prior='safer')
  assert 'encoder' not in capsys.readouterr().out
  monkeypatch.setattr(export, 'load_prior', other)
  confirm.confirm_assurance(roots[0], roots[1], prior='safer')
  assert 'The encoder and posterior' in capsys.readouterr().out


def test_data_that_a_copied_prior_lies_beside_are_not_taken_for_its_own(
    roots, tmp_path
):
  run, later = tmp_path / 'run', tmp_path / 'later'
  path = layout.export_dir(str(run), 'seen', 'safer')
  shutil.copytree(layout.export_dir(roots[0], 'seen', 'safer'), path)
  shutil.copytree(layout.data_dir(roots[1]), layout.data_dir(str(run)))
  # Episodes of the prior's own, a few of them: no fingerprint tells.
  data_dir = layout.data_dir(str(later))
  dataset.write_dataset(data_dir, synthetic.SPEC, _collected(0, 50))
  dataset.write_spec(data_dir, synthetic.SPEC, {'seed': 0})
  with pytest.raises(errors.UserError, match='may hold episodes'):
    confirm.confirm_assurance(str(run), str(later), prior='safer')


def _later(roots, root, origin):
  """The later data, as if collected otherwise."""
  data_dir = layout.data_dir(str(root))
  dataset.write_spec(data_dir, synthetic.SPEC, origin)
  shutil.copytree(
      layout.data_dir(roots[1]), data_dir, dirs_exist_ok=True,
      ignore=shutil.ignore_patterns(layout.EPISODE_SPEC),
  )
  return str(root)


def test_without_them_data_of_the_priors_seed_confirm_nothing(roots, tmp_path):
  path = layout.export_dir(str(tmp_path), 'seen', 'safer')
  shutil.copytree(layout.export_dir(roots[0], 'seen', 'safer'), path)
  for origin, refused in (({'seed': 1}, False), ({'seed': 0}, True)):
    later = _later(roots, tmp_path / f'later{refused}', origin)
    if refused:
      with pytest.raises(errors.UserError, match='may hold episodes'):
        confirm.confirm_assurance(str(tmp_path), later, prior='safer')
    else:
      confirm.confirm_assurance(str(tmp_path), later, prior='safer')


def test_a_prior_of_its_own_seed_has_the_runs_data(roots, tmp_path):
  path = layout.export_dir(str(tmp_path), 'seen', 'safer')
  shutil.copytree(layout.export_dir(roots[0], 'seen', 'safer'), path)
  assurance = files.read_json(f'{path}/{layout.ASSURANCE}', 'it')
  # The prior's own seed is 0, that of its run and its data another.
  for seed, refused in ((2, False), (1, True)):
    assurance['provenance']['seed'] = seed
    files.write_json(f'{path}/{layout.ASSURANCE}', assurance)
    later = _later(roots, tmp_path / f'later{seed}', {'seed': 1})
    if refused:
      with pytest.raises(errors.UserError, match='with seed 1, as the prior'):
        confirm.confirm_assurance(str(tmp_path), later, prior='safer')
    else:
      confirm.confirm_assurance(str(tmp_path), later, prior='safer')


def test_a_prior_that_left_out_other_tasks_is_refused(roots, tmp_path):
  path = layout.export_dir(str(tmp_path), 'held_out', 'safer')
  shutil.copytree(layout.export_dir(roots[0], 'seen', 'safer'), path)
  gin.bind_parameter('held_out_tasks.names', synthetic.TASKS[:1])
  try:
    with pytest.raises(errors.UserError, match='without the evaluated tasks'):
      confirm.confirm_assurance(
          str(tmp_path), roots[1], prior='safer', protocol='held_out'
      )
  finally:
    gin.clear_config()


def test_a_prior_without_assurance_is_told(roots, tmp_path):
  synthetic.export_prior(tmp_path)
  with pytest.raises(errors.UserError, match='compute_assurance'):
    confirm.confirm_assurance(str(tmp_path), roots[1], prior='safer')


def test_bounds_of_held_out_are_tested_on_the_tasks_trained_on(
    roots, tmp_path
):
  path = layout.export_dir(str(tmp_path), 'held_out', 'safer')
  shutil.copytree(layout.export_dir(roots[0], 'seen', 'safer'), path)
  found = confirm.confirm_assurance(
      str(tmp_path), roots[1], prior='safer', protocol='held_out'
  )
  assert found['tasks'] == [synthetic.SEEN_TASK]
  index = store_lib.EpisodeStore(layout.data_dir(roots[1])).index
  assert {row['n_episodes'] for row in found['table']} == {
      np.sum(index.task == synthetic.SEEN_TASK)
  }


def test_later_data_of_other_observations_are_refused(roots, tmp_path):
  dataset.write_dataset(
      layout.data_dir(str(tmp_path)),
      dataclasses.replace(synthetic.SPEC, observation_shape=(5,)), (
          dataclasses.replace(
              each, observation=np.pad(each.observation, ((0, 0), (0, 2)))
          ) for each in _collected(1, 10)
      ),
  )
  with pytest.raises(errors.UserError, match='does not suit the prior'):
    confirm.confirm_assurance(roots[0], str(tmp_path), prior='safer')
