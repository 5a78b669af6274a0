"""How much of each measure is run."""

from __future__ import annotations

import dataclasses
import re

import gin

import envs
from safer_tf.common import errors


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Sizes:
  """Sizes of the benchmark; those of a complete one stand in its gin file.

  Attributes:
    rounds: turns of whatever is measured by turns.
    simulation_steps: of each of the 40 tasks.
    kuka_episodes: of the simulator it is compared with.
    collection_steps: of each of the two shards of a turn.
    memory_steps: of each of the 40 shards after which memory is looked at.
    full_collection_steps: of the whole collection in a full benchmark.
    data_steps: of the dataset that priors are trained on.
    stored_steps: the two sizes of dataset that training is compared at.
    prior_batches: of a turn.
    latent_steps: steps of the latent environment for each window.
    windows: W of the latent environment; smallest, usual, largest.
    update_batch: transitions of an update.
    updates: of a turn.
    stored_transitions: the two fillings of the replay buffer.
    cell_steps: environment steps of the two parts of a cell that are run; what
      lies between gives the cost of a step.
    whole_cell_steps: what is scaled up to.
    evaluation_episodes: of a cell.
    learning_steps: environment steps of the comparison of learning.
    learning_prior_steps: gradient steps of the comparison of learning.
    learning_data_steps: size of its dataset.
    learning_seeds: its agents' seeds.
    learning_prior_seeds: its priors' seeds, those of the agents among them.
  """

  rounds: int = gin.REQUIRED
  simulation_steps: int = gin.REQUIRED
  kuka_episodes: int = gin.REQUIRED
  collection_steps: int = gin.REQUIRED
  memory_steps: int = gin.REQUIRED
  full_collection_steps: int = gin.REQUIRED
  data_steps: int = gin.REQUIRED
  stored_steps: tuple[int, int] = gin.REQUIRED
  prior_batches: int = gin.REQUIRED
  latent_steps: int = gin.REQUIRED
  windows: tuple[int, int, int] = gin.REQUIRED
  update_batch: int = gin.REQUIRED
  updates: int = gin.REQUIRED
  stored_transitions: tuple[int, int] = gin.REQUIRED
  cell_steps: tuple[int, int] = gin.REQUIRED
  whole_cell_steps: int = gin.REQUIRED
  evaluation_episodes: int = gin.REQUIRED
  learning_steps: int = gin.REQUIRED
  learning_prior_steps: int = gin.REQUIRED
  learning_data_steps: int = gin.REQUIRED
  learning_seeds: tuple[int, ...] = gin.REQUIRED
  learning_prior_seeds: tuple[int, ...] = gin.REQUIRED

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      several = value if isinstance(value, (tuple, list)) else (value,)
      if field.name.endswith('_seeds'):
        continue
      if not several or min(several) < 1:
        raise errors.UserError(
            f'Sizes.{field.name} = {value}: expected numbers of 1 or more.'
        )
      if field.name == 'kuka_episodes' and value > len(envs.ALL):
        raise errors.UserError(
            f'Sizes.kuka_episodes = {value}: expected at most one for each of '
            f'the {len(envs.ALL)} tasks.'
        )
      if list(several) != sorted(set(several)):
        raise errors.UserError(
            f'Sizes.{field.name} = {value}: expected each to be larger than '
            'the one before.'
        )


def check_alone() -> None:
  """Checks that the config holds nothing but sizes.

  Raises:
    UserError: it sets another value.
  """
  others = re.findall(r'^(?!Sizes\.)([\w./]+) *=', gin.config_str(), re.M)
  if others:
    raise errors.UserError(
        f'{others[0]}: expected values of Sizes only; the benchmark measures '
        'methods as they ship.'
    )
