"""Errors that a user of the environments can cause and can mend."""


class EnvError(ValueError):
  """Bad input to an environment, told in one clear line."""
