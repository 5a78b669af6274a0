"""Measures speed against baselines that it runs itself.

Takes some 12 minutes (at most 25) on two cores that have nothing else to do.
Prints a table and writes <results_dir>/benchmark.json and benchmark.md. With
--full, whole cells are run and learning with the speed-ups is compared with the
plain version, in about two hours, and benchmark_full.json is written; run again
on the same code, it reuses what is finished of the collection and the learning.
Gin sets sizes only: methods are measured as they ship, with seeds of their own.
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
  from safer_tf.benchmark import benchmark  # pylint: disable=g-import-not-at-top

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
      'learning with all speed-ups and without.'
  )
  cli.run(main)


if __name__ == '__main__':
  run()
