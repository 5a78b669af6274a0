"""One measured number beside its baseline, its floor and what it must reach."""

from __future__ import annotations

import dataclasses
import operator
from typing import Any, NamedTuple, Optional

FLAT = 'a cost that does not grow'  # Floor of row 10: the baseline itself.
LEARNING_ROW = 11  # The comparison of learning.

_OPERATORS = {'>=': operator.ge, '<=': operator.le}


class Target(NamedTuple):
  """What must be reached.

  Attributes:
    of: `value` or `ratio`, which of a measurement's numbers.
    relation: `>=` or `<=`.
    bound: in the measurement's unit, or a ratio.
  """

  of: str
  relation: str
  bound: float

  def met(self, measurement: Measurement) -> Optional[bool]:
    """Whether it is reached; None if the number was not measured."""
    number = getattr(measurement, self.of)
    if number is None:
      return None
    return _OPERATORS[self.relation](number, self.bound)

  def text(self, unit: str) -> str:
    """E.g. `>= 450 steps/s` or `<= 0.4x`."""
    suffix = 'x' if self.of == 'ratio' else f' {unit}'
    return f'{self.relation} {self.bound:.4g}{suffix}'.rstrip()


@dataclasses.dataclass(frozen=True)
class Measurement:
  """A line of the benchmark.

  Attributes:
    row: number of the measure, 1 to 10, or `LEARNING_ROW`.
    name: what was measured.
    value: of ours, in `unit`.
    unit: of `value`, `baseline_value` and `floor`.
    baseline: what it is set against.
    baseline_value: None if the baseline could not be run.
    targets: what must be reached, all of them.
    floor: the best that is possible here, if that is known.
    floor_of: what the floor is.
    scaled: a part was measured and scaled up.
    note: what else a reader must know.
    shortfall: what stands between this and its target, and what was tried;
      shown where the target is missed.
  """

  row: int
  name: str
  value: float
  unit: str
  baseline: str
  baseline_value: Optional[float]
  targets: tuple[Target, ...]
  floor: Optional[float] = None
  floor_of: str = ''
  scaled: bool = False
  note: str = ''
  shortfall: str = ''

  @property
  def ratio(self) -> Optional[float]:
    """Ours over the baseline's; None if there is none, or it means nothing."""
    if not self.baseline_value or self.baseline_value < 0:
      return None
    return self.value / self.baseline_value

  @property
  def target(self) -> str:
    """What must be reached, as text."""
    return ', '.join(target.text(self.unit) for target in self.targets)

  @property
  def reached(self) -> Optional[bool]:
    """Whether all targets are met; None if one could not be judged.

    None too for a line without a target, which stands beside another.
    """
    met = [target.met(self) for target in self.targets]
    if False in met:
      return False
    return None if None in met or not met else True

  def to_json(self, **origin: str) -> dict[str, Any]:
    """A row of `benchmark.json`.

    Args:
      **origin: `machine` and `git_revision`.

    Returns:
      JSON-ready values.
    """
    row = dataclasses.asdict(self)
    del row['targets']
    return {
        **row, 'ratio': self.ratio, 'target': self.target,
        'reached': self.reached, **origin,
    }
