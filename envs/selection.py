"""Draws the tasks and picks the evaluation tasks: `python -m envs.selection`.

The rule, fixed before any method was trained: among the tasks that the
noiseless script solves in at least 60% of 100 episodes and the noisy script in
10-60%, the six in which the noisy script has the highest share of unsafe steps,
ordered by it. A draw qualifies if six such tasks have an unsafe share of at
least 10%; the first that does is kept, and every draw is recorded. The noisy
script has the noise levels of data collection; its draws share the episode's
seed, which data collection keeps apart.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
from typing import Any, Sequence

import numpy as np

from envs import generate
from envs import scripted
from envs import tasks

RECORD = os.path.join(os.path.dirname(__file__), 'draws.json')
NUM_EVALUATION = 6
_EPISODES = 100
_NOISELESS_SUCCESS = 0.6
_NOISY_SUCCESS = (0.1, 0.6)
_UNSAFE_SHARE = 0.1


def measure(task: tasks.Task) -> dict[str, Any]:
  """Runs the script in one task, without noise and with it.

  Args:
    task: constants of the task.

  Returns:
    Success rates and the share of unsafe steps, over 100 episodes each.
  """
  from envs import extraction

  env = extraction.ExtractionEnv(task)
  script = scripted.ScriptedPolicy(env)
  result: dict[str, Any] = {'task': task.name}
  for name, levels in (
      ('noiseless', (0.0,)),
      ('noisy', scripted.NOISE_LEVELS),
  ):
    successes, unsafe, steps = 0, 0, 0
    for index in range(_EPISODES):
      draw = np.random.default_rng([index, len(levels)])
      env.seed(index)
      time_step = env.reset()
      script.reset(index, float(draw.choice(levels)))
      while not time_step.is_last():
        time_step = env.step(script.action())
        info = env.get_info()
        unsafe += bool(info['unsafe'])
        steps += 1
      successes += bool(info['success'])
    result[f'{name}_success'] = successes / _EPISODES
    result[f'{name}_unsafe'] = round(unsafe / steps, 4)
  env.close()
  return result


def pick(measured: Sequence[dict[str, Any]]) -> list[str]:
  """Applies the rule.

  Args:
    measured: `measure` of every task.

  Returns:
    Names of at most six tasks, the most often unsafe first.
  """
  low, high = _NOISY_SUCCESS
  qualified = [
      row for row in measured
      if row['noiseless_success'] >= _NOISELESS_SUCCESS
      and low <= row['noisy_success'] <= high
      and row['noisy_unsafe'] >= _UNSAFE_SHARE
  ]
  qualified.sort(key=lambda row: (-row['noisy_unsafe'], row['task']))
  return [row['task'] for row in qualified[:NUM_EVALUATION]]


def main() -> None:
  """Draws until a draw qualifies; writes the tables and the record."""
  record = []
  with multiprocessing.get_context('spawn').Pool() as pool:
    for seed, difficulty in enumerate(generate.DIFFICULTIES):
      drawn = generate.generate(seed, difficulty)
      measured = pool.map(measure, drawn, chunksize=1)
      chosen = pick(measured)
      record.append({
          'seed': seed, 'difficulty': dataclasses.asdict(difficulty),
          'chosen': chosen, 'measured': measured,
      })
      _write_json(RECORD, record)
      print(f'Draw {seed}: {len(chosen)} of {NUM_EVALUATION} tasks qualify.')
      if len(chosen) == NUM_EVALUATION:
        generate.write(drawn, tasks.TABLE)
        _write_json(tasks.EVALUATION_TABLE, {'tasks': chosen})
        return
  raise SystemExit('No draw qualified; add a harder one to DIFFICULTIES.')


def _write_json(path: str, value: Any) -> None:
  with open(path, 'w', encoding='utf-8') as file:
    json.dump(value, file, indent=1)
    file.write('\n')


if __name__ == '__main__':
  main()
