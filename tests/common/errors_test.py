"""What is told of numbers that must be whole and 1 or more."""

from __future__ import annotations

import pytest

from safer_tf.common import errors


@pytest.mark.parametrize('value', [
    0, -1, 2.5, 3.0, float('nan'), None, '3', (), [], (3, 0), [0, 3], (3, 2.5)
], ids=repr)
def test_what_is_no_size_is_told_wherever_it_stands(value):
  with pytest.raises(errors.UserError) as raised:
    errors.require_sizes('train_agent', num_steps=5, units=value, last=1)
  assert f'train_agent.units is {value!r}' in str(raised.value)


def test_sizes_may_be_one_or_several():
  sizes = {'one': 1, 'several': (2, 1), 'listed': [3]}
  assert errors.require_sizes('train_agent', **sizes) is None
