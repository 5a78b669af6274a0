"""Labels of steps."""

from __future__ import annotations

import numpy as np
import pytest

from safer_tf.common import errors
from safer_tf.common import labels


@pytest.mark.parametrize('unsafe, success', [
    (True, False), (np.bool_(True), np.array(0)), (1, 0.0),
    (np.int64(1), np.float32(0)),
])
def test_truths_of_any_kind_are_read(unsafe, success):
  found = labels.read({'unsafe': unsafe, 'success': success, 'cost': 3})
  assert found == (True, False)
  assert type(found.unsafe) is type(found.success) is bool


@pytest.mark.parametrize('info', [
    None, {}, {'unsafe': True}, {'unsafe': None, 'success': False},
    {'unsafe': 'False', 'success': False}, {'unsafe': 0.5, 'success': False},
    {'unsafe': np.nan, 'success': False}, {'unsafe': False, 'success': 2},
    {'unsafe': np.array([0, 1]), 'success': False},
])
def test_anything_else_is_refused(info):
  with pytest.raises(errors.UserError, match='get_info.. gives .*expected'):
    labels.read(info)


def test_an_episode_without_an_end_is_told():
  labels.check_length(labels.LONGEST_EPISODE)
  with pytest.raises(errors.UserError, match='not ended after 20,000 steps'):
    labels.check_length(labels.LONGEST_EPISODE + 1)
