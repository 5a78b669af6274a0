"""Same seed, same actions: the same episode; and a state can be restored."""

from __future__ import annotations

import pickle

import numpy as np

import envs
from envs import scripted

_TASKS = envs.ALL[::8]


def _run(env, actions):
  """Observations and simulator states after each of some actions."""
  trace = []
  for action in actions:
    time_step = env.step(action)
    trace.append((
        time_step.observation.tobytes(), env.scene.object_state(),
        env.scene.tool_pose(), bool(env.get_info()['unsafe']),
    ))
  return trace


def _episode(env, seed, noise=0.7):
  """A scripted episode: its actions and trace."""
  script = scripted.ScriptedPolicy(env)
  env.seed(seed)
  time_step = env.reset()
  script.reset(seed, noise)
  actions, trace = [], []
  while not time_step.is_last():
    actions.append(script.action())
    time_step = env.step(actions[-1])
    trace.append((
        time_step.observation.tobytes(), env.scene.object_state(),
        env.scene.tool_pose(), bool(env.get_info()['unsafe']),
    ))
  return actions, trace


def test_episodes_do_not_depend_on_what_came_before():
  for name in _TASKS:
    first, second = envs.load_task(name), envs.load_task(name)
    forwards = [_episode(first, seed) for seed in range(5)]
    backwards = [_episode(second, seed) for seed in reversed(range(5))]
    for (actions, trace), (again, same) in zip(forwards, backwards[::-1]):
      np.testing.assert_array_equal(actions, again)
      assert trace == same, name
    first.close()
    second.close()


def test_episodes_of_other_seeds_differ():
  env = envs.load_task(_TASKS[0])
  assert _episode(env, 0)[1] != _episode(env, 1)[1]


def test_restore_before_contact_is_bitwise():
  for name in _TASKS:
    env, other = envs.load_task(name), envs.load_task(name, seed=5)
    actions, trace = _episode(env, 2, noise=0.3)
    env.seed(2)
    env.reset()
    _run(env, actions[:2])
    state = pickle.loads(pickle.dumps(env.get_state()))
    other.reset()
    _run(other, actions[:5])
    other.set_state(state)
    assert other.current_time_step().observation.tobytes() == trace[1][0]
    assert _run(other, actions[2:3]) == trace[2:3]
    env.close()
    other.close()


def test_restore_in_contact_is_within_the_stated_tolerance():
  worst, compared = 0.0, 0
  for name in _TASKS:
    env, other = envs.load_task(name), envs.load_task(name, seed=5)
    for seed in range(4):
      actions, trace = _episode(env, seed)
      at = next((i for i, row in enumerate(trace[:-1]) if row[3]), None)
      if at is None:
        continue
      env.seed(seed)
      env.reset()
      _run(env, actions[:at + 1])
      other.reset()
      other.set_state(env.get_state())
      restored = _run(other, actions[at + 1:at + 2])[0]
      compared += 1
      worst = max(worst, np.abs(
          np.subtract(restored[1].position, trace[at + 1][1].position)
      ).max())
    env.close()
    other.close()
  # A step after a restore in mid-contact, metres.
  assert compared and worst < 1e-4


def test_restored_generator_goes_on_with_the_same_draws():
  env, other = envs.load_task(_TASKS[0], 3), envs.load_task(_TASKS[0], 9)
  env.reset()
  other.reset()
  other.set_state(env.get_state())
  np.testing.assert_array_equal(
      env.reset().observation, other.reset().observation
  )


def test_a_task_is_loaded_with_its_seed():
  first, same, other = (
      envs.load_task(_TASKS[0], seed).reset().observation for seed in (3, 3, 4)
  )
  np.testing.assert_array_equal(first, same)
  assert (first != other).any()


def test_a_restored_state_is_the_saved_one():
  env, other = envs.load_task(_TASKS[0], 3), envs.load_task(_TASKS[0], 9)
  env.reset()
  saved = env.get_state()._replace(
      opening=0.0, steps=7, unsafe=True, success=False
  )
  other.set_state(saved)
  assert other.get_info() == {'unsafe': True, 'success': False}
  again = other.get_state()
  assert again._replace(world=saved.world, time_step=saved.time_step) == saved
