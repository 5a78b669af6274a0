"""Flags that every binary shares, and the exit code of an error."""

from __future__ import annotations

import errno
import os
import re
import sys
from typing import Callable, NoReturn

from absl import app
from absl import flags
from absl import logging

from safer_tf.common import errors
from safer_tf.common import workers

LARGEST_SEED = 2**31 - 1
_BAD_INPUT = 2
_OS_ERROR = re.compile(r'\[Errno \d+\] (?P<why>.+?)(?:: (?P<file>.+))?$')


def define_flags(default_root_dir: str = 'runs/default') -> None:
  """Defines --root_dir --gin_file --gin_bindings --seed."""
  flags.DEFINE_string(
      'root_dir', default_root_dir, 'Run directory; every stage reads and '
      'writes below it.'
  )
  flags.register_validator(
      'root_dir', bool, 'It is empty: expected a directory.'
  )
  flags.DEFINE_multi_string(
      'gin_file', [], 'Gin file: a path, or a shipped name such as '
      'methods/safer.gin. May be repeated; later files win.'
  )
  flags.DEFINE_multi_string(
      'gin_bindings', [], "A gin binding such as 'train_prior.num_steps = "
      "100'. May be repeated; wins over files."
  )
  flags.DEFINE_integer(
      'seed', 0, 'Random seed of the stage.', lower_bound=0,
      upper_bound=LARGEST_SEED,
  )


def parse_config() -> None:
  """Parses the config that the flags name."""
  workers.quiet_imports()
  from safer_tf.common import config  # pylint: disable=g-import-not-at-top

  config.parse(flags.FLAGS.gin_file, flags.FLAGS.gin_bindings)
  logging.set_verbosity(logging.WARNING)


def run(main: Callable[[list[str]], None]) -> None:
  """Runs a binary's main; a user's mistake ends in one line and exit code 2.

  Args:
    main: function of the unparsed arguments.
  """

  def guarded(arguments: list[str]) -> None:
    if len(arguments) > 1:
      _fail(f'Unexpected argument {arguments[1]!r}; see --help.')
    try:
      main(arguments)
    except errors.UserError as error:
      _fail(str(error))
    except KeyboardInterrupt:
      print('Interrupted; run the same command to go on.', file=sys.stderr)
      sys.exit(130)
    except Exception as error:  # Only what a user can mend is translated.
      message = _translated(error)
      if message is None:
        raise
      _fail(message)

  _show_in_help()
  app.run(guarded, flags_parser=_parse_flags)


def _show_in_help() -> None:
  """Makes --help list our flags, whether run as a script or entry point."""
  by_module = flags.FLAGS.flags_by_module_dict()
  for module, defined in by_module.items():
    if module.startswith('safer_tf.') and module != sys.argv[0]:
      for flag in defined:
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def _parse_flags(arguments: list[str]) -> list[str]:
  try:
    return flags.FLAGS(arguments)
  except flags.Error as error:
    _fail(f'{error}. See --help.')
  except SystemExit:  # Only --help ends here, and to ask is no error.
    sys.exit(0)


def _translated(error: Exception) -> str | None:
  """The message of a user's mistake raised below `UserError`, else None."""
  if any(base.__name__ == 'EnvError' for base in type(error).__mro__):
    return str(error)
  reason = str(error).splitlines()[0] if str(error) else ''
  if isinstance(error, OSError):
    # Its words alone: what gin raises in its place has lost `errno`.
    told = _OS_ERROR.match(reason)
    if told and told['why'] == os.strerror(errno.EPIPE):
      return 'Nobody reads the output any more; run the same command to go on.'
    return f'{told["file"] or "File"}: {told["why"]}.' if told else None
  if (
      'Required bindings for' in reason
      or 'No values supplied by Gin' in str(error)
  ):
    return (
        f'Missing gin parameter: {reason}. Give it in a --gin_file or by '
        '--gin_bindings.'
    )
  return None


def _fail(message: str) -> NoReturn:
  # gin appends its scope to whatever a configurable raised.
  message = message.split('\n  In call to configurable')[0]
  line = re.sub(r'\s*\n\s*', ' ', message).strip()
  print(f'error: {line}', file=sys.stderr)
  sys.exit(_BAD_INPUT)
