"""Tests a prior's latent bounds on episodes that came after them."""

from __future__ import annotations

import os
import time
from typing import Any, Optional

import gin
import numpy as np

from safer_tf.assurance import bounds
from safer_tf.assurance import certified
from safer_tf.assurance import compute
from safer_tf.assurance import latents as latents_lib
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.common import provenance
from safer_tf.data import dataset
from safer_tf.data import splits
from safer_tf.data import store as store_lib
from safer_tf.prior import export
from safer_tf.prior import protocols

_CONFIRMS = 0.05  # Largest p-value that does.


@gin.configurable(denylist=['root_dir', 'data_root'])
def confirm_assurance(
    root_dir: str,
    data_root: str,
    prior: str = gin.REQUIRED,
    protocol: str = 'seen',
    max_episode_steps: Optional[int] = None,
) -> dict[str, Any]:
  """Tests every bound of `assurance.json` on another dataset.

  Whatever the calibration split was looked at for, these episodes were not:
  each bound was fixed before them, and is tested once, by all of them, at its
  own target. A p-value of 5% or less confirms it at 95% confidence.

  Args:
    root_dir: run directory with the prior and its assurance.
    data_root: run directory whose data are tested on, collected with another
      seed.
    prior: id of the prior, e.g. `safer`.
    protocol: `seen` or `held_out`; the data are those of its training tasks.
    max_episode_steps: the environment's time limit; the longest episode of
      the data if None.

  Returns:
    The content of `confirmation.json`.

  Raises:
    UserError: there is no assurance, or the data do not fit or are the
      prior's own.
  """
  start = time.time()
  directory = layout.export_dir(root_dir, protocol, prior)
  assurance = files.read_json(
      os.path.join(directory, layout.ASSURANCE),
      'the latent bounds of a prior; run compute_assurance on it first',
      ('table', 'provenance', 'unsafe_weight'),
  )
  loaded = export.load_prior(directory, prior=prior)
  data_dir = layout.data_dir(data_root)
  # Later data need not have the tasks that are left out.
  store = store_lib.EpisodeStore(
      data_dir, without=protocols.new_tasks(protocol)
  )
  _check_new(loaded.spec, store, data_dir)
  protocols.check_left_out(loaded.spec.provenance, protocol, directory)
  _check_apart(
      layout.data_dir(root_dir), loaded.spec, store, data_dir,
      assurance['provenance']['seed'],
  )
  limit = compute.episode_limit(store, max_episode_steps)
  # Of all splits: none of them was used for anything.
  latents = latents_lib.labelled_latents(
      loaded, store, splits.ALL, assurance['unsafe_weight']
  )
  table = [
      _row(latents, row, limit) for row in assurance['table']
      if row['latent_bound'] > bounds.NOTHING
  ]
  result = {
      'prior': prior, 'protocol': protocol,
      'tasks': sorted(set(store.index.task[store.split(splits.ALL)].tolist())),
      'n_safe': int(np.sum(~latents.unsafe)),
      'n_unsafe': int(np.sum(latents.unsafe)),
      'max_episode_steps': limit,
      'table': table,
      'provenance': provenance.record(
          assurance['provenance']['seed'], provenance.hashes({
              layout.DATA_INDEX: os.path.join(data_dir, layout.DATA_INDEX),
              layout.ASSURANCE: os.path.join(directory, layout.ASSURANCE),
          }), wall_seconds=time.time() - start,
      ),
  }
  path = os.path.join(directory, layout.CONFIRMATION)
  files.write_json(path, result)
  print(f'{path}: {_verdict(table)}')
  return result


def _check_new(
    spec: export.PriorSpec, store: store_lib.EpisodeStore, data_dir: str
) -> None:
  store.require(spec.episodes, 'the prior')
  if export.trained_on(spec) == store.fingerprint():
    raise errors.UserError(
        f'{data_dir} holds the data that the prior was made from: expected '
        'episodes that came later. Collect some with another --seed into '
        'another --root_dir.'
    )


def _check_apart(
    own_dir: str, spec: export.PriorSpec, store: store_lib.EpisodeStore,
    data_dir: str, run_seed: int,
) -> None:
  """No episode may be one of those the prior was made from.

  Collected with the same seed, a smaller dataset is a part of a larger one.
  Where the prior's data are not there, the seed that its bounds were computed
  with stands for theirs, as a run has one for both; a prior may have its own.
  """
  trained_on = export.trained_on(spec)
  if spec.provenance.get('features_data', trained_on) != trained_on:
    print(
        'The encoder and posterior of the prior were trained on other data '
        f'than its flow: whether {data_dir} shares episodes with them is not '
        'checked.'
    )
  if not _holds(own_dir, trained_on):
    _, origin = dataset.read_spec(data_dir)
    seed = origin.get('seed')
    if seed is not None and seed == run_seed:
      raise errors.UserError(
          f'{data_dir} was collected with seed {seed}, as the prior\'s own '
          f'data were: it may hold episodes that the prior was made from, and '
          f'{own_dir} does not hold those to compare. Collect episodes with '
          'another --seed.'
      )
    print(
        f'{own_dir} does not hold the data that the prior was made from: '
        f'whether {data_dir} shares episodes with them is not checked.'
    )
    return
  common = _episodes(dataset.read_index(own_dir)) & _episodes(store.index)
  if common:
    task, seed, index = min(common)
    raise errors.UserError(
        f'{data_dir} shares {len(common)} episodes with {own_dir}, from which '
        f'the prior was made, e.g. {task}, seed {seed}, number {index}. '
        'Collect episodes with another --seed.'
    )


def _holds(own_dir: str, trained_on: str | None) -> bool:
  """Whether the run's data are there, and those of the prior."""
  if not os.path.exists(os.path.join(own_dir, layout.DATA_INDEX)):
    return False
  # A shipped prior may have been copied beside data that it never saw.
  return trained_on in (None, store_lib.EpisodeStore(own_dir).fingerprint())


def _episodes(index: dataset.Index) -> set[tuple[str, int, int]]:
  columns = (index.task, index.seed, index.index)
  return set(zip(*(column.tolist() for column in columns)))


def _verdict(table: list[dict[str, Any]]) -> str:
  """Which bounds the later episodes confirm, for a reader."""
  tested = [row for row in table if row['p_value'] is not None]
  if not tested:
    return 'no bound to test: a share of 0% can be shown by no episodes.'
  confirmed = [
      f'{row["mode"]} {100 * row["max_unsafe_fraction"]:g}%' for row in tested
      if row['p_value'] <= _CONFIRMS
  ]
  return (
      f'of {len(tested)} bounds above 0% {len(confirmed)} are confirmed at 95% '
      'confidence' + (f': {", ".join(confirmed)}.' if confirmed else '.')
  )


def _row(
    latents: bounds.LabelledLatents, row: dict[str, Any], limit: int
) -> dict[str, Any]:
  """One line of `confirmation.csv`."""
  bound, target = row['latent_bound'], row['max_unsafe_fraction']
  p_value = None  # No number of episodes shows a share of 0.
  if target > 0:
    p_value = float(certified.p_values(latents, target, limit, [bound])[0])
  share = bounds.unsafe_fraction(latents, bound)
  kept = bounds.safe_in_bound(latents, bound)
  return {
      'mode': row['mode'], 'max_unsafe_fraction': target,
      'latent_bound': bound,
      'in_bound_unsafe_fraction': None if np.isnan(share) else share,
      'safe_actions_in_bound': None if np.isnan(kept) else kept,
      'p_value': p_value, 'n_episodes': latents.n_episodes,
  }
