"""Directly called functions equal the functions, variables included or not."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import tensorflow as tf

from safer_tf.prior import direct

_SIGNATURE = (tf.TensorSpec([2, 3]), tf.TensorSpec([], tf.int64))
_ARGUMENTS = (np.arange(6, dtype=np.float32).reshape(2, 3), np.int64(2))


def _scaled(factor):
  def function(values, power):
    scaled = factor * values
    return {'scaled': scaled, 'sums': (tf.reduce_sum(scaled, 1), power + 1)}

  return function


@pytest.mark.parametrize('jit_compile', [False, True])
@pytest.mark.parametrize('constant', [False, True])
def test_values_and_structure_are_those_of_the_function(jit_compile, constant):
  function = _scaled(tf.Variable(3.0))
  call = direct.compile_once(function, _SIGNATURE, jit_compile, constant)
  tensors = [tf.constant(argument) for argument in _ARGUMENTS]
  expected = function(*tensors)
  for arguments in (_ARGUMENTS, tensors):
    found = call(*arguments)
    tf.nest.assert_same_structure(found, expected)
    for ours, plain in zip(
        tf.nest.flatten(found), tf.nest.flatten(expected)
    ):
      np.testing.assert_allclose(ours, plain, rtol=1e-6)


@pytest.mark.parametrize('jit_compile', [False, True])
def test_variables_are_live_unless_constant(jit_compile):
  factor = tf.Variable(1.0)
  live, frozen = (
      direct.compile_once(_scaled(factor), _SIGNATURE, jit_compile, constant)
      for constant in (False, True)
  )
  factor.assign(2.0)
  values = _ARGUMENTS[0]
  np.testing.assert_allclose(live(*_ARGUMENTS)['scaled'], 2 * values)
  np.testing.assert_allclose(frozen(*_ARGUMENTS)['scaled'], values)


@pytest.mark.parametrize('jit_compile', [False, True])
def test_a_function_may_change_variables(jit_compile):
  total = tf.Variable(0.0)

  def add(values):
    total.assign_add(tf.reduce_sum(values))
    return total + 0.0

  call = direct.compile_once(add, [tf.TensorSpec([2])], jit_compile)
  gc.collect()  # Nothing that the call needs is held by this test alone.
  for expected in (3.0, 6.0):
    assert call(np.array([1, 2], np.float32)).numpy() == expected
  assert total.numpy() == 6.0


def test_what_xla_cannot_do_fails_when_called():
  call = direct.compile_once(
      lambda values: tf.py_function(lambda x: x, [values], tf.float32),
      [tf.TensorSpec([2])],
  )
  with pytest.raises(tf.errors.OpError):
    call(np.zeros(2, np.float32))


def test_each_batch_size_is_traced_once():
  traced = []

  def function(values, scale):
    traced.append(values.shape[0])
    return scale * values

  call = direct.by_batch_size(
      function, (tf.TensorSpec([None, 3]), tf.TensorSpec([]))
  )
  for size in (2, 5, 2, 5):
    values = np.ones((size, 3), np.float32)
    np.testing.assert_allclose(call(values, np.float32(4)), 4 * values)
  assert traced == [2, 5]
