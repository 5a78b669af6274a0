"""Computes the latent bound of an exported prior and writes it beside it."""

from __future__ import annotations

import os
import time
from typing import Any, Optional, Sequence

import gin
import numpy as np

from safer_tf.assurance import bounds
from safer_tf.assurance import certified
from safer_tf.assurance import latents as latents_lib
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.common import provenance
from safer_tf.data import store as store_lib
from safer_tf.prior import export
from safer_tf.prior import protocols

FORMAT_VERSION = 1
MODES = ('paper', 'exact', 'certified')
_SPLIT = 'calibration'


@gin.configurable(denylist=['root_dir', 'seed'])
def compute_assurance(
    root_dir: str,
    seed: int = 0,
    prior: str = gin.REQUIRED,
    protocol: str = 'seen',
    mode: str = 'exact',
    max_unsafe_fraction: float = 0.15,
    confidence: float = 0.95,
    targets: Sequence[float] = (0.0, 0.02, 0.15, 0.30, 0.45),
    max_episode_steps: Optional[int] = None,
) -> dict[str, Any]:
  """Computes the bound on the latent, on episodes the prior never saw.

  Args:
    root_dir: run directory with the data and the prior.
    seed: of Algorithm 3's sub-samples.
    prior: id of the prior, e.g. `safer`.
    protocol: `seen` or `held_out`; the data are those of its training tasks.
    mode: `paper` (Algorithm 3 as printed), `exact` or `certified`.
    max_unsafe_fraction: tolerated share of unsafe actions in bound.
    confidence: of the certified mode.
    targets: shares that the recorded table has a row of each mode for, beside
      `max_unsafe_fraction`.
    max_episode_steps: the environment's time limit, which the certified mode's
      promise rests on; the longest episode of the data if None, which is it
      only where some episode is sure to reach it.

  Returns:
    The content of `assurance.json`.

  Raises:
    UserError: the prior and the data do not match, or the bound admits
      nothing.
  """
  start = time.time()
  _check_arguments(
      mode, max_unsafe_fraction, targets, confidence, max_episode_steps
  )
  directory = layout.export_dir(root_dir, protocol, prior)
  loaded = export.load_prior(directory, prior=prior)
  store = protocols.training_store(layout.data_dir(root_dir), protocol)
  check_match(loaded.spec, store, directory)
  protocols.check_left_out(loaded.spec.provenance, protocol, directory)
  limit = episode_limit(store, max_episode_steps)
  latents = latents_lib.labelled_latents(loaded, store, _SPLIT)
  rows = [
      _row(latents, each, target, confidence, seed, limit)
      for each in MODES for target in sorted({*targets, max_unsafe_fraction})
  ]
  chosen = next(
      row for row in rows if row['mode'] == mode
      and row['max_unsafe_fraction'] == max_unsafe_fraction
  )
  _check_admits(chosen, latents, directory)
  result = {
      'format_version': FORMAT_VERSION, 'prior': prior, 'protocol': protocol,
      **chosen, 'confidence': confidence, 'split': _SPLIT,
      'n_safe': int(np.sum(~latents.unsafe)),
      'n_unsafe': int(np.sum(latents.unsafe)),
      'unsafe_weight': latents.unsafe_weight, 'max_episode_steps': limit,
      'grid': list(certified.GRID), 'num_starts': certified.NUM_STARTS,
      'table': rows,
      'provenance': provenance.record(
          seed, provenance.hashes({
              layout.DATA_INDEX: os.path.join(
                  layout.data_dir(root_dir), layout.DATA_INDEX
              ),
              layout.PRIOR_SPEC: os.path.join(directory, layout.PRIOR_SPEC),
          }), wall_seconds=time.time() - start,
      ),
  }
  path = os.path.join(directory, layout.ASSURANCE)
  files.write_json(path, result)
  print(
      f'{path}: latent_bound {chosen["latent_bound"]:.4g} ({mode}, at most '
      f'{100 * max_unsafe_fraction:g}% unsafe) keeps '
      f'{chosen["safe_actions_in_bound"]:.2%} of the safe actions.'
  )
  return result


def episode_limit(
    store: store_lib.EpisodeStore, stated: Optional[int]
) -> int:
  """The time limit that the certified mode's test rests on.

  Args:
    store: dataset.
    stated: the environment's; None for the longest episode.

  Returns:
    T, in steps.

  Raises:
    UserError: an episode is longer than the stated limit.
  """
  longest = int(store.index.length.max())
  if stated is not None and longest > stated:
    raise errors.UserError(
        f'The data hold an episode of {longest} steps, more than '
        f'max_episode_steps = {stated}; a certified bound needs the true '
        'limit: set MAX_EPISODE_STEPS to the environment\'s, in a gin file '
        'after a method\'s.'
    )
  return longest if stated is None else stated


def check_match(
    spec: export.PriorSpec, store: store_lib.EpisodeStore, directory: str
) -> None:
  """Checks that a prior was made for, and from, a dataset.

  Args:
    spec: the prior's card.
    store: dataset.
    directory: of the prior, for the message.

  Raises:
    UserError: shapes differ, or the prior was trained on other data.
  """
  store.require(spec.episodes, f'the prior {directory}')
  trained_on = export.trained_on(spec)
  if trained_on is not None and trained_on != store.fingerprint():
    raise errors.UserError(
        f'The prior {directory} was trained on other data than the dataset it '
        f'is to be assured on: its fingerprint was {trained_on[:12]}, found '
        f'{store.fingerprint()[:12]}. Its calibration episodes may have been '
        'trained on; train the prior on this dataset.'
    )


def _row(
    latents: bounds.LabelledLatents, mode: str, target: float,
    confidence: float, seed: int, max_episode_steps: int,
) -> dict[str, Any]:
  """One line of `assurance.csv`."""
  if mode == 'paper':
    bound = bounds.paper_bound(latents, target, np.random.default_rng(seed))
  elif mode == 'exact':
    bound = bounds.exact_bound(latents, target)
  else:
    bound = certified.certified_bound(
        latents, target, confidence, max_episode_steps
    )
  row = {
      'mode': mode,
      'max_unsafe_fraction': target,
      # Only the certified mode has one.
      'confidence': confidence if mode == 'certified' else None,
      'latent_bound': bound,  # 0 where nothing is admitted.
      'in_bound_unsafe_fraction': bounds.unsafe_fraction(latents, bound),
      'in_bound_unsafe_fraction_natural': bounds.unsafe_fraction(
          latents, bound, unsafe_weight=1.0
      ),
      'safe_actions_in_bound': bounds.safe_in_bound(latents, bound),
      'n_episodes': latents.n_episodes,
  }
  # JSON knows no NaN.
  return {
      key: None if isinstance(value, float) and np.isnan(value) else value
      for key, value in row.items()
  }


def _check_arguments(
    mode: str, max_unsafe_fraction: float, targets: Sequence[float],
    confidence: float, max_episode_steps: Optional[int],
) -> None:
  if mode not in MODES:
    raise errors.UserError(
        f'compute_assurance.mode = {mode!r}: expected one of '
        f'{", ".join(MODES)}.'
    )
  for name, value in (
      ('max_unsafe_fraction', max_unsafe_fraction),
      *(('targets', target) for target in targets),
  ):
    if not 0 <= value < 1:
      raise errors.UserError(
          f'compute_assurance.{name}: {value} was given; expected a share in '
          '[0, 1).'
      )
  if max_episode_steps is not None:
    errors.require_sizes(
        'compute_assurance', max_episode_steps=max_episode_steps
    )
  if mode == 'certified' and not max_unsafe_fraction:
    raise errors.UserError(
        'No finite number of episodes certifies a share of 0; give '
        'compute_assurance.max_unsafe_fraction a positive value, or choose '
        "the mode 'exact'."
    )
  if not 0 < confidence < 1:
    raise errors.UserError(
        f'compute_assurance.confidence = {confidence}: expected a number '
        'inside (0, 1).'
    )


def _check_admits(
    chosen: dict[str, Any], latents: bounds.LabelledLatents, directory: str
) -> None:
  if not latents.unsafe.size:
    raise errors.UserError(
        f'The {_SPLIT} split has no step that counts for {directory}: neither '
        'a safe step of a successful episode nor an unsafe one. Collect more '
        'episodes, or check the labels in data_card.json.'
    )
  if not latents.unsafe.any():
    raise errors.UserError(
        f'The {_SPLIT} split has no unsafe step for {directory} '
        f'({latents.n_episodes} episodes, {latents.unsafe.size} safe steps): '
        'every bound keeps the share, and none means anything. Collect more '
        'episodes, or noisier ones.'
    )
  if chosen['latent_bound'] > bounds.NOTHING:
    return
  natural = float(np.mean(latents.unsafe))
  raise errors.UserError(
      f'The {chosen["mode"]} latent bound of {directory} admits nothing: no '
      'bound keeps the unsafe share at '
      f'{100 * chosen["max_unsafe_fraction"]:g}% on '
      f'{latents.n_episodes} episodes with {len(latents.unsafe)} actions, '
      f'{natural:.1%} of them unsafe, the smallest latent at '
      f'{latents.abs_max.min():.3f}. Train the prior longer, collect more '
      'episodes, or raise compute_assurance.max_unsafe_fraction.'
  )
