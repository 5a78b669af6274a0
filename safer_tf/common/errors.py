"""Errors that a user can cause and can mend."""

from __future__ import annotations


class UserError(Exception):
  """A mistake in input, config or environment, told in one clear line.

  The message says what is wrong, where, what was expected and what to do.
  `safer_tf.common.cli` prints it alone and exits with code 2.
  """
