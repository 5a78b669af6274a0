"""The settings of a training: whether they make sense, and are the same."""

from __future__ import annotations

import math
import os
from typing import Any, Mapping

from safer_tf.common import config
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.data import store as store_lib
from safer_tf.prior import checkpoints
from safer_tf.prior import skill_prior

_EXPORTS = ('best', 'last')

# Settings that older records do not name, and what they were then.
SINCE = {'features_of': None, 'anchor_weight': 0.0, 'held_out_tasks': None}

# How often a training is written down makes no other prior of it.
INCIDENTAL = frozenset(('checkpoint_interval', 'summary_interval'))

# Configurables that shape the model, by which a finished prior is known again.
_MODEL = (
    'SkillPrior', 'ConditionalRealNVP', 'TransformerPosterior',
    'default_encoder', 'image_encoder', 'vector_encoder',
)


def check(settings: Mapping[str, Any]) -> None:
  """Raises UserError where a value cannot be meant.

  Args:
    settings: arguments of `train_prior`.
  """
  if settings['export_which'] not in _EXPORTS:
    raise errors.UserError(
        f'train_prior.export_which is {settings["export_which"]!r}: expected '
        f'{" or ".join(_EXPORTS)}.'
    )
  if settings['positives'] not in store_lib.POSITIVE_KINDS:
    raise errors.UserError(
        f'train_prior.positives is {settings["positives"]!r}: expected '
        f'{" or ".join(store_lib.POSITIVE_KINDS)}.'
    )
  for name in (
      'num_steps', 'safe_runs', 'learning_rate', 'validation_interval',
      'validation_episodes', 'checkpoint_interval', 'summary_interval',
      'max_gradient_norm',
  ):
    value = settings[name]
    if not isinstance(value, (int, float)) or not 0 < value < math.inf:
      raise errors.UserError(
          f'train_prior.{name} is {value!r}: expected a finite number above 0.'
      )
  for name in (
      'anchor_weight', 'unsafe_runs', 'unsafe_weight', 'kl_weight',
      'final_learning_rate',
  ):
    value = settings[name]
    if not isinstance(value, (int, float)) or not 0 <= value < math.inf:
      raise errors.UserError(
          f'train_prior.{name} is {value!r}: expected 0 or more, and finite.'
      )
  if not 0 <= settings['momentum'] < 1:
    raise errors.UserError(
        f'train_prior.momentum is {settings["momentum"]!r}: expected 0 or '
        'more, and less than 1.'
    )
  if settings['features_of'] == settings['prior']:
    raise errors.UserError(
        f'train_prior.features_of is {settings["prior"]!r}, the prior that is '
        'to be trained: expected another one.'
    )
  if bool(settings['unsafe_weight']) != bool(settings['unsafe_runs']):
    raise errors.UserError(
        f'train_prior.unsafe_weight is {settings["unsafe_weight"]} but '
        f'unsafe_runs is {settings["unsafe_runs"]}: one without the other has '
        'no meaning. Set both, or both to 0.'
    )


def card_of_features(directory: str) -> str:
  """The card of the prior whose encoder and posterior are taken over.

  Args:
    directory: of that prior's SavedModel.

  Returns:
    The card's path.

  Raises:
    UserError: there is none.
  """
  path = os.path.join(directory, layout.PRIOR_SPEC)
  if not os.path.exists(path):
    raise errors.UserError(
        f'{directory} holds no prior, which train_prior.features_of names: '
        'run train_prior for it first, or copy it there.'
    )
  return path


def identity(
    settings: Mapping[str, Any], model: skill_prior.SkillPrior,
    store: store_lib.EpisodeStore, inputs: Mapping[str, str],
) -> dict[str, Any]:
  """What makes two trainings the same: settings, model and data.

  Args:
    settings: arguments of `train_prior`.
    model: prior, as built.
    store: dataset.
    inputs: hashes of what is read, by name.

  Returns:
    A JSON-ready dictionary.
  """
  operative = config.operative().replace('\\\n', ' ').splitlines()
  return {
      'train_prior': dict(settings),
      'model': sorted(
          ' '.join(line.split()) for line in operative
          if line.split('.')[0] in _MODEL
      ),
      'variables': [list(variable.shape) for variable in model.variables],
      'data': store.fingerprint(),
      'features': inputs.get(layout.PRIOR_SPEC),
  }


def is_finished(directory: str, wanted: Mapping[str, Any]) -> bool:
  """Whether a directory holds the finished prior that is wanted.

  Args:
    directory: of the prior.
    wanted: its `identity`.

  Returns:
    False also where there is none, or the wanted one is not finished.

  Raises:
    UserError: it holds another.
  """
  path = os.path.join(directory, layout.SETTINGS)
  stage = os.path.join(directory, layout.STAGE)
  finished = os.path.exists(stage)
  begun = checkpoints.are_there(
      os.path.join(directory, layout.CHECKPOINTS_DIR)
  )
  expected = f'the settings of a prior; delete {directory} to train it anew'
  if finished and not os.path.exists(path):  # A copy, as shipped.
    found = files.read_json(stage, expected, ('settings',))['settings']
  elif finished or begun:
    found = files.read_json(path, expected, ('train_prior', 'model'))
  else:
    return False  # There is nothing of a prior yet.
  # What a record from before these existed stands for.
  found = {
      'features': None, **found,
      'train_prior': {**SINCE, **found.get('train_prior', {})},
  }
  if _essential(found) != _essential(wanted):
    raise errors.UserError(
        f'{directory} holds another prior: {_difference(found, wanted)}. '
        'Choose another --root_dir, or delete that directory to train anew.'
    )
  return finished


def _essential(identity: Mapping[str, Any]) -> dict[str, Any]:
  return {**identity, 'train_prior': {
      name: value for name, value in identity['train_prior'].items()
      if name not in INCIDENTAL
  }}


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
  """What differs between two identities, in words."""
  before = found['train_prior']
  words = [
      f'{name} was {before.get(name)!r}, is now {value!r}'
      for name, value in wanted['train_prior'].items()
      if before.get(name) != value and name not in INCIDENTAL
  ]
  words += [
      f'now {line}' for line in wanted['model']
      if line not in found.get('model', [])
  ]
  if found.get('data') != wanted['data']:
    words.append('the dataset is another')
  if found['features'] != wanted['features'] and not words:
    words.append(f'{before["features_of"]} has become another prior')
  return '; '.join(words) or 'its variables have other shapes'
