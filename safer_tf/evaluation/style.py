"""How methods and tasks are called and coloured, everywhere the same."""

from __future__ import annotations

from typing import NamedTuple

import envs


class Look(NamedTuple):
  """Name for people, and the method's own colour."""

  label: str
  colour: str


# Colours after Okabe and Ito (2008), told apart with any colour vision.
METHODS = {
    'sac': Look('SAC', '#7f7f7f'),
    'parrot': Look('PARROT', '#e69f00'),
    'context_parrot': Look('Contextual PARROT', '#56b4e9'),
    'prior_explore': Look('Prior-Explore', '#cc79a7'),
    'safer': Look('SAFER', '#0072b2'),
    'safer_prior_zero': Look('SAFER prior, z = 0', '#b8b8b8'),
    'safer_prior_random': Look('SAFER prior, random z', '#9ad0c2'),
    'safer_no_context': Look('SAFER, no safety variable', '#009e73'),
    'safer_deterministic': Look('SAFER, deterministic c', '#d55e00'),
    'parrot_unsafe': Look('PARROT, with unsafe data', '#b2182b'),
    'safer_unbounded': Look('SAFER, no latent bound', '#7570b3'),
    'safer_lambda': Look('SAFER, the sweep’s lambda', '#56b4a0'),
    'safer_second': Look('SAFER, a second prior', '#4a9bd4'),
    'parrot_second': Look('PARROT, a second prior', '#f2c14e'),
    'safer_refit': Look('SAFER, new flow', '#00406b'),
    'safer_refit_prior_zero': Look('SAFER prior, new flow, z = 0', '#969696'),
    'safer_refit_prior_random': Look(
        'SAFER prior, new flow, random z', '#6fb3a2'
    ),
    'safer_second_refit': Look('SAFER, second prior, new flow', '#8fc1e3'),
    'parrot_refit': Look('PARROT, new flow', '#a86f00'),
    'parrot_second_refit': Look('PARROT, second prior, new flow', '#d9b44a'),
    'context_parrot_refit': Look('Contextual PARROT, new flow', '#00a3b4'),
}
TABLE1_METHODS = (
    'sac', 'parrot', 'context_parrot', 'prior_explore', 'safer',
    'safer_prior_zero', 'safer_prior_random',
)
ABLATIONS = tuple(name for name in METHODS if name not in TABLE1_METHODS)
# Ends the name of a prior whose flow was trained anew on another's features.
REFIT = '_refit'
# Ends the name of a method that acts by a prior at z = 0, without learning.
AT_ZERO = '_prior_zero'
AT_RANDOM = '_prior_random'  # Likewise, at random latents in its bound.
NO_LEARNING = tuple(
    name for name in METHODS if name.endswith((AT_ZERO, AT_RANDOM))
)

# Safe and unsafe data, and the assurance's modes, where they are compared.
SAFE_COLOUR, UNSAFE_COLOUR = '#0072b2', '#d55e00'
MODE_COLOURS = {
    'paper': '#e69f00', 'exact': '#0072b2', 'certified': '#009e73'
}


def label(method: str) -> str:
  """A method's name for people."""
  return METHODS[method].label if method in METHODS else method


def colour(method: str) -> str:
  """A method's colour; black for one of the user's own."""
  return METHODS[method].colour if method in METHODS else '#000000'


def order(method: str) -> int:
  """Where a method stands in tables and legends."""
  names = list(METHODS)
  return names.index(method) if method in METHODS else len(names)


def task_label(task: str) -> str:
  """`Task 1` to `Task 6` for the evaluation tasks, with their own name."""
  if task in envs.EVALUATION:
    return f'Task {envs.EVALUATION.index(task) + 1} ({task})'
  return task


def task_order(task: str) -> tuple[int, str]:
  """Sorts evaluation tasks first, in the paper's order."""
  if task in envs.EVALUATION:
    return envs.EVALUATION.index(task), task
  return len(envs.EVALUATION), task
