"""A trained prior as a SavedModel that needs none of this package to load."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.data import schema
from safer_tf.prior import direct
from safer_tf.prior import skill_prior

FORMAT_VERSION = 1

# Largest difference between the live module's and the SavedModel's values.
_TOLERANCE = 1e-4
_REMEDY = (
    'Copy the whole directory again, or delete '
    f'{layout.STAGE} beside it and run train_prior again (its bounds are '
    'computed and its agents trained anew then).'
)


@dataclasses.dataclass(frozen=True)
class PriorSpec:
  """What `prior_spec.json` says of the SavedModel beside it."""

  prior: str  # Id of the method that the prior was trained for.
  observation_shape: tuple[int, ...]
  observation_dtype: str
  action_dim: int  # A; actions are float32 in [-1, 1].
  window: int  # W
  embedding_dim: int  # E
  context_dim: int  # C
  uses_context: bool
  provenance: Mapping[str, Any]

  @property
  def episodes(self) -> schema.EpisodeSpec:
    """Shapes and types of the episodes that it can act on."""
    return schema.EpisodeSpec(
        self.observation_shape, self.observation_dtype, self.action_dim
    )

  def to_json(self) -> dict[str, Any]:
    """The content of `prior_spec.json`, hashes of the files aside."""
    return {
        'format_version': FORMAT_VERSION,
        'method': self.prior,
        'observation': {
            'shape': list(self.observation_shape),
            'dtype': self.observation_dtype,
        },
        'action': {
            'shape': [self.action_dim], 'dtype': 'float32',
            'minimum': -1.0, 'maximum': 1.0,
        },
        'window': self.window,
        'embedding': self.embedding_dim,
        'context': self.context_dim,
        'uses_context': self.uses_context,
        'provenance': dict(self.provenance),
    }

  @classmethod
  def from_json(cls, value: Mapping[str, Any]) -> PriorSpec:
    """Inverse of `to_json`; KeyError or TypeError where it does not fit."""
    return cls(
        prior=value['method'],
        observation_shape=tuple(value['observation']['shape']),
        observation_dtype=value['observation']['dtype'],
        action_dim=int(value['action']['shape'][0]),
        window=int(value['window']),
        embedding_dim=int(value['embedding']),
        context_dim=int(value['context']),
        uses_context=bool(value['uses_context']),
        provenance=value['provenance'],
    )


@dataclasses.dataclass(frozen=True)
class LoadedPrior:
  """A prior from disk: its card and its functions, all batched.

  The functions take tensors of the shapes and dtypes that `SkillPrior`
  documents, and nothing else: they skip what `tf.function` does to find out.
  """

  path: str
  spec: PriorSpec
  embed: Callable[..., Any]
  infer_context: Callable[..., Any]
  decode: Callable[..., Any]
  encode: Callable[..., Any]
  log_prob: Callable[..., Any]
  observe: Callable[..., Any]
  # Keeps the variables alive: a concrete function alone does not.
  module: Any = dataclasses.field(repr=False)
  _for_one: dict[str, Callable[..., Any]] = dataclasses.field(
      default_factory=dict, init=False, repr=False, compare=False
  )

  def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
    """Pickled, it is its path: a process that it is handed to loads it anew."""
    return load_prior, (os.path.abspath(self.path),)

  def for_one(self, name: str) -> Callable[..., Any]:
    """One of the functions, compiled by XLA for a batch of one.

    Acting is a chain of small operations, whose calls cost more than they do;
    compiled as a whole, with the variables as constants, they are one.

    Args:
      name: of the function, e.g. `decode`.

    Returns:
      The function for one state; the plain one if XLA cannot compile it, as
      may be with an encoder of a user's.
    """
    if name not in self._for_one:
      self._for_one[name] = self._compiled(name)
    return self._for_one[name]

  def _compiled(self, name: str) -> Callable[..., Any]:
    function = getattr(self.module, name)
    signature = [
        tf.TensorSpec([1, *spec.shape[1:]], spec.dtype)
        for spec in _signatures(self.spec)[name]
    ]
    try:
      compiled = direct.compile_once(
          lambda *arguments: function(*arguments), signature, constant=True
      )
      compiled(*(tf.zeros(spec.shape, spec.dtype) for spec in signature))
    except (tf.errors.OpError, ValueError, TypeError):
      # A user's encoder may hold what has no constant or XLA does not know.
      return getattr(self, name)
    return compiled


def export_prior(
    prior: skill_prior.SkillPrior, path: str, name: str,
    observation_dtype: str, provenance: Mapping[str, Any],
) -> None:
  """Writes a SavedModel and its `prior_spec.json`, whole or not at all.

  Args:
    prior: live prior.
    path: directory to make or replace.
    name: id of the method that the prior was trained for.
    observation_dtype: numpy name of the observations' dtype.
    provenance: JSON-ready record of how the prior came about.

  Raises:
    RuntimeError: the SavedModel does not give the live prior's values.
  """
  spec = PriorSpec(
      name, prior.observation_shape, observation_dtype, prior.action_dim,
      prior.window, prior.embedding_dim, prior.context_dim,
      prior.uses_context, provenance,
  )
  module = tf.Module()
  # A SavedModel holds only the variables that are attached to it.
  module.all_variables = list(prior.variables)
  for function, signature in _signatures(spec).items():
    setattr(
        module, function,
        tf.function(getattr(prior, function), input_signature=signature),
    )
  with files.replacing(path) as beside:
    with files.writing_by_tensorflow(path):
      tf.saved_model.save(module, beside)
    _check_equal(prior, tf.saved_model.load(beside), spec)
    card = {**spec.to_json(), 'files': _hashes(beside)}
    files.write_json(os.path.join(beside, layout.PRIOR_SPEC), card)


def load_prior(path: str, *, prior: str | None = None) -> LoadedPrior:
  """Loads an exported prior, having checked that it is what is wanted.

  Args:
    path: directory of the SavedModel and its `prior_spec.json`.
    prior: wanted method id; None for any.

  Returns:
    The prior.

  Raises:
    UserError: it is missing, damaged, or not what is wanted.
  """
  spec = read_spec(path)
  _check_wanted(path, 'was trained as method', spec.prior, prior)
  try:
    loaded = tf.saved_model.load(path)
    functions = {
        name: getattr(loaded, name).get_concrete_function(*signature)
        for name, signature in _signatures(spec).items()
    }
  except Exception as error:  # TensorFlow's many ways to say damaged.
    raise errors.UserError(
        f'The SavedModel in {path} cannot be loaded ({error}). {_REMEDY}'
    ) from error
  return LoadedPrior(path=path, spec=spec, module=loaded, **functions)


def trained_on(spec: PriorSpec) -> str | None:
  """Fingerprint of the data of a prior, None if its record has none."""
  return spec.provenance.get('settings', {}).get('data')


def take_features(
    prior: skill_prior.SkillPrior, path: str, observation_dtype: str
) -> PriorSpec:
  """Gives a live prior the encoder and the posterior of an exported one.

  Args:
    prior: live prior, changed in place; its flow is left alone.
    path: directory of the exported prior.
    observation_dtype: numpy name of the observations' dtype.

  Returns:
    The card of the exported prior.

  Raises:
    UserError: it is missing, damaged, or of other parts.
  """
  source = load_prior(path)
  for what, ours, theirs in (
      (
          'takes observations of shape', list(prior.observation_shape),
          list(source.spec.observation_shape),
      ),
      (
          'takes observations of dtype', observation_dtype,
          source.spec.observation_dtype,
      ),
      ('has a window of', prior.window, source.spec.window),
      ('has an embedding of', prior.embedding_dim, source.spec.embedding_dim),
      ('has a context of', prior.context_dim, source.spec.context_dim),
      ('has uses_context =', prior.uses_context, source.spec.uses_context),
  ):
    _check_wanted(path, what, theirs, ours)
  try:
    prior.take_features(source.module.all_variables)
    # Weights of the same shapes may still belong to another model.
    _check_equal(prior, source, source.spec, ('embed', 'infer_context'))
  except (AttributeError, ValueError, RuntimeError) as error:
    raise errors.UserError(
        f'The encoder or posterior in {path} is built otherwise than this '
        f'config builds it ({error}). Train with the config of that prior, or '
        'leave train_prior.features_of out.'
    ) from error
  return source.spec


def _signatures(spec: PriorSpec) -> dict[str, tuple[tf.TensorSpec, ...]]:
  """Argument specs of each exported function; every batch size will do."""

  def floats(*shape: int) -> tf.TensorSpec:
    return tf.TensorSpec([None, *shape], tf.float32)

  observation = tf.TensorSpec(
      [None, *spec.observation_shape], spec.observation_dtype
  )
  window = floats(spec.window, spec.embedding_dim)
  valid = tf.TensorSpec([None, spec.window], tf.bool)
  embedding = floats(spec.embedding_dim)
  context = floats(spec.context_dim)
  action = floats(spec.action_dim)
  return {
      'embed': (observation,),
      'infer_context': (window, valid),
      'decode': (action, embedding, context),
      'encode': (action, embedding, context),
      'log_prob': (action, embedding, context),
      'observe': (observation, window, valid),
  }


def _check_equal(
    prior: skill_prior.SkillPrior, loaded: Any, spec: PriorSpec,
    names: Sequence[str] | None = None,
) -> None:
  random = np.random.default_rng(0)
  for name, signature in _signatures(spec).items():
    if names is not None and name not in names:
      continue
    arguments = [_example(random, argument) for argument in signature]
    for live, reloaded in zip(
        tf.nest.flatten(getattr(prior, name)(*arguments)),
        tf.nest.flatten(getattr(loaded, name)(*arguments)),
    ):
      difference = np.abs(
          np.asarray(live, np.float64) - np.asarray(reloaded, np.float64)
      ).max()
      if not difference <= _TOLERANCE * max(1, np.abs(live).max()):
        raise RuntimeError(
            f'The exported {name} differs from the live one by {difference}.'
        )


def _example(random: np.random.Generator, spec: tf.TensorSpec) -> tf.Tensor:
  shape = [3, *spec.shape[1:]]
  if spec.dtype == tf.bool:
    return tf.constant(np.sort(random.random(shape) < 0.5, axis=1))
  if spec.dtype == tf.uint8:
    return tf.constant(random.integers(0, 256, shape), tf.uint8)
  return tf.constant(random.normal(size=shape), spec.dtype)


def _hashes(directory: str) -> dict[str, str]:
  found = {}
  for folder, _, names in os.walk(directory):
    for name in names:
      path = os.path.join(folder, name)
      found[os.path.relpath(path, directory)] = files.sha256(path)
  return found


def read_spec(path: str) -> PriorSpec:
  """Reads a prior's card and checks the files that it names.

  Args:
    path: directory of the export.

  Returns:
    The card.

  Raises:
    UserError: it is missing or damaged, or a file is not the exported one.
  """
  file = os.path.join(path, layout.PRIOR_SPEC)
  card = files.read_json(
      file, 'an exported prior, as train_prior writes it; run train_prior '
      f'first, once {layout.STAGE} of the prior is deleted if it is there'
  )
  version = card.get('format_version') if isinstance(card, dict) else None
  if version != FORMAT_VERSION:
    raise errors.UserError(
        f'{file} has format version {version}, expected {FORMAT_VERSION}. '
        'Train the prior again, or use the release that wrote it.'
    )
  try:
    spec = PriorSpec.from_json(card)
    hashes = dict(card['files'])
  except (KeyError, TypeError, ValueError, IndexError) as error:
    raise errors.UserError(
        f'{file} is damaged: {error!r}. {_REMEDY}'
    ) from error
  for name, expected in hashes.items():
    part = os.path.join(path, name)
    if not os.path.isfile(part) or files.sha256(part) != expected:
      raise errors.UserError(
          f'{part} is missing or differs from the file that was exported. '
          f'{_REMEDY}'
      )
  return spec


def _check_wanted(path: str, what: str, found: Any, wanted: Any) -> None:
  if wanted is not None and found != wanted:
    raise errors.UserError(
        f'The prior in {path} {what} {found}, expected {wanted}. Point to '
        'another prior, or train one that matches.'
    )
