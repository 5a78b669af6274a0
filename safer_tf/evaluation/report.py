"""Makes every table, figure and the report again from files alone."""

from __future__ import annotations

import math
import os
from typing import Any, Iterator

import gin

import envs
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.evaluation import collect_results
from safer_tf.evaluation import figures
from safer_tf.evaluation import film
from safer_tf.evaluation import gallery
from safer_tf.evaluation import markdown
from safer_tf.evaluation import outcome
from safer_tf.evaluation import page
from safer_tf.evaluation import prior_tables
from safer_tf.evaluation import recorded
from safer_tf.evaluation import style
from safer_tf.evaluation import summaries
from safer_tf.evaluation import tables

_TITLE = 'SAFER: safe skill priors'


@gin.configurable(denylist=['root_dir'])
def make_report(root_dir: str, films: bool = True) -> str:
  """Writes tables, figures, films and `report.html` of a run.

  Args:
    root_dir: run directory, or one that holds nothing but `results`.
    films: whether to play recorded episodes and tasks in the simulator.

  Returns:
    Path of the report.

  Raises:
    UserError: there is nothing to report.
  """
  collect_results.collect(root_dir)
  results = _Results(root_dir)
  if results.is_empty():
    raise errors.UserError(
        f'{root_dir} holds no results: expected finished stages or '
        f'{layout.RESULTS_DIR}/*.csv in it. Run bin/reproduce.py or the single '
        'stages first.'
    )
  body = list(_opening(results))
  body += outcome.outcome(results.table, results.is_of_extraction())
  for name in ('table1', 'ablations'):
    path = os.path.join(layout.results_dir(root_dir), f'{name}.md')
    if results.table(name):
      files.write_text(path, markdown.results(name, results.table(name)))
    elif os.path.exists(path):
      os.remove(path)
  body += _films(results, root_dir) if films else []
  body += _figures(results, root_dir)
  body += prior_tables.alone(results.table)
  body += prior_tables.assurance(results.table)
  body += prior_tables.sweep(results.table)
  body += _data(results)
  body += _provenance(results)
  path = os.path.join(root_dir, layout.REPORT)
  files.write_text(path, page.page(_TITLE, body))
  return path


def printed_table(root_dir: str) -> str:
  """The main table of a run, for the terminal."""
  directory = layout.results_dir(root_dir)
  rows = next(filter(None, (
      tables.read(directory, name)
      for name in ('table1', 'ablations', 'tradeoff')
  )), None)
  if not rows:
    return 'No agent has been evaluated yet.'
  protocols = sorted({row['protocol'] for row in rows}, reverse=True)
  return '\n\n'.join(
      (f'{protocol}:\n' if len(protocols) > 1 else '') + summaries.render([
          row for row in rows if row['protocol'] == protocol
      ]) for protocol in protocols
  )


# What the page says of each record.
_FIELDS = {
    recorded.DATA_CARD: ('total',),
    recorded.REPLAYS: (
        'kind', 'task', 'method', 'seed', 'actions', 'unsafe', 'success',
    ),
    recorded.PROVENANCE: (
        'stage', 'git_revision', 'seed', 'wall_seconds', 'finished', 'config',
        'machine', 'python', 'packages',
    ),
}


class _Results:
  """The tables and records of a run's `results`, each read once."""

  def __init__(self, root_dir: str):
    self._dir = layout.results_dir(root_dir)
    self._tables = {
        name: tables.read(self._dir, name)
        for name in (*tables.COLUMNS, *tables.FOREIGN)
    }
    self.card = next(iter(self._records(recorded.DATA_CARD)), {})
    self.replays = self._records(recorded.REPLAYS)
    self.stages = self._records(recorded.PROVENANCE)

  def table(self, name: str) -> list[tables.Row]:
    """Rows of a table; none where it is missing."""
    return self._tables[name]

  def is_of_extraction(self) -> bool:
    """Whether all tasks are those of `envs`, not of the user's own."""
    named = set(self.card.get('by_task', {}))
    for name in ('table1', 'ablations', 'tradeoff'):
      named.update(row['task'] for row in self.table(name))
    return named <= set(envs.ALL)

  def is_empty(self) -> bool:
    """Whether nothing at all was found."""
    return not any(self._tables.values()) and not self.card

  def _records(self, name: str) -> list[dict[str, Any]]:
    path = os.path.join(self._dir, name)
    if not os.path.exists(path):
      return []
    found = files.read_json(path, 'a record')
    found = found if isinstance(found, list) else [found]
    for record in found:
      missing = set(_FIELDS[name]).difference(record)
      if missing:
        raise errors.UserError(
            f'{path} has a record without {", ".join(sorted(missing))}: '
            'expected one as the stages write them.'
        )
    return found


def _opening(results: _Results) -> Iterator[str]:
  yield f'<h1>{_TITLE}</h1>'
  tasks = (
      'A robot arm lifts objects out of tight containers and must not touch '
      'their walls. ' if results.is_of_extraction() else ''
  )
  yield page.paragraph(
      f'{tasks}<b>SAFER</b> learns a prior over actions from recorded '
      'episodes, safe and unsafe, and a reinforcement-learning agent then acts '
      'through that prior, inside a bound on its latents. A small bound keeps '
      'nearly all recorded unsafe actions out, and most of the safe ones too '
      '(see <a href="#assurance">Assurance</a>). This report shows what was '
      'run, how the agents compare, and why.', 'lead',
  )
  total = results.card.get('total', {})
  entries = []
  if total:
    entries.append((f'{total["steps"]:,}', 'steps of offline data'))
    entries.append(
        (f'{total["unsafe_share"]:.1%}', 'of them unsafe')
    )
  entries += _headline(results)
  yield page.tiles(entries)
  yield (
      '<nav><a href="#outcome">Outcome</a><a href="#films">Episodes</a>'
      '<a href="#figures">Figures</a>'
      + ('<a href="#alone">Priors</a>' if results.table('prior_rollouts')
         else '')
      + '<a href="#assurance">Assurance</a>'
      '<a href="#data">Data</a><a href="#provenance">Provenance</a></nav>'
  )


def _headline(results: _Results) -> Iterator[tuple[str, str]]:
  """SAFER's own means on the paper's protocol."""
  quoted = [
      q for q in summaries.outcomes(results.table('table1'))
      if q.quoted and q.method == 'safer' and q.protocol == 'seen'
  ]
  for name, values in (
      ('success', [q.success.mean for q in quoted]),
      ('violations', [q.violations.mean for q in quoted]),
  ):
    finite = [value for value in values if not math.isnan(value)]
    if finite:
      mean = sum(finite) / len(finite)
      text = f'{mean:.1%}' if name == 'success' else f'{mean:,.0f}'
      over = f'mean of {len(finite)} tasks' if len(finite) > 1 else 'one task'
      yield text, f"SAFER agent's {name}, {over}"


def _films(results: _Results, root_dir: str) -> Iterator[str]:
  yield page.heading('A safe and an unsafe episode', 'films')
  if not results.is_of_extraction():
    yield page.left_out('Episodes', "played again are this project's tasks")
    return
  chosen = choose_replays(results.replays)
  if not chosen:
    yield page.left_out('Episodes', 'no evaluation recorded any')
  else:
    try:
      takes = [film.play(replay) for replay in chosen]
    except errors.UserError as error:
      yield page.left_out('Episodes', str(error))
    else:
      yield from _clips(takes, root_dir)
  path = os.path.join(root_dir, layout.FIGURES_DIR, 'tasks.png')
  figures.save(film.tasks_figure(), path)
  yield page.image(
      path, 'The tasks (Figure 10)',
      'What the camera sees at the start of each of the 40 tasks; the six '
      'evaluation tasks are framed in blue.',
  )


def _clips(takes: list[film.Take], root_dir: str) -> Iterator[str]:
  """The filmstrip and the films of some episodes."""
  strip = os.path.join(root_dir, layout.FIGURES_DIR, 'filmstrip.png')
  figures.save(film.filmstrip(takes), strip)
  yield page.image(
      strip, 'Frames (Figure 3)',
      'Each row is an episode from left to right; frames after a step in '
      'which the arm touched the container are framed in orange.',
  )
  clips = []
  for take in takes:
    kind = 'unsafe' if take.unsafe.any() else 'safe'
    path = os.path.join(root_dir, layout.VIDEOS_DIR, f'{kind}.mp4')
    film.write_video(take, path)
    clips.append(page.video(path, take.title))
  yield f'<div class="films">{"".join(clips)}</div>'


def choose_replays(replays: list[dict[str, Any]]) -> list[dict[str, Any]]:
  """A safe and an unsafe episode, of one task where there are such.

  Args:
    replays: recorded episodes.

  Returns:
    A safe one, a success and of SAFER where there is such, and an unsafe one
    of the same task, of another method where there is such.
  """
  def first(kind: str, task: str | None) -> list[dict[str, Any]]:
    matching = [
        replay for replay in replays if replay['kind'] == kind
        and task in (None, replay['task'])
    ]
    return sorted(matching, key=lambda replay: (
        kind == 'safe' and not replay['success'],
        (replay['method'] == 'safer') == (kind == 'unsafe'),
        style.task_order(replay['task']), style.order(replay['method']),
    ))[:1]

  safe = first('safe', None)
  unsafe = first('unsafe', safe[0]['task'] if safe else None)
  return safe + (unsafe or first('unsafe', None))


def _figures(results: _Results, root_dir: str) -> Iterator[str]:
  yield page.heading('Figures', 'figures')
  entries = gallery.entries(results.table)
  if not entries:
    yield page.left_out('Figures', 'there is nothing to draw yet')
  for entry in entries:
    path = os.path.join(root_dir, layout.FIGURES_DIR, f'{entry.name}.png')
    figures.save(entry.draw(), path)
    yield page.image(path, entry.title, entry.caption)
  drawn = {entry.name for entry in entries}
  for name, what in (
      ('likelihood_share', 'Unsafe data where a prior looks first (Figure 1)'),
      ('calibration', 'Calibration of the bound (Figure 4)'),
      ('violations', 'Violations in training (Figures 5 and 7)'),
      ('tradeoff', 'The sweep over the latent bound (Figure 6)'),
      ('ablations', 'Ablations (Figures 8 and 9)'),
  ):
    if name not in drawn:
      yield page.left_out(what, 'not part of this run')


def _data(results: _Results) -> Iterator[str]:
  yield page.heading('Offline data', 'data')
  if not results.card:
    yield page.left_out('The data card', 'no dataset belongs to this run')
    return
  yield page.paragraph(
      'The episodes that priors were trained on. <i>Unsafe</i> is the share of '
      'unsafe steps, <i>success</i> the share of successful episodes.'
  )
  body = [_counts('all', results.card['total'])]
  for title, key in (
      ('by split', 'by_split'), ('by noise of the policy', 'by_noise'),
      ('by task', 'by_task'),
  ):
    body.append((title,))
    body += [
        _counts(style.task_label(name), counts)
        for name, counts in results.card.get(key, {}).items()
    ]
  yield page.table(
      ('', 'episodes', 'steps', 'mean length', 'success', 'unsafe'), body
  )


def _counts(name: str, counts: dict[str, Any]) -> tuple[str, ...]:
  return (
      name, f'{counts["episodes"]:,}', f'{counts["steps"]:,}',
      f'{counts["mean_length"]:.1f}', page.share(counts['success_share']),
      page.share(counts['unsafe_share']),
  )


def _provenance(results: _Results) -> Iterator[str]:
  yield page.heading('Provenance', 'provenance')
  if not results.stages:
    yield page.left_out('The record of the stages', 'it is missing')
    return
  machines = dict.fromkeys(
      f'{stage["machine"]}; Python {stage["python"]}; ' + ', '.join(
          f'{name} {version}' for name, version in stage['packages'].items()
      ) for stage in results.stages
  )
  yield page.paragraph(
      '. '.join(map(page.escape, machines))
      + '. A + after a revision means that the code had been modified.'
  )
  yield page.table(
      ('stage', 'git revision', 'seed', 'seconds', 'finished'),
      [
          (
              stage['stage'], stage['git_revision'], str(stage['seed']),
              '–' if stage['wall_seconds'] is None
              else f'{stage["wall_seconds"]:,.0f}', stage['finished'],
          )
          for stage in results.stages
      ],
  )
  for stage in results.stages:
    if stage['config']:
      yield page.details(
          f'Config of {stage["stage"]}', page.verbatim(stage['config'])
      )
