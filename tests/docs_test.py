"""README and docs/: links lead somewhere, commands and snippets run."""

from __future__ import annotations

import pathlib
import re
import textwrap
import types

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from tf_agents.environments import utils as environments_utils

from safer_tf.common import layout
from safer_tf.data import store as store_lib
from safer_tf.prior import export
from tests.rl import fakes

_TOP = pathlib.Path(__file__).resolve().parent.parent


def _pages():
  return [
      *(_TOP / name for name in ('README.md', 'BUILD.md', 'priors/README.md')),
      *(_TOP / 'docs').glob('*.md'),
  ]


def test_commands_name_the_interpreter():
  for page in _pages():
    # A binary is no executable file.
    assert not re.search(r'^ +bin/', page.read_text(), re.MULTILINE), page


def _anchors(page):
  """What links may name of a page: its headings as the forge makes them."""
  headings = re.findall(r'^#+ (.+)$', page.read_text(), re.MULTILINE)
  return {
      re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')
      for heading in headings
  }


@pytest.mark.parametrize('page', _pages(), ids=lambda page: page.name)
def test_links_lead_somewhere(page):
  for path, _, anchor in re.findall(
      r'\]\((?!https?:)([^)#\s]*)(#([^)\s]+))?\)', page.read_text()
  ):
    target = (page.parent / path).resolve() if path else page
    assert target.exists(), path
    if anchor:
      assert anchor in _anchors(target), (path, anchor)


def snippet(path, containing):
  """The one piece of Python on a page, fenced or indented, with a text."""
  text = (_TOP / path).read_text()
  pieces = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
  pieces += re.findall(r'(?:^ {4}.*\n)+', text, re.MULTILINE)
  found, = [piece for piece in pieces if containing in piece]
  return textwrap.dedent(found)


def test_the_plain_savedmodel_snippet_runs(monkeypatch):
  monkeypatch.chdir(_TOP)
  names = {}
  exec(snippet('README.md', 'saved_model.load'), names)
  np.testing.assert_allclose(names['latent'], tf.ones([1, 6]) / 5, atol=1e-3)
  assert names['valid'].numpy().tolist() == [[False] * 15 + [True]]
  assert names['log_prob'].shape == (1,)


def test_the_recipe_for_ones_own_episodes_runs(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  logs = [
      types.SimpleNamespace(
          images=np.zeros((5, 48, 48, 3), np.uint8), actions=np.zeros((5, 6)),
          rewards=[-1] * 5, labels=[0, 0, 1, 0, 0], succeeded=number % 2,
      ) for number in range(60)
  ]
  exec(snippet('docs/data.md', 'my_logs'), {'my_logs': lambda: logs})
  store = store_lib.EpisodeStore(layout.data_dir('runs/own'))
  assert len(store) == 60
  assert store.index.unsafe.sum() == 60 and store.index.success.sum() == 30
  assert 30 < len(store.split('train')) < 60  # Not all in one split.


def test_the_recipe_for_gymnasium_gives_what_stages_ask_for():
  names = {}
  exec(snippet('docs/data.md', 'class Gymnasium'), names)

  class Cart(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (3,))
    action_space = gymnasium.spaces.Box(
        np.float32([0, -2]), np.float32([4, 2]))

    def reset(self, *, seed=None, options=None):
      super().reset(seed=seed)
      self.steps = 0
      return self.np_random.uniform(-1, 1, 3).astype(np.float32), {}

    def step(self, action):
      self.action, self.steps = action, self.steps + 1
      observation = self.np_random.uniform(-1, 1, 3).astype(np.float32)
      told = {'cost': self.steps, 'is_success': self.steps == 2}
      return observation, 0.0, False, False, told

  inner = Cart()
  env = names['Gymnasium'](gymnasium.wrappers.TimeLimit(inner, 2))
  environments_utils.validate_py_environment(env, episodes=2)
  time_steps = []
  for _ in range(2):
    env.seed(7)
    time_steps.append(env.reset())
    assert env.get_info() == {'unsafe': False, 'success': False}
    time_steps.append(env.step(np.float32([1, -0.5])))
    np.testing.assert_allclose(inner.action, [4, -1])
    assert env.get_info() == {'unsafe': True, 'success': False}
    time_steps.append(env.step(np.float32([1, -0.5])))
    assert env.get_info() == {'unsafe': True, 'success': True}
  assert time_steps[2].is_last() and time_steps[2].discount == 1
  tf.nest.map_structure(
      np.testing.assert_array_equal, time_steps[:3], time_steps[3:])
  assert not np.array_equal(
      time_steps[0].observation, env.reset().observation)
  inner.step = lambda action: (np.zeros(3), 1.0, True, False, {})
  ended = env.step(np.float32([0, 0]))
  assert ended.is_last() and ended.discount == 0


def test_the_recipe_for_another_agent_learns(tmp_path, monkeypatch):
  names = {}
  exec(snippet('docs/agents.md', 'td3_agent'), names)
  prior = export.load_prior(fakes.export_prior(str(tmp_path / 'export')))
  learn, seen = names['learn'], []

  def learn_a_little(env, agent, num_steps):
    before = [value.numpy() for value in agent.trainable_variables]
    train, crossing = agent.train, []

    def trained(pairs):
      crossing.append(tf.reduce_any(pairs.is_boundary()[:, 0]))
      tf.debugging.Assert(~crossing[-1], ['A pair of two episodes.'])
      return train(pairs)

    monkeypatch.setattr(agent, 'train', trained)
    learn(env, agent, num_steps, initial_steps=20, batch_size=4)
    assert crossing  # It was asked.
    inner = env.pyenv.envs[0]
    seen.append((inner, inner.unsafe_steps, agent, before))

  monkeypatch.setitem(names, 'learn', learn_a_little)
  violations, evaluated = names['run'](
      fakes.ReachEnv(goal_radius=0.0), prior, 2.0, num_steps=60, episodes=2)
  (env, unsafe, agent, before), = seen
  assert env.steps == 60 + sum(len(each.actions) for each in evaluated)
  assert violations == unsafe > 0
  assert int(agent.train_step_counter) == 40
  assert any(
      not np.array_equal(old, new.numpy())
      for old, new in zip(before, agent.trainable_variables))
