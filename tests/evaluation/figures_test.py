"""What is drawn is what the rows say."""

from __future__ import annotations

import io
import pathlib

import numpy as np
import pytest
from PIL import Image

import envs
from safer_tf.evaluation import drawing
from safer_tf.evaluation import figures
from safer_tf.evaluation import prior_figures

_TASK = envs.EVALUATION[0]


def _run(**values):
  return {
      'task': _TASK, 'method': 'safer', 'variant': 'default', 'seed': 0,
      'protocol': 'seen', 'encoder': 'prior', 'train_success_rate': 0.5,
      'eval_episodes': 100, 'eval_unsafe_episodes': 0, 'machine': 'a machine',
      **values,
  }


def test_an_interval_is_drawn_no_longer_than_it_is():
  figure = figures.aggregate([
      _run(seed=seed, eval_success_rate=0.5, violations=value)
      for seed, value in enumerate((10, 20))
  ], {('safer', 'default')})
  bars = [
      line for panel in figure.axes for line in panel.lines
      if len(line.get_xdata()) == 2
  ]
  assert len(bars) == 2
  assert all(bar.get_solid_capstyle() == 'butt' for bar in bars)
  assert list(bars[1].get_xdata()) == [10, 20]


def test_an_arrow_leads_from_a_prior_to_its_flow_trained_anew():
  figure = prior_figures.alone([
      {
          'prior': prior, 'latent_range': bound, 'episodes': 20,
          'success_rate': success + spread, 'unsafe_episodes': unsafe,
      } for prior, success, unsafe in (
          ('safer', 0.5, 4), ('safer_refit', 0.75, 2), ('parrot', 0.25, 8)
      ) for bound in (0.0, 1.0) for spread in (-0.1, 0.1)
  ])
  assert [panel.get_title('left') for panel in figure.axes] == [
      'z = 0', 'random z in 1'
  ]
  for panel in figure.axes:
    arrow, = panel.texts
    np.testing.assert_allclose((*arrow.xyann, *arrow.xy), (20, 50, 10, 75))


def test_the_quoted_variant_is_the_filled_one():
  figure = figures.aggregate([
      _run(variant=variant, eval_success_rate=success, violations=1)
      for variant, success in (('default', 0.9), ('own_range', 0.5))
  ], {('safer', 'own_range')})
  usual, own = figure.axes[0].lines
  assert usual.get_markerfacecolor() == 'white'
  assert own.get_markerfacecolor() != 'white'


@pytest.mark.parametrize('counts', [False, True])
def test_few_violations_are_counted_by_whole_ticks(counts):
  figure = figures.curves([
      _run(env_steps=step, violations=violations)
      for step, violations in ((1000, 0), (2000, 1))
  ], 'violations', 'violations', counts=counts)
  figure.canvas.draw()
  panel = figure.axes[0]
  bottom, top = panel.get_ylim()
  names = [
      label.get_text() for label in panel.get_yticklabels()
      if bottom <= label.get_position()[1] <= top
  ]
  assert len(names) > 1 and len(set(names)) == len(names)


def test_tens_of_violations_are_told_apart_beside_thousands():
  figure = figures.curves([
      _run(method=method, env_steps=step, violations=violations)
      for method, violations in (
          ('sac', 10_000), ('safer', 20), ('parrot', 60), ('own', 0))
      for step in (1000, 2000)
  ], 'violations', 'violations', counts=True)
  figure.canvas.draw()
  panel = figure.axes[0]
  none, safer, parrot, sac = sorted(
      panel.transData.transform((0, line.get_ydata()[0]))[1]
      for line in panel.lines
  )
  assert none == pytest.approx(panel.get_window_extent().y0)
  assert min(safer - none, parrot - safer) > 0.05 * (sac - none)


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


def test_the_frontier_shows_no_violations_too():
  figure = figures.frontier([
      _run(latent_bound=0.3, eval_success_rate=1.0, violations=0),
      _run(
          latent_bound=1.0, eval_success_rate=1.0, violations=50,
          variant='own_range',
      ),
  ])
  panel, = figure.axes
  figure.canvas.draw()
  left, _ = panel.transData.transform((0, 100))
  assert panel.get_window_extent().x0 <= left


def test_the_frontier_joins_a_methods_bounds_from_small_to_none():
  nan = float('nan')
  figure = figures.frontier([
      _run(
          task=task, variant=variant, latent_bound=bound, seed=seed,
          eval_success_rate=success, violations=violations,
      )
      for variant, bound, found in (
          # Task, seed, success, violations; tasks weigh the same.
          ('own_range', 1.0, ((0, 0, 0.9, 300), (1, 0, 0.7, 100))),
          ('default', 0.3, ((0, 0, 0.2, 10), (0, 1, 0.4, 30), (1, 0, 0.5, 40))),
          ('unbounded', nan, ((0, 0, 1.0, 900), (1, 0, 1.0, 700))),
          ('gamma_0.99', 0.3, ((0, 0, 0.1, 20), (1, 0, 0.3, 20))),
      )
      for task, seed, success, violations in (
          (envs.EVALUATION[number], *rest) for number, *rest in found
      )
  ])
  apart, line = figure.axes[0].lines
  np.testing.assert_allclose(line.get_xdata(), [30, 200, 800])
  np.testing.assert_allclose(line.get_ydata(), [40, 80, 100])
  # Not a bound's doing: it must not look like one.
  assert (apart.get_xdata(), apart.get_ydata()) == ([20], [20])
  assert apart.get_markerfacecolor() == 'white'
  assert [text.get_text() for text in figure.axes[0].texts] == [
      'gamma 0.99', '0.3', '1', 'none'
  ]


def test_a_saved_figure_looks_the_same_and_is_the_same_bytes(tmp_path):
  figure, (panel,) = drawing.grid(1, width=3, height=2)
  panel.plot([0, 1], color='#0072b2', lw=8)
  paths = [str(tmp_path / name) for name in ('one.png', 'two.png')]
  for path in paths:
    figures.save(figure, path)
  one, two = (pathlib.Path(path).read_bytes() for path in paths)
  assert one == two
  buffer = io.BytesIO()
  figure.savefig(buffer, dpi=150, facecolor='white')
  drawn, saved = (
      np.asarray(Image.open(file).convert('RGB'), int)
      for file in (buffer, paths[0])
  )
  assert drawn.shape == saved.shape
  assert np.abs(drawn - saved).mean() < 1  # Of 255.
  assert len(one) < len(buffer.getvalue())


def test_a_curve_ends_with_its_shortest_seed_and_its_band_is_the_range():
  figure = figures.curves([
      _run(seed=seed, env_steps=1000 * i, violations=10 * seed + i)
      for seed, count in ((0, 3), (1, 2)) for i in range(1, count + 1)
  ], 'violations', 'violations')
  line, = figure.axes[0].lines
  np.testing.assert_allclose(line.get_xydata(), [(1000, 6), (2000, 7)])
  band, = figure.axes[0].collections
  np.testing.assert_allclose(
      band.get_paths()[0].get_extents().get_points(), [(1000, 1), (2000, 12)]
  )


def test_the_tradeoff_is_of_means_in_percent_and_of_violations():
  figure = figures.tradeoff([
      _run(
          latent_bound=bound, max_unsafe_fraction=bound / 10, seed=seed,
          eval_success_rate=(bound + seed) / 4, violations=10 * bound + seed,
      ) for bound in (1, 2) for seed in (0, 1)
  ])
  success, violations = (panel.lines[0].get_ydata() for panel in figure.axes)
  np.testing.assert_allclose(success, (37.5, 62.5))
  np.testing.assert_allclose(violations, (10.5, 20.5))


def test_tasks_of_a_sweep_are_told_apart():
  figure = figures.tradeoff([
      _run(
          task=task, latent_bound=bound, max_unsafe_fraction=bound / 10,
          eval_success_rate=0.5, violations=10,
      ) for task in envs.EVALUATION for bound in (1, 2)
  ])
  handles, _ = figure.axes[0].get_legend_handles_labels()
  assert len({handle.get_marker() for handle in handles}) == len(handles) == 6


def test_bars_are_of_their_own_task_in_its_unit(monkeypatch):
  drawn = []
  monkeypatch.setattr(
      drawing, 'bars', lambda panel, methods, values, text: drawn.append(values)
  )
  figures.method_bars([
      _run(task=task, eval_success_rate=success, violations=violations)
      for task, success, violations in zip(
          envs.EVALUATION, (0.25, 0.75), (10, 20)
      )
  ])
  assert drawn == [[[25]], [[10]], [[75]], [[20]]]


def test_versions_are_drawn_by_their_encoder_in_percent():
  figure = figures.versions([
      {
          'encoder': encoder, 'version': version, 'seed': 0, 'env_steps': 1000,
          'success_rate': success,
      } for encoder, version, success in (
          ('prior', 'plain', 0.25), ('prior', 'fast', 0.5),
          ('own', 'plain', 0.75), ('own', 'fast', 1.0),
      )
  ])
  assert [
      [line.get_ydata().tolist() for line in panel.lines]
      for panel in figure.axes
  ] == [[[25], [50]], [[75], [100]]]


def test_one_seed_of_a_task_is_not_enough_for_an_interval():
  figure = figures.aggregate([
      _run(task=task, seed=seed, eval_success_rate=0.5, violations=seed)
      for task, seed in (
          (envs.EVALUATION[0], 0), (envs.EVALUATION[0], 1),
          (envs.EVALUATION[1], 0),
      )
  ], set())
  for panel in figure.axes:
    assert [len(line.get_xdata()) for line in panel.lines] == [1]
