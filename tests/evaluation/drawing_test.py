"""What figures share."""

from __future__ import annotations

import pytest
from matplotlib.backends import backend_agg

from safer_tf.evaluation import drawing


@pytest.mark.parametrize('count', [2, 11])
def test_a_legend_is_no_wider_than_its_figure(count):
  figure, axes = drawing.grid(3, width=3.4, height=2.6)
  for number in range(count):
    axes[0].plot([0, 1], label=f'A method of some length, number {number}')
  drawing.legend(figure, axes)
  legend, = figure.legends
  assert len(legend.get_texts()) == count
  renderer = backend_agg.FigureCanvasAgg(figure).get_renderer()
  box = legend.get_window_extent(renderer)
  assert 0 < box.width <= figure.bbox.width
  # Two stand side by side: no more rows than are needed.
  assert count > 2 or box.height < 2 * box.width / 10
