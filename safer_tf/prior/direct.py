"""Calls of small TensorFlow functions without the cost of calling them.

For functions of fixed shapes that are called at every step: binding and
checking arguments takes TensorFlow's Python as long as the work itself.
"""

from __future__ import annotations

from typing import Any, Callable, Sequence

import tensorflow as tf
from tensorflow.python.framework import convert_to_constants


def compile_once(
    function: Callable[..., Any], signature: Sequence[tf.TensorSpec],
    jit_compile: bool = True, constant: bool = False,
) -> Callable[..., Any]:
  """Compiles a function for one signature.

  Args:
    function: of tensors, to a nest of tensors. Variables that it uses must
      outlive it.
    signature: shape and dtype of each argument.
    jit_compile: whether XLA compiles it as a whole.
    constant: whether its variables are taken at their present values for good,
      which spares handing them over in every call.

  Returns:
    The same function, of tensors or arrays that fit the signature.
  """
  traced = tf.function(function).get_concrete_function(*signature)
  structure = traced.structured_outputs
  inner: Callable[..., Any] = traced
  if constant:
    inner = convert_to_constants.convert_variables_to_constants_v2(traced)
  if jit_compile:
    inner = tf.function(
        lambda *arguments, inner=inner: inner(*arguments), jit_compile=True
    )
  # XLA heeds calls of compiled functions, not what is called as an operation.
  outer = tf.function(
      lambda *arguments: tf.nest.flatten(inner(*arguments))
  ).get_concrete_function(*signature)
  captured = outer.captured_inputs
  dtypes = [output.dtype for output in outer.outputs]

  def call(*arguments: Any) -> Any:
    outputs = tf.raw_ops.StatefulPartitionedCall(
        args=[*arguments, *captured], Tout=dtypes, f=outer
    )
    return tf.nest.pack_sequence_as(structure, outputs)

  return call


def by_batch_size(
    function: Callable[..., Any], signature: Sequence[tf.TensorSpec],
    jit_compile: bool = True,
) -> Callable[..., Any]:
  """Compiles a function for each batch size that it is called with.

  Args:
    function: as in `compile_once`.
    signature: of each argument, the size of the batch None; the first argument
      has one.
    jit_compile: as in `compile_once`.

  Returns:
    The same function, of eager tensors or arrays.
  """
  compiled: dict[int, Callable[..., Any]] = {}

  def call(*arguments: Any) -> Any:
    size = len(arguments[0])
    if size not in compiled:
      compiled[size] = compile_once(function, [
          tf.TensorSpec([
              size if length is None else length for length in spec.shape
          ], spec.dtype) for spec in signature
      ], jit_compile)
    return compiled[size](*arguments)

  return call
