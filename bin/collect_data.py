"""Collects the offline dataset: scripted episodes of the extraction tasks.

Writes shards, an index and a data card into <root_dir>/data. The size is the
gin value collect_data.num_steps, e.g. of
--gin_file=experiments/quickstart.gin.
"""

from __future__ import annotations

from absl import flags

from safer_tf.common import cli


def main(_: list[str]) -> None:
  """Collects what the config asks for."""
  cli.parse_config()
  from safer_tf.data import collect

  collect.collect_data(root_dir=flags.FLAGS.root_dir, seed=flags.FLAGS.seed)


def run() -> None:
  """Entry point."""
  cli.define_flags()
  cli.run(main)


if __name__ == '__main__':
  run()
