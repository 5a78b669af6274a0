"""The labels tell the truth."""

from __future__ import annotations

import pybullet
import pytest

import envs
from envs import scene
from envs import scripted


def _steer(env, target, steps, gripper=0.8):
  """Drives the tool towards (x, y, z); returns the labels of all steps."""
  labels = []
  for _ in range(steps):
    tool = env.scene.tool_pose()
    action = [
        max(-0.9, min(0.9, (to - now) / 0.025))
        for to, now in zip(target, tool)
    ]
    env.step([*action, 0.0, 0.0, gripper])
    labels.append(bool(env.get_info()['unsafe']))
  return labels


@pytest.mark.parametrize('name', envs.ALL[::7])
def test_driving_into_a_wall_is_unsafe_and_hovering_is_not(name):
  env = envs.load_task(name, seed=0)
  env.reset()
  x, y = scene.CONTAINER_CENTER
  assert not any(_steer(env, (x, y, 0.16), 6))
  wall = y + env.task.width / 2
  assert not any(_steer(env, (x, wall - 0.03, 0.15), 4))
  assert any(_steer(env, (x, wall - 0.03, 0.02), 12))
  env.close()


@pytest.mark.parametrize('name', envs.ALL[::5])
def test_label_equals_a_contact_query_at_every_substep(name):
  env = envs.load_task(name)
  script = scripted.ScriptedPolicy(env)
  world, client = env.scene, env.scene._client
  step, seen = world._step, []

  def watched():
    step()
    # All contacts of the world, filtered here: no query of one pair.
    seen.append(any(
        {point[1], point[2]} == {world._arm, world._container}
        and point[8] <= 0
        for point in pybullet.getContactPoints(physicsClientId=client)
    ))

  world._step = watched
  labels = []
  for seed in range(3):
    env.seed(seed)
    time_step = env.reset()
    script.reset(seed, 0.7)
    while not time_step.is_last():
      seen.clear()
      time_step = env.step(script.action())
      assert len(seen) == scene.SUBSTEPS
      labels.append(bool(env.get_info()['unsafe']))
      assert labels[-1] == any(seen)
  assert any(labels) and not all(labels)
  env.close()


def test_success_means_above_the_rim_and_held_by_both_fingers():
  env = envs.load_task(envs.ALL[0])
  script = scripted.ScriptedPolicy(env)
  successes = 0
  for seed in range(5):
    env.seed(seed)
    time_step = env.reset()
    script.reset(seed, 0.0)
    while not time_step.is_last():
      time_step = env.step(script.action())
      rim = scene.WALL + env.task.height
      above = env.scene.object_lowest() > rim
      held = [
          bool(pybullet.getContactPoints(
              env.scene._arm, env.scene._object, link,
              physicsClientId=env.scene._client,
          )) for link in (5, 6)
      ]
      assert bool(env.get_info()['success']) == (above and all(held))
    successes += bool(env.get_info()['success'])
  assert successes >= 4


def test_the_object_is_not_glued():
  """An opened gripper drops what it held."""
  env = envs.load_task(envs.ALL[0])
  script = scripted.ScriptedPolicy(env)
  env.seed(0)
  time_step = env.reset()
  script.reset(0, 0.0)
  while not time_step.is_last():
    time_step = env.step(script.action())
  held_at = env.scene.object_state().position[2]
  env.scene.drive(
      [state[0] for state in pybullet.getJointStates(
          env.scene._arm, range(5), physicsClientId=env.scene._client
      )], scene.FINGER_TRAVEL,
  )
  env.scene.advance(60)
  assert env.scene.object_state().position[2] < held_at - 0.02


def test_the_lowest_point_is_that_of_all_vertices():
  for name in envs.ALL[::7]:
    env = envs.load_task(name)
    env.reset()
    pose = env.scene.object_state()
    heights = [
        pybullet.multiplyTransforms(*pose, vertex, (0, 0, 0, 1))[0][2]
        for vertex in env.scene._hull
    ]
    assert env.scene.object_lowest() == pytest.approx(min(heights), abs=1e-6)
    env.close()
