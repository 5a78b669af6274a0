"""What an environment has to give: labels of its steps, a seed, an end."""

from __future__ import annotations

from typing import Any, NamedTuple

from safer_tf.common import errors

# Steps after which an episode is taken for one that never ends.
LONGEST_EPISODE = 20_000

# Last steps of a training whose episodes make `train_success_rate`.
SUCCESS_WINDOW = 5_000


class Labels(NamedTuple):
  """Of one step: was it unsafe, and has the task succeeded?"""

  unsafe: bool
  success: bool


def read(info: Any) -> Labels:
  """Reads the labels of a step.

  Args:
    info: mapping with `unsafe` and `success`, each a bool, 0 or 1.

  Returns:
    The labels.

  Raises:
    UserError: one is missing or something else. Taken as it is, a None would
      count as safe and the text 'False' as unsafe.
  """
  try:
    found = Labels(info['unsafe'], info['success'])
    fine = all(value in (0, 1) for value in found)
  except (KeyError, TypeError, ValueError) as error:
    raise errors.UserError(
        f'get_info() gives {info!r}; expected `unsafe` and `success`, each '
        'True or False, after a reset and after every step (docs/data.md).'
    ) from error
  if not fine:
    raise errors.UserError(
        f'get_info() gives unsafe = {found.unsafe!r}, success = '
        f'{found.success!r}; expected True or False, or 1 or 0.'
    )
  return Labels(bool(found.unsafe), bool(found.success))


def seeded_reset(env: Any, task: str, seed: int) -> Any:
  """Seeds and resets an environment, and names what it lacks.

  TF-Agents' base class raises NotImplementedError for a method that is not
  there. Only here: a like error later on is the environment's own and stays
  bare.

  Args:
    env: TF-Agents `PyEnvironment`.
    task: its name, for the message.
    seed: of what follows.

  Returns:
    The first time step.

  Raises:
    UserError: it has no seed or no labels.
  """
  try:
    env.seed(seed)
    time_step = env.reset()
    read(env.get_info())
  except (NotImplementedError, TypeError, errors.UserError) as error:
    raise errors.UserError(
        f'{type(env).__name__} of task {task} cannot be used ({error!r}): '
        'expected seed(int) and get_info() with `unsafe` and `success`.'
    ) from error
  return time_step


def check_length(num_steps: int) -> None:
  """Tells an environment without a time limit, which would be waited for.

  Args:
    num_steps: of the episode so far.

  Raises:
    UserError: they are more than `LONGEST_EPISODE`.
  """
  if num_steps > LONGEST_EPISODE:
    raise errors.UserError(
        f'An episode has not ended after {LONGEST_EPISODE:,} steps: give the '
        'environment a time limit, with discount 1 where it ends an episode '
        '(docs/data.md).'
    )
