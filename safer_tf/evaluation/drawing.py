"""What the figures share: their look, panels, bands, bars and legend."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np
from matplotlib import axes as axes_lib
from matplotlib import figure as figure_lib
from matplotlib import transforms
from matplotlib.backends import backend_agg

from safer_tf.evaluation import statistics
from safer_tf.evaluation import style

INK = '#222222'
STYLE = {
    'font.family': 'sans-serif', 'font.size': 9, 'axes.titlesize': 9.5,
    'axes.titleweight': 'bold', 'axes.titlelocation': 'left',
    'axes.edgecolor': '#888888', 'axes.labelcolor': INK,
    'axes.spines.top': False, 'axes.spines.right': False,
    'axes.grid': True, 'axes.axisbelow': True, 'grid.color': '#ececec',
    'xtick.color': '#555555', 'ytick.color': '#555555',
    'legend.frameon': False, 'lines.linewidth': 1.8,
    'figure.constrained_layout.use': True,
}

MARKERS = 'osD^vP'  # Of tasks that share a panel and a colour.
_GAP = 3.0  # Pixels about a name.
_PIECES = 25  # Of each part of a line, to be kept free of names.
# Where a name may stand beside its point: offset, alignment.
_BESIDE = (
    ((4, 4), 'left', 'bottom'), ((4, -4), 'left', 'top'),
    ((-4, 4), 'right', 'bottom'), ((-4, -4), 'right', 'top'),
    ((0, 7), 'center', 'bottom'), ((0, -7), 'center', 'top'),
    ((8, 0), 'left', 'center'), ((-8, 0), 'right', 'center'),
    ((4, 13), 'left', 'bottom'), ((4, -13), 'left', 'top'),
)


def grid(
    count: int, width: float, height: float, columns: int = 3,
    share: bool = False,
) -> tuple[figure_lib.Figure, list[axes_lib.Axes]]:
  """A figure of `count` panels of a size in inches, `columns` in a row."""
  columns = min(columns, max(count, 1))
  rows = -(-max(count, 1) // columns)
  figure = figure_lib.Figure(
      figsize=(max(width * columns, 3.2), height * rows)
  )
  axes = figure.subplots(
      rows, columns, squeeze=False, sharex=share, sharey=share
  ).ravel()
  for panel in axes[count:]:
    panel.set_visible(False)
  return figure, list(axes[:max(count, 1)])


def band(
    panel: axes_lib.Axes, steps: np.ndarray, seeds: np.ndarray, colour: str,
    name: str, front: bool, line: str = '-',
) -> None:
  """The mean over seeds, [seeds, T], as a line, and their range as a band."""
  panel.plot(
      steps, seeds.mean(axis=0), line, color=colour, label=name,
      zorder=3 if front else 2,
  )
  if len(seeds) > 1:
    panel.fill_between(
        steps, seeds.min(axis=0), seeds.max(axis=0), color=colour, alpha=0.15,
        lw=0,
    )


def bars(
    panel: axes_lib.Axes, methods: Sequence[str],
    values: Sequence[Sequence[float]], text: str,
) -> None:
  """A bar for each method's mean, dots for several values behind it."""
  means = [statistics.summarise(value).mean for value in values]
  for y, (method, mean, value) in enumerate(zip(methods, means, values)):
    if np.isnan(mean):
      panel.text(0, y, ' not measured', va='center', color='#888888')
      continue
    panel.barh(y, mean, height=0.66, color=style.colour(method))
    if len(value) > 1:
      panel.plot(value, [y] * len(value), '.', color=INK, ms=3.5)
    panel.annotate(
        text.format(mean), (max(mean, np.nanmax(value)), y), (5, 0),
        textcoords='offset points', va='center', fontsize=8, color=INK,
    )
  panel.set_yticks(range(len(methods)), [style.label(m) for m in methods])
  # From top to bottom, those that were not measured at its end too.
  panel.set_ylim(len(methods) - 0.4, -0.6)
  panel.grid(False, axis='y')
  panel.margins(x=0.16)
  panel.set_xlim(left=0)


def legend(
    figure: figure_lib.Figure, axes: Sequence[axes_lib.Axes],
    place: str = 'outside upper center', columns: int = 5,
) -> None:
  """One legend for all panels, beside them, in columns that fit the figure."""
  found: dict[str, Any] = {}
  for panel in axes:
    for handle, name in zip(*panel.get_legend_handles_labels()):
      found.setdefault(name, handle)
  renderer = backend_agg.FigureCanvasAgg(figure).get_renderer()
  for count in range(min(len(found), columns), 0, -1):
    drawn = figure.legend(
        found.values(), found.keys(), loc=place, ncols=count
    )
    if drawn.get_window_extent(renderer).width <= figure.bbox.width:
      return
    if count > 1:
      drawn.remove()


def name_points(
    figure: figure_lib.Figure, panel: axes_lib.Axes,
    names: Sequence[tuple[str, float, float, str]],
) -> None:
  """Writes names beside points, where they cover as little as possible.

  Args:
    figure: whose last artists these are, as they stay where they are put.
    panel: the points' axes; no name should cover their lines either.
    names: text, x, y and colour of each.
  """
  figure.draw_without_rendering()
  renderer = backend_agg.FigureCanvasAgg(figure).get_renderer()
  lines = [
      transforms.Bbox.from_bounds(x - 3, y - 3, 6, 6)
      for line in panel.lines
      for x, y in _along(panel.transData.transform(line.get_xydata()))
  ]
  named: list[transforms.BboxBase] = []
  for text, x, y, colour in names:
    places = [
        panel.annotate(
            text, (x, y), place, textcoords='offset points', ha=sideways,
            va=upright, fontsize=7, color=colour,
        ) for place, sideways, upright in _BESIDE
    ]
    boxes = [
        each.get_window_extent(renderer).padded(_GAP) for each in places
    ]
    covered = [  # Two names on each other cannot be read at all.
        (box.count_overlaps(named), box.count_overlaps(lines)) for box in boxes
    ]
    best = covered.index(min(covered))
    named.append(boxes[best])
    for place in places[:best] + places[best + 1:]:
      place.remove()


def _along(corners: np.ndarray) -> np.ndarray:
  """Points [n, 2], close to each other, of a line through its corners."""
  share = np.linspace(0, len(corners) - 1, _PIECES * len(corners))
  return np.transpose([
      np.interp(share, range(len(corners)), column) for column in corners.T
  ])
