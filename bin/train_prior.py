"""Trains a skill prior on the offline dataset and exports it.

Reads <root_dir>/data, writes <root_dir>/priors/<protocol>/<prior>. Which prior
is a method's, e.g. --gin_file=methods/safer.gin; how long it trains is the gin
value train_prior.num_steps. Resumes where it stopped.
"""

from __future__ import annotations

from absl import flags

from safer_tf.common import cli


def main(_: list[str]) -> None:
  """Trains the prior that the config describes."""
  cli.parse_config()
  from safer_tf.prior import training

  training.train_prior(root_dir=flags.FLAGS.root_dir, seed=flags.FLAGS.seed)


def run() -> None:
  """Entry point."""
  cli.define_flags()
  cli.run(main)


if __name__ == '__main__':
  run()
