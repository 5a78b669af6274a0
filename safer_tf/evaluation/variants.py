"""Names of a method's variants, and the bounds that some of them state."""

from __future__ import annotations

from safer_tf.evaluation import style

USUAL = 'default'  # Without a name of its own.
# PARROT and Contextual PARROT within a bound that the config states.
OWN_RANGE = 'own_range'
UNBOUNDED = 'unbounded'  # Prior-Explore's latents.
OWN_BOUND = 'own_bound'  # Of `held_out`, in that protocol's own SAFER's bound.
OWN_ENCODER = 'own_encoder'
# The prior's embedding at the own encoders' batch, for comparison with them.
SMALL_BATCH = 'prior_batch_64'

_SWEEP = 'tradeoff_'
_RANGE = f'{_SWEEP}range_'


def of_target(max_unsafe_fraction: float) -> str:
  """Variant of the sweep within an assurance's bound for another target."""
  return f'{_SWEEP}{max_unsafe_fraction:g}'


def of_range(latent_bound: float) -> str:
  """Variant of the sweep within a bound that is stated."""
  return f'{_RANGE}{latent_bound:g}'


def is_of_sweep(variant: str) -> bool:
  """Whether a variant belongs to the sweep over the latent bound."""
  return variant.startswith(_SWEEP)


def is_of_bound(variant: str) -> bool:
  """Whether a variant differs from the usual one in the latent bound alone."""
  return is_of_sweep(variant) or variant in (
      USUAL, OWN_RANGE, UNBOUNDED, OWN_BOUND
  )


def target(variant: str) -> float | None:
  """The assurance's target that a variant of the sweep states, if it does."""
  if not is_of_sweep(variant) or variant.startswith(_RANGE):
    return None
  return _number(variant.removeprefix(_SWEEP))


def stated_bound(variant: str, own_range: float | None) -> float | None:
  """The latent bound that a variant must have, where a number states it.

  Args:
    variant: its name.
    own_range: bound of `OWN_RANGE`.

  Returns:
    The bound; None where an assurance gives it, or there is none.
  """
  if variant == OWN_RANGE:
    return own_range
  if variant.startswith(_RANGE):
    return _number(variant.removeprefix(_RANGE))
  return None


def _number(text: str) -> float | None:
  try:
    return float(text)
  except ValueError:  # A name of the user's own.
    return None


def label(method: str, variant: str) -> str:
  """A method's name, with its variant where that is not the usual one."""
  name = style.label(method)
  return name if variant == USUAL else (
      f'{name} ({variant.replace("_", " ")})'
  )
