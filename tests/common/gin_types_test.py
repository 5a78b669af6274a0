"""Values of gin bindings against annotated types."""

from typing import Any, Callable, Mapping, Optional, Sequence, Union

import gin
import pytest

from safer_tf.common import config
from safer_tf.common import errors
from safer_tf.common import gin_types


@pytest.fixture(autouse=True)
def _clean_gin():
  yield
  gin.clear_config()


@pytest.mark.parametrize('value, hint, fits', [
    (1, int, True), (1.0, int, False), (True, int, False), ('1', int, False),
    (1, float, True), (0.5, float, True), ('x', float, False),
    (True, bool, True), (1, bool, False),
    (None, Optional[int], True), (2, Optional[int], True),
    ('x', Optional[int], False), (None, Union[str, float], False),
    ((1, 2), Sequence[int], True), ([1, 'x'], Sequence[int], False),
    ('12', Sequence[int], False), (3, Sequence[int], False),
    ((1, 'x'), tuple[int, str], True), ((1, 'x'), tuple[int, ...], False),
    ((1, 'x'), tuple[int, int], False), ((1,), tuple[int, int], False),
    ({'a': (1.0,)}, Mapping[str, Sequence[float]], True),
    ({'a': 1.0}, Mapping[str, Sequence[float]], False),
    ({1: (1.0,)}, dict[str, Sequence[float]], False),
    ((1.0,), Mapping[str, Sequence[float]], False),
    ((1, 'x'), Sequence, True), ((1, 'x'), tuple, True),
    ('whatever', Any, True), ('whatever', Callable[[], None], False),
    (len, Callable[[], None], True),
])
def test_only_what_is_certainly_wrong_does_not_fit(value, hint, fits):
  assert gin_types.fits(value, hint) is fits


@pytest.mark.parametrize('binding', [
    "make_agent.gamma = 'x'", 'evaluate.num_episodes = 1.5',
    'image_encoder.filters = 16', 'train_prior.sample_context = 1',
])
def test_wrong_type_is_told_with_its_name_and_what_was_expected(binding):
  name = binding.split(' ')[0]
  with pytest.raises(errors.UserError, match=f'{name}.*expected') as caught:
    config.parse([], [binding])
  assert '\n' not in str(caught.value)


def test_macros_and_references_are_left_to_the_call():
  config.parse(
      ['methods/safer.gin'], ["N = 'three'", 'evaluate.num_episodes = %N']
  )
  assert list(gin_types.mistakes()) == []
