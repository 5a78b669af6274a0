"""Evaluation and calibration of a real, small prior and agent."""

from __future__ import annotations

import os
import re
import shutil

import numpy as np
import pytest
from tf_agents.environments import tf_py_environment

import envs
from envs import errors as env_errors
from safer_tf.common import errors
from safer_tf.common import files
from safer_tf.common import layout
from safer_tf.evaluation import calibrate
from safer_tf.evaluation import evaluate
from safer_tf.evaluation import prior_rollouts
from safer_tf.evaluation import rollouts
from safer_tf.rl import latent_env
from safer_tf.rl import trained as trained_agents
from tests import docs_test
from tests.evaluation import small_run

_TASK = small_run.TASK
_record = small_run.record


@pytest.fixture(scope='module')
def trained(root):
  return evaluate.evaluate(
      root, 0, task=_TASK, method='safer', num_episodes=3
  )


def test_a_trained_cells_result_is_joined_with_its_evaluation(root, trained):
  directory = layout.agent_dir(root, 'seen', _TASK, 'safer', 'default', 0)
  result = files.read_json(os.path.join(directory, layout.RESULT), 'result')
  saved = files.read_json(os.path.join(directory, layout.EVALUATION), 'it')
  assert saved == trained
  for key, value in result.items():
    assert saved[key] == value, key
  assert saved['latent_bound'] == 1.0
  assert saved['eval_episodes'] == len(saved['episodes']) == 3
  assert saved['eval_steps'] == sum(e['length'] for e in saved['episodes'])
  assert saved['eval_violations'] == sum(
      e['violations'] for e in saved['episodes']
  )


def test_an_evaluation_repeats_itself(root, trained):
  again = evaluate.evaluate(
      root, 0, task=_TASK, method='safer', num_episodes=2
  )
  assert again['episodes'] == trained['episodes'][:2]


def test_methods_without_learning_need_no_agent(root, capsys):
  zero = evaluate.evaluate(
      root, 3, task=_TASK, method='safer_prior_zero', num_episodes=1
  )
  assert 'of 1 episodes 0.0% succeed' in capsys.readouterr().out
  assert zero['latent_bound'] == 1.0 and zero['env_steps'] == 0
  assert 'violations' not in zero  # There was no training to commit any in.
  path = layout.agent_dir(
      root, 'seen', _TASK, 'safer_prior_zero', 'default', 3
  )
  assert os.listdir(path) == [layout.EVALUATION]
  prior = layout.export_dir(root, 'seen', 'safer')
  assert zero['eval_provenance']['inputs'] == {
      'prior_spec': files.sha256(os.path.join(prior, layout.PRIOR_SPEC)),
      'assurance': files.sha256(os.path.join(prior, layout.ASSURANCE)),
  }
  own = {'seed': 3, 'task': _TASK, 'num_episodes': 1}
  for given, same in (
      ({'method': 'safer_refit_prior_zero', 'prior': 'safer'}, True),
      ({'method': 'safer_prior_random'}, False),
  ):
    other = evaluate.evaluate(root, **own, **given)
    assert (other['replays'] == zero['replays']) == same
  with pytest.raises(errors.UserError, match='priors/seen/safer_refit'):
    evaluate.evaluate(root, **own, method='safer_refit_prior_zero')


def test_a_prior_is_rolled_out_without_an_agent(root):
  found = prior_rollouts.roll_out_prior(
      root, 0, prior='safer', tasks=envs.ALL[:2], num_episodes=2
  )
  path = layout.prior_rollouts_file(root, 'seen', 'safer')
  assert files.read_json(path, 'it') == found
  again = prior_rollouts.roll_out_prior(
      root, 0, prior='safer', tasks=envs.ALL[1:2], num_episodes=2
  )
  assert again['rows'] == found['rows'][2:]
  card = os.path.join(
      layout.export_dir(root, 'seen', 'safer'), layout.PRIOR_SPEC
  )
  assert found['provenance']['inputs'] == {
      layout.PRIOR_SPEC: files.sha256(card)
  }


def test_rows_of_a_prior_alone_by_hand(root, monkeypatch, capsys):
  given = []

  def roll_out(env, recorder, policy, seeds):
    del env, recorder
    latents = np.array([policy(None) for _ in range(20)])
    given.append((np.abs(latents).max(), tuple(seeds)))
    for seed, unsafe in zip(seeds, ([0, 1, 1], [0, 0], [1])):
      yield rollouts.EpisodeRecord(
          seed, unsafe[-1] == 0, 0.0, np.zeros([len(unsafe), 6]),
          np.array(unsafe, bool),
      )

  monkeypatch.setattr(rollouts, 'roll_out', roll_out)
  found = prior_rollouts.roll_out_prior(
      root, 7, prior='safer', ranges=(0.0, 0.5), num_episodes=3
  )
  tasks = [name for name in envs.ALL if name not in envs.EVALUATION]
  assert [(row['task'], row['latent_range']) for row in found['rows']] == [
      (task, bound) for task in tasks for bound in (0.0, 0.5)
  ]
  for row in found['rows']:
    assert row['success_rate'] == pytest.approx(1 / 3)
    assert (row['unsafe_episodes'], row['episodes']) == (2, 3)
    assert (row['violations'], row['steps']) == (3, 6)
  told = capsys.readouterr().out
  for where in ('z = 0', 'random |z| < 0.5'):
    assert (
        f'{where}: of {3 * len(tasks)} episodes 33.3% succeed and 66.7% have'
    ) in told
    assert (row['protocol'], row['prior'], row['seed']) == ('seen', 'safer', 7)
  # Every task and range sees the same episodes.
  assert len({seeds for _, seeds in given}) == 1
  assert all(largest == 0 for largest, _ in given[::2])
  assert all(0.3 < largest < 0.5 for largest, _ in given[1::2])


@pytest.mark.parametrize('change', [
    {'num_episodes': 0}, {'ranges': ()}, {'ranges': (-0.1,)}, {'tasks': ()},
    {'make_env': lambda name: None}, {'tasks': ('extract_00', 'pour')},
])
def test_a_rollout_that_cannot_be_meant_is_told(root, change):
  with pytest.raises(errors.UserError, match='^roll_out_prior.'):
    prior_rollouts.roll_out_prior(root, 0, prior='safer', **change)


def test_an_environment_of_ones_own_is_rolled_out(root):
  opened = []

  def make_env(name):
    opened.append(name)
    return envs.load_task(_TASK)

  own = {'task': 'pour', 'make_env': make_env}
  evaluate.evaluate(
      root, 3, method='safer_prior_zero', num_episodes=1, **own
  )
  calibrate.calibrate(root, 0, num_steps=1, max_episode_steps=30, **own)
  assert opened == ['pour', 'pour']


def test_an_untrained_cell_is_an_error(root):
  with pytest.raises(errors.UserError, match='train_agent'):
    evaluate.evaluate(root, 5, task=_TASK, method='safer', num_episodes=1)
  with pytest.raises(errors.UserError, match='num_episodes'):
    evaluate.evaluate(root, 0, task=_TASK, method='safer', num_episodes=0)
  with pytest.raises(env_errors.EnvError, match='nearest: .*extract_08'):
    evaluate.evaluate(root, 0, task='extrct_08', method='safer')


def test_an_agent_of_another_prior_is_refused(root, trained, tmp_path):
  assert trained['eval_episodes']
  other = str(tmp_path / 'run')
  shutil.copytree(root, other)
  spec = os.path.join(
      layout.export_dir(other, 'seen', 'safer'), layout.PRIOR_SPEC
  )
  files.write_json(spec, {**files.read_json(spec, 'it'), 'seed': 'another'})
  with pytest.raises(errors.UserError, match='trained with another prior'):
    evaluate.evaluate(other, 0, task=_TASK, method='safer', num_episodes=1)


def test_a_trained_agent_acts_elsewhere_as_it_was_evaluated(
    root, trained, tmp_path, capsys
):
  directory = layout.agent_dir(root, 'seen', _TASK, 'safer', 'default', 0)
  path = layout.export_dir(root, 'seen', 'safer')
  mine = rollouts.Recorder(envs.load_task(_TASK), _TASK)
  env, policy = trained_agents.load_agent(directory, mine, path)
  batched = tf_py_environment.TFPyEnvironment(env)
  first = trained['episodes'][0]
  mine.seed(first['seed'])
  time_step = batched.reset()
  while not time_step.is_last()[0]:
    time_step = batched.step(policy.action(time_step, ()).action)
  assert mine.record(first['seed']).to_json() == first
  with pytest.raises(errors.UserError, match="exported prior 'safer'"):
    trained_agents.load_agent(directory, mine, None)
  other = str(tmp_path / 'other')
  shutil.copytree(path, other)
  card = os.path.join(other, layout.PRIOR_SPEC)
  files.write_json(card, {**files.read_json(card, 'it'), 'seed': 'another'})
  copied = str(tmp_path / 'agent')
  shutil.copytree(directory, copied)
  with pytest.raises(errors.UserError, match='trained with another prior'):
    trained_agents.load_agent(copied, mine, other)
  os.remove(os.path.join(copied, layout.STAGE))
  trained_agents.load_agent(copied, mine, other)
  assert 'is not checked' in capsys.readouterr().out
  with pytest.raises(errors.UserError, match='train_agent'):
    trained_agents.load_agent(root, mine, path)


def test_the_summary_counts_steps_and_episodes_apart():
  found = evaluate.summary([
      _record(True, [0, 0]), _record(False, [1, 1, 0]), _record(True, [0]),
  ])
  assert found['eval_success_rate'] == pytest.approx(2 / 3)
  assert (found['eval_steps'], found['eval_violations']) == (6, 2)
  assert found['eval_unsafe_episodes'] == 1
  assert 0.8 < found['eval_unsafe_episode_upper'] < 0.9


def test_replays_are_the_first_of_their_kind_and_exact():
  found = evaluate.replays([
      _record(False, [0, 0], seed=1), _record(True, [0, 1], seed=2),
      _record(True, [0, 0], seed=3), _record(True, [0, 0], seed=4),
  ])
  assert found['safe']['seed'] == 3 and found['unsafe']['seed'] == 2
  assert evaluate.replays([_record(False, [0], seed=1)])['safe']['seed'] == 1
  assert 'safe' not in evaluate.replays([_record(True, [1])])
  np.testing.assert_array_equal(
      np.array(found['safe']['actions'], np.float32),
      np.full((2, 6), 0.1, np.float32),
  )


def test_calibration_has_a_row_for_each_bound_that_admits(root):
  result = calibrate.calibrate(
      root, 0, task=_TASK, num_steps=35, max_episode_steps=30
  )
  rows = {
      (row['mode'], row['max_unsafe_fraction']): row for row in result['rows']
  }
  assert set(rows) == {('exact', 0.0), ('exact', 0.15), ('paper', 0.15)}
  for row in result['rows']:
    assert row['steps'] >= 35 and row['episodes'] >= 2
    assert 0 <= row['unsafe_fraction'] < row['unsafe_fraction_upper'] <= 1
  # The same bound is rolled out once, and counts for both.
  one, other = rows['exact', 0.0], rows['paper', 0.15]
  assert one['unsafe_fraction'] == other['unsafe_fraction']
  assert result['provenance']['wall_seconds'] > 0
  assert os.path.exists(
      layout.calibration_file(root, 'seen', 'safer', _TASK)
  )


def test_the_lines_of_the_readme_for_a_trained_agent_run(
    root, tmp_path, monkeypatch
):
  lines = docs_test.snippet('README.md', 'load_agent')
  agent, prior = re.findall("'((?:runs|priors)/.*?)'", lines)
  monkeypatch.chdir(tmp_path)
  shutil.copytree(
      layout.agent_dir(root, 'seen', _TASK, 'safer', 'default', 0), agent
  )
  shutil.copytree(layout.export_dir(root, 'seen', 'safer'), prior)
  mine = envs.load_task(_TASK)
  names = {'my_env': mine}
  exec(lines, names)
  assert names['time_step'].is_last() and mine.current_time_step().is_last()


def test_a_prior_acts_in_the_box_that_it_is_told(
    root, tmp_path, monkeypatch
):
  other, given = str(tmp_path / 'run'), []
  seen, held_out = (
      layout.export_dir(other, each, 'safer') for each in ('seen', 'held_out')
  )
  for target in (seen, held_out):
    shutil.copytree(layout.export_dir(root, 'seen', 'safer'), target)
  files.write_json(os.path.join(held_out, layout.ASSURANCE), {
      'table': [{**row, 'latent_bound': 0.7} for row in small_run.TABLE]
  })
  draw = rollouts.random_latents
  monkeypatch.setattr(
      rollouts, 'random_latents',
      lambda *each: given.append(each) or draw(*each),
  )
  monkeypatch.setattr(latent_env.LatentActionEnvironment, 'clip_rate', 0.25)
  for bound_protocol, bound in (('seen', 0.5), (None, 0.7)):
    found = evaluate.evaluate(
        other, 4, task=_TASK, method='safer_prior_random', num_episodes=1,
        protocol='held_out', bound_protocol=bound_protocol,
        assurance_mode='paper',
    )
    assert found['latent_bound'] == bound and given[-1] == (6, bound, 4)
    assert found['eval_provenance']['inputs']['assurance'] == files.sha256(
        os.path.join(held_out if bound == 0.7 else seen, layout.ASSURANCE)
    )
    assert found['episodes'][0]['seed'] == rollouts.episode_seeds(4, 1, 1)[0]
    assert found['eval_clip_rate'] == 0.25


def test_the_return_is_a_mean_over_episodes():
  found = evaluate.summary([_record(True, [0]), _record(True, [0, 0])])
  assert found['eval_return'] == -3.0


def test_replayed_actions_are_exact_to_the_last_bit():
  actions = np.random.default_rng(0).uniform(-1, 1, (9, 6)).astype(np.float32)
  found = evaluate.replays([_record(True, [0] * 9)._replace(actions=actions)])
  np.testing.assert_array_equal(
      np.array(found['safe']['actions'], np.float32), actions
  )


def test_an_agent_without_a_bound_is_wrapped_without_one(monkeypatch):
  given = []
  monkeypatch.setattr(latent_env, 'wrap', lambda *each: given.append(each))
  for space, bound in (('latent', None), ('latent', 0.5), ('raw', None)):
    trained_agents.wrap('an env', 'a prior', {
        'action_space': space, 'latent_bound': bound, 'encoder': 'own',
    })
  assert given == [
      ('an env', 'a prior', bound, 'own') for bound in (np.inf, 0.5, None)
  ]


def test_a_cell_acts_by_the_prior_of_its_protocol(root, trained, tmp_path):
  other = str(tmp_path / 'run')
  for path in (
      lambda *each: layout.export_dir(*each, 'safer'),
      lambda *each: layout.agent_dir(*each, _TASK, 'safer', 'default', 0),
  ):
    shutil.copytree(path(root, 'seen'), path(other, 'held_out'))
  for method in ('safer', 'safer_prior_zero'):
    found = evaluate.evaluate(
        other, 0, task=_TASK, method=method, protocol='held_out',
        num_episodes=1,
    )
    if method == 'safer':
      assert found['episodes'] == trained['episodes'][:1]
