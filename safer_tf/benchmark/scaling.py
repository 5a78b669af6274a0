"""What two processes gain over one, beside what plain Python gains."""

from __future__ import annotations

import contextlib
import functools
import statistics
from typing import Any, NamedTuple, Sequence

from safer_tf.benchmark import timing

_LOOP_ITERATIONS = 60_000_000  # A second or two.


class Scaling(NamedTuple):
  """Medians over the turns.

  Attributes:
    ours: times as much work done by two processes as by one.
    loops: the same of two pure-Python loops: what the machine can give.
    pair_seconds: wall time of the two pieces of work side by side.
    results: what the work returned when it was done side by side.
  """

  ours: float
  loops: float
  pair_seconds: list[float]
  results: list[list[Any]]


def compare(
    work: str, turns: Sequence[Sequence[tuple]],
    warm: Sequence[tuple], loop_iterations: int = _LOOP_ITERATIONS,
) -> Scaling:
  """Does pairs of pieces of work one after the other and side by side.

  Processes of one thread and one core each are started, and have warmed up,
  before anything is timed: a process that may change cores is slower alone.

  Args:
    work: `module:name` of a function; the last argument it gets tells an
      attempt at the same work from another.
    turns: for each turn, the arguments of two pieces of work.
    warm: the arguments of two smaller pieces.
    loop_iterations: of the plain loop.

  Returns:
    What was gained.
  """
  with contextlib.ExitStack() as stack:
    # One after the other in a process each too: one that does all the work
    # would age twice as fast.
    places = list(range(timing.cores()))
    apart, side = (
        [
            stack.enter_context(timing.warm_pool(1, core=places[place]))
            for place in (0, -1)
        ] for _ in range(2)
    )
    for pools, name in ((apart, 'warm-one'), (side, 'warm-two')):
      _run(pools, work, warm, name)
    alone: list[float] = []
    pair_seconds: list[float] = []
    loops: list[float] = []
    results: list[list[Any]] = []

    def one_after_the_other(turn):
      alone.append(sum(
          timing.seconds(
              functools.partial(_run, [pool], work, [part], 'one')
          ) for pool, part in zip(apart, turn)
      ))

    def together(turn):
      pair_seconds.append(timing.seconds(
          lambda: results.append(_run(side, work, turn, 'two'))
      ))

    order = [one_after_the_other, together]
    for turn in turns:
      gains = [_loops_gain(apart, side, loop_iterations)]
      for way in order:
        way(turn)
      order.reverse()  # A machine that slows down favours what comes first.
      # Before and after: the machine's other load changes within a turn.
      gains.append(_loops_gain(apart, side, loop_iterations))
      loops.append(statistics.mean(gains))
  ours = [each / both for each, both in zip(alone, pair_seconds)]
  return Scaling(
      statistics.median(ours), statistics.median(loops), pair_seconds, results
  )


def _run(pools, work, turn, name) -> list[Any]:
  futures = [
      pool.submit(timing.call, work, (*arguments, name))
      for pool, arguments in zip(pools, turn)
  ]
  return [future.result() for future in futures]


def _loops_gain(apart, side, iterations: int) -> float:
  # Each on its core, as the work: one core may be slower than the other.
  alone = sum(
      timing.seconds(functools.partial(_loops, [pool], iterations))
      for pool in apart
  )
  return alone / timing.seconds(lambda: _loops(side, iterations))


def _loops(pools, iterations: int) -> None:
  for future in [pool.submit(spin, iterations) for pool in pools]:
    future.result()


def spin(iterations: int) -> int:
  """A pure-Python loop."""
  total = 0
  for number in range(iterations):
    total += number & 3
  return total
