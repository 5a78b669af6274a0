"""Times stable-baselines3's SAC on request; run by an interpreter that has it.

Imports nothing of this package. Its arguments are the batch size and the sizes
of the hidden layers. Each line it reads holds a number of updates
and a number of threads; it answers with the seconds that each update took, as a
JSON list.
"""

from __future__ import annotations

import json
import sys
import time

import gymnasium
import numpy as np
import stable_baselines3
import torch

_STORED = 2000


class Images(gymnasium.Env):
  """Random images of the tasks' shape."""

  observation_space = gymnasium.spaces.Box(0, 255, (48, 48, 3), np.uint8)
  action_space = gymnasium.spaces.Box(-1, 1, (6,), np.float32)

  def reset(self, *, seed=None, options=None):
    """A first image."""
    super().reset(seed=seed)
    return self.observation_space.sample(), {}

  def step(self, action):
    """Another image."""
    return self.observation_space.sample(), -1.0, False, False, {}


def main():
  """Answers until the input ends."""
  batch_size, *hidden_units = map(int, sys.argv[1:])
  model = stable_baselines3.SAC(
      'CnnPolicy', Images(), batch_size=batch_size, buffer_size=_STORED,
      learning_starts=_STORED, device='cpu', seed=0,
      policy_kwargs={'net_arch': hidden_units},
  )
  model.learn(_STORED)  # Fills the buffer, no update yet.
  print(json.dumps([stable_baselines3.__version__]), flush=True)
  for line in sys.stdin:
    count, threads = map(int, line.split())
    torch.set_num_threads(threads)
    model.train(gradient_steps=1, batch_size=batch_size)  # Threads start.
    times = []
    for _ in range(count):
      start = time.perf_counter()
      model.train(gradient_steps=1, batch_size=batch_size)
      times.append(time.perf_counter() - start)
    print(json.dumps(times), flush=True)


if __name__ == '__main__':
  main()
