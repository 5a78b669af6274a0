"""Which figures the tables at hand allow, and how each is read."""

from __future__ import annotations

import functools
import math
from typing import Callable, Iterator, NamedTuple

from matplotlib import figure as figure_lib

import envs
from safer_tf.evaluation import figures
from safer_tf.evaluation import prior_figures
from safer_tf.evaluation import recorded
from safer_tf.evaluation import style
from safer_tf.evaluation import summaries
from safer_tf.evaluation import tables
from safer_tf.evaluation import variants

_LEAST_TARGETS = 3  # Of a task, to be drawn as a line.

_UNSEEN = ' (tasks unseen by the prior)'
# Of the rows of `ablations`, which hold new flows and second priors too.
_ABLATIONS = (
    'safer_no_context', 'safer_deterministic', 'parrot_unsafe',
    'safer_unbounded',
)

Table = Callable[[str], list[tables.Row]]


class Entry(NamedTuple):
  """A figure of the report.

  Attributes:
    name: file name without `.png`.
    title: heading.
    caption: one sentence on how to read it.
    draw: draws it.
  """

  name: str
  title: str
  caption: str
  draw: Callable[[], figure_lib.Figure]


def entries(table: Table) -> list[Entry]:
  """Every figure that can be drawn, in the order of the report.

  Args:
    table: rows of a table by its name; none where the table is missing.

  Returns:
    The figures.
  """
  parts = (
      _agents, _likelihoods, _histograms, _calibrations, _alone, _benchmark
  )
  return [entry for part in parts for entry in part(table)]


def _agents(table: Table) -> Iterator[Entry]:
  runs = table('table1')
  protocols = sorted({row['protocol'] for row in runs}, reverse=True)
  for protocol in protocols:
    rows = [
        row for row in summaries.with_prior_encoder(runs)
        if row['protocol'] == protocol and row['method'] in style.METHODS
    ]
    suffix = '' if protocol == 'seen' else f'_{protocol}'
    note = '' if protocol == 'seen' else _UNSEEN
    learned = [r for r in rows if r['method'] not in style.NO_LEARNING]
    lines = _curves_of(table('curves'), learned)
    if lines:
      yield from _curve_entries(lines, suffix, note)
    compared = summaries.of_all_tasks(learned)
    if len({row['task'] for row in compared}) > 1:
      boxes = _of_common_boxes([
          *learned, *(
              row for row in (*table('tradeoff'), *_refits(table))
              if row['protocol'] == protocol
          )
      ])
      if boxes:
        yield Entry(
            f'frontier{suffix}', f'Success against violations{note}',
            'A point is one bound on the latents, the number beside it: means '
            f'over {len({row["task"] for row in boxes})} tasks and the seeds '
            f'that all points have, n = {_n(boxes)}. Better is up and to the '
            'left: a method whose line lies higher succeeds more often for the '
            'same contact. Hollow and not joined: a variant that differs in '
            'something else.',
            functools.partial(figures.frontier, boxes),
        )
      yield Entry(
          f'aggregate{suffix}', f'Over all tasks{note}',
          'Dots are interquartile means over tasks and seeds (filled: the '
          'variant by which a method is judged), bars their 95% '
          'stratified bootstrap intervals (none where a task has one seed; of '
          'the agents of one prior, and with three seeds they cover about '
          '85%): success should lie to the right, violations, on an axis that '
          'is logarithmic from 10 on, to the left.',
          functools.partial(figures.aggregate, compared, {
              (each.method, each.variant)
              for each in summaries.summaries(learned) if each.quoted
          }),
      )
  yield from _variations(table)


def _of_common_boxes(rows: list[tables.Row]) -> list[tables.Row]:
  """Rows of every method and box run on every task, with common seeds."""
  rows = [
      {**row, 'box': variants.label(row['method'], row['variant'])}
      for row in summaries.of_all_tasks(rows)
  ]
  common = summaries.on_common_runs(rows, 'box')
  # A task that some box has with other seeds would be left out of all.
  tasks = {row['task'] for row in rows}
  return common if {row['task'] for row in common} == tasks else []


def _refits(table: Table) -> list[tables.Row]:
  """Rows of the agents whose prior's flow was trained anew."""
  return [
      row for row in table('ablations')
      if row['method'].endswith(style.REFIT)
  ]


def _curve_entries(
    lines: list[tables.Row], suffix: str, note: str
) -> Iterator[Entry]:
  yield Entry(
      f'success{suffix}', f'Success during training{note}',
      'Share of the latest training episodes that succeeded: higher '
      'is better; lines are means over seeds, bands their range; broken '
      "lines: a method's other variants.",
      lambda: figures.curves(
          lines, 'success_rate', 'success in training (%)', 100
      ),
  )
  yield Entry(
      f'violations{suffix}', f'Cumulative violations (Figure 5){note}',
      'Every unsafe step so far; an axis beyond 100 is logarithmic from 10 on, '
      'for tens to be seen beside thousands.',
      lambda: figures.curves(
          lines, 'violations', 'violations so far', counts=True
      ),
  )
  yield Entry(
      f'violations_last_1000{suffix}',
      f'Violations in the last 1,000 steps (Figure 7){note}',
      'How unsafe each agent is at that point of its training, lower is '
      'better; an axis beyond 100 is logarithmic from 10 on.',
      lambda: figures.curves(
          lines, 'violations_last_1000', 'violations per 1,000 steps',
          counts=True,
      ),
  )


def _sweep(table: Table) -> list[tables.Row]:
  """SAFER's rows over the bound; Table 1's bound is a point of it too."""
  rows = [
      row for row in [*table('tradeoff'), *table('table1')]
      if (row['protocol'], row['method']) == ('seen', 'safer')
      and (row['variant'] == variants.USUAL
           or variants.is_of_sweep(row['variant']))
      and not math.isnan(row['eval_success_rate'])
  ]
  targets: dict[str, set[float]] = {}
  for row in rows:
    found = targets.setdefault(row['task'], set())
    if not math.isnan(row['max_unsafe_fraction']):
      found.add(row['latent_bound'])
  return _of_common_seeds(
      [row for row in rows if len(targets[row['task']]) >= _LEAST_TARGETS],
      'latent_bound',
  )


def _variations(table: Table) -> Iterator[Entry]:
  sweep = _sweep(table)
  if sweep:
    yield Entry(
        'tradeoff', 'Success against safety over the latent bound (Figure 6)',
        'Each point is one latent bound, named by the unsafe share it '
        'tolerates offline, or by itself where it was chosen without one: a '
        'wider bound lets the agent succeed more often and touch much more. '
        f'Seeds that all points have: n = {_n(sweep)}.',
        lambda: figures.tradeoff(sweep),
    )
  yield from _ablations(table)


def _ablations(table: Table) -> Iterator[Entry]:
  ablated = [
      row for row in _usual(table('ablations')) if row['method'] in _ABLATIONS
  ]
  tasks = {row['task'] for row in ablated}
  # All have SAFER's bound but the one that has none.
  rows = ablated + [
      row for row in _usual(table('table1'))
      if row['task'] in tasks and row['method'] in ('safer', 'parrot')
  ]
  compared = _of_common_seeds(rows, 'method')
  if compared:
    yield Entry(
        'ablations', 'Ablations (Figures 8 and 9)',
        'SAFER and PARROT, and each with a part taken away or unsafe data '
        'added: bars are means, dots single seeds, of the seeds that all have '
        f'(n = {_n(compared)}). All act in SAFER\'s box but the one without.',
        lambda: figures.method_bars(compared),
    )
  for number, methods in (
      (8, ('safer', 'safer_no_context')), (9, ('parrot', 'parrot_unsafe'))
  ):
    pair = summaries.on_common_runs(
        [row for row in rows if row['method'] in methods], 'method'
    )
    lines = _curves_of(table('curves'), pair)
    if {line['method'] for line in lines} == set(methods):
      yield from _curve_pair(lines, number, methods)


def _usual(rows: list[tables.Row]) -> list[tables.Row]:
  """Rows of the paper's protocol, of the usual variant and encoder."""
  wanted = ('seen', variants.USUAL, 'prior')
  return [
      row for row in rows
      if (row['protocol'], row['variant'], row['encoder']) == wanted
  ]


def _of_common_seeds(rows: list[tables.Row], key: str) -> list[tables.Row]:
  """On each task, the seeds that all that is compared there was run with."""
  return [
      row for task in sorted({row['task'] for row in rows})
      for row in summaries.on_common_runs(
          [row for row in rows if row['task'] == task], key
      )
  ]


def _n(rows: list[tables.Row]) -> str:
  """How many seeds a task has."""
  seeds: dict[str, set[int]] = {}
  for row in rows:
    seeds.setdefault(row['task'], set()).add(row['seed'])
  return summaries.span(map(len, seeds.values()))


def _curve_pair(
    lines: list[tables.Row], number: int, methods: tuple[str, str]
) -> Iterator[Entry]:
  """Figures 8 and 9: a method and its ablation during training."""
  names = f'{style.label(methods[0])} and {style.label(methods[1])}'
  for name, column, label, scale, counts in (
      ('success', 'success_rate', 'success in training (%)', 100, False),
      ('violations', 'violations_last_1000', 'violations per 1,000 steps', 1,
       True),
  ):
    yield Entry(
        f'figure{number}_{name}', f'{names}: {name} (Figure {number})',
        'Lines are means over the seeds that both have '
        f'(n = {_n(lines)}), bands their range.',
        functools.partial(
            figures.curves, lines, column, label, scale, counts
        ),
    )


def _likelihoods(table: Table) -> Iterator[Entry]:
  for protocol, split, suffix, note in (
      ('seen', 'test', '', ''),
      ('held_out', tables.NEW_TASKS, '_held_out', _UNSEEN),
  ):
    likelihood = [
        row for row in table('likelihood')
        if (row['protocol'], row['split']) == (protocol, split)
    ]
    if likelihood:
      yield Entry(
          f'likelihood_share{suffix}',
          f'Unsafe data where a prior looks first (Figure 1){note}',
          'Share of held-out unsafe state-action pairs that a prior holds more '
          'likely than half of the safe ones: a prior that knows danger is '
          'near zero, one that does not is near 50%.',
          functools.partial(prior_figures.likelihood_share, likelihood),
      )


def _histograms(table: Table) -> Iterator[Entry]:
  histograms = [r for r in table('histograms') if r['protocol'] == 'seen']
  boxes = {
      row['method']: row['latent_bound']
      for row in _usual([*table('table1'), *table('ablations')])
      if not math.isnan(row['latent_bound'])
  }
  for quantity, title, caption in (
      ('log_likelihood', 'Likelihood of safe and unsafe actions',
       'The further the unsafe actions lie to the left of the safe ones, the '
       'better the prior tells them apart.'),
      ('latent_abs_max', 'Where safe and unsafe actions lie in latent space',
       'A latent bound keeps what is left of it: the safe actions should lie '
       'left, the unsafe ones right. Dashed: the box that a prior\'s agents '
       'act in.'),
  ):
    if any(row['quantity'] == quantity for row in histograms):
      yield Entry(
          quantity, title, f'{caption} {_left_out(histograms, quantity)}',
          functools.partial(
              prior_figures.histograms, histograms, quantity, boxes
          ),
      )


def _calibrations(table: Table) -> Iterator[Entry]:
  found: dict[tuple[str, str], list[tables.Row]] = {}
  for row in table('calibration'):
    found.setdefault((row['protocol'], row['prior']), []).append(row)
  for (protocol, prior), rows in sorted(found.items(), key=lambda item: (
      item[0][0] != 'seen', style.order(item[0][1])
  )):
    suffix = '' if protocol == 'seen' else f'_{protocol}'
    note = '' if protocol == 'seen' else _UNSEEN
    if prior != 'safer':
      suffix, note = f'{suffix}_{prior}', f'{note}: {style.label(prior)}'
    yield Entry(
        f'calibration{suffix}',
        f'Calibration of the latent bound (Figure 4){note}',
        'Random latents inside each bound, acted out in the simulator: '
        'points in the grey area below the dashed line were unsafe no more '
        'often than the bound tolerates offline, which is what it promises '
        'something about. Offline, the safe and the unsafe set weigh the '
        'same; here each is the share over all steps of '
        f'{summaries.span(int(r["episodes"]) for r in rows)} episodes '
        '(of one, in the paper); a line leads up to its 95% upper confidence '
        'bound, each by itself.',
        functools.partial(prior_figures.calibration, rows),
    )


def _alone(table: Table) -> Iterator[Entry]:
  rows = [row for row in table('prior_rollouts') if row['protocol'] == 'seen']
  if rows:
    tasks = {row['task'] for row in rows}
    others = '' if tasks & set(envs.EVALUATION) else ' that are not evaluated'
    yield Entry(
        'priors_alone', 'Priors without an agent',
        f'Means over the {len(tasks)} tasks{others}, with their standard '
        'errors; an arrow leads from a prior to the same features with a flow '
        'trained anew. The upper left is best.',
        functools.partial(prior_figures.alone, rows),
    )


def _benchmark(table: Table) -> Iterator[Entry]:
  rows = table('benchmark_learning')
  if rows:
    yield Entry(
        'benchmark_learning', 'Learning with and without the speed-ups',
        'Training episodes that extracted the object, with this code (fast) '
        'and with its plain counterpart: lines are means over seeds, bands '
        'their range; fast should not lie below plain.',
        lambda: figures.versions(rows),
    )


def _left_out(histograms: list[tables.Row], quantity: str) -> str:
  """Says how much of the safe and unsafe sets the histograms do not show."""
  shown: dict[tuple[str, int], float] = {}
  for row in histograms:
    if row['quantity'] == quantity:
      key = row['method'], row['unsafe']
      shown[key] = shown.get(key, 0.0) + row['share']
  shares = [max(0.0, 1 - share) for share in shown.values()]
  return (
      f'Left out at the ends: {min(shares):.1%} to {max(shares):.1%} of a set.'
  )


def _curves_of(
    curves: list[tables.Row], rows: list[tables.Row]
) -> list[tables.Row]:
  """The learning curves of some runs."""
  wanted = {recorded.run_of(row) for row in rows}
  return [row for row in curves if recorded.run_of(row) in wanted]
