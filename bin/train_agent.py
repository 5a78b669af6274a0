"""Trains one agent on one task with one seed.

Reads the priors below <root_dir>/priors and writes
<root_dir>/agents/<protocol>/<task>/<method>/<variant>/seed<k>. The method is a
gin file, e.g. --gin_file=methods/safer.gin, the task a binding such as
--gin_bindings="train_agent.task = 'extract_07'". Run again, it goes on where it
stopped.
"""

from __future__ import annotations

from absl import flags

from safer_tf.common import cli


def main(_: list[str]) -> None:
  """Trains the cell that the config names."""
  cli.parse_config()
  from safer_tf.rl import train_agent

  train_agent.train_agent(
      root_dir=flags.FLAGS.root_dir, seed=flags.FLAGS.seed
  )


def run() -> None:
  """Entry point."""
  cli.define_flags()
  cli.run(main)


if __name__ == '__main__':
  run()
