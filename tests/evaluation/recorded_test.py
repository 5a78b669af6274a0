"""What earlier runs recorded is kept, replaced or skipped, never mixed."""

from __future__ import annotations

import os

import pytest

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.evaluation import collect_results
from safer_tf.evaluation import recorded
from safer_tf.evaluation import tables
from tests.evaluation import runs

_TASK = runs.TASK
_row = runs.recorded_row


def _violations(directory):
  return {
      (row['method'], row['seed']): row['violations']
      for row in tables.read(str(directory), 'table1')
  }


def _merge(directory, name, rows):
  recorded.merge(str(directory), str(directory), name, rows)


def test_new_rows_replace_their_own_and_keep_others(tmp_path):
  tables.write(str(tmp_path), 'table1', [_row(), _row(seed=1)])
  _merge(tmp_path, 'table1', [_row(violations=9), _row('sac')])
  assert _violations(tmp_path) == {
      ('sac', 0): 7, ('safer', 0): 9, ('safer', 1): 7
  }
  # The order of tables, whatever came first.
  assert [r['method'] for r in tables.read(str(tmp_path), 'table1')] == [
      'sac', 'safer', 'safer'
  ]


def test_a_curve_is_replaced_as_a_whole(tmp_path):
  tables.write(str(tmp_path), 'curves', [
      _row(env_steps=step) for step in (1000, 2000, 3000)
  ])
  _merge(tmp_path, 'curves', [
      _row(env_steps=step, violations=1) for step in (1000, 2000)
  ])
  found = tables.read(str(tmp_path), 'curves')
  assert [(r['env_steps'], r['violations']) for r in found] == [
      (1000, 1), (2000, 1)
  ]


def test_merging_a_table_with_itself_changes_no_letter(tmp_path):
  rows = [
      _row(seed=seed, wall_seconds=400.649 + seed, clip_rate=0.07294)
      for seed in (0, 1)
  ]
  tables.write(str(tmp_path), 'table1', rows)
  before = (tmp_path / 'table1.csv').read_text()
  _merge(tmp_path, 'table1', tables.read(str(tmp_path), 'table1'))
  assert (tmp_path / 'table1.csv').read_text() == before


def test_a_table_that_has_become_empty_is_gone(tmp_path):
  for name, rows in (('calibration', [
      {**_row(), 'prior': 'safer', 'mode': 'exact', 'steps': 9}
  ]), (recorded.REPLAYS, [_row(kind='safe')])):
    recorded.merge(None, str(tmp_path), name, rows)
    assert recorded.read(str(tmp_path), name)
    recorded.merge(None, str(tmp_path), name, [])
    assert not recorded.read(str(tmp_path), name)
    recorded.merge(None, str(tmp_path), name, [])


def test_replays_of_a_method_are_replaced_together(tmp_path):
  def replay(kind, variant='default'):
    return {
        'protocol': 'seen', 'task': _TASK, 'method': 'safer', 'kind': kind,
        'variant': variant,
    }

  _merge(tmp_path, recorded.REPLAYS, [
      replay('safe', 'old'), replay('unsafe', 'old')
  ])
  _merge(tmp_path, recorded.REPLAYS, [replay('safe')])
  found = files.read_json(str(tmp_path / recorded.REPLAYS), 'replays')
  assert found == [replay('safe')]


def test_a_later_adoption_replaces_an_earlier_one(tmp_path):
  for violations in (1, 2):
    source = str(tmp_path / f'source{violations}')
    tables.write(source, 'table1', [_row(violations=violations)])
    with recorded.adopting(source, str(tmp_path)) as copy:
      assert _violations(copy) == {('safer', 0): violations}
  with pytest.raises(errors.UserError):
    tables.write(source, 'table1', [_row(violations=3)])
    with recorded.adopting(source, str(tmp_path)):
      raise errors.UserError('refused')
  copy = recorded.base_dir(str(tmp_path), True)
  assert _violations(copy) == {('safer', 0): 2}


def test_a_runs_own_results_are_no_base_of_it(tmp_path):
  # Or rows of deleted agents would stay in the tables for good.
  assert recorded.base_dir(str(tmp_path), True) is None
  assert recorded.base_dir(str(tmp_path), False) == layout.results_dir(
      str(tmp_path)
  )


def test_adopting_the_copy_itself_keeps_it(tmp_path):
  source = str(tmp_path / 'source')
  tables.write(source, 'table1', [_row(violations=1)])
  for given in (source, recorded.copy_dir(str(tmp_path))):
    with recorded.adopting(given, str(tmp_path)):
      pass
  copy = recorded.copy_dir(str(tmp_path))
  assert _violations(copy) == {('safer', 0): 1}


def test_adopting_from_nowhere_is_an_error(tmp_path):
  with pytest.raises(errors.UserError, match='holds no recorded results'):
    with recorded.adopting(str(tmp_path), str(tmp_path / 'new')):
      pass


def test_what_is_damaged_is_told_of_the_source(tmp_path):
  source = tmp_path / 'given'
  source.mkdir()
  (source / recorded.PROVENANCE).write_text('[{}]')
  with pytest.raises(errors.UserError, match=f'{source}.*is damaged'):
    with recorded.adopting(str(source), str(tmp_path / 'run')):
      pass
  assert not os.path.exists(recorded.copy_dir(str(tmp_path / 'run')))


def test_rows_stand_in_the_order_of_seeds_and_protocols(tmp_path):
  tables.write(str(tmp_path), 'table1', [_row(seed=1)])
  _merge(tmp_path, 'table1', [_row(seed=0, protocol='held_out'), _row(seed=0)])
  assert [
      (row['protocol'], row['seed'])
      for row in tables.read(str(tmp_path), 'table1')
  ] == [('seen', 0), ('seen', 1), ('held_out', 0)]


def test_nothing_is_left_of_agents_that_are_forgotten(tmp_path):
  here = str(tmp_path)
  run = f'seen/{_TASK}/safer/default/seed0'
  replay = {
      'protocol': 'seen', 'task': _TASK, 'method': 'safer',
      'variant': 'default',
  }
  for name in ('table1', 'curves'):
    tables.write(here, name, [_row(task=_TASK), _row('sac', task=_TASK)])
  for name, rows in (
      (recorded.REPLAYS, [replay, {**replay, 'method': 'sac'}]),
      (recorded.PROVENANCE, [
          {'stage': stage} for stage in
          (f'agents/{run}', f'agents/{run}/evaluation', 'priors/seen/safer')
      ]),
  ):
    files.write_json(os.path.join(here, name), rows)
  recorded.forget(here, [run])
  left = {
      name: len(recorded.read(here, name)) for name in
      ('table1', 'curves', recorded.REPLAYS, recorded.PROVENANCE)
  }
  assert set(left.values()) == {1}


def test_the_card_of_the_data_is_adopted_too(tmp_path):
  source = str(tmp_path / 'source')
  files.write_json(os.path.join(source, recorded.DATA_CARD), {'total': 1})
  with recorded.adopting(source, str(tmp_path)):
    pass
  assert os.listdir(recorded.copy_dir(str(tmp_path))) == [recorded.DATA_CARD]


def test_the_card_of_the_runs_own_data_comes_first(tmp_path):
  root = str(tmp_path)
  files.write_json(
      os.path.join(recorded.copy_dir(root), recorded.DATA_CARD), {'total': 1}
  )
  shown = os.path.join(layout.results_dir(root), recorded.DATA_CARD)
  own = os.path.join(layout.data_dir(root), layout.DATA_CARD)
  for written, total in ((None, 1), (2, 2)):
    if written:
      files.write_json(own, {'total': written})
    collect_results.collect(root)
    assert files.read_json(shown, 'it') == {'total': total}


def test_a_forgotten_variants_agent_takes_no_film_of_the_usual_one(tmp_path):
  replay = {
      'protocol': 'seen', 'task': _TASK, 'method': 'safer',
      'variant': 'default', 'seed': 0,
  }
  files.write_json(str(tmp_path / recorded.REPLAYS), [replay])
  recorded.forget(str(tmp_path), [f'seen/{_TASK}/safer/tradeoff_0.3/seed2'])
  assert recorded.read(str(tmp_path), recorded.REPLAYS) == [replay]
