"""Computes the latent bound of an exported prior.

Reads <root_dir>/data and <root_dir>/priors/<protocol>/<prior>/export, writes
assurance.json into the latter. Which prior, mode and tolerated share are the
gin values of compute_assurance, e.g.
--gin_bindings="compute_assurance.prior = 'safer'".
"""

from __future__ import annotations

from absl import flags

from safer_tf.common import cli


def main(_: list[str]) -> None:
  """Computes the bound that the config describes."""
  cli.parse_config()
  from safer_tf.assurance import compute

  compute.compute_assurance(
      root_dir=flags.FLAGS.root_dir, seed=flags.FLAGS.seed
  )


def run() -> None:
  """Entry point."""
  cli.define_flags()
  cli.run(main)


if __name__ == '__main__':
  run()
