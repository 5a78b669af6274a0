"""The report's tables on the priors: their latent bounds, other settings."""

from __future__ import annotations

from typing import Iterator

from safer_tf.evaluation import gallery
from safer_tf.evaluation import page
from safer_tf.evaluation import recorded
from safer_tf.evaluation import style


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
      f'The same bounds on {rows[0]["n_episodes"]:,} episodes that were '
      'collected after them and used for nothing else, each tested by itself '
      'at its own target: a p-value of 5% or less confirms it.'
  )
  yield page.table(
      ('prior', 'mode', 'tolerated', 'latent bound', 'unsafe in bound',
       'safe actions kept', 'p-value'), [
          (
              f'{style.label(row["prior"])}, {row["protocol"]}', row['mode'],
              page.share(row['max_unsafe_fraction']),
              page.number(row['latent_bound']),
              page.share(row['in_bound_unsafe_fraction']),
              page.share(row['safe_actions_in_bound']),
              page.number(row['p_value']),
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
