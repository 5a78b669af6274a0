"""What a cell is made of, whether it is the same, and what it refuses."""

from __future__ import annotations

import functools
import os

import gin
import numpy as np
import pytest

import envs
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.prior import export
from safer_tf.prior import skill_prior
from safer_tf.rl import policies
from tests.rl import fakes
from tests.rl import small_cell

pytestmark = pytest.mark.usefixtures('small_networks')


class _SilentEnv(fakes.ReachEnv):
  """As Gym's wrapper after a reset."""

  def get_info(self):
    return None


class _SilentLaterEnv(fakes.ReachEnv):
  """Whose labels are text after a step."""

  def get_info(self):
    labels = super().get_info()
    return {**labels, 'unsafe': 'False'} if self._steps else labels


class _DoubleEnv(fakes.ReachEnv):
  """Gives what NumPy computes, which is not what its spec says."""

  def _observe(self):
    return super()._observe().astype(np.float64)


class _NanEnv(fakes.ReachEnv):
  """At one step of each episode but the first of all, e.g. at a reset."""

  def __init__(self, at):
    super().__init__()
    self._at, self._episodes = at, 0

  def _observe(self):
    self._episodes += not self._steps
    observed = super()._observe()
    wrong = self._episodes > 2 and self._steps == self._at
    return observed * np.float32('nan') if wrong else observed


class _BadRewardEnv(fakes.ReachEnv):

  def _step(self, action):
    return super()._step(action)._replace(reward=np.float32('nan'))


@pytest.mark.parametrize('changes', [
    # SAC from pixels of its own; Prior-Explore on the prior's embedding.
    {'method': 'sac', 'action_space': 'raw', 'encoder': 'own', 'prior': None,
     'make_env': lambda name: fakes.ReachEnv(images=True)},
    {'method': 'prior_explore', 'action_space': 'raw',
     'prior_probability': 0.9, 'latent_bound': 'unbounded'},
])
def test_raw_action_methods(root, changes):
  directory = small_cell.train(root, **{'num_steps': 90, **changes})
  result = files.read_json(os.path.join(directory, layout.RESULT), 'it')
  assert result['latent_bound'] is None
  assert result['env_steps'] == 90
  assert result['action_space'] == 'raw'


def test_a_finished_agent_is_known_again(root, capsys):
  directory = small_cell.train(root, num_steps=90)
  path = os.path.join(directory, layout.SETTINGS)
  settings = files.read_json(path, 'its settings')
  # As earlier revisions wrote it, which had no such settings.
  for name in ('bound_protocol', 'violation_penalty'):
    assert settings.pop(name, 0) is None
  files.write_json(path, settings)
  assert small_cell.train(root, num_steps=90) == directory
  assert 'nothing to do' in capsys.readouterr().out
  with pytest.raises(errors.UserError, match='batch_size was .*, is now 9'):
    small_cell.train(root, num_steps=90, batch_size=9)


def test_a_damaged_result_is_mended_as_its_message_says(root):
  directory = small_cell.train(root, num_steps=40, initial_steps=30)
  path = os.path.join(directory, layout.RESULT)
  before = files.read_json(path, 'it')
  with open(path, 'r+b') as file:
    file.truncate(30)
  with pytest.raises(errors.UserError, match='once stage.json beside it is'):
    small_cell.train(root, num_steps=40, initial_steps=30)
  os.remove(os.path.join(directory, layout.STAGE))
  small_cell.train(root, num_steps=40, initial_steps=30)
  after = files.read_json(path, 'it')
  for result in (before, after):
    del result['wall_seconds'], result['git_revision']
  assert after == before


def test_damaged_policies_are_written_again(root):
  directory = small_cell.train(root, num_steps=40, initial_steps=30)
  where = os.path.join(directory, layout.POLICIES_DIR)
  with open(os.path.join(where, policies.GREEDY, 'saved_model.pb'), 'w'):
    pass
  stage = os.path.join(directory, layout.STAGE)
  with pytest.raises(errors.UserError, match=f'Delete {stage} and run'):
    policies.load(where)
  os.remove(stage)
  small_cell.train(root, num_steps=40, initial_steps=30)
  policies.load(where)


def test_a_damaged_list_of_checkpoints_does_not_lose_the_agent(root):
  directory = small_cell.train(root, num_steps=40, initial_steps=30)
  os.remove(os.path.join(directory, layout.STAGE))
  listed = os.path.join(directory, layout.CHECKPOINTS_DIR, 'checkpoint')
  before = open(listed, encoding='utf-8').read()
  files.write_text(listed, before[:9])
  for num_steps in (40, 50):
    with pytest.raises(errors.UserError, match='checkpoint names no'):
      small_cell.train(root, num_steps=num_steps, initial_steps=30)
  files.write_text(listed, before)
  small_cell.train(root, num_steps=40, initial_steps=30)


def test_one_process_at_a_time(root):
  directory = small_cell.train(root, num_steps=40, initial_steps=30)
  with files.locked(os.path.join(directory, layout.LOCK)):
    # Finished: nothing is written, whoever else is there.
    assert small_cell.train(root, num_steps=40, initial_steps=30) == directory
    os.remove(os.path.join(directory, layout.STAGE))
    with pytest.raises(errors.UserError, match='Another process is at work'):
      small_cell.train(root, num_steps=40, initial_steps=30)
  assert small_cell.train(root, num_steps=40, initial_steps=30) == directory
  assert os.path.exists(os.path.join(directory, layout.STAGE))


def test_a_bound_computed_again_is_the_same_bound(root, prior_dir, capsys):
  def assured(bound, finished):
    files.write_json(os.path.join(prior_dir, layout.ASSURANCE), {
        'table': [{
            'mode': 'exact', 'max_unsafe_fraction': 0.15,
            'latent_bound': bound,
        }],
        'provenance': {'finished': finished},
    })
    return small_cell.train(
        root, num_steps=40, initial_steps=30, latent_bound='assurance',
        variant='assured',
    )

  first = assured(0.8, 'yesterday')
  capsys.readouterr()
  assert assured(0.8, 'today') == first
  assert 'nothing to do' in capsys.readouterr().out
  with pytest.raises(errors.UserError, match='computed_bound was 0.8.*0.7'):
    assured(0.7, 'today')
  os.remove(os.path.join(prior_dir, layout.ASSURANCE))


def test_trains_in_the_simulator_from_pixels(tmp_path):
  prior = skill_prior.SkillPrior((48, 48, 3), 6, window=2)
  export.export_prior(
      prior, layout.export_dir(str(tmp_path), 'seen', 'safer'), 'safer',
      'uint8', {},
  )
  directory = small_cell.train(
      str(tmp_path), envs.load_task, task=envs.ALL[0], encoder='own',
      num_steps=40, initial_steps=30, batch_size=4,
  )
  result = files.read_json(os.path.join(directory, layout.RESULT), 'it')
  assert result['env_steps'] == 40
  assert 0 <= result['violations'] <= 40


def test_learns_a_trivial_task(root):
  """Raw actions, seconds: success rises from chance to nearly always."""
  gin.parse_config("""
      make_agent.hidden_units = (64, 64)
      make_agent.actor_learning_rate = 1e-3
      make_agent.critic_learning_rate = 1e-3
      make_agent.target_entropy_per_dimension = -0.5
      make_agent.gamma = 0.9
      make_agent.target_update_tau = 0.02
  """)
  directory = small_cell.train(
      root, action_space='raw', encoder='own', prior=None, num_steps=2000,
      initial_steps=300, batch_size=64, checkpoint_steps=2000,
  )
  rows = small_cell.curve(directory)
  complete = [row for row in rows if row['complete'] == '1']
  success = np.array([int(row['success']) for row in complete])
  assert success[:20].mean() < 0.8
  assert success[-40:].mean() > 0.9


@pytest.mark.parametrize('changes, message', [
    ({'latent_bound': 0.0}, 'admits no action'),
    ({'latent_bound': 'assurance'}, 'compute_assurance'),
    ({'prior': 'parrot'}, 'prior_spec.json'),
    ({'prior': None}, 'prior is not set'),
    ({'action_space': 'letent'}, 'action_space'),
    ({'encoder': 'pixels'}, 'encoder'),
    ({'batch_size': 0}, 'batch_size is 0'),
    ({'initial_steps': -4}, 'initial_steps is -4'),
    ({'violation_penalty': -1.0}, 'violation_penalty is -1.0'),
    ({'violation_penalty': 0.0}, 'violation_penalty is 0.0'),
    ({'violation_penalty': float('nan')}, 'violation_penalty is nan'),
    ({'latent_bound': 'unbounded'}, 'is for Prior-Explore'),
    ({'variant': '../../x'}, r"variant is '\.\./\.\./x'"),
    ({'task': ''}, "task is ''"),
    ({'num_steps': '9'}, "num_steps is '9'"),
    ({'prior_probability': 0.9}, 'prior_probability'),
    ({'make_env': lambda name: fakes.ReachEnv(images=True)}, 'observations'),
    ({'make_env': functools.partial(fakes.ReachEnv)}, 'no name by which'),
    ({'make_env': lambda name: _SilentEnv()}, 'unsafe.*data.md'),
    ({'make_env': lambda name: _DoubleEnv()}, 'float64, by its spec of'),
    ({'make_env': lambda name: _BadRewardEnv()}, 'reward of .* is nan'),
    ({'make_env': lambda name: _NanEnv(0)}, 'observation before .* a NaN'),
    ({'make_env': lambda name: _NanEnv(1)}, 'observation after .* holds a NaN'),
    ({'make_env': lambda name: _SilentLaterEnv()}, "gives unsafe = 'False'"),
])
def test_refuses_bad_config_and_leaves_no_result(root, changes, message):
  with pytest.raises(errors.UserError, match=message):
    small_cell.train(root, **changes)
  assert not small_cell.results(root)


@pytest.mark.parametrize('binding, message', [
    ('hidden_units = ()', r'hidden_units is \(\); expected whole'),
    ('hidden_units = (0,)', r'hidden_units is \(0,\); expected whole'),
    ('gamma = 1.5', 'gamma is 1.5.* at most 1'),
    ('initial_alpha = 0.0', 'initial_alpha is 0.0.*above 0'),
    ('target_entropy_per_dimension = 0.7', 'dimension is 0.7.*less than log 2'),
    ('critic_learning_rate = -1e-3', 'critic_learning_rate is -0.001'),
])
def test_what_no_agent_can_have_is_told(root, binding, message):
  with gin.unlock_config():
    gin.parse_config(f'make_agent.{binding}')
  with pytest.raises(errors.UserError, match=message):
    small_cell.train(root)


def test_refuses_a_prior_of_another_method(root, prior_dir):
  path = layout.export_dir(root, 'seen', 'parrot')
  os.makedirs(os.path.dirname(path))
  os.symlink(prior_dir, path)
  with pytest.raises(errors.UserError, match='method safer, expected parrot'):
    small_cell.train(root, prior='parrot')
