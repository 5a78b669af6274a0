from __future__ import annotations

import os
import shutil

import gin
import pytest

from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.prior import training

pytestmark = pytest.mark.usefixtures('small')


def test_a_finished_prior_is_left_alone(root, monkeypatch, capsys):
  path = training.train_prior(root)
  monkeypatch.setattr(training, '_Run', None)
  assert training.train_prior(root) == path
  assert 'finished' in capsys.readouterr().out
  gin.bind_parameter('train_prior.unsafe_weight', 0.5)
  with pytest.raises(errors.UserError, match='_weight was 0.1, is now 0.5'):
    training.train_prior(root)
  gin.bind_parameter('train_prior.unsafe_weight', 0.1)
  gin.bind_parameter('ConditionalRealNVP.log_scale_bound', 0.5)
  with pytest.raises(errors.UserError, match='log_scale_bound'):
    training.train_prior(root)


def test_how_often_it_is_written_down_makes_no_other_prior(root, capsys):
  training.train_prior(root)
  gin.bind_parameter('train_prior.checkpoint_interval', 1)
  gin.bind_parameter('train_prior.summary_interval', 1)
  training.train_prior(root)
  assert 'nothing to do' in capsys.readouterr().out
  gin.bind_parameter('train_prior.validation_interval', 1)  # Of `best`.
  with pytest.raises(errors.UserError) as error:
    training.train_prior(root)
  assert 'validation_interval was 2, is now 1' in str(error.value)
  assert 'checkpoint' not in str(error.value)


def test_a_record_from_before_features_is_known_again(root, capsys):
  training.train_prior(root)
  path = os.path.join(layout.prior_dir(root, 'seen', 'safer'), layout.SETTINGS)
  record = files.read_json(path, 'settings')
  del record['features']
  for name in ('features_of', 'anchor_weight', 'held_out_tasks'):
    del record['train_prior'][name]
  files.write_json(path, record)
  training.train_prior(root)
  assert 'nothing to do' in capsys.readouterr().out


@pytest.mark.parametrize('name, value, message', [
    ('optimizer', 'lion', 'adam, sgd'),
    ('export_which', 'first', 'best or last'),
    ('protocol', 'unseen', 'seen or held_out'),
    ('positives', 'good', 'safe_success'),
    ('positives', 'unsafe', 'safe_success or success_any'),
    ('num_steps', 0, 'num_steps is 0'),
    ('num_steps', '9', "num_steps is '9'"),
    ('unsafe_runs', 0, 'no meaning'),
    ('unsafe_runs', -1, 'unsafe_runs is -1'),
    ('unsafe_weight', 0.0, 'no meaning'),
    ('kl_weight', -1.0, 'kl_weight is -1.0'),
    ('momentum', 1.0, 'momentum is 1.0'),
    ('anchor_weight', -1.0, 'anchor_weight is -1.0'),
    ('anchor_weight', float('nan'), 'anchor_weight is nan'),
    ('unsafe_weight', float('inf'), 'unsafe_weight is inf.*finite'),
])
def test_a_wrong_value_is_told(root, name, value, message):
  gin.bind_parameter(f'train_prior.{name}', value)
  with pytest.raises(errors.UserError, match=message):
    training.train_prior(root)


@pytest.mark.parametrize('name, value, message', [
    ('TransformerPosterior.width', 30, 'multiple of num_heads'),
    ('TransformerPosterior.min_stddev', 1.0, 'between 0 and 1'),
    ('TransformerPosterior.num_heads', 0, 'num_heads is 0'),
    ('SkillPrior.context_dim', -2, 'context_dim is -2'),
    ('vector_encoder.embedding_dim', 0, 'embedding_dim is 0'),
    ('ConditionalRealNVP.num_couplings', 0, 'num_couplings is 0'),
    ('ConditionalRealNVP.hidden', (), r'hidden is \(\); expected whole'),
    ('ConditionalRealNVP.hidden', (8, 0), 'expected whole numbers from 1 on'),
    ('ConditionalRealNVP.log_scale_bound', 0.0, 'a bound above 0'),
    ('ConditionalRealNVP.action_limit', 0.9, 'at least 1'),
])
def test_a_wrong_value_of_the_model_is_told(root, name, value, message):
  gin.bind_parameter(name, value)
  with pytest.raises(errors.UserError, match=message):
    training.train_prior(root)


def test_what_trained_nothing_makes_way_for_other_settings(root, monkeypatch):
  gin.bind_parameter('train_prior.kl_weight', 0.5)
  with monkeypatch.context() as patch:
    patch.setattr(training._Run, 'train', lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      training.train_prior(root)
  gin.bind_parameter('train_prior.kl_weight', 0.25)
  assert training.train_prior(root)


def test_a_copied_prior_is_known_again(root, capsys):
  path = training.train_prior(root)
  directory = layout.prior_dir(root, 'seen', 'safer')
  # What is shipped of one.
  for name in os.listdir(directory):
    if name not in (layout.EXPORT_DIR, layout.HISTORY, layout.STAGE):
      part = os.path.join(directory, name)
      (shutil.rmtree if os.path.isdir(part) else os.remove)(part)
  before = os.stat(os.path.join(path, layout.PRIOR_SPEC)).st_mtime_ns
  assert training.train_prior(root) == path
  assert 'nothing to do' in capsys.readouterr().out
  gin.bind_parameter('train_prior.unsafe_weight', 0.3)
  with pytest.raises(errors.UserError, match='was 0.1, is now 0.3'):
    training.train_prior(root)
  assert os.stat(os.path.join(path, layout.PRIOR_SPEC)).st_mtime_ns == before
