"""Pieces of HTML."""

from __future__ import annotations

import numpy as np

from safer_tf.evaluation import page


def test_pieces_of_the_page_by_hand():
  assert page.share(0.125) == '12.5%' and page.number(0.12345) == '0.123'
  assert page.share(np.nan) == page.number(np.nan) == '–'
  assert page.table(('<a>',), [('1', '2'), ('3', '4')], ours=[1]).count(
      '<th>&lt;a&gt;</th></tr></thead><tbody><tr><td>1</td><td>2</td></tr>'
      '<tr class="ours"><td>3</td>'
  ) == 1
