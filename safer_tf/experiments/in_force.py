"""The gin values that are in force."""

from __future__ import annotations

from typing import Any, Sequence

import gin
from absl import logging
from gin import config

from safer_tf.common import config as config_lib


def value(name: str, default: Any) -> Any:
  """A gin value, or what stands for it where it is not set.

  Args:
    name: of a parameter, e.g. `collect_data.num_steps`.
    default: given if it is not bound.

  Returns:
    The value; of a function `module:name`, as datasets have it.
  """
  try:
    found = gin.query_parameter(name)
  except ValueError:
    return default
  if getattr(found, 'selector', None) == 'gin.macro':
    return value(f'{found.scoped_selector}.value', default)
  if isinstance(found, config.ConfigurableReference):
    function = found.configurable.wrapped
    return f'{function.__module__}:{function.__qualname__}'
  return found


def parse(gin_files: Sequence[str], bindings: Sequence[str]) -> None:
  """Puts gin files and bindings in force, instead of those that were.

  Args:
    gin_files: as of `config.parse`.
    bindings: likewise.

  Raises:
    UserError: as `config.parse`.
  """
  # gin reports each folder it looks into in vain as an error.
  before = logging.get_verbosity()
  logging.set_verbosity(logging.FATAL)
  try:
    config_lib.parse(gin_files, bindings)
  finally:
    logging.set_verbosity(before)
