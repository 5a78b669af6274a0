"""Priors that act alone, as a table."""

from __future__ import annotations

import re

from safer_tf.evaluation import prior_tables


def test_a_mean_is_compared_over_the_tasks_that_both_have():
  base = {'a': 0.5, 'b': 0.7, 'c': 0.1}
  assert prior_tables.compared(base, base) == '43.3%'
  # Differences of -20 and -40 points: their mean is known to 10.
  found = {'a': 0.3, 'b': 0.3, 'd': 0.9}
  assert prior_tables.compared(found, base) == '50.0% (-30.0 ± 10.0)'
  assert prior_tables.compared({'a': 0.3}, base) == '30.0%'
  assert prior_tables.compared({}, base) == '–'


def _rows(prior, success):
  return [
      {
          'protocol': 'seen', 'prior': prior, 'task': task,
          'latent_range': bound, 'episodes': 20, 'success_rate': share,
          'unsafe_episodes': 5 if bound else 2,
      } for task, share in success.items() for bound in (0.0, 1.0)
  ]


def test_priors_alone_are_compared_with_safers():
  rows = _rows('parrot', {'a': 0.2, 'b': 0.4}) + _rows(
      'safer', {'a': 0.6, 'b': 1.0}
  )
  text = '\n'.join(prior_tables.alone({'prior_rollouts': rows}.get))
  cells = re.findall('<td[^>]*>(.*?)</td>', text)
  found = dict(zip(cells[::5], cells[1::5]))
  assert found == {
      'PARROT, seen': '30.0% (-50.0 ± 10.0)', 'SAFER, seen': '80.0%'
  }
  assert '25.0%' in cells and '10.0%' in cells
  assert 'random z in 1: unsafe' in text
  assert not list(prior_tables.alone(lambda name: []))


def _texts(pieces):
  """Rows of the tables in some HTML."""
  return [
      re.findall('<td[^>]*>(.*?)</td>', row)
      for row in re.findall('<tr[^>]*>(.*?)</tr>', ''.join(pieces))
      if '<td' in row
  ]


def test_priors_of_each_protocol_stand_by_themselves():
  rows = [
      {
          'protocol': protocol, 'prior': 'safer', 'task': task,
          'latent_range': 0.0, 'episodes': 8, 'success_rate': success,
          'unsafe_episodes': 2,
      } for protocol, success in (('held_out', 0.25), ('seen', 0.75))
      for task in 'ab'
  ]
  assert _texts(prior_tables.alone({'prior_rollouts': rows}.get)) == [
      ['SAFER, seen', '75.0%', '25.0%'],
      ['SAFER, held_out', '25.0% (-50.0 ± 0.0)', '25.0%'],
  ]


def test_bounds_stand_below_their_prior_and_their_heads():
  row = {
      'prior': 'safer', 'protocol': 'seen', 'mode': 'exact',
      'max_unsafe_fraction': 0.1, 'confidence': 0.95, 'latent_bound': 0.2,
      'in_bound_unsafe_fraction': 0.3, 'safe_actions_in_bound': 0.5,
      'in_bound_unsafe_fraction_natural': 0.4, 'n_episodes': 6000,
      'p_value': 0.07,
  }
  ours = ['10.0%', '0.95', '0.2', '30.0%', '40.0%', '50.0%', '6,000']
  assert _texts(prior_tables.assurance({
      'assurance': [row, {**row, 'protocol': 'held_out'}],
      'confirmation': [row],
  }.get)) == [
      ['SAFER prior, seen tasks'], ['exact', *ours],
      ['SAFER prior, held_out tasks'], ['exact', *ours],
      ['SAFER, seen', 'exact', '10.0%', '0.2', '30.0%', '50.0%', '6,000',
       '0.07'],
  ]


def test_swept_settings_stand_below_their_heads():
  names = (
      'unsafe_weight', 'learning_rate', 'safe_log_prob', 'unsafe_log_prob',
      'unsafe_share_above_safe_median', 'auc', 'latent_auc', 'safe_kl',
  )
  row = {name: (i + 1) / 10 for i, name in enumerate(names)}
  row |= {'prior': 'sweep_a', 'optimizer': 'adam', 'num_steps': 4000}
  assert _texts(prior_tables.sweep({'prior_sweep': [row]}.get)) == [[
      'a', '0.1', 'adam', '0.2', '4,000', '0.3', '0.4', '50.0%', '0.6', '0.7',
      '0.8',
  ]]
