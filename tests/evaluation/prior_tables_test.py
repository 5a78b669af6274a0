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
