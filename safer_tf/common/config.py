"""Finding and parsing gin files."""

from __future__ import annotations

import difflib
import os
import re
import tokenize
import traceback
from typing import Callable, Sequence

from absl import logging

from safer_tf.common import errors

# A folder that holds this file is the config folder, and no other is.
_SENTINEL = 'base.gin'


def config_dir() -> str:
  """Folder of the shipped gin files: the installed package's or checkout's.

  Raises:
    UserError: neither holds them.
  """
  here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
  for candidate in (
      os.path.join(here, 'configs'), os.path.join(os.path.dirname(here), 'gin')
  ):
    if os.path.exists(os.path.join(candidate, _SENTINEL)):
      return candidate
  raise errors.UserError(
      f'The shipped gin files are missing beside {here}; reinstall safer_tf.'
  )


def shipped() -> list[str]:
  """Names of all shipped gin files, relative to `config_dir`."""
  top = config_dir()
  found = []
  for folder, _, names in os.walk(top):
    found += [
        os.path.relpath(os.path.join(folder, name), top)
        for name in names if name.endswith('.gin')
    ]
  return sorted(found)


def resolve(name: str) -> str:
  """Path of a gin file named by path or relative to the shipped folder.

  Args:
    name: e.g. `methods/safer.gin` or a path of the user's own.

  Returns:
    An existing path.

  Raises:
    UserError: there is none; the nearest shipped names are listed.
  """
  for candidate in (name, os.path.join(config_dir(), name)):
    if os.path.isfile(candidate):
      return candidate
  nearest = difflib.get_close_matches(name, shipped(), n=3, cutoff=0.3)
  raise errors.UserError(
      f'Gin file {name!r} was not found. Nearest shipped files: '
      f'{", ".join(nearest) or ", ".join(shipped())}.'
  )


def parse(gin_files: Sequence[str], bindings: Sequence[str]) -> None:
  """Parses gin files, then bindings, after registering all configurables.

  Args:
    gin_files: names for `resolve`, in order; later ones win.
    bindings: single gin bindings, e.g. `train_prior.num_steps = 10`.

  Raises:
    UserError: a file is missing, or a name or value in it is wrong.
  """
  paths = [resolve(name) for name in gin_files]

  import gin  # pylint: disable=g-import-not-at-top

  from safer_tf import configurables  # Registers them. # noqa: F401
  from safer_tf.common import gin_types

  gin.clear_config()
  gin.add_config_file_search_path(config_dir())
  # gin reports each folder it looks into in vain as an error.
  before = logging.get_verbosity()
  logging.set_verbosity(logging.FATAL)
  try:
    gin.parse_config_files_and_bindings(paths, list(bindings))
  except (
      ValueError, TypeError, SyntaxError, OSError, ImportError,
      tokenize.TokenError,
  ) as error:
    raise _bad(str(error), gin_files) from error
  except RecursionError as error:
    raise _bad('A file includes itself.', gin_files) from error
  except (Exception, SystemExit) as error:  # Of a module that a file imports.
    place = traceback.extract_tb(error.__traceback__)[-1]
    raise _bad(
        f'{place.filename}, line {place.lineno}, raised '
        f'{type(error).__name__}: {error}.', gin_files
    ) from error
  finally:
    logging.set_verbosity(before)
  for mistake in gin_types.mistakes():
    raise _bad(mistake, gin_files)
  for name in gin_types.unused_macros():
    raise _bad(
        f'{name} is set and nothing uses it as %{name}: expected the name of a '
        'macro of these files (of one that base.gin has: a file of '
        'methods/*.gin before yours), or a binding such as train_agent.seed.',
        gin_files
    )
  for name in gin_types.unused_scopes():
    raise _bad(
        f'{name} is set for a scope that nothing refers to as '
        f'@{name.rpartition("/")[0]}/...: leave the scope out.', gin_files
    )


def _bad(text: str, gin_files: Sequence[str]) -> errors.UserError:
  """One line for what gin or our checks found."""
  text = re.sub(r'\s+', ' ', text).strip()
  where = f' in {", ".join(gin_files)}' if gin_files else ''
  return errors.UserError(
      f'Bad gin config{where}: {text} Mend that name or value in the file or '
      'in --gin_bindings.'
  )


def name_of(function: Callable) -> str:
  """Names a function by which it is known again, `module:name`.

  Args:
    function: a gin value, e.g. `train_agent.make_env`.

  Returns:
    Its name.

  Raises:
    UserError: it has none.
  """
  try:
    return f'{function.__module__}:{function.__qualname__}'
  except AttributeError as error:  # A `functools.partial`, say.
    raise errors.UserError(
        f'{function!r} has no name by which it is known again: define a '
        'function at the top level of a module.'
    ) from error


def operative() -> str:
  """The gin values in force for what has been called so far."""
  import gin  # pylint: disable=g-import-not-at-top

  return gin.operative_config_str()


def operative_markdown() -> str:
  """`operative` as TensorBoard's Markdown shows it line by line."""
  # Four spaces make it a code block.
  return '\n'.join(f'    {line}' for line in operative().splitlines())
