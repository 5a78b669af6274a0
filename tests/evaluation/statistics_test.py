"""Aggregates by hand, and the coverage of the intervals."""

import numpy as np
import pytest
from scipy import stats

from safer_tf.evaluation import statistics


def test_summary_skips_what_is_missing_and_says_how_many():
  summary = statistics.summarise([1.0, 3.0, np.nan, np.inf])
  assert summary == (2.0, pytest.approx(np.sqrt(2)), 2)
  assert statistics.summarise([5.0]).n == 1
  assert np.isnan(statistics.summarise([5.0]).deviation)
  assert statistics.summarise([]).n == 0


def test_interquartile_mean_ignores_the_outer_halves():
  scores = [np.array([0.0, 1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0, 1000.0])]
  assert statistics.interquartile_mean(scores) == pytest.approx(3.5)
  scores = [np.random.default_rng(0).normal(size=7) for _ in range(3)]
  assert statistics.interquartile_mean(scores) == pytest.approx(
      stats.trim_mean(np.concatenate(scores), 0.25)
  )


def test_bootstrap_is_stratified_by_task():
  # Tasks differ, runs do not: resampling within tasks changes nothing.
  scores = [np.full(5, float(task)) for task in range(4)]
  low, high = statistics.bootstrap_interval(scores, repeats=50)
  assert low == high == statistics.interquartile_mean(scores)


@pytest.mark.parametrize('num_runs, least, most', [
    (3, 0.78, 0.92),  # As the captions say: about 85%.
    (8, 0.85, 0.99),
])
def test_bootstrap_covers_the_truth_about_as_often_as_it_says(
    num_runs, least, most
):
  rng = np.random.default_rng(0)
  covered = []
  for repeat in range(150):
    scores = [rng.normal(0.5, 0.2, num_runs) for _ in range(6)]
    low, high = statistics.bootstrap_interval(
        scores, repeats=200, seed=repeat
    )
    covered.append(low <= 0.5 <= high)
  assert least < np.mean(covered) <= most


def test_the_bootstrap_is_of_the_statistic_confidence_and_seed_asked_for():
  scores = [np.random.default_rng(0).exponential(size=9) for _ in range(3)]

  def width(**changes):
    low, high = statistics.bootstrap_interval(scores, repeats=200, **changes)
    return high - low

  assert width(confidence=0.5) < 0.6 * width() < width()
  assert width(seed=1) != width()
  low, high = statistics.bootstrap_interval(
      scores, lambda resampled: float(np.max(resampled)), repeats=200
  )
  # A maximum is never above the highest score, and often equals it.
  assert low < high == np.max(scores)


def test_the_bootstrap_gives_the_same_interval_again():
  scores = [np.arange(5.0), np.arange(7.0)]
  assert statistics.bootstrap_interval(scores, repeats=20) == (
      statistics.bootstrap_interval(scores, repeats=20)
  )
