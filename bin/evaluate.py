"""Evaluates one trained agent, a prior's latent bounds, or a prior alone.

Rolls out the final policy of the cell that the gin values of evaluate name and
writes evaluation.json beside its result.json. With --calibrate it rolls out
random latents inside each bound of a prior's assurance instead, as the gin
values of calibrate say; with --prior_alone a prior's own actions, on the tasks
that are not evaluated, as those of roll_out_prior say.
"""

from __future__ import annotations

from absl import flags

from safer_tf.common import cli


def main(_: list[str]) -> None:
  """Evaluates what the config describes."""
  cli.parse_config()
  from safer_tf.evaluation import calibrate
  from safer_tf.evaluation import evaluate
  from safer_tf.evaluation import prior_rollouts

  chosen = evaluate.evaluate
  if flags.FLAGS.calibrate:
    chosen = calibrate.calibrate
  if flags.FLAGS.prior_alone:
    chosen = prior_rollouts.roll_out_prior
  chosen(root_dir=flags.FLAGS.root_dir, seed=flags.FLAGS.seed)


def run() -> None:
  """Entry point."""
  cli.define_flags()
  flags.DEFINE_bool(
      'calibrate', False, "Roll out a prior's latent bounds, not an agent."
  )
  flags.DEFINE_bool(
      'prior_alone', False, 'Roll out a prior without an agent.'
  )
  flags.register_multi_flags_validator(
      ['calibrate', 'prior_alone'], lambda given: not all(given.values()),
      message='--calibrate and --prior_alone are two evaluations: give one',
  )
  cli.run(main)


if __name__ == '__main__':
  run()
