"""Evaluates one trained agent, or a prior's latent bounds.

Rolls out the final policy of the cell that the gin values of evaluate name and
writes evaluation.json beside its result.json. With --calibrate it rolls out
random latents inside each bound of a prior's assurance instead, as the gin
values of calibrate say.
"""

from __future__ import annotations

from absl import flags

from safer_tf.common import cli


def main(_: list[str]) -> None:
  """Evaluates what the config describes."""
  cli.parse_config()
  from safer_tf.evaluation import calibrate
  from safer_tf.evaluation import evaluate

  chosen = calibrate.calibrate if flags.FLAGS.calibrate else evaluate.evaluate
  chosen(root_dir=flags.FLAGS.root_dir, seed=flags.FLAGS.seed)


def run() -> None:
  """Entry point."""
  cli.define_flags()
  flags.DEFINE_bool(
      'calibrate', False, "Roll out a prior's latent bounds, not an agent."
  )
  cli.run(main)


if __name__ == '__main__':
  run()
