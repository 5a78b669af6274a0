"""The certified bound: valid on problems of known truth, and not idle."""

import dataclasses

import numpy as np
import pytest
from scipy import special
from scipy import stats

from safer_tf.assurance import bounds
from safer_tf.assurance import certified
from safer_tf.common import errors

_TARGET = 0.15
_CONFIDENCE = 0.95
_PROBLEMS = 1000
_GRID = np.linspace(0.2, 4.0, 32)


def _problem(rng, n_episodes=400, n_steps=8, dependence=0.6):
  """Latents whose true share of unsafe actions is known at every bound.

  Labels and latents of an episode's steps share a common cause each, though a
  test that takes them for independent would rarely be caught here: for that
  there is `_edge_problem`. The
  margins stay uniform: a safe latent lies below eta with probability u =
  eta / 4, an unsafe one with u ** power.
  """
  shape = (n_episodes, n_steps)

  def dependent_uniforms():
    common = rng.standard_normal((n_episodes, 1))
    own = rng.standard_normal(shape)
    return special.ndtr(
        np.sqrt(dependence) * common + np.sqrt(1 - dependence) * own
    )

  share, power = rng.uniform(0.25, 0.5), rng.uniform(3.0, 9.0)
  unsafe = dependent_uniforms() < share
  uniform = dependent_uniforms()
  abs_max = 4 * np.where(unsafe, uniform ** (1 / power), uniform)
  weight = (1 - share) / share
  latents = bounds.LabelledLatents(
      abs_max.ravel(), unsafe.ravel(),
      np.repeat(np.arange(n_episodes), n_steps), n_episodes, weight,
  )

  def truth(bound):
    inside = np.clip(bound / 4, 0, 1)
    return inside ** power / (inside + inside ** power) if inside else 0.0

  return latents, truth, n_steps


def _edge_problem(rng, n_episodes=400, n_steps=16, share=0.151):
  """The hardest: every bound is just wrong, all steps of an episode alike."""
  unsafe = rng.random((n_episodes, 1)) < share
  abs_max = 4 * rng.random((n_episodes, 1))
  latents = bounds.LabelledLatents(
      *(np.repeat(values, n_steps) for values in (abs_max, unsafe)),
      np.repeat(np.arange(n_episodes), n_steps), n_episodes, 1.0,
  )
  return latents, lambda bound: share if bound else 0.0, n_steps


def _as_if_independent(latents):
  """The error to be caught: every step counts as an episode."""
  steps = len(latents.abs_max)
  alone = dataclasses.replace(
      latents, episode=np.arange(steps), n_episodes=steps
  )
  return certified.certified_bound(alone, _TARGET, _CONFIDENCE, 1, _GRID)


@pytest.fixture(scope='module')
def trials():
  """Per mode: was the bound wrong, and how large was it, per problem."""
  rng = np.random.default_rng(0)
  wrong = {mode: [] for mode in ('paper', 'exact', 'certified')}
  found = []
  for number in range(_PROBLEMS):
    make = _edge_problem if number % 2 else _problem
    latents, truth, n_steps = make(rng)
    by_mode = {
        'paper': bounds.paper_bound(latents, _TARGET, rng),
        'exact': bounds.exact_bound(latents, _TARGET),
        'certified': certified.certified_bound(
            latents, _TARGET, _CONFIDENCE, n_steps, _GRID
        ),
    }
    for mode, bound in by_mode.items():
      wrong[mode].append(truth(bound) > _TARGET)
    found.append(by_mode['certified'])
  return {mode: np.array(values) for mode, values in wrong.items()}, found


def test_certified_is_wrong_in_at_most_delta_of_problems(trials):
  wrong, found = trials
  for family in (slice(None), slice(0, None, 2), slice(1, None, 2)):
    assert _rate_is_allowed(wrong['certified'][family])
  # Not by saying nothing where there is something to say.
  assert np.mean(np.array(found[::2]) > 0) > 0.6


def _rate_is_allowed(wrong):
  delta = 1 - _CONFIDENCE
  sampling_error = 3 * np.sqrt(delta * (1 - delta) / len(wrong))
  return np.mean(wrong) <= delta + sampling_error


def test_the_problems_catch_steps_taken_for_independent():
  rng = np.random.default_rng(2)
  wrong = [_as_if_independent(_edge_problem(rng)[0]) > 0 for _ in range(200)]
  assert not _rate_is_allowed(wrong)


def test_the_search_costs_no_validity():
  # P-values of wrong bounds are uniform at worst; each of its own here, as the
  # search then has the most chances.
  rng = np.random.default_rng(3)
  p_values = rng.random((4000, len(_GRID)))

  def rate(num_starts, delta):
    return np.array([
        certified.fixed_sequence(p, delta, num_starts) is not None
        for p in p_values
    ])

  assert _rate_is_allowed(rate(8, 1 - _CONFIDENCE))
  # The same without dividing the error among the starts.
  assert not _rate_is_allowed(rate(8, 8 * (1 - _CONFIDENCE)))


def test_paper_and_exact_are_wrong_far_more_often(trials):
  wrong, _ = trials
  for mode in ('exact', 'paper'):
    for family in (slice(0, None, 2), slice(1, None, 2)):
      assert np.mean(wrong[mode][family]) > 0.25, mode


def test_the_p_value_is_valid_at_the_edge_for_unequal_episodes():
  # Half of the episodes lose on average, half gain; the mean gain is 0.
  rng = np.random.default_rng(1)
  n, repeats, loss = 100, 4000, 5.0
  mean = np.where(np.arange(n) % 2, 0.6, -0.6)[:, np.newaxis]
  gains = mean + rng.choice([-4.4, 1.1], (n, repeats), p=[0.2, 0.8])
  p_values = np.exp(-np.maximum(0, certified.log_capital(gains, loss)))
  for level in (0.01, 0.05, 0.2):
    error = 3 * np.sqrt(level / repeats)
    assert np.mean(p_values <= level) <= level + error


def test_certified_comes_close_to_exact_with_many_episodes():
  latents, truth, n_steps = _problem(
      np.random.default_rng(5), n_episodes=4000, dependence=0.3
  )
  bound = certified.certified_bound(latents, _TARGET, _CONFIDENCE, n_steps)
  exact = bounds.exact_bound(latents, _TARGET)
  assert 0.6 * exact < bound < exact
  assert truth(bound) <= _TARGET


def test_gains_equal_a_plain_sum_over_steps():
  latents, _, _ = _problem(np.random.default_rng(6), n_episodes=7, n_steps=5)
  grid = sorted([0.5, float(latents.abs_max[3]), 3.0])
  gains = certified.episode_gains(latents, 0.3, grid)
  for i in range(7):
    for j, bound in enumerate(grid):
      steps = range(5 * i, 5 * i + 5)
      expected = sum(
          (0.3 - 1) * latents.unsafe_weight if latents.unsafe[t] else 0.3
          for t in steps if latents.abs_max[t] < bound
      )
      assert gains[i, j] == pytest.approx(expected)


def test_chains_stop_at_their_first_failure_and_split_delta():
  p = np.array([0.9, 0.01, 0.01, 0.9, 0.001, 0.01, 0.9, 0.0001])
  # One chain from index 0 fails at once; two start at 0 and 4.
  assert certified.fixed_sequence(p, 0.05, 1) is None
  assert certified.fixed_sequence(p, 0.05, 2) == 5
  # Four chains at 0, 2, 4, 6 test at 0.0125 each; eight reach index 7.
  assert certified.fixed_sequence(p, 0.05, 4) == 5
  assert certified.fixed_sequence(p, 0.05, 8) == 7
  assert certified.fixed_sequence(np.full(8, 0.02), 0.05, 4) is None


def test_what_cannot_be_certified():
  latents, _, n_steps = _problem(np.random.default_rng(7))
  assert certified.certified_bound(latents, 0.0, 0.95, n_steps) == 0.0
  with pytest.raises(errors.UserError, match='time limit'):
    certified.certified_bound(latents, 0.15, 0.95, n_steps - 1)
  with pytest.raises(errors.UserError, match='confidence'):
    certified.certified_bound(latents, 0.15, 1.0, n_steps)


def test_the_upper_bound_on_a_share_covers_though_steps_depend():
  # Episodes wholly safe or wholly unsafe, rolled out until there are enough
  # steps; a binomial bound over steps would cover about half of the time.
  rng = np.random.default_rng(8)
  covered, as_if_independent = [], []
  for _ in range(150):
    steps = rng.integers(10, 31, 200)
    steps = steps[:np.searchsorted(np.cumsum(steps), 1500) + 1]
    unsafe = steps * (rng.random(len(steps)) < 0.1)
    upper = certified.unsafe_share_upper(unsafe, steps, 30)
    covered.append(upper >= 0.1)
    as_if_independent.append(certified.exact_binomial_upper(
        int(unsafe.sum()), int(steps.sum())) >= 0.1)
  assert _rate_is_allowed(~np.array(covered))
  assert not _rate_is_allowed(~np.array(as_if_independent))


def test_the_upper_bound_on_a_share_closes_in():
  steps = np.full(4000, 20)
  unsafe = np.random.default_rng(9).binomial(20, 0.1, 4000)
  assert 0.1 < certified.unsafe_share_upper(unsafe, steps, 30) < 0.115
  assert certified.unsafe_share_upper(unsafe * 0, steps, 30) < 0.005
  assert certified.unsafe_share_upper(steps, steps, 30) == 1.0
  with pytest.raises(errors.UserError, match='time limit'):
    certified.unsafe_share_upper(unsafe, steps, 19)


def test_exact_binomial_upper_inverts_the_binomial():
  upper = certified.exact_binomial_upper(3, 50)
  assert stats.binom.cdf(3, 50, upper) == pytest.approx(0.05)
  assert certified.exact_binomial_upper(0, 100) == pytest.approx(
      1 - 0.05 ** (1 / 100)
  )
  assert certified.exact_binomial_upper(5, 5) == 1.0
  assert certified.exact_binomial_upper(0, 0) == 1.0
