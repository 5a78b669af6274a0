from __future__ import annotations

import os
import subprocess
import sys

import tensorflow as tf

from safer_tf.common import layout

_KILLED = '''
import os, signal, sys
from safer_tf.prior import journal

record = journal.Journal(sys.argv[1], int(sys.argv[2]))
for step in map(int, sys.argv[3].split(',')):
  record.train_step(step, {'loss': 1.0})
record.commit()
record.train_step(step + 1, {'loss': 1.0})
os.kill(os.getpid(), signal.SIGKILL)
'''


def _killed(directory: str, done: int, steps: str) -> None:
  ended = subprocess.run(
      [sys.executable, '-c', _KILLED, directory, str(done), steps],
      check=False,
  )
  assert ended.returncode == -9


def test_a_killed_training_shows_no_step_twice(tmp_path):
  # 1 and 2 stand in a checkpoint, 3 is lost; resumed, 3 comes again.
  _killed(str(tmp_path), 0, '1,2')
  _killed(str(tmp_path), 2, '3,4')
  directory = os.path.join(str(tmp_path), layout.TENSORBOARD_DIR)
  steps = [
      event.step for path in sorted(tf.io.gfile.glob(f'{directory}/*'))
      for event in tf.compat.v1.train.summary_iterator(path)
      for value in event.summary.value if value.tag == 'train/loss'
  ]
  assert steps == [1, 2, 3, 4]
