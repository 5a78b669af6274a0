"""Measures speed against baselines that it runs itself.

Takes at most 25 minutes on two cores that have nothing else to do. Prints a
table and writes <results_dir>/benchmark.json. With --full, whole cells are run
and learning is compared, in over an hour, and benchmark_full.json is written;
run again, it reuses what is finished of the collection and the learning.
"""

from __future__ import annotations

from absl import flags

from safer_tf.common import cli

_SIZES = 'experiments/benchmark.gin'


def main(_: list[str]) -> None:
  """Runs the benchmark, or a part of it."""
  given = flags.FLAGS
  given['gin_file'].value = [_SIZES, *given.gin_file]
  cli.parse_config()
  from safer_tf.benchmark import benchmark

  benchmark.run(given.root_dir, given.results_dir, given.only, given.full)


def run() -> None:
  """Entry point."""
  cli.define_flags('runs/benchmark')
  flags.DEFINE_string(
      'results_dir', 'results', 'Where a complete benchmark is written to.'
  )
  flags.DEFINE_list(
      'only', [], 'Parts: simulation, collection, priors, latent, updates, '
      'cells; with --full also learning. All if empty.'
  )
  flags.DEFINE_bool(
      'full', False, 'Runs wholes instead of scaling parts up, and compares '
      'learning with and without each speed-up.'
  )
  cli.run(main)


if __name__ == '__main__':
  run()
