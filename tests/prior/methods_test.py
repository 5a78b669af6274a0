"""The shipped gin files: their values, and that each method's prior trains."""

from __future__ import annotations

import os
import subprocess
import sys

import gin
import numpy as np
import pytest

from safer_tf.common import config
from safer_tf.common import layout
from safer_tf.prior import export
from safer_tf.prior import training
from tests.prior import synthetic

_PARROT = {
    'train_prior.unsafe_runs': 0, 'train_prior.unsafe_weight': 0.0,
    'train_prior.window': 1, 'SkillPrior.uses_context': False,
}
_CONTEXT_PARROT = {
    'train_prior.unsafe_runs': 0, 'train_prior.unsafe_weight': 0.0,
}
# Method: the prior it uses, and how that prior differs from SAFER's.
_METHODS = {
    'safer': ('safer', {}),
    'sac': ('safer', {}),
    'prior_explore': ('safer', {}),
    'safer_unbounded': ('safer', {}),
    'safer_lambda': ('safer_lambda', {'train_prior.unsafe_weight': 0.25}),
    'safer_second': ('safer_second', {}),
    'parrot_second': ('parrot_second', _PARROT),
    'parrot': ('parrot', _PARROT),
    'context_parrot': ('context_parrot', _CONTEXT_PARROT),
    'safer_no_context': ('safer_no_context', {
        'train_prior.window': 1, 'SkillPrior.uses_context': False,
    }),
    'safer_deterministic': ('safer_deterministic', {
        'train_prior.sample_context': False, 'train_prior.kl_weight': 0.0,
    }),
    'parrot_unsafe': ('parrot_unsafe', {
        **_PARROT, 'train_prior.positives': 'success_any',
    }),
}
# The same priors, their flows trained anew.
_METHODS |= {
    f'{name}_refit': (f'{name}_refit', {
        **_METHODS[name][1], 'train_prior.features_of': name,
        'train_prior.anchor_weight': 1.0,
    }) for name in (
        'safer', 'safer_second', 'parrot', 'parrot_second', 'context_parrot'
    )
}

_SAFER = {
    'train_prior.protocol': 'seen',
    'train_prior.positives': 'safe_success',
    'train_prior.safe_runs': 20,
    'train_prior.unsafe_runs': 20,
    'train_prior.run_length': 24,
    'train_prior.window': 16,
    'train_prior.optimizer': 'adam',
    'train_prior.learning_rate': 2e-3,
    'train_prior.unsafe_weight': 0.5,
    'train_prior.kl_weight': 0.01,
    'train_prior.sample_context': True,
    'SkillPrior.uses_context': True,
    'SkillPrior.context_dim': 8,
    'image_encoder.filters': (16, 32, 64),
    'image_encoder.embedding_dim': 128,
    'TransformerPosterior.width': 64,
    'ConditionalRealNVP.num_couplings': 4,
    'ConditionalRealNVP.hidden': (128, 128),
    'ConditionalRealNVP.action_limit': 1.01,
}

_SMALL = (
    'train_prior.num_steps = 2', 'train_prior.safe_runs = 2',
    'train_prior.run_length = 3', 'image_encoder.filters = (4,)',
    'ConditionalRealNVP.num_couplings = 2', 'ConditionalRealNVP.hidden = (8,)',
)


@pytest.fixture(autouse=True)
def clean():
  yield
  gin.clear_config()


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  root = str(tmp_path_factory.mktemp('data'))
  synthetic.write(root, synthetic.IMAGE)
  return layout.data_dir(root)


def test_every_method_is_tested():
  shipped = [
      os.path.basename(name)[:-len('.gin')] for name in config.shipped()
      if os.path.dirname(name) == 'methods'
  ]
  assert sorted(shipped) == sorted(_METHODS)


@pytest.mark.parametrize('method', _METHODS)
def test_shipped_values(method):
  config.parse([f'methods/{method}.gin'], [])
  prior, changes = _METHODS[method]
  assert gin.query_parameter('%METHOD') == method
  assert gin.query_parameter('%PRIOR') == prior
  for name, expected in {**_SAFER, **changes}.items():
    assert gin.query_parameter(name) == expected, name


@pytest.mark.parametrize(
    'method', [m for m, (prior, _) in _METHODS.items() if m == prior]
)
def test_each_methods_prior_trains(method, data, tmp_path):
  os.symlink(data, tmp_path / layout.DATA_DIR)
  if method.endswith('_refit'):
    config.parse([f'methods/{method.removesuffix("_refit")}.gin'], _SMALL)
    training.train_prior(str(tmp_path))
  config.parse([f'methods/{method}.gin'], _SMALL)
  path = training.train_prior(str(tmp_path))
  loaded = export.load_prior(path, prior=method)
  assert loaded.spec.uses_context == gin.query_parameter(
      'SkillPrior.uses_context'
  )
  observation = np.zeros([1, *synthetic.IMAGE.observation_shape], np.uint8)
  embedding = loaded.embed(observation)
  for name in ('decode', 'encode'):
    value = getattr(loaded, name)(
        np.zeros([1, synthetic.ACTION_SIZE], 'f'), embedding,
        np.zeros([1, loaded.spec.context_dim], 'f'),
    )
    assert np.isfinite(value).all()


def test_the_binary_ends_in_one_line_without_data(tmp_path):
  root = os.path.dirname(config.config_dir())
  done = subprocess.run(
      [
          sys.executable, os.path.join(root, 'bin', 'train_prior.py'),
          f'--root_dir={tmp_path}', '--gin_file=methods/safer.gin',
          '--gin_bindings=train_prior.num_steps = 1',
      ],
      capture_output=True, text=True, cwd=root, check=False,
  )
  assert done.returncode == 2
  told = [line for line in done.stderr.splitlines() if 'error:' in line]
  assert len(told) == 1 and 'collect_data' in told[0]
  assert 'Traceback' not in done.stderr
