"""Every task is a well-behaved TF-Agents environment."""

from __future__ import annotations

import numpy as np
import pytest
from tf_agents.environments import utils

import envs
from envs import extraction
from envs import scene
from envs import scripted


@pytest.mark.parametrize('name', envs.ALL)
def test_task_conforms(name):
  env = envs.load_task(name, seed=1)
  utils.validate_py_environment(env, episodes=2)
  assert env.observation_spec().shape == (48, 48, 3)
  assert env.observation_spec().dtype == np.uint8
  assert env.action_spec().shape == (6,)
  script = scripted.ScriptedPolicy(env)
  env.seed(0)
  time_step = env.reset()
  assert not any(env.get_info().values())
  script.reset(0, 0.3)
  rewards = []
  while not time_step.is_last():
    action = script.action()
    assert np.all(np.abs(action) < 1)
    time_step = env.step(action)
    rewards.append(float(time_step.reward))
  success = bool(env.get_info()['success'])
  assert rewards[:-1] == [-1.0] * (len(rewards) - 1)
  assert rewards[-1] == (1.0 if success else -1.0)
  # An extraction ends the discount; the time limit does not.
  assert float(time_step.discount) == (0.0 if success else 1.0)
  assert success or len(rewards) == extraction.TIME_LIMIT
  assert env.step(action).is_first()
  env.close()


def test_there_are_forty_tasks_and_six_for_evaluation():
  assert len(envs.ALL) == len(set(envs.ALL)) == 40
  assert len(set(envs.EVALUATION)) == 6
  assert set(envs.EVALUATION) <= set(envs.ALL)


def test_unknown_task_lists_the_nearest():
  with pytest.raises(envs.EnvError, match='extract_07'):
    envs.load_task('extrct_07')


@pytest.mark.parametrize(
    'action', [np.full(6, np.nan), np.full(6, 1.5), np.zeros(5)]
)
def test_bad_action_is_refused_in_one_line(action):
  env = envs.load_task(envs.ALL[0])
  env.reset()
  with pytest.raises(envs.EnvError) as error:
    env.step(action)
  assert envs.ALL[0] in str(error.value)
  assert '\n' not in str(error.value)


def test_all_parts_are_visible_in_the_first_frame():
  for name in envs.ALL[::5]:
    env = envs.load_task(name, seed=3)
    image = env.reset().observation.astype(int)
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    fingers = (red > 120) & (green > 90) & (blue < 80)
    walls = (np.ptp(image, axis=-1) < 40) & (image.mean(-1) > 95)
    color = np.argmax(env.task.color)
    others = np.delete(image, color, axis=-1).max(-1)
    thing = (image[..., color] > 1.15 * others) & ~fingers & (
        image[..., color] > 75
    )
    assert fingers.sum() >= 8, name
    assert walls.sum() >= 100, name
    assert thing[20:].sum() >= 6, name
    env.close()


def test_render_at_any_size_and_only_as_array():
  env = envs.load_task(envs.ALL[0])
  env.reset()
  assert env.render('rgb_array', height=60, width=80).shape == (60, 80, 3)
  np.testing.assert_array_equal(
      env.render('rgb_array', height=48, width=48),
      env.current_time_step().observation,
  )
  with pytest.raises(envs.EnvError, match='human'):
    env.render('human')


def test_the_gripper_holds_between_its_thresholds():
  env = envs.load_task(envs.ALL[0])
  env.reset()
  for command, opening in (
      (-0.6, 0.0), (-0.4, 0.0), (0.4, 0.0), (0.6, scene.FINGER_TRAVEL),
      (-0.4, scene.FINGER_TRAVEL),
  ):
    env.step(np.array([0, 0, 0, 0, 0, command], np.float32))
    assert env.get_state().opening == opening, command


def test_each_component_of_an_action_moves_its_own_part_of_the_pose():
  env = envs.load_task(envs.ALL[0])
  for axis, step in enumerate([0.025] * 3 + [0.15] * 2):
    env.seed(0)
    env.reset()
    before, action = env.command, np.zeros(6, np.float32)
    action[axis] = -0.5
    env.step(action)
    expected = -0.5 * step * np.eye(5)[axis]
    np.testing.assert_allclose(env.command - before, expected, atol=1e-6)


def test_an_image_is_as_wide_as_asked_for():
  env = envs.load_task(envs.ALL[0])
  env.reset()
  square = env.render(height=60, width=60)
  wide = env.render(height=60, width=120)
  # The same lines at the same scale, with more on either side.
  assert np.abs(wide[:, 30:90].astype(int) - square).mean() < 3


def test_noise_is_not_piled_up_at_the_limits():
  env = envs.load_task(envs.ALL[0])
  script = scripted.ScriptedPolicy(env)
  script.reset(0, 0.7)
  drawn = np.abs([script._noisy(np.full(6, 0.8)) for _ in range(2000)])
  assert (drawn > 0.989).mean() < 0.02
