"""The figures of the agents, drawn from rows of the result tables alone."""

from __future__ import annotations

import io
import itertools
from typing import Any, Collection, Iterable, Sequence

import matplotlib
import numpy as np
from matplotlib import axes as axes_lib
from matplotlib import figure as figure_lib
from matplotlib import ticker
from PIL import Image

from safer_tf.common import files
from safer_tf.evaluation import drawing
from safer_tf.evaluation import statistics
from safer_tf.evaluation import style
from safer_tf.evaluation import summaries
from safer_tf.evaluation import variants
from safer_tf.evaluation.tables import Row

_DOTS_PER_INCH = 150
# A palette of so many makes a file, and the report that holds it, a third.
_COLOURS = 256
# Up to here axes of violations are linear, as they begin at 0.
_LINEAR_TO = 10


def save(figure: figure_lib.Figure, path: str) -> None:
  """Writes a PNG, whole or not at all; the same bytes for the same figure."""
  buffer = io.BytesIO()
  figure.savefig(
      buffer, format='png', dpi=_DOTS_PER_INCH, facecolor='white'
  )
  image = Image.open(buffer).convert('RGB').quantize(
      _COLOURS, dither=Image.Dither.NONE
  )
  with files.replacing(path) as beside:
    image.save(beside, 'PNG', optimize=True)


@matplotlib.rc_context(drawing.STYLE)
def curves(
    rows: Sequence[Row], column: str, ylabel: str, scale: float = 1.0,
    counts: bool = False,
) -> figure_lib.Figure:
  """Learning curves, a panel a task: mean over seeds and their range.

  Args:
    rows: rows of `curves`; variants but the usual one are dashed
      or dotted.
    column: column to draw.
    ylabel: what it is.
    scale: factor on its values.
    counts: whether its values are counts. Where methods have them by hundreds
      as well as by tens, the axis is logarithmic from 10 on.

  Returns:
    The figure.
  """
  tasks = sorted({row['task'] for row in rows}, key=style.task_order)
  kinds = summaries.by_kind(rows)
  figure, axes = drawing.grid(len(tasks), width=3.4, height=2.6)
  for panel, task in zip(axes, tasks):
    for (method, variant), ours in kinds.items():
      steps, seeds = _by_seed(
          [row for row in ours if row['task'] == task], column, scale
      )
      if not len(steps):
        continue
      drawing.band(
          panel, steps, seeds, style.colour(method),
          variants.label(method, variant), front=method == 'safer',
          line=_line_style(variant),
      )
    panel.set_title(style.task_label(task))
    panel.set_xlabel('environment steps')
    panel.xaxis.set_major_formatter('{x:,.0f}')
    if counts and panel.get_ylim()[1] > _LINEAR_TO**2:
      panel.set_yscale('symlog', linthresh=_LINEAR_TO)
    else:
      panel.yaxis.set_major_locator(ticker.MaxNLocator(
          'auto', integer=True, steps=(1, 2, 2.5, 5, 10)
      ))
    panel.set_ylim(bottom=0)
    panel.yaxis.set_major_formatter('{x:,.0f}')
  axes[0].set_ylabel(ylabel)
  drawing.legend(figure, axes)
  return figure


@matplotlib.rc_context(drawing.STYLE)
def tradeoff(rows: Sequence[Row]) -> figure_lib.Figure:
  """Figure 6: success and violations over the latent bound."""
  figure, axes = drawing.grid(2, width=3.4, height=2.7)
  for panel, (column, scale, name) in zip(axes, (
      ('eval_success_rate', 100, 'success (%)'),
      ('violations', 1, 'violations in training'),
  )):
    tasks = sorted({row['task'] for row in rows}, key=style.task_order)
    for task, marker in zip(tasks, itertools.cycle(drawing.MARKERS)):
      ours = [row for row in rows if row['task'] == task]
      bounds = sorted({row['latent_bound'] for row in ours})
      values = [
          [scale * r[column] for r in ours if r['latent_bound'] == bound]
          for bound in bounds
      ]
      panel.plot(
          bounds, [np.mean(value) for value in values], f'{marker}-', ms=4,
          color=style.colour('safer'), label=style.task_label(task),
          clip_on=False,
      )
      for bound, value in zip(bounds, values):
        panel.plot(
            [bound] * len(value), value, '.', ms=3, alpha=0.5,
            color=style.colour('safer'),
        )
      _name_bounds(panel, ours, bounds, values)
    panel.set_xlabel('latent bound')
    panel.set_ylabel(name)
    panel.set_ylim(bottom=0)
  axes[0].legend()
  return figure


@matplotlib.rc_context(drawing.STYLE)
def method_bars(rows: Sequence[Row]) -> figure_lib.Figure:
  """Success and violations of some methods, a panel a task and measure."""
  tasks = sorted({row['task'] for row in rows}, key=style.task_order)
  methods = sorted({row['method'] for row in rows}, key=style.order)
  figure, axes = drawing.grid(
      2 * len(tasks), width=4.4, height=0.75 + 0.28 * len(methods), columns=2
  )
  for i, task in enumerate(tasks):
    for panel, (column, scale, name) in zip(axes[2 * i:2 * i + 2], (
        ('eval_success_rate', 100, 'success (%)'),
        ('violations', 1, 'violations'),
    )):
      values = [
          [scale * r[column] for r in rows
           if r['task'] == task and r['method'] == method]
          for method in methods
      ]
      drawing.bars(panel, methods, values, '{:,.0f}')
      panel.set_title(f'{style.task_label(task)}: {name}')
  return figure


def _line_style(variant: str) -> str:
  if not variants.is_of_bound(variant):
    return '-.'
  return {variants.USUAL: '-', variants.OWN_BOUND: ':'}.get(variant, '--')


@matplotlib.rc_context(drawing.STYLE)
def aggregate(
    rows: Sequence[Row], quoted: Collection[tuple[str, str]]
) -> figure_lib.Figure:
  """Interquartile means over tasks, with stratified bootstrap intervals.

  Args:
    rows: of runs on the same tasks.
    quoted: methods and variants whose dots are filled.

  Returns:
    The figure.
  """
  kinds = summaries.by_kind(rows)
  figure, axes = drawing.grid(2, width=3.9, height=0.9 + 0.32 * len(kinds))
  for panel, (column, scale, name) in zip(axes, (
      ('eval_success_rate', 100, 'success (%)'),
      ('violations', 1, 'violations in training'),
  )):
    for y, ((method, variant), ours) in enumerate(kinds.items()):
      scores = summaries.scores(ours, column, scale)
      if not scores:
        continue
      colour = style.colour(method)
      if min(map(len, scores)) > 1:  # Else there is nothing to draw from.
        panel.plot(
            statistics.bootstrap_interval(scores), [y, y], color=colour, lw=10,
            alpha=0.35, solid_capstyle='butt',
        )
      panel.plot(
          [statistics.interquartile_mean(scores)], [y], 'o', ms=5, color=colour,
          mfc=colour if (method, variant) in quoted else 'white',
          clip_on=False,
      )
    panel.set_yticks(
        range(len(kinds)), [variants.label(*kind) for kind in kinds]
    )
    panel.invert_yaxis()
    panel.set_xlabel(f'interquartile mean {name}')
    if column == 'violations':
      panel.set_xscale('symlog', linthresh=_LINEAR_TO)
      panel.xaxis.set_major_formatter('{x:,.0f}')
    panel.set_xlim(left=0)
  axes[1].set_yticklabels([])
  return figure


@matplotlib.rc_context(drawing.STYLE)
def frontier(rows: Sequence[Row]) -> figure_lib.Figure:
  """Mean success against mean violations, a line a method over its bounds.

  Args:
    rows: of runs on the same tasks; those of one variant are one point, on
      its method's line if it differs in the bound alone.

  Returns:
    The figure; violations on an axis that is logarithmic from 1 on.
  """
  figure, (panel,) = drawing.grid(1, width=6.4, height=4.8)
  points: dict[str, list[tuple[float, float, float]]] = {}
  names: list[tuple[str, float, float, str]] = []
  for (method, variant), ours in summaries.by_kind(rows).items():
    bound = ours[0]['latent_bound']
    violations = _mean_of_tasks(ours, 'violations', 1)
    success = _mean_of_tasks(ours, 'eval_success_rate', 100)
    if variants.is_of_bound(variant):
      points.setdefault(method, []).append((
          np.inf if np.isnan(bound) else bound, violations, success
      ))
    else:
      panel.plot(
          [violations], [success], 'o', ms=5, color=style.colour(method),
          mfc='white',
      )
      names.append((variant.replace('_', ' '), violations, success, method))
  for method, found in points.items():
    found.sort()
    panel.plot(
        [x for _, x, _ in found], [y for _, _, y in found], 'o-', ms=5,
        color=style.colour(method), label=style.label(method),
        zorder=3 if method == 'safer' else 2,
    )
    for bound, x, y in found:
      name = f'{bound:.2g}' if np.isfinite(bound) else 'none'
      names.append((name, x, y, method))
  least = min(np.min(line.get_xdata()) for line in panel.lines)
  if least < 1:
    panel.set_xscale('symlog', linthresh=1)
  else:
    panel.set_xscale('log')
    panel.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 3, 5)))
  panel.xaxis.set_major_formatter('{x:,.0f}')
  panel.xaxis.set_minor_formatter('')
  panel.set_xlabel('violations in training')
  panel.set_ylabel('success (%)')
  panel.legend(loc='best')
  drawing.name_points(figure, panel, [
      (text, x, y, style.colour(method)) for text, x, y, method in names
  ])
  return figure


@matplotlib.rc_context(drawing.STYLE)
def versions(rows: Sequence[Row]) -> figure_lib.Figure:
  """Learning with and without the speed-ups: mean over seeds and their range.

  Args:
    rows: of `encoder`, `version` (`fast` or `plain`), `seed`, `env_steps` and
      `success_rate`.

  Returns:
    The figure, a panel an encoder.
  """
  encoders = list(dict.fromkeys(row['encoder'] for row in rows))
  figure, axes = drawing.grid(len(encoders), width=3.4, height=2.6)
  for panel, encoder in zip(axes, encoders):
    for version, colour in (('plain', '#7f7f7f'), ('fast', '#0072b2')):
      steps, seeds = _by_seed([
          row for row in rows
          if row['encoder'] == encoder and row['version'] == version
      ], 'success_rate', 100)
      if len(steps):
        drawing.band(
            panel, steps, seeds, colour, version, front=version == 'fast'
        )
    panel.set_title(f'{encoder} encoder')
    panel.set_xlabel('environment steps')
    panel.set_ylim(0, 100)
    panel.xaxis.set_major_formatter('{x:,.0f}')
  axes[0].set_ylabel('success in training (%)')
  drawing.legend(figure, axes)
  return figure


def _mean_of_tasks(rows: Sequence[Row], column: str, scale: float) -> float:
  """Mean over tasks of the mean over seeds."""
  return float(np.mean([
      task.mean() for task in summaries.scores(rows, column, scale)
  ]))


def _by_seed(
    rows: Iterable[Row], column: str, scale: float
) -> tuple[np.ndarray, np.ndarray]:
  """Steps [T] and values [seeds, T] on the steps that all seeds reached."""
  seeds: dict[Any, dict[float, float]] = {}
  for row in rows:
    seeds.setdefault(row['seed'], {})[row['env_steps']] = row[column]
  if not seeds:
    return np.zeros(0), np.zeros((0, 0))
  steps = sorted(set.intersection(*(set(seed) for seed in seeds.values())))
  values = [[scale * seed[step] for step in steps] for seed in seeds.values()]
  return np.array(steps), np.array(values, float)


def _name_bounds(
    panel: axes_lib.Axes, rows: Sequence[Row], bounds: Sequence[float],
    values: Sequence[Sequence[float]],
) -> None:
  """Writes beside each bound's point the share it tolerates, or the bound."""
  for bound, value in zip(bounds, values):
    target = next(
        r['max_unsafe_fraction'] for r in rows if r['latent_bound'] == bound
    )
    # Steep, so that neighbours do not meet.
    panel.annotate(
        f'{target:.0%}' if np.isfinite(target) else f'|z| < {bound:g}',
        (bound, float(np.mean(value))), (-3, 5), textcoords='offset points',
        ha='left', va='bottom', rotation=60, rotation_mode='anchor',
        fontsize=7, color=drawing.INK,
    )
