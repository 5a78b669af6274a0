"""Makes every table, figure and the report of a run again, from files alone.

Reads what is finished under <root_dir>, or <root_dir>/results alone, and writes
tables, figures, films and report.html into it.
"""

from __future__ import annotations

from absl import flags

from safer_tf.common import cli


def main(_: list[str]) -> None:
  """Makes the report and prints the main table."""
  cli.parse_config()
  from safer_tf.evaluation import report

  path = report.make_report(root_dir=flags.FLAGS.root_dir)
  print(report.printed_table(flags.FLAGS.root_dir))
  print(f'Report: {path}')


def run() -> None:
  """Entry point."""
  cli.define_flags()
  cli.run(main)


if __name__ == '__main__':
  run()
