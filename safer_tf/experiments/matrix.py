"""The paper's matrix of runs: which cells it has, and in which order."""

from __future__ import annotations

import dataclasses
import os
from typing import Iterable, Iterator, Mapping, NamedTuple, Sequence

import gin

import envs
from safer_tf.common import errors
from safer_tf.common import layout
from safer_tf.evaluation import recorded
from safer_tf.evaluation import style
from safer_tf.evaluation import tables
from safer_tf.experiments import cells
from safer_tf.experiments import methods as methods_lib

PARTS = (
    'table1', 'held_out', 'calibration', 'ablations', 'tradeoff',
    'own_encoder', 'prior_sweep',
)


# Agents of both protocols act in the same box: a small bound is set by single
# actions, and what is to differ is what the prior has seen.
_BOUND_PROTOCOL = 'seen'


class Sizes(NamedTuple):
  """Gin values that durations follow from; they only weight the progress."""

  data_steps: int
  prior_steps: int
  agent_steps: int
  evaluation_episodes: int
  calibration_steps: int


# Rough seconds on one core for each unit of `Sizes`, in its order.
_SECONDS = (1 / 600, 0.2, 1 / 65, 0.08, 12 / 200)
_START_SECONDS = 15  # Importing and loading, whatever the binary does.


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
    ablations: methods of the ablations.
    ablation_tasks: tasks of the ablations.
    tradeoff_tasks: tasks of the sweep over the bound; the paper's is Task 5.
    tradeoff_targets: tolerated unsafe shares of the sweep, beside Table 1's.
    tradeoff_ranges: latent bounds that SAFER is run in on all of `tasks`, e.g.
      the other priors' own range.
    own_encoder_tasks: tasks of the subset with own image encoders.
    own_encoder_methods: methods of that subset.
    prior_sweep: SAFER priors that are compared on held-out offline data alone:
      gin bindings by name.
    prior_sweep_steps: gradient steps of each.
  """

  parts: Sequence[str] = PARTS
  data_parts: int = 1
  tasks: Sequence[int | str] = (1, 2, 3, 4, 5, 6)
  methods: Sequence[str] = style.TABLE1_METHODS
  seeds: Sequence[int] = (0, 1, 2)
  own_range: float | None = 1.0
  ablations: Sequence[str] = style.ABLATIONS
  ablation_tasks: Sequence[int | str] = (1, 2, 3, 4, 5, 6)
  tradeoff_tasks: Sequence[int | str] = (5,)
  tradeoff_targets: Sequence[float] = (0.02, 0.05, 0.15, 0.30, 0.45)
  tradeoff_ranges: Sequence[float] = ()
  own_encoder_tasks: Sequence[int | str] = (1, 2)
  own_encoder_methods: Sequence[str] = ('sac', 'parrot', 'safer')
  prior_sweep: Mapping[str, Sequence[str]] = dataclasses.field(
      default_factory=dict
  )
  prior_sweep_steps: int = 4000

  def __post_init__(self):
    _check_known('Matrix.parts', self.parts, PARTS)
    _check_known('Matrix.methods', self.methods, methods_lib.METHODS)
    _check_known('Matrix.ablations', self.ablations, methods_lib.METHODS)
    _check_known(
        'Matrix.own_encoder_methods', self.own_encoder_methods,
        methods_lib.METHODS,
    )
    if self.data_parts < 1:
      raise errors.UserError(
          f'Matrix.data_parts is {self.data_parts}: expected 1 or more.'
      )
    if not self.seeds:
      raise errors.UserError('Matrix.seeds is empty: expected whole numbers.')

  def narrowed(
      self, parts: Sequence[str], tasks: Sequence[str],
      methods: Sequence[str], seeds: Sequence[str],
  ) -> Matrix:
    """The part of this matrix that is asked for; nothing given leaves all."""
    chosen = {task_name(task) for task in tasks}
    _check_known('--methods', methods, methods_lib.METHODS)
    wrong = [seed for seed in seeds if not str(seed).isdigit()]
    if wrong:
      raise errors.UserError(
          f'--seeds names {", ".join(wrong)}: expected whole numbers.'
      )

    def only(values: Sequence, wanted: Iterable) -> tuple:
      return tuple(v for v in values if not wanted or v in wanted)

    def only_tasks(values: Sequence) -> tuple:
      return tuple(v for v in values if not tasks or task_name(v) in chosen)

    return dataclasses.replace(
        self, parts=tuple(parts) or self.parts,
        tasks=only_tasks(self.tasks), methods=only(self.methods, methods),
        seeds=tuple(int(seed) for seed in seeds) or self.seeds,
        ablations=only(self.ablations, methods),
        ablation_tasks=only_tasks(self.ablation_tasks),
        tradeoff_tasks=only_tasks(self.tradeoff_tasks),
        own_encoder_tasks=only_tasks(self.own_encoder_tasks),
        own_encoder_methods=only(self.own_encoder_methods, methods),
    )


class Builder:
  """Makes the cells of a matrix."""

  def __init__(
      self, root_dir: str, seed: int, gin_files: Sequence[str],
      bindings: Sequence[str], sizes: Sizes,
  ):
    """Prepares the cells' common flags.

    Args:
      root_dir: run directory.
      seed: of the data, the priors and their bounds.
      gin_files: of the experiment; they come after a method's own.
      bindings: gin bindings of the experiment.
      sizes: for the cells' costs.
    """
    self._root_dir = root_dir
    self._seed = seed
    self._gin_files = tuple(gin_files)
    self._bindings = tuple(bindings)
    self._data_parts = 1
    self._prior_steps = sizes.prior_steps
    self._costs = {
        name: _START_SECONDS + count * seconds for name, count, seconds in zip(
            ('data', 'prior', 'agent', 'evaluate', 'calibrate'), sizes,
            _SECONDS,
        )
    }

  def build(self, matrix: Matrix) -> list[cells.Cell]:
    """All cells in the order in which they are wanted.

    First SAFER and PARROT on all tasks with one seed, then the whole of
    Table 1, then the other parts; each cell after those it needs.

    Args:
      matrix: what is to be run.

    Returns:
      Cells, none twice.
    """
    self._data_parts = matrix.data_parts
    found: dict[str, cells.Cell] = {}
    for cell in self._wanted(matrix):
      for each in (*self._needed(cell), cell):
        found.setdefault(each.name, each)
    return list(found.values())

  def _wanted(self, matrix: Matrix) -> Iterator[cells.Cell]:
    for part in sorted(matrix.parts, key=PARTS.index):
      yield from getattr(self, f'_{part}')(matrix)

  def _table1(
      self, matrix: Matrix, protocol: str = 'seen'
  ) -> Iterator[cells.Cell]:
    tasks = [task_name(task) for task in matrix.tasks]
    for method in [m for m in ('safer', 'parrot') if m in matrix.methods]:
      for task in tasks:
        yield from self._runs(protocol, task, method, matrix.seeds[0])
    for seed in matrix.seeds:
      for method in matrix.methods:
        for task in tasks:
          for variant, bindings in methods_lib.variants(
              method, matrix.own_range
          ).items():
            yield from self._runs(
                protocol, task, method, seed, variant, bindings
            )

  def _held_out(self, matrix: Matrix) -> Iterator[cells.Cell]:
    yield from self._table1(matrix, 'held_out')
    if 'safer' in matrix.methods:
      for task in [task_name(task) for task in matrix.tasks]:
        yield self._calibrate('held_out', 'safer', task)

  def _calibration(self, matrix: Matrix) -> Iterator[cells.Cell]:
    if 'safer' not in matrix.methods:
      return
    for task in [task_name(task) for task in matrix.tasks]:
      yield self._calibrate('seen', 'safer', task)

  def _ablations(self, matrix: Matrix) -> Iterator[cells.Cell]:
    for seed in matrix.seeds:
      for method in matrix.ablations:
        for task in [task_name(task) for task in matrix.ablation_tasks]:
          yield from self._runs('seen', task, method, seed)

  def _tradeoff(self, matrix: Matrix) -> Iterator[cells.Cell]:
    if 'safer' not in matrix.methods:
      return
    for seed in matrix.seeds:
      for target in matrix.tradeoff_targets:
        for task in [task_name(task) for task in matrix.tradeoff_tasks]:
          yield from self._runs(
              'seen', task, 'safer', seed,
              f'{recorded.TRADEOFF_PREFIX}_{target:g}',
              (f'train_agent.max_unsafe_fraction = {target}',),
          )
      for bound in matrix.tradeoff_ranges:
        for task in [task_name(task) for task in matrix.tasks]:
          yield from self._runs(
              'seen', task, 'safer', seed, f'{recorded.RANGE_PREFIX}_{bound:g}',
              (f'train_agent.latent_bound = {bound}',),
          )

  def _own_encoder(self, matrix: Matrix) -> Iterator[cells.Cell]:
    for seed in matrix.seeds:
      for method in matrix.own_encoder_methods:
        for task in [task_name(task) for task in matrix.own_encoder_tasks]:
          yield from self._runs(
              'seen', task, method, seed, 'own_encoder', (),
              ('encoders/own.gin',),
          )

  def _prior_sweep(self, matrix: Matrix) -> Iterator[cells.Cell]:
    if 'safer' not in matrix.methods:
      return
    for name, bindings in matrix.prior_sweep.items():
      yield self._prior(
          'seen', recorded.SWEEP_PREFIX + name, 'safer', (
              f"train_prior.prior = '{recorded.SWEEP_PREFIX}{name}'",
              f'train_prior.num_steps = {matrix.prior_sweep_steps}', *bindings,
          ), matrix.prior_sweep_steps / self._prior_steps,
      )

  def _runs(
      self, protocol: str, task: str, method: str, seed: int,
      variant: str = tables.USUAL, bindings: Sequence[str] = (),
      gin_files: Sequence[str] = (),
  ) -> Iterator[cells.Cell]:
    """An agent's training, where there is one, and its evaluation."""
    directory = layout.agent_dir(
        self._root_dir, protocol, task, method, variant, seed
    )
    name = os.path.relpath(directory, os.path.join(
        self._root_dir, layout.AGENTS_DIR
    ))
    needs = list(self._inputs(protocol, method))
    if method not in style.NO_LEARNING:
      agent = self._cell(
          f'agent/{name}', 'train_agent', 'agent', seed,
          os.path.join(directory, layout.STAGE), needs, (
              f"train_agent.task = '{task}'",
              f"train_agent.protocol = '{protocol}'",
              f"train_agent.bound_protocol = '{_BOUND_PROTOCOL}'",
              f"train_agent.variant = '{variant}'", *bindings,
          ), (f'methods/{method}.gin',), gin_files,
      )
      yield agent
      needs = [agent.name]
    yield self._cell(
        f'evaluate/{name}', 'evaluate', 'evaluate', seed,
        os.path.join(directory, layout.EVALUATION), needs, (
            f"evaluate.task = '{task}'", f"evaluate.method = '{method}'",
            f"evaluate.protocol = '{protocol}'",
            f"evaluate.bound_protocol = '{_BOUND_PROTOCOL}'",
            f"evaluate.variant = '{variant}'",
        ),
    )

  def _inputs(self, protocol: str, method: str) -> Iterator[str]:
    parts = methods_lib.METHODS[method]
    yield f'prior/{protocol}/{parts.prior}'
    if parts.bound_prior is not None:
      yield f'assurance/{_BOUND_PROTOCOL}/{parts.bound_prior}'

  def _calibrate(self, protocol: str, prior: str, task: str) -> cells.Cell:
    return self._cell(
        f'calibrate/{protocol}/{prior}/{task}', 'evaluate', 'calibrate',
        self._seed,
        layout.calibration_file(self._root_dir, protocol, prior, task),
        (f'assurance/{protocol}/{prior}',), (
            f"calibrate.task = '{task}'", f"calibrate.prior = '{prior}'",
            f"calibrate.protocol = '{protocol}'",
        ), extra=('--calibrate',),
    )

  def _needed(self, cell: cells.Cell) -> list[cells.Cell]:
    """Data, priors and bounds that a cell needs, in order."""
    found = []
    for name in cell.needs:
      kind, _, rest = name.partition('/')
      if kind in ('prior', 'assurance'):
        protocol, prior = rest.split('/')
        found += [*self._data(), self._prior(protocol, prior, prior)]
        if kind == 'assurance':
          found.append(self._assurance(protocol, prior))
      if kind == 'data':
        found += self._data()
    return found

  def _data(self) -> list[cells.Cell]:
    """The dataset: one cell, or its parts and one that joins them."""
    parts = []
    if self._data_parts > 1:
      for part in range(self._data_parts):
        cell = self._cell(
            f'data/{part}', 'collect_data', 'data', self._seed,
            layout.data_part(self._root_dir, part, self._data_parts), (), (
                f'collect_data.part = ({part}, {self._data_parts})',
                'collect_data.num_workers = 1',
            ),
        )
        parts.append(
            dataclasses.replace(cell, cost=cell.cost / self._data_parts)
        )
    whole = self._cell(
        'data', 'collect_data', 'data', self._seed,
        os.path.join(layout.data_dir(self._root_dir), layout.STAGE),
        [part.name for part in parts], (),
    )
    if parts:
      return [*parts, dataclasses.replace(whole, cost=_START_SECONDS)]
    return [dataclasses.replace(whole, whole_machine=True)]

  def _prior(
      self, protocol: str, prior: str, method: str,
      bindings: Sequence[str] = (), length: float = 1.0,
  ) -> cells.Cell:
    """A prior's training; `length` is its share of the usual steps."""
    cell = self._cell(
        f'prior/{protocol}/{prior}', 'train_prior', 'prior', self._seed,
        os.path.join(
            layout.prior_dir(self._root_dir, protocol, prior), layout.STAGE
        ), ('data',), (f"train_prior.protocol = '{protocol}'", *bindings),
        (f'methods/{method}.gin',),
    )
    return dataclasses.replace(cell, cost=cell.cost * length)

  def _assurance(self, protocol: str, prior: str) -> cells.Cell:
    return self._cell(
        f'assurance/{protocol}/{prior}', 'compute_assurance', 'evaluate',
        self._seed,
        os.path.join(
            layout.export_dir(self._root_dir, protocol, prior),
            layout.ASSURANCE,
        ), (f'prior/{protocol}/{prior}',), (
            f"compute_assurance.prior = '{prior}'",
            f"compute_assurance.protocol = '{protocol}'",
        ),
    )

  def _cell(
      self, name: str, binary: str, kind: str, seed: int, finished_file: str,
      needs: Sequence[str], bindings: Sequence[str],
      before: Sequence[str] = (), after: Sequence[str] = (),
      extra: Sequence[str] = (),
  ) -> cells.Cell:
    """A cell; `before` and `after` are gin files around the experiment's."""
    return cells.Cell(
        name, binary, cells.arguments(
            self._root_dir, seed, (*before, *self._gin_files, *after),
            (*self._bindings, *bindings), extra,
        ), finished_file, tuple(needs), self._costs[kind],
    )


def task_name(task: int | str) -> str:
  """Name of a task given by name or by its number in the paper, 1 to 6."""
  text = str(task)
  if text in envs.ALL:
    return text
  if text.isdigit() and 1 <= int(text) <= len(envs.EVALUATION):
    return envs.EVALUATION[int(text) - 1]
  raise errors.UserError(
      f'Task {task!r} is unknown: expected a number from 1 to '
      f'{len(envs.EVALUATION)} for an evaluation task '
      f'({", ".join(envs.EVALUATION)}), or a name of envs.ALL.'
  )


def _check_known(
    what: str, given: Iterable[str], known: Iterable[str]
) -> None:
  unknown = sorted(set(given) - set(known))
  if unknown:
    raise errors.UserError(
        f'{what} names {", ".join(unknown)}; expected some of '
        f'{", ".join(known)}.'
    )
