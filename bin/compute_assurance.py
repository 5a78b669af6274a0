"""Computes the latent bound of an exported prior.

Reads <root_dir>/data and <root_dir>/priors/<protocol>/<prior>/export, writes
assurance.json into the latter. Which prior, mode and tolerated share are the
gin values of compute_assurance, e.g.
--gin_bindings="compute_assurance.prior = 'safer'".

With --confirm_on=OTHER_ROOT the bounds in assurance.json are tested on another
run directory's data instead, and confirmation.json is written.
"""

from __future__ import annotations

from absl import flags

from safer_tf.common import cli


def main(_: list[str]) -> None:
  """Computes the bound that the config describes."""
  cli.parse_config()
  if flags.FLAGS.confirm_on:
    from safer_tf.assurance import confirm

    confirm.confirm_assurance(flags.FLAGS.root_dir, flags.FLAGS.confirm_on)
    return
  from safer_tf.assurance import compute

  compute.compute_assurance(
      root_dir=flags.FLAGS.root_dir, seed=flags.FLAGS.seed
  )


def run() -> None:
  """Entry point."""
  cli.define_flags()
  flags.DEFINE_string(
      'confirm_on', '', 'Run directory with later data, to test the bounds on.'
  )
  cli.run(main)


if __name__ == '__main__':
  run()
