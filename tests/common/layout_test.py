"""Names of files."""

from __future__ import annotations

from safer_tf.common import layout


def test_no_two_of_what_is_kept_share_a_file():
  names = [
      *(layout.data_part('r', k, n) for k, n in ((0, 1), (0, 2), (1, 2))),
      *(
          layout.calibration_file('r', protocol, prior, task)
          for protocol in ('seen', 'held_out') for prior in ('a', 'b')
          for task in ('c', 'd')
      ),
  ]
  assert len(set(names)) == len(names)
