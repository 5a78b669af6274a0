"""What is drawn is what the rows say."""

from __future__ import annotations

import envs
from safer_tf.evaluation import figures

_TASK = envs.EVALUATION[0]


def _run(**values):
  return {
      'task': _TASK, 'method': 'safer', 'variant': 'default', 'seed': 0,
      **values,
  }


def test_an_interval_is_drawn_no_longer_than_it_is():
  figure = figures.aggregate([
      _run(seed=seed, eval_success_rate=0.5, violations=value)
      for seed, value in enumerate((10, 20))
  ])
  bars = [
      line for panel in figure.axes for line in panel.lines
      if len(line.get_xdata()) == 2
  ]
  assert len(bars) == 2
  assert all(bar.get_solid_capstyle() == 'butt' for bar in bars)
  assert list(bars[1].get_xdata()) == [10, 20]


def test_few_violations_are_counted_by_whole_ticks():
  figure = figures.curves([
      _run(env_steps=step, violations=violations)
      for step, violations in ((1000, 0), (2000, 1))
  ], 'violations', 'violations')
  figure.canvas.draw()
  names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
  assert len(names) > 1 and len(set(names)) == len(names)


def test_every_bound_of_the_sweep_has_a_name_of_its_own():
  nan = float('nan')
  figure = figures.tradeoff([
      _run(
          latent_bound=bound, max_unsafe_fraction=target,
          eval_success_rate=0.5, violations=bound,
      ) for bound, target in ((0.3, 0.0), (0.47, 0.02), (1, nan), (3.7, 0.45))
  ])
  figure.canvas.draw()
  for panel in figure.axes:
    assert [text.get_text() for text in panel.texts] == [
        '0%', '2%', '|z| < 1', '45%'
    ]
