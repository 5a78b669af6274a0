"""Which figures are drawn of which rows."""

from __future__ import annotations

import pytest

import envs
from safer_tf.evaluation import figures
from safer_tf.evaluation import gallery
from safer_tf.evaluation import prior_figures
from safer_tf.evaluation import tables
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


def _drawn(monkeypatch, name, module, function, found):
  """What the figure of a name is drawn of; None where there is none."""
  monkeypatch.setattr(module, function, lambda rows, *_, **__: rows)
  for entry in gallery.entries(lambda each: found.get(each, [])):
    if entry.name == name:
      return entry.draw()
  return None


def _bound(method, bound, variant='default', seed=0, **other):
  return runs.row(
      method, 0.5, 10, variant, seed, latent_bound=bound,
      max_unsafe_fraction=0.1, **other,
  )


def test_the_tradeoff_is_of_bounds_alone_and_of_three_at_least(monkeypatch):
  table1 = [_bound('safer', 0.5), _bound('safer', 0.5, seed=1)]
  swept = [_bound('safer', 0.7, 'tradeoff_0.3')]
  args = monkeypatch, 'tradeoff', figures, 'tradeoff'
  assert _drawn(*args, {'table1': table1, 'tradeoff': swept}) is None
  swept.append(_bound('safer', 0.9, 'tradeoff_0.45'))
  other = _bound('safer', 0.9, 'gamma_0.99')
  assert _drawn(
      *args, {'table1': [*table1, other], 'tradeoff': swept}
  ) == [*swept, table1[0]]


def test_ablations_are_compared_with_the_usual_agents_on_common_seeds(
    monkeypatch
):
  safer, missing, own = (
      _bound('safer', 0.5), _bound('safer', 0.5, seed=1),
      _bound('safer', 0.5, encoder='own'),
  )
  ablated = _bound('safer_no_context', 0.5)
  assert _drawn(monkeypatch, 'ablations', figures, 'method_bars', {
      'table1': [safer, missing, own], 'ablations': [ablated],
  }) == [ablated, safer]


def test_curves_of_an_ablation_are_of_the_seeds_and_variant_of_both(
    monkeypatch
):
  table1 = [_bound('safer', 0.5, seed=seed) for seed in (0, 1)]
  ablated = [_bound('safer_no_context', 0.5)]
  other = _bound('safer', 0.5, 'gamma_0.99')
  assert _drawn(monkeypatch, 'figure8_success', figures, 'curves', {
      'table1': table1, 'ablations': ablated,
      'curves': [*table1, *ablated, other],
  }) == [table1[0], *ablated]


def test_priors_are_drawn_of_their_own_protocol_and_split(monkeypatch):
  seen, held_out = (
      {
          'protocol': protocol, 'split': 'test', 'method': 'safer',
          'prior': 'safer', 'task': 'a', 'quantity': 'log_likelihood',
          'unsafe': 0, 'share': 0.9,
      } for protocol in ('seen', 'held_out')
  )
  unseen = {**held_out, 'split': tables.NEW_TASKS}
  rows = [seen, held_out, unseen]
  for name, function, table, expected in (
      ('likelihood_share', 'likelihood_share', 'likelihood', [seen]),
      ('likelihood_share_held_out', 'likelihood_share', 'likelihood', [unseen]),
      ('log_likelihood', 'histograms', 'histograms', [seen]),
      ('priors_alone', 'alone', 'prior_rollouts', [seen]),
  ):
    assert _drawn(
        monkeypatch, name, prior_figures, function, {table: rows}
    ) == expected


def test_what_histograms_leave_out_is_by_set():
  rows = [
      {'protocol': 'seen', 'method': 'safer', 'unsafe': unsafe,
       'quantity': 'log_likelihood', 'share': share}
      for unsafe, share in ((0, 0.5), (0, 0.25), (1, 0.9))
  ]
  said = gallery._left_out(rows, 'log_likelihood')
  assert '10.0% to 25.0% of a set' in said


def test_figures_of_a_protocol_are_of_its_own_learning_agents(monkeypatch):
  for name in ('curves', 'frontier', 'aggregate'):
    monkeypatch.setattr(figures, name, lambda rows, *_, **__: rows)
  rows = [
      _bound('safer', 0.5, task=task, protocol=protocol)
      for protocol in ('held_out', 'seen') for task in (_FIRST, _SECOND)
  ]
  swept = [{**row, 'variant': 'tradeoff_0.3'} for row in rows]
  others = [
      {**row, **change} for row in rows for change in (
          {'method': 'safer_prior_zero'},
          {'variant': 'own_encoder', 'encoder': 'own'},
          {'variant': 'gamma_0.99', 'eval_success_rate': float('nan')},
      )
  ]
  found = {
      'table1': rows + others, 'tradeoff': swept,
      'curves': [*rows, *others[1::3], {**rows[-1], 'task': 'own'}],
  }
  entries = gallery.entries(lambda name: found.get(name, []))
  names = [
      'success', 'violations', 'violations_last_1000', 'frontier', 'aggregate'
  ]
  assert [entry.name for entry in entries] == names + [
      f'{name}_held_out' for name in names
  ]
  for entry in entries:
    held_out = entry.name.endswith('_held_out')
    expected = rows[:2] if held_out else rows[2:]
    if 'frontier' in entry.name:
      expected = expected + (swept[:2] if held_out else swept[2:])
    assert [
        {name: row[name] for name in expected[0]} for row in entry.draw()
    ] == expected
    assert ('unseen by the prior' in entry.title) == held_out


def test_one_task_alone_has_no_figure_over_tasks():
  found = {'table1': [_bound('safer', 0.5)], 'tradeoff': []}
  names = {e.name for e in gallery.entries(lambda name: found.get(name, []))}
  assert not names & {'aggregate', 'frontier'}


def test_curves_are_drawn_in_the_unit_of_their_axis():
  methods = 'parrot', 'parrot_unsafe'
  table1, ablated = (
      _bound(
          method, 0.5, env_steps=1000, success_rate=0.5, violations_last_1000=7
      ) for method in methods
  )
  found = {
      'table1': [table1], 'ablations': [ablated], 'curves': [table1, ablated],
  }
  drawn = {}
  for entry in gallery.entries(lambda name: found.get(name, [])):
    if entry.name != 'ablations':
      panel = entry.draw().axes[0]
      drawn[entry.name] = panel.get_ylabel(), *panel.lines[0].get_ydata()
  assert drawn == {
      'success': ('success in training (%)', 50),
      'violations': ('violations so far', 10),
      'violations_last_1000': ('violations per 1,000 steps', 7),
      'figure9_success': ('success in training (%)', 50),
      'figure9_violations': ('violations per 1,000 steps', 7),
  }


def test_the_tradeoff_is_of_the_papers_protocol_and_of_evaluated_agents(
    monkeypatch
):
  targets = {'default': 0.5, 'tradeoff_0.3': 0.7, 'tradeoff_0.45': 0.9}
  rows = [_bound('safer', bound, name) for name, bound in targets.items()]
  nan = float('nan')
  stated, unevaluated = (
      {**_bound('safer', bound, f'tradeoff_range_{bound}'), column: nan}
      for bound, column in (
          (2, 'max_unsafe_fraction'), (3, 'eval_success_rate')
      )
  )
  args = monkeypatch, 'tradeoff', figures, 'tradeoff'
  assert _drawn(*args, {'tradeoff': [
      *rows, stated, unevaluated, {**rows[0], 'protocol': 'held_out'},
      # A task with too few targets, and a bound that states none.
      *({**row, 'task': _SECOND} for row in (*rows[:2], stated)),
  ]}) == [*rows, stated]


def test_ablations_of_a_task_stand_beside_its_own_references(monkeypatch):
  first, second, _ = safer = [
      _bound('safer', 0.5, task=task) for task in envs.EVALUATION[:3]
  ]
  ablated, other = (
      _bound(method, 0.5, task=task) for method, task in (
          ('safer_no_context', _FIRST), ('safer_deterministic', _SECOND)
      )
  )
  shown = _drawn(monkeypatch, 'ablations', figures, 'method_bars', {
      'table1': safer, 'ablations': [ablated, other],
  })
  assert [row for row in shown if row['task'] == _FIRST] == [ablated, first]
  assert [row for row in shown if row['task'] == _SECOND] == [other, second]
  assert len(shown) == 4


def test_titles_and_captions_tell_what_tasks_and_bounds_there_are():
  def said(name, **row):
    entry, = gallery.entries(lambda each: [row] if each == name else [])
    return f'{entry.title}: {entry.caption}'

  unseen, alone = 'unseen by the prior', 'that are not evaluated'
  assert alone in said('prior_rollouts', protocol='seen', task='own')
  assert alone not in said('prior_rollouts', protocol='seen', task=_FIRST)
  for protocol, split in (('seen', 'test'), ('held_out', tables.NEW_TASKS)):
    text = said('likelihood', protocol=protocol, split=split)
    assert (unseen in text) == (protocol == 'held_out')
    text = said(
        'calibration', protocol=protocol, prior='safer', episodes=9)
    assert (unseen in text) == (protocol == 'held_out')


def test_what_one_histogram_leaves_out_is_no_other_ones():
  rows = [
      {'protocol': 'seen', 'method': 'safer', 'unsafe': 0, 'quantity': quantity,
       'share': share}
      for quantity, share in (('log_likelihood', 0.75), ('latent_abs_max', 0.2))
  ]
  for quantity, said in (('log_likelihood', '25.0%'), ('latent_abs_max', '80')):
    assert f'Left out at the ends: {said}' in gallery._left_out(rows, quantity)


def test_boxes_of_histograms_are_those_of_the_usual_agents(monkeypatch):
  monkeypatch.setattr(
      prior_figures, 'histograms', lambda rows, quantity, boxes: boxes
  )
  found = {
      'histograms': [{
          'protocol': 'seen', 'method': 'safer', 'unsafe': 0, 'share': 0.9,
          'quantity': 'latent_abs_max',
      }],
      'table1': [
          _bound('safer', 0.5), _bound('safer', 0.7, protocol='held_out'),
          _bound('safer', 0.9, 'own_range'), _bound('sac', float('nan')),
      ],
      'ablations': [_bound('safer_no_context', 0.3)],
  }
  entry, = (
      each for each in gallery.entries(lambda name: found.get(name, []))
      if each.name == 'latent_abs_max'
  )
  assert entry.draw() == {'safer': 0.5, 'safer_no_context': 0.3}


def test_the_better_variant_alone_is_marked_as_quoted(monkeypatch):
  monkeypatch.setattr(figures, 'aggregate', lambda rows, quoted: quoted)
  found = {'table1': [
      {
          **_bound('parrot', 0.5, variant, task=task),
          'eval_success_rate': success,
      }
      for variant, success in (('default', 0.5), ('own_range', 0.9))
      for task in (_FIRST, _SECOND)
  ]}
  entry, = (
      each for each in gallery.entries(lambda name: found.get(name, []))
      if each.name == 'aggregate'
  )
  assert entry.draw() == {('parrot', 'own_range')}


def test_agents_of_no_known_method_are_in_no_figure_of_table_1(monkeypatch):
  ours = [_bound('safer', 0.5, task=task) for task in (_FIRST, _SECOND)]
  others = [{**row, 'method': 'another'} for row in ours]
  assert _drawn(monkeypatch, 'aggregate', figures, 'aggregate', {
      'table1': ours + others,
  }) == ours
