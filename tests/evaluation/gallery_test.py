"""Which figures are drawn of which rows."""

from __future__ import annotations

import pytest

import envs
from safer_tf.evaluation import figures
from safer_tf.evaluation import gallery
from safer_tf.evaluation import prior_figures
from tests.evaluation import runs

_FIRST, _SECOND = envs.EVALUATION[:2]


def _frontier(boxes):
  """Caption of the figure of some boxes, by (variant, task, seed)."""
  rows = [
      {
          **runs.row('safer', 0.5, 10, variant, task=task, seed=seed),
          'latent_bound': 0.3, 'max_unsafe_fraction': 0.0,
      } for variant, task, seed in boxes
  ]
  tables = {
      'table1': [row for row in rows if row['variant'] == 'default'],
      'tradeoff': [row for row in rows if row['variant'] != 'default'],
  }
  found = [
      entry.caption for entry in gallery.entries(lambda n: tables.get(n, []))
      if entry.name == 'frontier'
  ]
  return found[0] if found else None


_USUAL = [('default', task, seed) for task in (_FIRST, _SECOND)
          for seed in (0, 1)]


@pytest.mark.parametrize('wider, says', [
    ([(_FIRST, 0), (_SECOND, 0)], 'over 2 tasks and the seeds that all points '
     'have, n = 1.'),
    # Not run on both tasks: no point of the figure.
    ([(_FIRST, 0)], 'over 2 tasks and the seeds that all points have, n = 2.'),
    # No seed is common on one task, or on any.
    ([(_FIRST, 0), (_SECOND, 5)], None),
    ([(_FIRST, 5), (_SECOND, 5)], None),
])
def test_boxes_are_compared_on_all_tasks_or_not_at_all(wider, says):
  found = _frontier(_USUAL + [('tradeoff_0.02', *run) for run in wider])
  assert (says is None) == (found is None)
  assert says is None or says in found


def _drawn_by(monkeypatch, tables):
  """Methods and variants in the figure of boxes."""
  shown = []
  monkeypatch.setattr(figures, 'frontier', shown.extend)
  for entry in gallery.entries(lambda name: tables.get(name, [])):
    if entry.name == 'frontier':
      entry.draw()
  return {(row['method'], row['variant']) for row in shown}


def test_new_flows_stand_among_the_boxes(monkeypatch):
  def rows(method, variant='default'):
    return [
        runs.row(
            method, 0.5, 10, variant, task=task, latent_bound=0.3,
            max_unsafe_fraction=0.0,
        ) for task in (_FIRST, _SECOND)
    ]

  tables = {
      'table1': rows('safer'),
      'ablations': [
          *rows('safer_refit'), *rows('parrot_refit', 'own_range'),
          *rows('safer_no_context'), *rows('parrot_refit')[:1],
      ],
  }
  assert _drawn_by(monkeypatch, tables) == {
      ('safer', 'default'), ('safer_refit', 'default'),
      ('parrot_refit', 'own_range'),
  }


def test_methods_of_other_tasks_are_not_compared():
  rows = [
      runs.row(
          method, 0.5, 10, task=task, latent_bound=0.3, max_unsafe_fraction=0.0
      ) for method, tasks in (
          ('safer', envs.EVALUATION[:2]), ('parrot', envs.EVALUATION[1:3])
      ) for task in tasks
  ]
  tables = {'table1': rows}
  found = {e.name for e in gallery.entries(lambda n: tables.get(n, []))}
  assert not found & {'aggregate', 'frontier'}


def test_each_priors_bounds_have_a_figure_of_their_own(monkeypatch):
  shown = []
  monkeypatch.setattr(prior_figures, 'calibration', shown.append)
  rows = [
      {
          'protocol': protocol, 'prior': prior, 'task': _FIRST, 'episodes': 9,
          'unsafe_fraction_upper': 0.1,
      } for protocol, prior in (
          ('held_out', 'safer'), ('seen', 'safer_refit'), ('seen', 'safer')
      )
  ]
  tables = {'calibration': rows}
  found = gallery.entries(lambda name: tables.get(name, []))
  assert [entry.name for entry in found] == [
      'calibration', 'calibration_safer_refit', 'calibration_held_out'
  ]
  for entry in found:
    entry.draw()
  assert shown == [[rows[2]], [rows[1]], [rows[0]]]
  assert 'new flow' in found[1].title


def test_ablations_alone_stand_beside_their_references(monkeypatch):
  shown = []
  monkeypatch.setattr(
      figures, 'method_bars', lambda rows: shown.extend(rows)
  )
  safer, *others = (
      runs.row(
          method, 0.5, 10, task=_FIRST, latent_bound=0.3,
          max_unsafe_fraction=0.0,
      ) for method in (
          'safer', 'safer_no_context', 'safer_refit', 'safer_second'
      )
  )
  tables = {'table1': [safer], 'ablations': others}
  for entry in gallery.entries(lambda name: tables.get(name, [])):
    if entry.name == 'ablations':
      entry.draw()
  assert {row['method'] for row in shown} == {'safer', 'safer_no_context'}
