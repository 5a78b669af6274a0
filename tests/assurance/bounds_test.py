"""Bounds against brute force, and the properties that define them."""

import numpy as np
import pytest

from safer_tf.assurance import bounds
from safer_tf.common import errors


def _random_latents(rng, n=60, ties=False, weight=1.0):
  abs_max = rng.gamma(3, 0.5, n)
  unsafe = rng.random(n) < np.clip(abs_max / 4, 0.05, 0.95)
  if ties:
    abs_max = np.round(abs_max, 1)
  return bounds.LabelledLatents(
      abs_max, unsafe, np.arange(n) // 6, n // 6, weight
  )


def _brute_force(latents, target):
  """Tries a bound at and around every latent."""
  values = np.unique(latents.abs_max)
  candidates = np.append(values, bounds._just_above(values[-1]))
  kept = [
      candidate for candidate in candidates
      if bounds.unsafe_fraction(latents, candidate) <= target
  ]
  return max(kept, default=bounds.NOTHING)


@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('target', [0.0, 0.15, 0.3, 0.45, 1.0])
def test_exact_bound_equals_brute_force(ties, target):
  rng = np.random.default_rng(0)
  for _ in range(40):
    latents = _random_latents(rng, ties=ties, weight=rng.uniform(0.3, 3))
    exact = bounds.exact_bound(latents, target)
    assert exact == pytest.approx(_brute_force(latents, target), abs=0)


def test_exact_bound_by_hand():
  latents = bounds.LabelledLatents(
      np.array([0.1, 0.2, 0.2, 0.3, 0.5]),
      np.array([False, False, True, False, True]), np.zeros(5, int), 1, 1.0,
  )
  # Of the tied pair at 0.2 neither can enter without the other.
  assert bounds.exact_bound(latents, 0.0) == 0.2
  assert bounds.exact_bound(latents, 0.25) == 0.5
  assert bounds.exact_bound(latents, 0.24) == 0.2
  assert bounds.exact_bound(latents, 0.4) > 0.5
  assert bounds.unsafe_fraction(latents, 0.5) == 0.25
  assert bounds.safe_in_bound(latents, 0.5) == 1.0


def test_nothing_is_admitted_where_the_first_action_is_unsafe():
  latents = bounds.LabelledLatents(
      np.array([0.1, 0.2]), np.array([True, False]), np.zeros(2, int), 1, 1.0
  )
  rng = np.random.default_rng(0)
  assert bounds.exact_bound(latents, 0.15) == bounds.NOTHING
  assert bounds.paper_bound(latents, 0.15, rng) == bounds.NOTHING
  assert np.isnan(bounds.unsafe_fraction(latents, bounds.NOTHING))


@pytest.mark.parametrize('target', [0.0, 0.15, 0.3])
def test_paper_bound_keeps_the_share_and_is_at_most_exact(target):
  rng = np.random.default_rng(1)
  found = 0
  for _ in range(40):
    latents = _random_latents(rng, n=300, weight=rng.uniform(0.5, 2))
    bound = bounds.paper_bound(latents, target, rng)
    assert bound <= bounds.exact_bound(latents, target)
    if bound:
      found += 1
      assert bounds.unsafe_fraction(latents, bound) <= target
  assert found > 10


def test_the_largest_of_a_sample_has_the_distribution_of_drawing_it():
  rng = np.random.default_rng(2)
  items, k = np.arange(20.0), 7
  drawn = rng.choice(items, (20000, k)).max(axis=1)
  ranked = [bounds._largest_of_sample(items, k, rng) for _ in range(20000)]
  by_hand = np.bincount(drawn.astype(int), minlength=20) / 20000
  shortcut = np.bincount(np.array(ranked, int), minlength=20) / 20000
  np.testing.assert_allclose(shortcut, by_hand, atol=0.015)


def _algorithm_3(latents, target, rng):
  """As printed: every sample is drawn, and the sets are counted anew."""
  bound, weight = np.inf, latents.unsafe_weight
  while True:
    inside = latents.abs_max < bound
    safe = latents.abs_max[inside & ~latents.unsafe]
    unsafe = latents.abs_max[inside & latents.unsafe]
    total = len(safe) + weight * len(unsafe)
    if not total:
      return bounds.NOTHING
    if bound < np.inf and weight * len(unsafe) <= target * total:
      return bound
    drawn = [
        rng.choice(values, int(count)) for values, count in (
            (safe, total * (1 - target)), (unsafe, total * target / weight)
        ) if len(values)
    ]
    bound = max(np.concatenate(drawn), default=bounds.NOTHING)


def test_paper_bound_has_the_distribution_of_algorithm_3():
  rng = np.random.default_rng(5)
  latents = _random_latents(rng, n=40, weight=1.7)
  values = np.append(np.sort(latents.abs_max), np.inf)
  shares = []
  for find in (bounds.paper_bound, _algorithm_3):
    found = [find(latents, 0.3, rng) for _ in range(4000)]
    shares.append(np.bincount(np.searchsorted(values, found), minlength=41))
  shortcut, printed = np.array(shares) / 4000
  np.testing.assert_allclose(shortcut, printed, atol=0.04)
  assert max(printed) < 0.9  # Else one value is all there is to find.


def test_equal_weight_makes_the_sets_weigh_the_same():
  rng = np.random.default_rng(3)
  latents = _random_latents(rng, n=500)
  n_unsafe = int(latents.unsafe.sum())
  weight = bounds.equal_weight(500 - n_unsafe, n_unsafe)
  everything = latents.abs_max.max() + 1
  assert bounds.unsafe_fraction(latents, everything, weight) == pytest.approx(
      0.5
  )
  with pytest.raises(errors.UserError, match='0 unsafe'):
    bounds.equal_weight(10, 0)


def test_damaged_latents_are_refused():
  with pytest.raises(errors.UserError, match='1 of 2 latents'):
    bounds.LabelledLatents(
        np.array([0.1, np.nan]), np.zeros(2, bool), np.zeros(2, int), 1, 1.0
    )
  with pytest.raises(errors.UserError, match='one length'):
    bounds.LabelledLatents(
        np.zeros(2), np.zeros(3, bool), np.zeros(2, int), 1, 1.0
    )


def test_a_training_split_without_safe_actions_has_no_weight():
  # A weight of 0 would let every unsafe action in.
  with pytest.raises(errors.UserError, match='0 safe'):
    bounds.equal_weight(0, 10)


def test_a_bound_above_all_latents_is_above_them_in_float32():
  latents = bounds.LabelledLatents(
      np.array([0.1, 0.3]), np.array([False, True]), np.zeros(2, int), 1, 1.0
  )
  assert np.float32(bounds.exact_bound(latents, 0.5)) > np.float32(0.3)


def test_episode_numbers_are_of_one_length_with_the_latents():
  with pytest.raises(errors.UserError, match='one length'):
    bounds.LabelledLatents(
        np.zeros(2), np.zeros(2, bool), np.zeros(3, int), 1, 1.0
    )
