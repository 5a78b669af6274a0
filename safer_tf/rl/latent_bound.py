"""Which latent bound an agent acts within."""

from __future__ import annotations

import math
import os
from typing import Any, Union

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout

# Values of the gin parameter `latent_bound` that are not numbers.
ASSURANCE = 'assurance'
UNBOUNDED = 'unbounded'


def resolve(
    wanted: Union[str, float],
    export_dir: str,
    mode: str,
    max_unsafe_fraction: float,
) -> float:
  """The bound that a gin value means.

  Args:
    wanted: a positive number, `assurance` for the one computed for a prior, or
      `unbounded`.
    export_dir: exported prior whose `assurance.json` is meant.
    mode: assurance mode, `paper`, `exact` or `certified`.
    max_unsafe_fraction: the assurance's target, in [0, 1].

  Returns:
    A positive bound, possibly infinite.

  Raises:
    UserError: the value means nothing, or the bound admits nothing.
  """
  if wanted == UNBOUNDED:
    return math.inf
  if wanted == ASSURANCE:
    path = os.path.join(export_dir, layout.ASSURANCE)
    return _looked_up(path, mode, max_unsafe_fraction)
  if isinstance(wanted, bool) or not isinstance(wanted, (int, float)):
    raise errors.UserError(
        f'latent_bound is {wanted!r}; expected a positive number, '
        f'{ASSURANCE!r} or {UNBOUNDED!r}.'
    )
  return _admitting(float(wanted), 'latent_bound')


def _looked_up(path: str, mode: str, max_unsafe_fraction: float) -> float:
  record = files.read_json(
      path, 'the latent bounds that compute_assurance writes; run it on this '
      'prior first, or set train_agent.latent_bound to a number'
  )
  try:
    rows = record['table']
    for row in rows:
      if row['mode'] == mode and math.isclose(
          row['max_unsafe_fraction'], max_unsafe_fraction, abs_tol=1e-9
      ):
        where = f'{path} (mode {mode}, at most {max_unsafe_fraction} unsafe)'
        return _admitting(float(row['latent_bound']), where)
    known = ', '.join(
        f'{row["mode"]} at {row["max_unsafe_fraction"]}' for row in rows
    )
  except (KeyError, TypeError, ValueError) as error:
    raise errors.UserError(
        f'{path} holds no table of bounds ({error!r}). Run compute_assurance '
        'again.'
    ) from error
  raise errors.UserError(
      f'{path} has no bound of mode {mode!r} at max_unsafe_fraction '
      f'{max_unsafe_fraction}; it has: {known}. Choose one of these, or run '
      'compute_assurance with that target.'
  )


def _admitting(bound: Any, where: str) -> float:
  if not bound > 0:
    raise errors.UserError(
        f'{where}: the latent bound is {bound}, which admits no action. Raise '
        'max_unsafe_fraction, train the prior for longer, or set '
        'train_agent.latent_bound to a positive number.'
    )
  return bound
