"""What figures of priors alone draw is what the rows say."""

from __future__ import annotations

import numpy as np

import envs
from safer_tf.evaluation import prior_figures

_TASK = envs.EVALUATION[0]


def test_calibration_draws_each_modes_shares_at_their_targets():
  figure = prior_figures.calibration([
      {
          'mode': mode, 'task': _TASK, 'max_unsafe_fraction': target,
          'unsafe_fraction': share, 'unsafe_fraction_upper': 2 * share,
      } for mode, target, share in (
          ('exact', 0.3, 0.2), ('exact', 0.15, 0.1), ('certified', 0.15, 0.05)
      )
  ])
  for panel, points in zip(figure.axes, ([(15, 10), (30, 20)], [(15, 5)])):
    np.testing.assert_allclose(panel.lines[-1].get_xydata(), points)
    np.testing.assert_allclose(
        [ends[:, 1] for ends in panel.collections[-1].get_segments()],
        [(share, 2 * share) for _, share in points],
    )


def test_calibration_shows_what_lies_near_nothing_too():
  figure = prior_figures.calibration([
      {
          'mode': 'exact', 'task': _TASK, 'max_unsafe_fraction': target,
          'unsafe_fraction': share, 'unsafe_fraction_upper': upper,
      } for target, share, upper in ((0.0, 0.002, 0.01), (0.45, 0.04, 0.05))
  ])
  bottom, top = figure.axes[0].get_ylim()
  assert bottom == 0 and 5 < top < 6


def test_calibration_of_what_was_never_unsafe_is_drawn():
  figure = prior_figures.calibration([{
      'mode': 'exact', 'task': _TASK, 'max_unsafe_fraction': 0.15,
      'unsafe_fraction': 0.0, 'unsafe_fraction_upper': 0.001,
  }])
  bottom, top = figure.axes[0].get_ylim()
  assert bottom == 0 and 1 <= top < 2


def test_histograms_tell_safe_from_unsafe():
  shares = {'safe': (0.75, 0.25), 'unsafe': (0.125, 0.5)}
  figure = prior_figures.histograms([
      {
          'method': 'safer', 'quantity': 'latent_abs_max',
          'unsafe': int(name == 'unsafe'), 'left': left, 'right': left + 1,
          'share': share,
      } for name, found in shares.items() for left, share in enumerate(found)
  ], 'latent_abs_max', {'safer': 0.5, 'parrot': 1.0})
  box, = figure.axes[0].lines
  assert box.get_xdata() == [0.5, 0.5] and figure.axes[0].get_xlim()[0] == 0
  for drawn in figure.axes[0].patches:
    np.testing.assert_allclose(
        drawn.get_data().values, 100 * np.array(shares[drawn.get_label()])
    )


def test_priors_alone_have_standard_errors():
  figure = prior_figures.alone([
      {
          'prior': 'safer', 'latent_range': 0.0, 'episodes': 20,
          'success_rate': 0.5 + spread, 'unsafe_episodes': 4,
      } for spread in (-0.1, 0.1)
  ])
  # Two tasks, 20 points apart: the mean is known to 10.
  ends, = figure.axes[0].containers[0].lines[2][1].get_segments()
  np.testing.assert_allclose(ends[:, 1], (40, 60))
