"""Runs the paper's matrix of experiments, or any part of it, and reports.

Which cells there are is the gin value Matrix, e.g. of
--gin_file=experiments/quickstart.gin. Cells run side by side, each once; what
is finished is skipped, so the same command goes on after an interruption.
Logs are in <root_dir>/logs.
"""

from __future__ import annotations

from absl import flags

from safer_tf.common import cli


def main(_: list[str]) -> None:
  """Runs what the config and the flags ask for."""
  cli.parse_config()
  from safer_tf.experiments import reproduce

  given = flags.FLAGS
  reproduce.reproduce(
      root_dir=given.root_dir, seed=given.seed, gin_files=given.gin_file,
      bindings=given.gin_bindings, only=given.only, tasks=given.tasks,
      methods=given.methods, seeds=given.seeds,
      executor=given.executor, address=given.address, workers=given.workers,
      recorded=given.recorded, dry_run=given.dry_run,
  )


def run() -> None:
  """Entry point."""
  cli.define_flags()
  flags.DEFINE_list(
      'only', [], 'Parts of the matrix: table1, held_out, calibration, '
      'prior_rollouts, ablations, tradeoff, own_encoder, prior_sweep. All '
      'that the config names if empty.'
  )
  flags.DEFINE_list('tasks', [], 'Only these tasks: 1 to 6, or names.')
  flags.DEFINE_list('methods', [], 'Only these methods, e.g. safer,parrot.')
  flags.DEFINE_list(
      'seeds', [], "Seeds of the agents, instead of the config's."
  )
  flags.DEFINE_enum(
      'executor', 'local', ['local', 'ray'], 'Worker processes of this '
      'machine, or a Ray cluster.'
  )
  flags.DEFINE_string('address', None, 'Address of the Ray cluster.')
  flags.DEFINE_string(
      'recorded', None, 'Directory of result tables of earlier runs of the '
      'same config, e.g. results: what they hold is not run again.'
  )
  flags.DEFINE_bool(
      'dry_run', False, 'Only say which cells would be run; nothing is written.'
  )
  flags.DEFINE_integer(
      'workers', None, 'Cells at a time; one for each core if not given.',
      lower_bound=1,
  )
  flags.register_multi_flags_validator(
      ['address', 'executor'],
      lambda given: given['address'] is None or given['executor'] == 'ray',
      message='--address is of a Ray cluster: add --executor=ray',
  )
  cli.run(main)


if __name__ == '__main__':
  run()
