"""The paper's matrix of runs: what is run, as a gin value."""

from __future__ import annotations

import dataclasses
from typing import Iterable, Mapping, Sequence

import gin

import envs
from safer_tf.common import cli
from safer_tf.common import errors
from safer_tf.evaluation import style
from safer_tf.evaluation import variants
from safer_tf.experiments import methods as methods_lib

PARTS = (
    'table1', 'held_out', 'calibration', 'prior_rollouts', 'ablations',
    'tradeoff', 'own_encoder', 'prior_sweep',
)


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Matrix:
  """What is run.

  Attributes:
    parts: some of `PARTS`.
    data_parts: cells that share the collection of the data; 1 leaves it to one
      cell and its worker processes, which suits a single machine.
    tasks: evaluation tasks, by number (1 to 6) or name.
    methods: of Table 1, those without learning included.
    seeds: of the agents.
    own_range: latent bound of the priors without an assurance of their own,
      for their variant `own_range`; None leaves that variant out, and with it
      Prior-Explore's `unbounded`.
    tuned: further variants of methods, on `seen`: gin bindings by name, by
      method. As with the others, the better variant is quoted.
    calibrated: methods whose priors' bounds are acted out at random (Figure
      4); those with an assurance of their own.
    rolled_out: methods whose priors are rolled out without an agent.
    ablations: methods of the ablations.
    held_out_ablations: those of the ablations that are run on `held_out` too.
    tradeoff_tasks: tasks of the sweep over the bound; the paper's is Task 5.
    tradeoff_targets: tolerated unsafe shares of the sweep, beside Table 1's.
    frontier_targets: tolerated unsafe shares within which SAFER and PARROT
      are run on all of `tasks`, beside Table 1's.
    tradeoff_ranges: latent bounds, by method, that it is run in on all of
      `tasks`, e.g. SAFER in PARROT's own range.
    own_encoder_tasks: tasks of the subset with own image encoders, and with
      the prior's at the same batch.
    own_encoder_methods: methods of that subset.
    prior_sweep: priors that are compared on held-out offline data alone: by
      the method whose prior it is, gin bindings by name.
    prior_sweep_steps: gradient steps of each.
    refit_steps: gradient steps of a flow that is trained on the encoder and
      posterior of another prior.
  """

  parts: Sequence[str] = PARTS
  data_parts: int = 1
  tasks: Sequence[int | str] = (1, 2, 3, 4, 5, 6)
  methods: Sequence[str] = style.TABLE1_METHODS
  seeds: Sequence[int] = (0, 1, 2)
  own_range: float | None = 1.0
  tuned: Mapping[str, Mapping[str, Sequence[str]]] = dataclasses.field(
      default_factory=dict
  )
  calibrated: Sequence[str] = ('safer',)
  rolled_out: Sequence[str] = ('safer', 'parrot')
  ablations: Sequence[str] = style.ABLATIONS
  held_out_ablations: Sequence[str] = ()
  tradeoff_tasks: Sequence[int | str] = (5,)
  tradeoff_targets: Sequence[float] = (0.02, 0.15, 0.30, 0.45)
  frontier_targets: Sequence[float] = ()
  tradeoff_ranges: Mapping[str, Sequence[float]] = dataclasses.field(
      default_factory=dict
  )
  own_encoder_tasks: Sequence[int | str] = (1, 2)
  own_encoder_methods: Sequence[str] = ('sac', 'parrot', 'safer')
  prior_sweep: Mapping[str, Mapping[str, Sequence[str]]] = dataclasses.field(
      default_factory=dict
  )
  prior_sweep_steps: int = 4000
  refit_steps: int = 4000

  def __post_init__(self):
    _check_known('Matrix.parts', self.parts, PARTS)
    _check_known('Matrix.methods', self.methods, methods_lib.METHODS)
    _check_known('Matrix.calibrated', self.calibrated, methods_lib.CERTIFIED)
    _check_known('Matrix.rolled_out', self.rolled_out, methods_lib.TRAINED)
    _check_known('Matrix.ablations', self.ablations, style.ABLATIONS)
    _check_known(
        'Matrix.held_out_ablations', self.held_out_ablations, style.ABLATIONS
    )
    _check_known(
        'Matrix.own_encoder_methods', self.own_encoder_methods,
        methods_lib.METHODS,
    )
    _check_known('Matrix.prior_sweep', self.prior_sweep, methods_lib.METHODS)
    _check_known('Matrix.tuned', self.tuned, methods_lib.METHODS)
    _check_known(
        'Matrix.tradeoff_ranges', self.tradeoff_ranges, methods_lib.IN_BOXES
    )
    names = [name for each in self.prior_sweep.values() for name in each]
    if len(set(names)) < len(names):
      raise errors.UserError(
          f'Matrix.prior_sweep has a name twice: {", ".join(sorted(names))}.'
      )
    taken = [
        name for named in self.tuned.values() for name in named
        if variants.is_of_bound(name) or '/' in name
    ]
    if taken:
      raise errors.UserError(
          f'Matrix.tuned names {", ".join(taken)}: expected names without "/" '
          'that no other variant has.'
      )
    errors.require_sizes(
        'Matrix', data_parts=self.data_parts, refit_steps=self.refit_steps,
        prior_sweep_steps=self.prior_sweep_steps,
    )
    if not self.seeds or not all(
        0 <= seed <= cli.LARGEST_SEED for seed in self.seeds
    ):
      raise errors.UserError(
          f'Matrix.seeds is {self.seeds}: expected whole numbers from 0 to '
          f'{cli.LARGEST_SEED}.'
      )
    ranges = [each for of in self.tradeoff_ranges.values() for each in of]
    if self.own_range is not None:
      ranges.append(self.own_range)
    if min(ranges, default=1) <= 0:
      raise errors.UserError(
          f'Matrix.own_range or tradeoff_ranges has {min(ranges):g}: expected '
          'latent bounds above 0.'
      )
    for task in self._named_tasks():
      task_name(task)

  def _named_tasks(self) -> Iterable[int | str]:
    return (
        *self.tasks, *self.tradeoff_tasks, *self.own_encoder_tasks,
    )

  def narrowed(
      self, parts: Sequence[str], tasks: Sequence[str],
      methods: Sequence[str], seeds: Sequence[str],
  ) -> Matrix:
    """The part of this matrix that is asked for; nothing given leaves all."""
    chosen = {task_name(task) for task in tasks}
    _check_known('--tasks', chosen, map(task_name, self._named_tasks()))
    _check_known('--only', parts, PARTS)
    _check_known('--methods', methods, methods_lib.METHODS)
    wrong = [
        seed for seed in seeds
        if not str(seed).isdecimal() or int(seed) > cli.LARGEST_SEED
    ]
    if wrong:
      raise errors.UserError(
          f'--seeds names {", ".join(wrong)}: expected whole numbers up to '
          f'{cli.LARGEST_SEED}.'
      )

    def only(values: Sequence, wanted: Iterable) -> tuple:
      return tuple(v for v in values if not wanted or v in wanted)

    def only_tasks(values: Sequence) -> tuple:
      return tuple(v for v in values if not tasks or task_name(v) in chosen)

    return dataclasses.replace(
        self, parts=tuple(parts) or self.parts,
        tasks=only_tasks(self.tasks), methods=only(self.methods, methods),
        seeds=tuple(int(seed) for seed in seeds) or self.seeds,
        rolled_out=only(self.rolled_out, methods),
        ablations=only(self.ablations, methods),
        held_out_ablations=only(self.held_out_ablations, methods),
        tradeoff_tasks=only_tasks(self.tradeoff_tasks),
        own_encoder_tasks=only_tasks(self.own_encoder_tasks),
        own_encoder_methods=only(self.own_encoder_methods, methods),
    )


def task_name(task: int | str) -> str:
  """Name of a task given by name or by its number in the paper, 1 to 6."""
  text = str(task)
  if text in envs.ALL:
    return text
  if text.isdecimal() and 1 <= int(text) <= len(envs.EVALUATION):
    return envs.EVALUATION[int(text) - 1]
  raise errors.UserError(
      f'Task {task!r} is unknown: expected a number from 1 to '
      f'{len(envs.EVALUATION)} for an evaluation task '
      f'({", ".join(envs.EVALUATION)}), or a name of envs.ALL.'
  )


def _check_known(
    what: str, given: Iterable[str], known: Iterable[str]
) -> None:
  known = tuple(dict.fromkeys(known))
  unknown = sorted(set(given) - set(known))
  if unknown:
    raise errors.UserError(
        f'{what} names {", ".join(unknown)}; expected some of '
        f'{", ".join(known)}.'
    )
