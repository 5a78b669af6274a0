"""A run directory as its stages leave it, for tests of what reads it."""

from __future__ import annotations

import os

import numpy as np

import envs
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.evaluation import report
from safer_tf.evaluation import tables

TASK = envs.EVALUATION[0]
STAGE = {
    'git_revision': 'abc', 'seed': 0, 'wall_seconds': 3.0, 'version': '0',
    'finished': 'now', 'machine': 'a machine', 'python': '3.11',
    'packages': {'numpy': '1'}, 'config': 'train_prior.num_steps = 10',
    'inputs': {'prior_spec': 'a hash'},
}


COUNTS = {
    'episodes': 9, 'steps': 90, 'mean_length': 10.0, 'success_share': 0.5,
    'unsafe_share': 0.25, 'unsafe_steps': 22, 'natural_unsafe_share': 0.3,
    'safe_steps_of_successful_episodes': 40,
}


def row(method, success, violations, variant='default', seed=0, **values):
  """A row of `table1`, as far as summaries read it."""
  return {
      'protocol': 'seen', 'task': TASK, 'method': method, 'variant': variant,
      'seed': seed, 'eval_success_rate': success, 'encoder': 'prior',
      'train_success_rate': success, 'violations': violations,
      'eval_episodes': 100, 'eval_unsafe_episodes': 0, 'machine': 'a machine',
      **values,
  }


def recorded_row(method='safer', seed=0, **other):
  """A row of `table1` of an agent as the paper's config asks for."""
  return {
      'protocol': 'seen', 'task': TASK, 'method': method,
      'variant': 'default', 'seed': seed, 'env_steps': 50_000,
      'eval_success_rate': 0.5, 'eval_episodes': 100, 'violations': 7,
      'max_unsafe_fraction': 0.0, 'assurance_mode': 'exact',
      'git_revision': 'abc', **other,
  }


def agent(
    root, method, seed, evaluated=True, variant='default', bound=1.5,
    task=TASK,
):
  directory = layout.agent_dir(root, 'seen', task, method, variant, seed)
  result = {
      'protocol': 'seen', 'task': task, 'method': method, 'variant': variant,
      'seed': seed, 'encoder': 'prior', 'max_unsafe_fraction': 0.15,
      'assurance_mode': 'exact', 'latent_bound': bound, 'env_steps': 2400,
      'train_success_rate': 0.5, 'violations': 240, 'clip_rate': 0.0,
      'wall_seconds': 9.0, 'git_revision': 'abc',
  }
  files.write_json(os.path.join(directory, layout.RESULT), result)
  files.write_json(os.path.join(directory, layout.STAGE), STAGE)
  if evaluated:
    files.write_json(os.path.join(directory, layout.EVALUATION), {
        **result, 'eval_success_rate': 0.25, 'eval_episodes': 20,
        'eval_return': -9.0, 'eval_steps': 400, 'eval_violations': 7,
        'eval_unsafe_episodes': 3, 'eval_unsafe_episode_upper': 0.3,
        'replays': {}, 'eval_provenance': {**STAGE, 'wall_seconds': 2.0},
    })
  # Twenty steps an episode, two of them unsafe, every other one a success.
  rows = ['env_steps,cumulative_violations,success,complete']
  rows += [f'{20 * i},{2 * i},{i % 2},1' for i in range(1, 121)]
  files.write_text(
      os.path.join(directory, layout.CURVE), '\n'.join(rows) + '\n'
  )


def prior(root, rng):
  directory = layout.prior_dir(root, 'seen', 'safer')
  files.write_json(os.path.join(directory, layout.STAGE), STAGE)
  unsafe = np.arange(400) < 100
  np.savez(
      os.path.join(directory, layout.LIKELIHOODS),
      log_prob=rng.normal(size=400) - 4 * unsafe,
      abs_max_latent=rng.gamma(3, size=400) + 3 * unsafe, safe=~unsafe,
      unsafe=unsafe,
  )
  files.write_json(
      os.path.join(directory, layout.EXPORT_DIR, layout.ASSURANCE), {
          'provenance': STAGE, 'table': [{
              'mode': 'exact', 'max_unsafe_fraction': 0.15,
              'confidence': None, 'latent_bound': 1.5,
              'in_bound_unsafe_fraction': 0.14,
              'in_bound_unsafe_fraction_natural': 0.07,
              'safe_actions_in_bound': 0.6, 'n_episodes': 40,
          }],
      },
  )


def untrained_agent(root):
  directory = layout.agent_dir(
      root, 'seen', TASK, 'safer_prior_zero', 'default', 0
  )
  agent(root, 'safer_prior_zero', 0)
  for name in (layout.RESULT, layout.STAGE, layout.CURVE):
    os.remove(os.path.join(directory, name))
  path = os.path.join(directory, layout.EVALUATION)
  evaluation = files.read_json(path, 'it')
  files.write_json(path, {
      **evaluation, 'eval_provenance': {**STAGE, 'wall_seconds': 9.0},
  })


def confirmation(root):
  directory = layout.export_dir(root, 'seen', 'safer')
  files.write_json(os.path.join(directory, layout.CONFIRMATION), {
      'provenance': STAGE, 'table': [{
          'mode': 'certified', 'max_unsafe_fraction': 0.3,
          'latent_bound': 2.25, 'in_bound_unsafe_fraction': 0.1875,
          'safe_actions_in_bound': 0.5, 'p_value': 0.03125,
          'n_episodes': 4321,
      }],
  })


def prior_rollouts(root):
  files.write_json(layout.prior_rollouts_file(root, 'seen', 'safer'), {
      'provenance': STAGE,
      'rows': [
          {
              'protocol': 'seen', 'prior': 'safer', 'task': task, 'seed': 0,
              'git_revision': STAGE['git_revision'], 'machine': 'a machine',
              'latent_range': bound, 'episodes': 8, 'success_rate': 0.625,
              'unsafe_episodes': 3, 'steps': 90, 'violations': 4,
          } for task in envs.ALL[:2] for bound in (0.0, 1.0)
      ],
  })


def held_out_prior(root, rng):
  directory = layout.prior_dir(root, 'held_out', 'safer')
  files.write_json(os.path.join(directory, layout.STAGE), STAGE)
  for name, shift in (
      (layout.LIKELIHOODS, 9), (layout.LIKELIHOODS_NEW_TASKS, 0)
  ):
    unsafe = np.arange(400) < 100
    np.savez(
        os.path.join(directory, name),
        log_prob=rng.normal(size=400) - shift * unsafe,
        abs_max_latent=rng.gamma(3, size=400), safe=~unsafe, unsafe=unsafe,
    )


def swept_prior(root):
  directory = layout.prior_dir(root, 'seen', 'sweep_lambda_1')
  settings = {
      'num_steps': 40, 'unsafe_weight': 1.0, 'optimizer': 'sgd',
      'learning_rate': 0.25, 'seed': 0,
  }
  files.write_json(os.path.join(directory, layout.STAGE), {
      **STAGE, 'exported_step': 20, 'settings': {'train_prior': settings},
  })
  columns = (
      'objective', 'safe_log_prob', 'unsafe_log_prob',
      'unsafe_share_above_safe_median', 'auc', 'latent_auc', 'safe_kl',
  )
  files.write_text(os.path.join(directory, layout.HISTORY), '\n'.join([
      ','.join(('step', *columns, 'n_safe', 'n_unsafe')),
      '20,0.75,-2.5,-8.25,0.0625,0.9375,0.875,1.5,30,10',
      '40,0.5,-9,-9,0.9,0.1,0.1,9,30,10',
  ]) + '\n')


def make(tmp_path_factory):
  """A finished run with its report; its path."""
  root_dir = str(tmp_path_factory.mktemp('run'))
  for method in ('sac', 'safer'):
    for seed in (0, 1):
      agent(root_dir, method, seed)
  agent(root_dir, 'parrot', 0, evaluated=False)
  agent(root_dir, 'safer_no_context', 0)
  for target, bound in ((0.3, 2.5), (0.45, 3.5)):
    agent(root_dir, 'safer', 0, variant=f'tradeoff_{target}', bound=bound)
  agent(root_dir, 'parrot', 0, variant='tradeoff_0.3', bound=2.5)
  prior(root_dir, np.random.default_rng(0))
  swept_prior(root_dir)
  untrained_agent(root_dir)
  confirmation(root_dir)
  prior_rollouts(root_dir)
  held_out_prior(root_dir, np.random.default_rng(1))
  report.make_report(root_dir, films=False)
  return root_dir


def table(root_dir, name):
  return tables.read(layout.results_dir(root_dir), name)
