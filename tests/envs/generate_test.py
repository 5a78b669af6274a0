"""The table of tasks is drawn as its record says."""

from __future__ import annotations

import json

from envs import generate
from envs import selection
from envs import tasks


def test_the_table_of_tasks_is_drawn_as_recorded(monkeypatch):
  with open(selection.RECORD, encoding='utf-8') as file:
    kept = json.load(file)[-1]
  monkeypatch.setattr(generate, 'NUM_TASKS', 3)
  assert generate.generate(
      kept['seed'], generate.Difficulty(**kept['difficulty'])
  ) == list(tasks.table().values())[:3]
