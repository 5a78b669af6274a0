"""What the names of variants say."""

from __future__ import annotations

import pytest

from safer_tf.evaluation import variants


@pytest.mark.parametrize('target', (0.0, 0.02, 0.15))
def test_the_sweeps_targets_read_back(target):
  variant = variants.of_target(target)
  assert variants.is_of_sweep(variant) and variants.is_of_bound(variant)
  assert variants.target(variant) == target
  assert variants.stated_bound(variant, own_range=1.0) is None


@pytest.mark.parametrize('bound', (0.7, 1.0, 2.5))
def test_the_sweeps_ranges_read_back(bound):
  variant = variants.of_range(bound)
  assert variants.is_of_sweep(variant) and variants.is_of_bound(variant)
  assert variants.target(variant) is None
  assert variants.stated_bound(variant, own_range=None) == bound


def test_other_variants_state_no_target():
  assert variants.stated_bound(variants.OWN_RANGE, own_range=1.5) == 1.5
  for variant in (variants.USUAL, variants.OWN_BOUND, 'gamma_0.99'):
    assert not variants.is_of_sweep(variant)
  for variant in (
      variants.USUAL, variants.OWN_BOUND, 'gamma_0.99', 'tradeoff_wide',
      'tradeoff_range_wide',  # Names of a user's own.
  ):
    assert variants.target(variant) is None
    assert variants.stated_bound(variant, own_range=1.5) is None


def test_only_other_bounds_are_a_matter_of_the_bound():
  assert variants.is_of_bound(variants.USUAL)
  assert variants.is_of_bound(variants.UNBOUNDED)
  for variant in (variants.OWN_ENCODER, variants.SMALL_BATCH, 'gamma_0.99'):
    assert not variants.is_of_bound(variant)


def test_labels_name_a_variant_that_is_not_the_usual_one():
  assert variants.label('parrot', variants.USUAL) == 'PARROT'
  assert variants.label('parrot', variants.OWN_RANGE) == 'PARROT (own range)'


def test_every_bound_of_its_own_is_a_matter_of_the_bound():
  assert variants.is_of_bound(variants.OWN_RANGE)
  assert variants.is_of_bound(variants.OWN_BOUND)
