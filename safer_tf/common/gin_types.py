"""Whether gin's values have the annotated types, and are used at all."""

from __future__ import annotations

import collections.abc
import inspect
import typing
from typing import Any, Iterator

from gin import config as gin_config

_NUMBERS = {int: (int,), float: (int, float)}
_UNIONS = ('Union', 'UnionType')  # Of Optional[X], and of X | None.


def mistakes() -> Iterator[str]:
  """One line for each bound value of a wrong type.

  Only literals whose type is annotated plainly are judged: numbers, strings,
  truth values, sequences and mappings of them, functions, and None.
  """
  # Gin has no public way to list what is bound.
  for (_, selector), values in gin_config._CONFIG.items():
    target = gin_config._REGISTRY[selector].wrapped
    called = target.__init__ if inspect.isclass(target) else target
    hints = _hints(called)
    for name, value in values.items():
      if name in hints and not fits(value, hints[name]):
        expected = inspect.formatannotation(hints[name])
        yield (
            f'{selector.split(".")[-1]}.{name} = {value!r}, expected '
            f'{expected.replace("typing.", "")}.'
        )


def unused_macros() -> Iterator[str]:
  """Macros that are bound and that no binding refers to.

  Gin takes every name without a dot for a macro, so that a misspelt one, or an
  argument without its function, is no error of its own.
  """
  used = _used()
  for scope, selector in gin_config._CONFIG:
    if selector == 'gin.macro' and f'{scope}/{selector}' not in used:
      yield scope


def unused_scopes() -> Iterator[str]:
  """Bindings of a gin scope that no reference enters, and no code does."""
  entered = {name.rpartition('/')[0] for name in _used()}
  for scope, selector in gin_config._CONFIG:
    if scope and selector != 'gin.macro' and scope not in entered:
      yield f'{scope}/{selector.split(".")[-1]}'


def _used() -> set[str]:
  """What the bindings refer to, each with its scope."""
  return {
      reference.scoped_selector for values in gin_config._CONFIG.values()
      for value in values.values() for reference in _references(value)
  }


def _references(value: Any) -> Iterator[gin_config.ConfigurableReference]:
  """The references in a value, however deep."""
  if isinstance(value, gin_config.ConfigurableReference):
    yield value
  elif isinstance(value, dict):
    yield from _references((*value, *value.values()))
  elif isinstance(value, (tuple, list, set)):
    for each in value:
      yield from _references(each)


def fits(value: Any, hint: Any) -> bool:
  """Whether a value may stand where a type is expected.

  Args:
    value: literal of a gin binding, or one of gin's references.
    hint: a type annotation.

  Returns:
    False only if the value is certainly wrong.
  """
  if isinstance(value, gin_config.ConfigurableReference):
    return True  # Known only when it is called.
  origin, inner = typing.get_origin(hint), typing.get_args(hint)
  if getattr(origin, '__name__', getattr(origin, '_name', '')) in _UNIONS:
    return any(fits(value, each) for each in inner)
  if hint in _NUMBERS:
    return isinstance(value, _NUMBERS[hint]) and not isinstance(value, bool)
  if origin is collections.abc.Callable:
    return callable(value)
  if hint in (str, bool, type(None)):
    return isinstance(value, hint)
  if inner and origin in (tuple, list, collections.abc.Sequence):
    if not isinstance(value, (tuple, list)):
      return False
    if origin is tuple and inner[1:] != (...,):
      return len(value) == len(inner) and all(map(fits, value, inner))
    return all(fits(each, inner[0]) for each in value)
  if inner and origin in (dict, collections.abc.Mapping):
    return isinstance(value, dict) and all(
        fits(key, inner[0]) and fits(each, inner[1])
        for key, each in value.items()
    )
  return True


def _hints(function: Any) -> dict[str, Any]:
  try:
    return typing.get_type_hints(function)
  except (TypeError, NameError, AttributeError):
    # Python 3.9 cannot evaluate X | Y, nor any what only type checkers import.
    return {}
