"""The benchmark's table and its files."""

from __future__ import annotations

import os
import textwrap
from typing import Mapping, Optional, Sequence

from safer_tf.benchmark import measurement
from safer_tf.benchmark import timing
from safer_tf.common import files
from safer_tf.common import provenance

_HEAD = (
    'row', 'measure', 'value', 'baseline', 'ratio', 'floor', 'target',
    'reached',
)
FIGURE = 'figures/benchmark_learning.png'  # Of a full benchmark.
_REACHED = {True: 'yes', False: 'NO', None: 'not known'}


def origin() -> dict[str, str]:
  """What is noted with every measurement that begins now."""
  return {
      'machine': provenance.machine(),
      'cpus': ', '.join(map(str, timing.chosen())),
      'git_revision': provenance.git_revision(),
  }


def write(
    path: str, measurements: Sequence[measurement.Measurement],
    origin: Mapping[str, str], took: Mapping[str, float],
) -> None:
  """Writes `benchmark.json`, and beside it `benchmark.md` for people.

  Args:
    path: of the first file.
    measurements: its rows.
    origin: of them, as `origin` gives it.
    took: seconds by part.
  """
  rows = [line.to_json(**origin) for line in measurements]
  files.write_json(path, rows)
  files.write_text(
      f'{os.path.splitext(path)[0]}.md', markdown(measurements, origin, took)
  )


def text(
    measurements: Sequence[measurement.Measurement], origin: Mapping[str, str]
) -> str:
  """The table as it is printed.

  Args:
    measurements: its lines.
    origin: of them, as `origin` gives it.

  Returns:
    Lines of aligned columns, then what the columns have no room for.
  """
  lines = [_HEAD, *map(_cells, measurements)]
  widths = [max(map(len, column)) for column in zip(*lines)]
  table = [
      '  '.join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
      for line in lines
  ]
  table.insert(1, '-' * max(map(len, table)))
  remarks = [
      textwrap.fill(_remark(line), 100, subsequent_indent='   ')
      for line in measurements
  ]
  return '\n'.join(
      [
          f'{origin["machine"]}, CPUs {origin["cpus"]} used', '',
          *table, '', *remarks,
      ]
  )


def markdown(
    measurements: Sequence[measurement.Measurement],
    origin: Mapping[str, str], took: Mapping[str, float],
) -> str:
  """The benchmark's report.

  Args:
    measurements: its lines.
    origin: of them, as `origin` gives it.
    took: seconds by part.

  Returns:
    A page in Markdown: the table, and what it has no room for.
  """
  rows = [_HEAD, ('---',) * len(_HEAD), *map(_cells, measurements)]
  lines = [
      '# Benchmark', '',
      f'{origin["machine"]}, CPUs {origin["cpus"]} used; revision '
      f'{origin["git_revision"]}. Took {sum(took.values()) / 60:.0f} minutes ('
      + ', '.join(f'{name} {each:.0f} s' for name, each in took.items())
      + ').', '',
      *(f'| {" | ".join(row)} |' for row in rows), '',
      *(f'- {_remark(line)}' for line in measurements),
  ]
  if any(line.row == measurement.LEARNING_ROW for line in measurements):
    lines += ['', f'![Learning, with and without]({FIGURE})']
  return '\n'.join(lines) + '\n'


def _cells(line: measurement.Measurement) -> tuple[str, ...]:
  return (
      str(line.row), line.name + (' *' if line.scaled else ''),
      f'{_number(line.value)} {line.unit}', _number(line.baseline_value),
      _number(line.ratio), _number(line.floor), line.target,
      _REACHED[line.reached] if line.targets else '-',
  )


def _remark(line: measurement.Measurement) -> str:
  parts = [f'baseline: {line.baseline}']
  if line.floor_of:
    parts.append(f'floor: {line.floor_of}')
  if line.note:
    parts.append(line.note)
  if line.scaled:
    parts.append('* a part was measured and scaled up')
  if line.shortfall and line.reached is False:
    parts.append(f'NOT REACHED: {line.shortfall}')
  return f'{line.row}. {line.name}; {"; ".join(parts)}'


def _number(value: Optional[float]) -> str:
  if value is None:
    return '-'
  return f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.3g}'


def default_path(results_dir: str, full: bool) -> str:
  """File of a complete benchmark's results."""
  return os.path.join(
      results_dir, 'benchmark_full.json' if full else 'benchmark.json'
  )
