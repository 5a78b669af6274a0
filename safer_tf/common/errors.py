"""Errors that a user can cause and can mend."""

from __future__ import annotations

from typing import Sequence, Union


class UserError(Exception):
  """A mistake in input, config or environment, told in one clear line.

  The message says what is wrong, where, what was expected and what to do.
  `safer_tf.common.cli` prints it alone and exits with code 2.
  """


def require_sizes(owner: str, **sizes: Union[int, Sequence[int]]) -> None:
  """Checks whole numbers that must be 1 or more.

  Args:
    owner: what they are set for, e.g. `train_agent`.
    **sizes: a number or several of them, by name.

  Raises:
    UserError: one is less, or none at all.
  """
  for name, value in sizes.items():
    each = value if isinstance(value, (tuple, list)) else (value,)
    if not each or not all(isinstance(v, int) and v >= 1 for v in each):
      raise UserError(
          f'{owner}.{name} is {value!r}; expected whole numbers from 1 on.'
      )
