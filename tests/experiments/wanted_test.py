"""Whether what is recorded and what is here share their priors."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.experiments import cells
from safer_tf.experiments import reproduce
from safer_tf.experiments import wanted


def _recorded_and_wanted(tmp_path):
  """A recorded agent, its prior's cell, and an agent that is still to run."""
  directory = layout.export_dir(str(tmp_path), 'seen', 'safer')
  prior = cells.Cell('prior/seen/safer', 'none', (), str(tmp_path / 'stage'))
  agents = [
      cells.Cell(
          f'agent/{name}', 'none', (), str(tmp_path / name), (prior.name,),
          recorded=name == 'old',
      ) for name in ('old', 'new')
  ]
  return directory, prior, agents


def _give_prior(directory, prior, text):
  files.write_text(os.path.join(directory, layout.PRIOR_SPEC), text)
  files.write_text(prior.finished_file, '')
  return files.sha256(os.path.join(directory, layout.PRIOR_SPEC))


def test_recorded_agents_need_their_own_prior_beside_new_ones(tmp_path):
  directory, prior, (old, new) = _recorded_and_wanted(tmp_path)
  # None is there, and training one anew would mix two priors in a table.
  with pytest.raises(errors.UserError, match='would hold'):
    wanted.check_recorded([prior, old, new], str(tmp_path), {old.name: 'a'})
  # Nothing is to run: none is needed, though its bound is not there either.
  assurance = cells.Cell(
      'assurance/seen/safer', 'none', (), str(tmp_path / 'x'), (prior.name,)
  )
  bounded = dataclasses.replace(old, needs=(prior.name, assurance.name))
  wanted.check_recorded(
      [prior, assurance, bounded], str(tmp_path), {old.name: 'a'}
  )
  found = _give_prior(directory, prior, 'card')
  wanted.check_recorded([prior, old, new], str(tmp_path), {old.name: found})
  with pytest.raises(errors.UserError, match='another prior'):
    wanted.check_recorded([prior, old, new], str(tmp_path), {old.name: 'a'})


def test_what_is_here_is_compared_though_it_is_recorded(tmp_path):
  path = tmp_path / 'evaluation.json'
  path.write_text(json.dumps({
      'method': 'safer', 'variant': 'default', 'env_steps': 50_000,
      'eval_episodes': 5, 'assurance_mode': 'exact', 'latent_bound': 0.5,
      'max_unsafe_fraction': 0.15, 'prior': None, 'protocol': 'seen',
  }))
  cell = cells.Cell('evaluate/a', 'none', (), str(path), recorded=True)
  with pytest.raises(errors.UserError, match='evaluated for 5 episodes'):
    wanted.check([cell], reproduce._config(), [], [])
