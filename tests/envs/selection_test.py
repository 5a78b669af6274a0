"""The evaluation tasks are those that a rule picks."""

from __future__ import annotations

import json

import envs
from envs import selection


def test_the_evaluation_tasks_are_those_that_the_rule_picks():
  with open(selection.RECORD, encoding='utf-8') as file:
    draws = json.load(file)
  assert tuple(selection.pick(draws[-1]['measured'])) == envs.EVALUATION
  assert all(len(selection.pick(draw['measured'])) < 6 for draw in draws[:-1])
