"""The cells of a matrix: which there are, in which order, what each needs."""

from __future__ import annotations

import dataclasses
import os
from typing import Iterable, Iterator, NamedTuple, Sequence

from safer_tf.common import layout
from safer_tf.evaluation import recorded
from safer_tf.evaluation import style
from safer_tf.evaluation import variants
from safer_tf.experiments import cells
from safer_tf.experiments import matrix as matrix_lib
from safer_tf.experiments import methods as methods_lib

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
  rollout_episodes: int


# Rough seconds on one core for each unit of `Sizes`, in its order.
_SECONDS = (1 / 600, 0.2, 1 / 65, 0.08, 12 / 200, 9)
_START_SECONDS = 15  # Importing and loading, whatever the binary does.


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
    self._refit_steps = 0
    self._prior_steps = sizes.prior_steps
    self._costs = {
        name: _START_SECONDS + count * seconds for name, count, seconds in zip(
            ('data', 'prior', 'agent', 'evaluate', 'calibrate', 'rollouts'),
            sizes, _SECONDS,
        )
    }

  def build(self, matrix: matrix_lib.Matrix) -> list[cells.Cell]:
    """All cells in the order in which they are wanted.

    First SAFER and PARROT on all tasks with one seed, then the whole of
    Table 1, then the other parts; each cell after those it needs.

    Args:
      matrix: what is to be run.

    Returns:
      Cells, none twice.
    """
    self._data_parts = matrix.data_parts
    self._refit_steps = matrix.refit_steps
    found: dict[str, cells.Cell] = {}
    for cell in self._wanted(matrix):
      for each in (*self._needed(cell), cell):
        found.setdefault(each.name, each)
    return list(found.values())

  def _wanted(self, matrix: matrix_lib.Matrix) -> Iterator[cells.Cell]:
    for part in sorted(matrix.parts, key=matrix_lib.PARTS.index):
      yield from getattr(self, f'_{part}')(matrix)

  def _table1(
      self, matrix: matrix_lib.Matrix, protocol: str = 'seen'
  ) -> Iterator[cells.Cell]:
    yield from self._safer_and_parrot(matrix, protocol, matrix.seeds[:1])
    for seed in matrix.seeds:
      for method in matrix.methods:
        for task in _names(matrix.tasks):
          yield from self._variants(matrix, protocol, task, method, seed)
    if protocol == 'seen':
      yield from self._tuned(matrix)

  def _tuned(self, matrix: matrix_lib.Matrix) -> Iterator[cells.Cell]:
    for seed in matrix.seeds:
      for method in [each for each in matrix.methods if each in matrix.tuned]:
        for task in _names(matrix.tasks):
          for variant, bindings in matrix.tuned[method].items():
            yield from self._runs(
                'seen', task, method, seed, variant, bindings
            )

  def _safer_and_parrot(
      self, matrix: matrix_lib.Matrix, protocol: str, seeds: Sequence[int],
      **kwargs: str,
  ) -> Iterator[cells.Cell]:
    for seed in seeds:
      for method in [m for m in ('safer', 'parrot') if m in matrix.methods]:
        for task in _names(matrix.tasks):
          yield from self._runs(protocol, task, method, seed, **kwargs)

  def _held_out(self, matrix: matrix_lib.Matrix) -> Iterator[cells.Cell]:
    own = {'variant': variants.OWN_BOUND, 'bound_protocol': 'held_out'}
    first = matrix.seeds[:1]
    yield from self._safer_and_parrot(matrix, 'held_out', first)
    yield from self._safer_and_parrot(matrix, 'held_out', first, **own)
    yield from self._table1(matrix, 'held_out')
    yield from self._safer_and_parrot(matrix, 'held_out', matrix.seeds, **own)
    if 'safer' in matrix.methods:
      for task in _names(matrix.tasks):
        yield self._calibrate('held_out', 'safer', task)
    for seed in matrix.seeds:
      for method in matrix.held_out_ablations:
        for task in _names(matrix.tasks):
          yield from self._variants(matrix, 'held_out', task, method, seed)

  def _calibration(self, matrix: matrix_lib.Matrix) -> Iterator[cells.Cell]:
    for prior in matrix.calibrated:
      if prior not in (*matrix.methods, *matrix.ablations):
        continue
      for task in _names(matrix.tasks):
        yield self._calibrate('seen', prior, task)

  def _prior_rollouts(
      self, matrix: matrix_lib.Matrix
  ) -> Iterator[cells.Cell]:
    for prior in matrix.rolled_out:
      yield self._cell(
          f'rollouts/seen/{prior}', 'evaluate', 'rollouts', self._seed,
          layout.prior_rollouts_file(self._root_dir, 'seen', prior),
          (f'prior/seen/{prior}',), (f"roll_out_prior.prior = '{prior}'",),
          (f'methods/{prior}.gin',), extra=('--prior_alone',),
      )

  def _ablations(self, matrix: matrix_lib.Matrix) -> Iterator[cells.Cell]:
    for seed in matrix.seeds:
      for method in matrix.ablations:
        for task in _names(matrix.tasks):
          yield from self._variants(matrix, 'seen', task, method, seed)

  def _tradeoff(self, matrix: matrix_lib.Matrix) -> Iterator[cells.Cell]:
    for seed in matrix.seeds:
      for method in [m for m in ('safer', 'parrot') if m in matrix.methods]:
        yield from self._within(
            matrix.frontier_targets, matrix.tasks, method, seed
        )
      if 'safer' in matrix.methods:
        yield from self._within(
            matrix.tradeoff_targets, matrix.tradeoff_tasks, 'safer', seed
        )
      for method, bounds in matrix.tradeoff_ranges.items():
        if method not in (*matrix.methods, *matrix.ablations):
          continue
        for bound in bounds:
          for task in _names(matrix.tasks):
            yield from self._runs(
                'seen', task, method, seed,
                variants.of_range(bound),
                (f'train_agent.latent_bound = {bound}',),
            )

  def _within(
      self, targets: Sequence[float], tasks: Sequence[int | str], method: str,
      seed: int,
  ) -> Iterator[cells.Cell]:
    """A method within SAFER's bounds for some tolerated shares."""
    for target in targets:
      for task in _names(tasks):
        yield from self._runs(
            'seen', task, method, seed,
            variants.of_target(target),
            (f'train_agent.max_unsafe_fraction = {target}',),
        )

  def _own_encoder(self, matrix: matrix_lib.Matrix) -> Iterator[cells.Cell]:
    for seed in matrix.seeds:
      for method in matrix.own_encoder_methods:
        for task in _names(matrix.own_encoder_tasks):
          for variant, gin_file in (
              (variants.OWN_ENCODER, 'encoders/own.gin'),
              (variants.SMALL_BATCH, 'encoders/batch_64.gin'),
          ):
            yield from self._runs(
                'seen', task, method, seed, variant, (), (gin_file,)
            )

  def _prior_sweep(self, matrix: matrix_lib.Matrix) -> Iterator[cells.Cell]:
    for method, entries in matrix.prior_sweep.items():
      if method not in (*matrix.methods, *matrix.ablations):
        continue
      for name, bindings in entries.items():
        prior = recorded.SWEEP_PREFIX + name
        yield self._prior(
            'seen', prior, method, (
                f"train_prior.prior = '{prior}'", *bindings,
            ), matrix.prior_sweep_steps,
        )

  def _variants(
      self, matrix: matrix_lib.Matrix, protocol: str, task: str, method: str,
      seed: int,
  ) -> Iterator[cells.Cell]:
    """A method's runs, in each of its variants."""
    for variant, bindings in methods_lib.variants_of(
        method, matrix.own_range
    ).items():
      yield from self._runs(protocol, task, method, seed, variant, bindings)

  def _runs(
      self, protocol: str, task: str, method: str, seed: int,
      variant: str = variants.USUAL, bindings: Sequence[str] = (),
      gin_files: Sequence[str] = (), bound_protocol: str = _BOUND_PROTOCOL,
  ) -> Iterator[cells.Cell]:
    """An agent's training, where there is one, and its evaluation."""
    directory = layout.agent_dir(
        self._root_dir, protocol, task, method, variant, seed
    )
    name = os.path.relpath(directory, os.path.join(
        self._root_dir, layout.AGENTS_DIR
    ))
    needs = list(self._inputs(protocol, method, bound_protocol))
    if method not in style.NO_LEARNING:
      agent = self._cell(
          f'agent/{name}', 'train_agent', 'agent', seed,
          os.path.join(directory, layout.STAGE), needs, (
              f"train_agent.task = '{task}'",
              f"train_agent.protocol = '{protocol}'",
              f"train_agent.bound_protocol = '{bound_protocol}'",
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
            f"evaluate.bound_protocol = '{bound_protocol}'",
            f"evaluate.variant = '{variant}'",
        ),
    )

  def _inputs(
      self, protocol: str, method: str, bound_protocol: str
  ) -> Iterator[str]:
    parts = methods_lib.METHODS[method]
    yield f'prior/{protocol}/{parts.prior}'
    if parts.bound_prior is not None:
      yield f'assurance/{bound_protocol}/{parts.bound_prior}'

  def _calibrate(self, protocol: str, prior: str, task: str) -> cells.Cell:
    return self._cell(
        f'calibrate/{protocol}/{prior}/{task}', 'evaluate', 'calibrate',
        self._seed,
        layout.calibration_file(self._root_dir, protocol, prior, task),
        (f'assurance/{protocol}/{prior}',), (
            f"calibrate.task = '{task}'", f"calibrate.prior = '{prior}'",
            f"calibrate.protocol = '{protocol}'",
        ), (f'methods/{prior}.gin',), extra=('--calibrate',),
    )

  def _needed(self, cell: cells.Cell) -> list[cells.Cell]:
    """Data, priors and bounds that a cell needs, in order."""
    found = []
    for name in cell.needs:
      kind, _, rest = name.partition('/')
      if kind in ('prior', 'assurance'):
        protocol, prior = rest.split('/')
        found += self._data()
        trained = self._prior(protocol, prior, prior)
        found += [*self._needed(trained), trained]
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
      bindings: Sequence[str] = (), steps: int | None = None,
  ) -> cells.Cell:
    """A prior's training; `steps` are its own instead of the config's."""
    parts = methods_lib.METHODS[method]
    needs = ['data']
    if parts.features_of is not None:
      needs.append(f'prior/{protocol}/{parts.features_of}')
      steps = steps or self._refit_steps
    length = 1.0
    if steps is not None:
      bindings = (f'train_prior.num_steps = {steps}', *bindings)
      length = steps / self._prior_steps
    cell = self._cell(
        f'prior/{protocol}/{prior}', 'train_prior', 'prior',
        self._seed + parts.prior_seed,
        os.path.join(
            layout.prior_dir(self._root_dir, protocol, prior), layout.STAGE
        ), needs, (f"train_prior.protocol = '{protocol}'", *bindings),
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
        ), (f'methods/{prior}.gin',),
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


def _names(tasks: Iterable[int | str]) -> list[str]:
  return [matrix_lib.task_name(task) for task in tasks]
