"""The gin values that are in force."""

from __future__ import annotations

import inspect
from typing import Any

import gin
from gin import config

from safer_tf import configurables  # Registers them. # noqa: F401
from safer_tf.common import config as config_lib


def value(name: str, default: Any = None) -> Any:
  """A gin value, or what stands for it where it is not set.

  Args:
    name: of a parameter, e.g. `collect_data.num_steps`.
    default: given if it is neither bound nor has a default of its own; None
      stands for what a run decides, and is none.

  Returns:
    The value; of a function `module:name`, as datasets have it.
  """
  try:
    found = gin.query_parameter(name)
  except ValueError:
    return _own_default(name, default)
  if getattr(found, 'selector', None) == 'gin.macro':
    return value(f'{found.scoped_selector}.value', default)
  if isinstance(found, config.ConfigurableReference):
    return config_lib.name_of(found.configurable.wrapped)
  return found


def _own_default(name: str, default: Any) -> Any:
  """What a parameter that gin does not bind is by its function's signature."""
  function, _, parameter = name.rpartition('.')
  try:
    signature = inspect.signature(gin.get_configurable(function))
  except ValueError:  # None of that name, e.g. a macro's.
    return default
  declared = signature.parameters.get(parameter)
  if declared is None or declared.default in (
      inspect.Parameter.empty, gin.REQUIRED, None
  ):
    return default
  if callable(declared.default):
    return config_lib.name_of(declared.default)
  return declared.default
