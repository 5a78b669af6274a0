"""Names of files."""

from __future__ import annotations

import pytest

from safer_tf.common import errors
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


@pytest.mark.parametrize('name', ['', '.', '..', '.hidden', 'a/b'])
def test_a_name_that_leads_elsewhere_is_refused(name):
  for path in (
      lambda: layout.prior_dir('r', 'seen', name),
      lambda: layout.agent_dir('r', 'seen', name, 'safer', 'default', 0),
  ):
    with pytest.raises(errors.UserError, match='a name for a directory'):
      path()


def test_no_two_agents_share_a_directory():
  names = [
      layout.agent_dir('r', protocol, task, method, variant, seed)
      for protocol in ('seen', 'held_out') for task in 'ab'
      for method in 'cd' for variant in 'ef' for seed in (0, 1)
  ]
  assert len(set(names)) == len(names) == 32
