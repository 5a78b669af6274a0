"""Gathers what the stages of a run left into the result tables.

`<root>/results` then holds all that the figures and the report are made from.
"""

from __future__ import annotations

import csv
import glob
import os
from typing import Any, Iterator

import numpy as np

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import labels
from safer_tf.common import layout
from safer_tf.evaluation import recorded
from safer_tf.evaluation import style
from safer_tf.evaluation import tables
from safer_tf.evaluation import variants

_CURVE_STEPS = 1000  # From one point of a stored curve to the next.
_OF_CURVE = ('env_steps', 'cumulative_violations', 'success', 'complete')
_HISTOGRAM_BINS = 48
# Histograms leave out this share at either end, which would squeeze them.
_TAIL = 0.01

# What is expected of files that stages leave, and what to do without.
_AN_AGENT = (
    'the result of an agent: delete it and stage.json beside it, and run '
    'train_agent and evaluate again'
)
_MEASURED = 'what was measured of a prior: delete it and measure again'
_RECORD = 'the record of a stage: delete it and run the stage again'


def collect(root_dir: str) -> None:
  """Writes the tables of everything that is finished under a run directory.

  Recorded results of earlier runs enter where this run has none of its own; in
  a directory without agents the results that it has stay.

  Args:
    root_dir: run directory.
  """
  results_dir = layout.results_dir(root_dir)
  cells = _cells(root_dir)
  rows: dict[str, list[tables.Row]] = {name: [] for name in tables.COLUMNS}
  for directory, cell in cells:
    rows[_table_of(cell)].append(cell)
    rows['curves'] += _curve(directory, cell)
  for directory in _matches(
      root_dir, layout.PRIORS_DIR, '*', '*', layout.STAGE
  ):
    _add_prior(os.path.dirname(directory), rows)
  rows['calibration'] = _rows_of(
      root_dir, layout.CALIBRATION_DIR, '*.json'
  )
  rows['prior_rollouts'] = _rows_of(root_dir, layout.PRIOR_ROLLOUTS)
  base = recorded.base_dir(root_dir, bool(cells))
  for name, found in {
      **rows, recorded.REPLAYS: _replays(cells),
      recorded.PROVENANCE: _stages(root_dir),
  }.items():
    recorded.merge(base, results_dir, name, found)
  cards = [
      os.path.join(place, layout.DATA_CARD)
      for place in (layout.data_dir(root_dir), base) if place
  ]
  card = next(filter(os.path.exists, cards), None)
  shown = os.path.join(results_dir, recorded.DATA_CARD)
  if card:
    files.write_json(shown, files.read_json(card, 'the data card'))
  elif os.path.exists(shown):
    os.remove(shown)


def _cells(root_dir: str) -> list[tuple[str, dict[str, Any]]]:
  """Directory and joined results of every cell that was evaluated or trained.

  An evaluation repeats its cell's result, so it wins where both exist; a cell
  still being trained has neither.
  """
  found: dict[str, dict[str, Any]] = {}
  for name in (layout.RESULT, layout.EVALUATION):
    for path in _matches(
        root_dir, layout.AGENTS_DIR, '*', '*', '*', '*', '*', name
    ):
      directory = os.path.dirname(path)
      found.setdefault(directory, {}).update(
          files.read_json(path, _AN_AGENT, tables.AGENT)
      )
  for directory, cell in found.items():
    cell['machine'] = _machine(directory, cell)
  return sorted(
      found.items(), key=lambda item: (
          item[1]['protocol'] != 'seen', style.task_order(item[1]['task']),
          style.order(item[1]['method']), item[1]['variant'], item[1]['seed'],
      )
  )


def _machine(directory: str, cell: dict[str, Any]) -> str | None:
  """Where a cell's agent learnt, or was evaluated if it needed no learning."""
  path = os.path.join(directory, layout.STAGE)
  if os.path.exists(path):
    return _stage(path).get('machine')
  return cell.get('eval_provenance', {}).get('machine')


def _stage(path: str) -> dict[str, Any]:
  return files.read_json(path, _RECORD, ('git_revision',))


def _table_of(cell: dict[str, Any]) -> str:
  if variants.is_of_sweep(cell['variant']):
    return 'tradeoff'
  return 'ablations' if cell['method'] in style.ABLATIONS else 'table1'


def _curve(directory: str, cell: dict[str, Any]) -> Iterator[tables.Row]:
  """A learning curve at every thousandth step, from an agent's episodes."""
  path = os.path.join(directory, layout.CURVE)
  if not os.path.exists(path):
    return
  try:
    with open(path, encoding='utf-8', newline='') as file:
      ended, violations, success, complete = np.array([
          [int(row[name]) for name in _OF_CURVE] for row in csv.DictReader(file)
      ]).T
  except (ValueError, KeyError, TypeError, csv.Error) as error:
    raise errors.UserError(
        f'{path} is damaged ({error}): expected a row an episode. Delete '
        f'{directory} and train that agent again.'
    ) from error
  complete = complete.astype(bool)
  for step in range(_CURVE_STEPS, int(ended[-1]) + 1, _CURVE_STEPS):
    recent = complete & (ended <= step) & (
        ended > step - labels.SUCCESS_WINDOW
    )
    # Known at the ends of episodes, linear in between.
    so_far, before = np.interp(
        (step, step - _CURVE_STEPS), np.append(0, ended),
        np.append(0, violations),
    )
    yield {
        **cell, 'env_steps': step, 'violations': round(float(so_far), 1),
        'violations_last_1000': round(float(so_far - before), 1),
        'success_rate': (
            float(success[recent].mean()) if recent.any() else float('nan')
        ),
    }


def _add_prior(directory: str, rows: dict[str, list[tables.Row]]) -> None:
  """Adds a trained prior's likelihoods, histograms and bounds."""
  protocol, prior = directory.split(os.sep)[-2:]
  stage = files.read_json(
      os.path.join(directory, layout.STAGE), _RECORD, ('git_revision', 'seed')
  )
  common = {
      'protocol': protocol, 'method': prior, 'prior': prior,
      'git_revision': stage['git_revision'], 'seed': stage['seed'],
  }
  if prior.startswith(recorded.SWEEP_PREFIX):
    path = os.path.join(directory, layout.HISTORY)
    if os.path.exists(path):
      rows['prior_sweep'].append({
          **stage, **stage['settings']['train_prior'], **common,
          **_validation(path, stage['exported_step']),
      })
    return
  for name, split in (
      (layout.LIKELIHOODS, 'test'),
      (layout.LIKELIHOODS_NEW_TASKS, tables.NEW_TASKS),
  ):
    path = os.path.join(directory, name)
    if not os.path.exists(path):
      continue
    try:
      with np.load(path) as arrays:
        found = {
            name: arrays[name]
            for name in ('log_prob', 'abs_max_latent', 'safe', 'unsafe')
        }
    except files.DAMAGED_ARRAYS as error:
      raise errors.UserError(
          f'{path} is damaged ({error}). Delete {layout.STAGE} beside it and '
          'run train_prior again: it measures anew.'
      ) from error
    rows['likelihood'].append(
        {**common, 'split': split, **likelihood_row(**found)}
    )
    if split == 'test':
      rows['histograms'] += [
          {**common, **row} for row in _histogram_rows(**found)
      ]
  for table, name in (
      ('assurance', layout.ASSURANCE), ('confirmation', layout.CONFIRMATION)
  ):
    path = os.path.join(directory, layout.EXPORT_DIR, name)
    if os.path.exists(path):
      found = files.read_json(path, _MEASURED, ('table', 'provenance'))
      rows[table] += [
          {
              **common, **row, 'seed': found['provenance']['seed'],
              'git_revision': found['provenance']['git_revision'],
          } for row in found['table']
      ]


def _validation(path: str, step: int) -> tables.Row:
  """What a history says of validation at a step."""
  with open(path, encoding='utf-8', newline='') as file:
    found = next((
        row for row in csv.DictReader(file) if row['step'] == str(step)
    ), None)
  if found is None:
    raise errors.UserError(
        f'{path} has no validation at step {step}, which was exported: '
        'expected the history of the prior beside it. Train the prior again.'
    )
  return {
      'split': 'validation', **{k: float(v) for k, v in found.items()},
      **{name: int(found[name]) for name in ('n_safe', 'n_unsafe')},
  }


def likelihood_row(
    log_prob: np.ndarray, abs_max_latent: np.ndarray, safe: np.ndarray,
    unsafe: np.ndarray,
) -> tables.Row:
  """Figure 1's number, and the same question asked of the latent.

  Args:
    log_prob: [N] log-likelihoods of held-out actions.
    abs_max_latent: [N] largest absolute components of their latents.
    safe: bool [N] the safe set.
    unsafe: bool [N] the unsafe set.

  Returns:
    Columns of `likelihood`; shares are NaN where a set is empty.
  """
  above = kept = float('nan')
  if safe.any() and unsafe.any():
    above = np.mean(log_prob[unsafe] > np.median(log_prob[safe]))
    kept = np.mean(abs_max_latent[unsafe] < np.median(abs_max_latent[safe]))
  return {
      'unsafe_share_above_safe_median': float(above),
      'unsafe_share_in_half_safe_bound': float(kept),
      'n_safe': int(safe.sum()),
      'n_unsafe': int(unsafe.sum()),
  }


def _histogram_rows(
    log_prob: np.ndarray, abs_max_latent: np.ndarray, safe: np.ndarray,
    unsafe: np.ndarray,
) -> Iterator[tables.Row]:
  """Shares of the whole safe and unsafe set in common bins."""
  for quantity, values in (
      ('log_likelihood', log_prob), ('latent_abs_max', abs_max_latent)
  ):
    both = values[safe | unsafe]
    if not both.size:
      continue
    low, high = np.quantile(both, (_TAIL, 1 - _TAIL))
    edges = np.linspace(low, max(high, low + 1e-6), _HISTOGRAM_BINS + 1)
    for label, chosen in ((0, safe), (1, unsafe)):
      counts, _ = np.histogram(values[chosen], edges)
      shares = counts / max(1, chosen.sum())
      for left, right, share in zip(edges, edges[1:], shares):
        yield {
            'quantity': quantity, 'unsafe': label, 'left': float(left),
            'right': float(right), 'share': float(share),
        }


def _rows_of(root_dir: str, *parts: str) -> list[tables.Row]:
  """The rows that the rollouts of priors left in their directories."""
  return [
      row
      for path in _matches(root_dir, layout.PRIORS_DIR, '*', '*', *parts)
      for row in files.read_json(path, _MEASURED, ('rows',))['rows']
  ]


def _replays(
    cells: list[tuple[str, dict[str, Any]]],
) -> list[dict[str, Any]]:
  """Episodes that can be played again, of each method's first evaluation."""
  found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
  for _, cell in cells:
    key = tuple(cell[name] for name in ('protocol', 'task', 'method'))
    if (
        variants.is_of_sweep(cell['variant']) or key in found
        or not cell.get('replays')
    ):
      continue
    found[key] = [
        {
            'protocol': cell['protocol'], 'task': cell['task'],
            'method': cell['method'], 'variant': cell['variant'],
            'kind': kind, **replay,
        } for kind, replay in cell['replays'].items()
    ]
  return [replay for replays in found.values() for replay in replays]


def _stages(root_dir: str) -> list[dict[str, Any]]:
  """What each stage says of its making."""
  found = []
  for path in (
      _matches(root_dir, layout.DATA_DIR, layout.STAGE)
      + _matches(root_dir, layout.PRIORS_DIR, '*', '*', layout.STAGE)
      + _matches(
          root_dir, layout.AGENTS_DIR, '*', '*', '*', '*', '*', layout.STAGE
      )
  ):
    stage = _stage(path)
    # An agent's time spans several processes and is part of its result.
    result = os.path.join(os.path.dirname(path), layout.RESULT)
    if os.path.exists(result):
      stage['wall_seconds'] = files.read_json(
          result, _AN_AGENT, ('wall_seconds',)
      )['wall_seconds']
    found.append(_origin(root_dir, os.path.dirname(path), stage))
  return found + _measurements(root_dir)


def _measurements(root_dir: str) -> list[dict[str, Any]]:
  """The same of what was measured of priors and agents."""
  found = []
  for parts in (
      (layout.EXPORT_DIR, layout.ASSURANCE),
      (layout.EXPORT_DIR, layout.CONFIRMATION),
      (layout.CALIBRATION_DIR, '*.json'),
      (layout.PRIOR_ROLLOUTS,),
  ):
    for path in _matches(root_dir, layout.PRIORS_DIR, '*', '*', *parts):
      record = files.read_json(path, _MEASURED, ('provenance',))
      name = os.path.splitext(path)[0]
      found.append(_origin(root_dir, name, record['provenance']))
  for path in _matches(
      root_dir, layout.AGENTS_DIR, '*', '*', '*', '*', '*', layout.EVALUATION
  ):
    record = files.read_json(path, _AN_AGENT, tables.AGENT)
    if 'eval_provenance' in record:
      name = os.path.dirname(path)
      # The directory's own entry tells of the training, if there was one.
      if os.path.exists(os.path.join(name, layout.STAGE)):
        name = os.path.splitext(path)[0]
      found.append(_origin(root_dir, name, record['eval_provenance']))
  return found


def _origin(
    root_dir: str, path: str, record: dict[str, Any]
) -> dict[str, Any]:
  """The entry of what stands at a path, from its record."""
  return {'stage': os.path.relpath(path, root_dir), **{
      name: record.get(name) for name in (
          'git_revision', 'version', 'seed', 'wall_seconds', 'finished',
          'machine', 'python', 'packages', 'config', 'inputs',
      )
  }}


def _matches(root_dir: str, *parts: str) -> list[str]:
  return sorted(glob.glob(os.path.join(glob.escape(root_dir), *parts)))
