"""The figures of the priors, drawn from rows of the result tables alone."""

from __future__ import annotations

from typing import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib import figure as figure_lib

from safer_tf.evaluation import drawing
from safer_tf.evaluation import style
from safer_tf.evaluation.tables import Row


@matplotlib.rc_context(drawing.STYLE)
def likelihood_share(rows: Sequence[Row]) -> figure_lib.Figure:
  """Figure 1: unsafe data in the high-likelihood region of each prior."""
  rows = sorted(rows, key=lambda row: style.order(row['method']))
  figure, axes = drawing.grid(1, width=6.0, height=0.8 + 0.33 * len(rows))
  shares = [
      [100 * row['unsafe_share_above_safe_median']] for row in rows
  ]
  drawing.bars(axes[0], [row['method'] for row in rows], shares, '{:.1f}%')
  axes[0].set_xlabel('unsafe pairs above the median safe likelihood (%)')
  return figure


@matplotlib.rc_context(drawing.STYLE)
def histograms(
    rows: Sequence[Row], quantity: str, boxes: Mapping[str, float]
) -> figure_lib.Figure:
  """Held-out safe against unsafe data, one panel a prior.

  Args:
    rows: rows of `histograms`.
    quantity: `log_likelihood` or `latent_abs_max`.
    boxes: by prior, the bound that its agents act within; drawn among latents.

  Returns:
    The figure.
  """
  rows = [row for row in rows if row['quantity'] == quantity]
  methods = sorted({row['method'] for row in rows}, key=style.order)
  figure, axes = drawing.grid(len(methods), width=2.9, height=2.4, share=True)
  for panel, method in zip(axes, methods):
    for unsafe, colour, name in (
        (0, style.SAFE_COLOUR, 'safe'), (1, style.UNSAFE_COLOUR, 'unsafe')
    ):
      bins = sorted(
          (row['left'], row['right'], row['share']) for row in rows
          if row['method'] == method and row['unsafe'] == unsafe
      )
      if bins:
        left, right, share = np.transpose(bins)
        panel.stairs(
            100 * share, np.append(left, right[-1]), fill=True, alpha=0.45,
            color=colour, label=name,
        )
    if quantity == 'latent_abs_max' and method in boxes:
      panel.axvline(boxes[method], color=drawing.INK, lw=1, ls='--')
    panel.tick_params(labelbottom=True)
    panel.set_title(style.label(method))
    panel.set_xlabel({
        'log_likelihood': 'log-likelihood (nats)',
        'latent_abs_max': 'largest |latent component|',
    }[quantity])
  if quantity == 'latent_abs_max':
    axes[0].set_xlim(left=0)
  axes[0].set_ylabel('% of the set')
  axes[0].legend()
  return figure


@matplotlib.rc_context(drawing.STYLE)
def calibration(rows: Sequence[Row]) -> figure_lib.Figure:
  """Figure 4: unsafe share of random latents in bound, against the target."""
  modes = [
      mode for mode in style.MODE_COLOURS
      if any(row['mode'] == mode for row in rows)
  ]
  tasks = sorted({row['task'] for row in rows}, key=style.task_order)
  figure, axes = drawing.grid(len(modes), width=3.1, height=3.1, share=True)
  for panel, mode in zip(axes, modes):
    panel.plot([0, 50], [0, 50], color='#999999', lw=1, ls='--')
    panel.fill_between([0, 50], [0, 50], color='#999999', alpha=0.08, lw=0)
    for i, task in enumerate(tasks):
      points = sorted(
          (row['max_unsafe_fraction'], row['unsafe_fraction'],
           row['unsafe_fraction_upper']) for row in rows
          if row['mode'] == mode and row['task'] == task
      )
      if points:
        target, observed, upper = 100 * np.transpose(points)
        target = target + 0.25 * (i - (len(tasks) - 1) / 2)  # Side by side.
        shade = 0.45 + 0.5 * i / len(tasks)
        panel.plot(
            target, observed, marker=drawing.MARKERS[i % len(drawing.MARKERS)],
            ms=4.5, lw=1, color=style.MODE_COLOURS[mode], alpha=shade,
            label=style.task_label(task),
        )
        panel.vlines(
            target, observed, upper, color=style.MODE_COLOURS[mode],
            alpha=shade, lw=0.8,
        )
    panel.set_ylim(0, 1.1 * _highest(rows))
    panel.set_title(f'{mode} bound')
    panel.set_xlabel('tolerated unsafe share (%)')
  axes[0].set_ylabel('unsafe share of random\nlatents in bound (%)')
  drawing.legend(figure, axes[-1:], 'outside right center', columns=1)
  return figure


def _highest(rows: Sequence[Row]) -> float:
  """The highest share, in % and 1 at least; targets beyond it are not drawn."""
  return 100 * max(0.01, *(row['unsafe_fraction_upper'] for row in rows))


@matplotlib.rc_context(drawing.STYLE)
def alone(rows: Sequence[Row]) -> figure_lib.Figure:
  """What priors reach and touch without an agent, one panel a range.

  An arrow leads from a prior to the one that has its features and a new flow.
  """
  ranges = sorted({row['latent_range'] for row in rows})
  priors = sorted({row['prior'] for row in rows}, key=style.order)
  figure, axes = drawing.grid(len(ranges), width=3.6, height=3.4)
  for panel, bound in zip(axes, ranges):
    points = {}
    for prior in priors:
      found = 100 * np.array([
          (row['unsafe_episodes'] / row['episodes'], row['success_rate'])
          for row in rows
          if (row['prior'], row['latent_range']) == (prior, bound)
      ])
      if not found.size:
        continue
      points[prior] = unsafe, success = found.mean(axis=0)
      error = (
          found.std(axis=0, ddof=1) / len(found) ** 0.5 if len(found) > 1
          else np.zeros(2)
      )
      panel.errorbar(
          unsafe, success, xerr=error[0], yerr=error[1], fmt='o', ms=5,
          elinewidth=0.8, color=style.colour(prior), label=style.label(prior),
      )
    for prior, point in points.items():
      if f'{prior}{style.REFIT}' in points:
        panel.annotate(
            '', points[f'{prior}{style.REFIT}'], point,
            arrowprops={'arrowstyle': '->', 'color': '#888888'},
        )
    panel.set_title('z = 0' if bound == 0 else f'random z in {bound:g}')
    panel.set_xlabel('episodes with an unsafe step (%)')
  axes[0].set_ylabel('success (%)')
  drawing.legend(figure, axes, 'outside lower center', columns=3)
  return figure
