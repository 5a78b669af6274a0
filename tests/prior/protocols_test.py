from __future__ import annotations

import os

import gin
import numpy as np
import pytest

import envs
from safer_tf.common import errors
from safer_tf.common import layout
from safer_tf.data import store as store_lib
from safer_tf.prior import encoders
from safer_tf.prior import export
from safer_tf.prior import protocols
from safer_tf.prior import training
from tests.prior import synthetic

pytestmark = pytest.mark.usefixtures('small')


def test_new_tasks_without_a_test_episode_are_told_before_training(
    root, monkeypatch
):
  split = store_lib.EpisodeStore.split

  def without(store, name):
    if set(store.index.task[store._chosen]) == {'two'} and name == 'test':
      raise errors.UserError('no such episode')
    return split(store, name)

  monkeypatch.setattr(store_lib.EpisodeStore, 'split', without)
  monkeypatch.setattr(protocols, 'new_tasks', lambda protocol: ['two'])
  with pytest.raises(errors.UserError, match='no such episode'):
    training.train_prior(root)
  assert not os.path.exists(layout.prior_dir(root, 'seen', 'safer'))


def test_held_out_leaves_out_the_evaluation_tasks(tmp_path):
  # What is never read cannot spoil the loss, nor the choice of the best. (As it
  # is: standardised, the broken ones would be as small as the others.)
  gin.bind_parameter('SkillPrior.make_encoder', encoders.no_encoder)
  synthetic.write(
      str(tmp_path), tasks=envs.ALL, per_task=10, steps=4,
      broken=envs.EVALUATION,
  )
  seen = protocols.training_store(
      layout.data_dir(str(tmp_path)), protocols.HELD_OUT
  )
  tasks = set(seen.index.task[seen.split('all')])
  assert tasks == set(envs.ALL) - set(envs.EVALUATION)
  assert len(tasks) == 34
  gin.bind_parameter('train_prior.protocol', protocols.HELD_OUT)
  path = training.train_prior(str(tmp_path))
  assert export.load_prior(path).spec.provenance['protocol'] == 'held_out'
  store = store_lib.EpisodeStore(layout.data_dir(str(tmp_path)))
  with np.load(os.path.join(
      os.path.dirname(path), layout.LIKELIHOODS_NEW_TASKS
  )) as found:
    # It was measured on the new tasks, and on nothing else.
    tasks = set(store.index.task[found['episode']])
    assert tasks and tasks <= set(envs.EVALUATION)
    numbers = found['episode']
  gin.bind_parameter('train_prior.prior', 'refit')
  gin.bind_parameter('train_prior.features_of', 'safer')
  refit = training.train_prior(str(tmp_path))
  with np.load(os.path.join(
      os.path.dirname(refit), layout.LIKELIHOODS_NEW_TASKS
  )) as found:
    np.testing.assert_array_equal(found['episode'], numbers)
  gin.bind_parameter('train_prior.prior', 'safer')
  gin.bind_parameter('train_prior.features_of', None)
  gin.bind_parameter('train_prior.protocol', protocols.SEEN)
  with pytest.raises(errors.UserError, match='diverged'):
    gin.bind_parameter('train_prior.num_steps', 50)
    training.train_prior(str(tmp_path))


def test_held_out_of_ones_own_tasks(root):
  gin.bind_parameter('train_prior.protocol', protocols.HELD_OUT)
  with pytest.raises(errors.UserError, match='are of one, two. Name those'):
    training.train_prior(root)
  gin.bind_parameter('held_out_tasks.names', ())
  with pytest.raises(errors.UserError, match='names is empty'):
    training.train_prior(root)
  gin.bind_parameter('held_out_tasks.names', ('tow', 'one'))
  with pytest.raises(errors.UserError, match='leaves out tow, of which'):
    training.train_prior(root)
  gin.bind_parameter('held_out_tasks.names', ('one', 'two'))
  with pytest.raises(errors.UserError, match='no episodes of tasks other'):
    training.train_prior(root)
  gin.bind_parameter('held_out_tasks.names', ('two',))
  path = training.train_prior(root)
  store = store_lib.EpisodeStore(layout.data_dir(root))
  for name, task in (
      (layout.LIKELIHOODS, 'one'), (layout.LIKELIHOODS_NEW_TASKS, 'two'),
  ):
    with np.load(os.path.join(os.path.dirname(path), name)) as found:
      assert set(store.index.task[found['episode']]) == {task}
  gin.bind_parameter('held_out_tasks.names', ('one',))
  gin.bind_parameter('train_prior.prior', 'refit')
  gin.bind_parameter('train_prior.features_of', 'safer')
  with pytest.raises(errors.UserError, match='trained without two, and'):
    training.train_prior(root)
  gin.bind_parameter('train_prior.prior', 'safer')
  gin.bind_parameter('train_prior.features_of', None)
  with pytest.raises(
      errors.UserError, match=r"held_out_tasks was \['two'\], is now \['one'\]"
  ):
    training.train_prior(root)
