"""The report's tables on priors: acting alone, latent bounds, settings."""

from __future__ import annotations

from typing import Callable, Iterator, Sequence

import numpy as np

import envs
from safer_tf.evaluation import gallery
from safer_tf.evaluation import page
from safer_tf.evaluation import recorded
from safer_tf.evaluation import style
from safer_tf.evaluation import tables


def alone(table: gallery.Table) -> Iterator[str]:
  """The report's section on priors that act without an agent.

  Args:
    table: rows of a table by its name; none where the table is missing.

  Yields:
    Pieces of HTML.
  """
  rows = table('prior_rollouts')
  if not rows:
    return
  ranges = sorted({row['latent_range'] for row in rows})
  priors = sorted(
      {(row['protocol'], row['prior']) for row in rows},
      key=lambda each: (each[0] != 'seen', style.order(each[1])),
  )
  # SAFER's, where it is among them.
  first = next((each for each in priors if each[1] == 'safer'), priors[0])
  yield page.heading('Priors alone', 'alone')
  tasks = {row['task'] for row in rows}
  others = '' if tasks & set(envs.EVALUATION) else ' that are not evaluated'
  counts = ' or '.join(map(str, sorted({row['episodes'] for row in rows})))
  yield page.paragraph(
      f'What each prior does without an agent on {len(tasks):,} tasks{others}, '
      f'{counts} episodes each, of the same seeds for all priors: episodes '
      'that succeed, and with an unsafe step. In brackets the difference in '
      f'points from {page.escape(style.label(first[1]))} over the tasks '
      'that both have, with its standard error.'
  )
  columns = [
      f'{"z = 0" if bound == 0 else f"random z in {bound:g}"}: {what}'
      for bound in ranges for what in ('success', 'unsafe')
  ]
  yield page.table(('prior', *columns), [
      (
          f'{style.label(prior)}, {protocol}',
          *(
              compared(
                  _by_task(rows, (protocol, prior), bound, value),
                  _by_task(rows, first, bound, value),
              ) for bound in ranges for value in (_success, _unsafe)
          ),
      ) for protocol, prior in priors
  ])


def _success(row: tables.Row) -> float:
  return row['success_rate']


def _unsafe(row: tables.Row) -> float:
  return row['unsafe_episodes'] / row['episodes']


def _by_task(
    rows: Sequence[tables.Row], prior: tuple[str, str], bound: float,
    value: Callable[[tables.Row], float],
) -> dict[str, float]:
  return {
      row['task']: value(row) for row in rows
      if (row['protocol'], row['prior'], row['latent_range'])
      == (*prior, bound)
  }


def compared(found: dict[str, float], base: dict[str, float]) -> str:
  """A mean over tasks, and how far it is from another one's.

  Args:
    found: shares by task.
    base: those that they are compared with.

  Returns:
    In %, e.g. `45.3% (-27.4 ± 4.3)`; the mean alone of `base` itself.
  """
  if not found:
    return '–'
  mean = f'{np.mean(list(found.values())):.1%}'
  both = sorted(found.keys() & base.keys())
  if found == base or len(both) < 2:
    return mean
  difference = 100 * np.array([found[task] - base[task] for task in both])
  error = difference.std(ddof=1) / np.sqrt(difference.size)
  return f'{mean} ({difference.mean():+.1f} ± {error:.1f})'


def assurance(table: gallery.Table) -> Iterator[str]:
  """The report's section on the latent bounds.

  Args:
    table: rows of a table by its name; none where the table is missing.

  Yields:
    Pieces of HTML.
  """
  yield page.heading('Safety assurance', 'assurance')
  rows = table('assurance')
  if not rows:
    yield page.left_out('The latent bounds', 'none has been computed')
    return
  yield page.paragraph(
      'For each tolerated share, the bound on the latent and what it lets in, '
      'measured on calibration episodes that no prior was trained on. '
      '<i>Equal weights</i> counts the safe and the unsafe set as equally '
      'large; <i>natural</i> takes them as collected. <b>paper</b> is '
      'Algorithm 3 as printed, <b>exact</b> the largest bound that keeps the '
      'share on these data, <b>certified</b> holds for new episodes of the '
      'offline distribution with the stated confidence. None of them covers '
      'the states that a later policy reaches: for that see the upper bounds '
      'on unsafe episodes in the outcome.'
  )
  body: list[tuple[str, ...]] = []
  for prior, protocol in dict.fromkeys(
      (row['prior'], row['protocol']) for row in rows
  ):
    body.append((f'{style.label(prior)} prior, {protocol} tasks',))
    body += [
        (
            row['mode'], page.share(row['max_unsafe_fraction']),
            page.number(row['confidence']), page.number(row['latent_bound']),
            page.share(row['in_bound_unsafe_fraction']),
            page.share(row['in_bound_unsafe_fraction_natural']),
            page.share(row['safe_actions_in_bound']), f'{row["n_episodes"]:,}',
        )
        for row in rows
        if (row['prior'], row['protocol']) == (prior, protocol)
    ]
  yield page.table(
      ('mode', 'tolerated', 'confidence', 'latent bound',
       'unsafe in bound, equal weights', 'natural', 'safe actions kept',
       'episodes'), body,
  )
  yield page.paragraph('A bound of 0 admits no action.', 'note')
  yield from _confirmation(table)


def _confirmation(table: gallery.Table) -> Iterator[str]:
  """The bounds tested on episodes of later, where that was done."""
  rows = table('confirmation')
  if not rows:
    return
  yield page.paragraph(
      'The same bounds on episodes that were collected after them and used for '
      'nothing else, each tested by itself at its own target: a p-value of 5% '
      'or less confirms it.'
  )
  yield page.table(
      ('prior', 'mode', 'tolerated', 'latent bound', 'unsafe in bound',
       'safe actions kept', 'episodes', 'p-value'), [
          (
              f'{style.label(row["prior"])}, {row["protocol"]}', row['mode'],
              page.share(row['max_unsafe_fraction']),
              page.number(row['latent_bound']),
              page.share(row['in_bound_unsafe_fraction']),
              page.share(row['safe_actions_in_bound']),
              f'{row["n_episodes"]:,}', page.number(row['p_value']),
          ) for row in rows
      ],
  )


def sweep(table: gallery.Table) -> Iterator[str]:
  """What other settings of the prior would have given.

  Args:
    table: rows of a table by its name; none where the table is missing.

  Yields:
    Pieces of HTML.
  """
  rows = table('prior_sweep')
  if not rows:
    return
  yield page.heading('Settings of the prior', 'sweep')
  yield page.paragraph(
      'Priors of a shorter training that differ in one setting, on the '
      'validation split. <i>Unsafe above</i> is the share of unsafe actions '
      'likelier than the median safe one; <i>latent AUC</i> how well |z|, '
      'which the bound is on, tells safe actions from unsafe ones.'
  )
  yield page.table(
      ('prior', 'lambda', 'optimizer', 'rate', 'steps',
       'log-likelihood, safe', 'unsafe', 'unsafe above', 'AUC', 'latent AUC',
       'KL'), [
          (
              row['prior'].removeprefix(recorded.SWEEP_PREFIX),
              page.number(row['unsafe_weight']), row['optimizer'],
              page.number(row['learning_rate']), f'{row["num_steps"]:,}',
              page.number(row['safe_log_prob']),
              page.number(row['unsafe_log_prob']),
              page.share(row['unsafe_share_above_safe_median']),
              page.number(row['auc']), page.number(row['latent_auc']),
              page.number(row['safe_kl']),
          ) for row in rows
      ],
  )
