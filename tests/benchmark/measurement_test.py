"""A measurement's numbers, its row and the printed table."""

from __future__ import annotations

import dataclasses

import pytest

from safer_tf.benchmark import benchmark
from safer_tf.benchmark import collection
from safer_tf.benchmark import measurement
from safer_tf.benchmark import simulation
from safer_tf.benchmark import table
from safer_tf.common import config
from safer_tf.common import errors
from safer_tf.common import files

_FIELDS = {
    'row', 'name', 'value', 'unit', 'baseline', 'baseline_value', 'ratio',
    'target', 'floor', 'scaled', 'reached', 'machine', 'git_revision',
}
_LINE = measurement.Measurement(
    1, 'simulation', 500.0, 'steps/s', 'another simulator', 10.0, (
        measurement.Target('value', '>=', 450),
        measurement.Target('ratio', '>=', 35),
    ), 800.0, 'bare calls', note='one core',
)
_SHORTER = measurement.Measurement(
    6, 'update', 30.0, 'ms', 'stock', 100.0,
    (measurement.Target('ratio', '<=', 0.4),),
)


def test_a_line_without_a_target_is_neither_reached_nor_missed():
  line = dataclasses.replace(_LINE, targets=())
  assert line.reached is None
  text = table.text([line], table.origin())
  row, = [row for row in text.splitlines() if '500' in row]
  assert row.endswith('-') and 'not known' not in row


def test_a_miss_says_what_stands_between_and_a_hit_does_not():
  told = dataclasses.replace(_LINE, shortfall='too few cores')
  assert 'too few cores' not in table.text([told], table.origin())
  missed = dataclasses.replace(told, value=1.0)
  assert 'NOT REACHED: too few cores' in table.text([missed], table.origin())


@pytest.mark.parametrize('line, changes, reached', [
    (_LINE, {}, True),
    (_LINE, {'value': 449.0}, False),
    (_LINE, {'value': 450.0}, True),
    (_LINE, {'baseline_value': 14.0}, True),
    (_LINE, {'baseline_value': 14.5}, False),
    (_LINE, {'baseline_value': None}, None),
    (_LINE, {'baseline_value': 0.0}, None),
    (_LINE, {'baseline_value': -10.0}, None),
    (_LINE, {'baseline_value': None, 'value': 1.0}, False),
    (_SHORTER, {}, True),
    (_SHORTER, {'value': 40.0}, True),
    (_SHORTER, {'value': 41.0}, False),
])
def test_reached_follows_the_numbers(line, changes, reached):
  assert dataclasses.replace(line, **changes).reached is reached


def test_file_has_the_fields_that_others_read(tmp_path):
  path = str(tmp_path / 'results' / 'benchmark.json')
  table.write(path, [_LINE, _SHORTER], table.origin(), {})
  rows = files.read_json(path, 'what was just written')
  assert [row['row'] for row in rows] == [1, 6]
  for row in rows:
    assert _FIELDS <= set(row)
  assert rows[0]['ratio'] == 50
  assert rows[0]['target'] == '>= 450 steps/s, >= 35x'
  assert rows[0]['reached'] is True
  assert 'core' in rows[0]['machine'] and rows[0]['git_revision']


def test_report_holds_every_line_and_the_figure_of_a_full_benchmark(tmp_path):
  path = tmp_path / 'benchmark.json'
  learning = dataclasses.replace(_SHORTER, row=measurement.LEARNING_ROW)
  for lines, drawn in (([_LINE, _SHORTER], False), ([_LINE, learning], True)):
    table.write(str(path), lines, table.origin(), {'a': 50, 'b': 100})
    page = path.with_suffix('.md').read_text()
    rows = [row for row in page.splitlines() if row.startswith('| ')]
    assert len(rows) == 2 + len(lines)
    assert len({row.count('|') for row in rows}) == 1
    assert 'bare calls' in page
    assert 'Took 2 minutes (a 50 s, b 100 s)' in page
    assert (table.FIGURE in page) is drawn


def test_table_shows_what_was_not_reached_or_not_measured():
  missing = dataclasses.replace(
      _SHORTER, name='absent', baseline_value=None, scaled=True
  )
  failed = dataclasses.replace(_SHORTER, name='failed', value=90.0)
  text = table.text([_LINE, missing, failed], table.origin())
  found = {
      name: next(line for line in text.splitlines() if f'  {name}' in line)
      for name in ('simulation', 'absent', 'failed')
  }
  assert found['simulation'].endswith('yes')
  assert found['absent'].endswith('not known') and 'absent *' in found['absent']
  assert found['failed'].endswith('NO')
  assert 'bare calls' in text and 'one core' in text


def test_unknown_part_is_refused():
  with pytest.raises(errors.UserError, match='simulation'):
    benchmark.run('unused', 'unused', only=['simulatoin'])
  with pytest.raises(errors.UserError, match='--full'):
    benchmark.run('unused', 'unused', only=['learning'])


def test_methods_are_measured_as_they_ship():
  config.parse(
      ['experiments/benchmark.gin'], ['train_prior.unsafe_weight = 0.1']
  )
  with pytest.raises(errors.UserError, match='train_prior.unsafe_weight: exp'):
    benchmark.run('unused', 'unused')


def test_what_was_measured_outlives_a_later_failure(tmp_path, monkeypatch):
  root, results = tmp_path / 'run', tmp_path / 'results'

  def fails(*_):
    raise errors.UserError('no room')

  config.parse(['experiments/benchmark.gin'], [])
  monkeypatch.setattr(simulation, 'measure', lambda *_: [_LINE])
  monkeypatch.setattr(collection, 'measure', fails)
  with pytest.raises(errors.UserError, match='no room'):
    benchmark.run(str(root), str(results))
  kept = files.read_json(
      str(root / 'results' / 'benchmark.json'), 'what was measured'
  )
  assert [row['name'] for row in kept] == ['simulation']
  assert not list(results.iterdir())


def test_numbers_stand_below_their_heads():
  rows = [
      dict(zip(*(
          [cell.strip() for cell in line.split('|')[1:-1]] for line in lines
      ))) for lines in [
          [line for line in table.markdown(
              [_LINE], table.origin(), {'a': 1}
          ).splitlines() if line.startswith('| ') and '---' not in line]
      ]
  ]
  assert rows == [{
      'row': '1', 'measure': 'simulation', 'value': '500 steps/s',
      'baseline': '10', 'ratio': '50', 'floor': '800',
      'target': '>= 450 steps/s, >= 35x', 'reached': 'yes',
  }]
