"""What figures share."""

from __future__ import annotations

import numpy as np
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


def test_a_bar_is_the_mean_of_the_method_beside_it():
  _, (panel,) = drawing.grid(1, width=4, height=2)
  drawing.bars(panel, ['sac', 'safer'], [[1.0, 3.0], [4.0]], '{:.1f}')
  names = [label.get_text() for label in panel.get_yticklabels()]
  assert {
      names[round(bar.get_y() + bar.get_height() / 2)]: bar.get_width()
      for bar in panel.patches
  } == {'SAC': 2, 'SAFER': 4}


def test_names_cover_neither_each_other_nor_the_line():
  figure, (panel,) = drawing.grid(1, width=4, height=3)
  points = [(x, x) for x in (0.0, 0.1, 0.2, 1.0)]
  panel.plot(*zip(*points), 'o-')
  drawing.name_points(
      figure, panel, [(f'{x:g}', x, y, '#000000') for x, y in points]
  )
  assert [text.get_text() for text in panel.texts] == ['0', '0.1', '0.2', '1']
  renderer = backend_agg.FigureCanvasAgg(figure).get_renderer()
  boxes = [text.get_window_extent(renderer) for text in panel.texts]
  assert sum(box.count_overlaps(boxes) for box in boxes) == len(boxes)
  for box in boxes:
    for x in np.linspace(0, 1, 200):
      assert not box.contains(*panel.transData.transform((x, x)))
