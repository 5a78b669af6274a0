"""Bad input to a real binary: one line, exit code 2, nothing half-written."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import types

import gin
import pytest

from safer_tf.common import cli
from safer_tf.common import config

_BIN = os.path.join(os.path.dirname(__file__), '..', '..', 'bin')
_PLENTY = '--gin_bindings=collect_data.num_steps = 10'


def _run(binary, *arguments, cwd=None):
  return subprocess.run(
      [sys.executable, os.path.join(_BIN, binary), *arguments], text=True,
      capture_output=True, cwd=cwd, timeout=120,
  )


def _binaries():
  return sorted(
      name for name in os.listdir(_BIN)
      if name.endswith('.py') and name != '__init__.py'
  )


@pytest.mark.parametrize('binary', _binaries())
def test_help_lists_the_shared_flags(binary):
  done = _run(binary, '--help')
  assert done.returncode == 0, done.stderr
  for flag in ('--root_dir', '--gin_file', '--gin_bindings', '--seed'):
    assert flag in done.stdout


@pytest.mark.parametrize('arguments, message', [
    ([], 'Missing gin parameter.*collect_data.*num_steps'),
    (['--gin_bindings=collect_data.num_step = 10'], 'num_step'),
    (['--gin_file=bse.gin'], 'base.gin'),
    (['--sed=1'], 'sed.*seed'),
    (['--seed=-1'], 'seed.*-1'),
    (['--root_dir='], 'root_dir=.*is empty'),
    ([_PLENTY, "--gin_bindings=collect_data.make_env = 'x'"],
     "make_env = 'x', expected .*Callable"),
    (['10000'], "Unexpected argument '10000'"),
    ([_PLENTY, "--gin_bindings=collect_data.tasks = ('extrakt_00',)"],
     'extrakt_00.*extract_00'),
    ([_PLENTY, '--root_dir=/dev/null/run'], '/dev/null/run'),
])
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, arguments, message):
  done = _run(
      'collect_data.py', f'--root_dir={tmp_path / "run"}', *arguments
  )
  assert done.returncode == 2, done.stderr
  lines = [
      line for line in done.stderr.splitlines() if line.startswith('error: ')
  ]
  assert len(lines) == 1 and 'Traceback' not in done.stderr
  assert re.search(message, lines[0]), lines[0]
  assert 'In call to' not in lines[0]
  assert not os.path.exists(tmp_path / 'run')


@pytest.mark.parametrize('binary, arguments, message', [
    ('reproduce.py', ['--address=127.0.0.1:9'], 'add --executor=ray'),
    ('evaluate.py', ['--calibrate', '--prior_alone'], 'give one'),
])
def test_flags_that_do_not_go_together_are_told(
    tmp_path, binary, arguments, message
):
  done = _run(binary, f'--root_dir={tmp_path / "run"}', *arguments)
  assert done.returncode == 2, done.stderr
  assert message in done.stderr and 'Traceback' not in done.stderr
  assert not os.path.exists(tmp_path / 'run')


def test_what_the_system_refuses_is_one_line_within_gin_too(tmp_path):
  # gin raises a copy of what a configurable raised, without its errno.
  @gin.configurable
  def opens(path):
    return open(path, encoding='utf-8')

  with pytest.raises(OSError) as raised:
    opens(str(tmp_path))
  assert cli._translated(raised.value) == f"'{tmp_path}': Is a directory."


def test_output_that_nobody_reads_is_told(tmp_path):
  read, write = os.pipe()
  os.close(read)
  done = subprocess.run(
      [
          sys.executable, os.path.join(_BIN, 'collect_data.py'), _PLENTY,
          f'--root_dir={tmp_path}', "--gin_bindings=collect_data.num_workers=1",
          "--gin_bindings=collect_data.tasks = ('extract_00',)",
      ], stdout=write, stderr=subprocess.PIPE, text=True, timeout=120,
  )
  os.close(write)
  assert done.returncode == 2
  assert done.stderr.count('error: Nobody reads the output any more') == 1
  assert 'Exception' not in done.stderr and 'Traceback' not in done.stderr


def test_an_interruption_says_how_to_go_on(tmp_path):
  process = subprocess.Popen(
      [
          sys.executable, os.path.join(_BIN, 'collect_data.py'),
          f'--root_dir={tmp_path}', "--gin_bindings=collect_data.num_workers=1",
          '--gin_bindings=collect_data.num_steps = 100000',
      ], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
      env={**os.environ, 'SAFER_PROGRESS_SECONDS': '0'},
      # Who runs the tests in the background of a shell has it ignored.
      preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
  )
  told = ''
  while 'Collecting' not in told:  # It is at work.
    told = process.stderr.readline()
    assert told, process.wait()
  process.send_signal(signal.SIGINT)
  _, told = process.communicate(timeout=60)
  assert process.returncode == 130
  assert 'Interrupted; run the same command to go on.' in told
  assert 'Traceback' not in told


def test_gin_files_are_parsed_in_the_order_of_the_flags(monkeypatch):
  parsed = []
  monkeypatch.setattr(config, 'parse', lambda *given: parsed.append(given))
  monkeypatch.setattr(cli.flags, 'FLAGS', types.SimpleNamespace(
      gin_file=['a.gin', 'b.gin'], gin_bindings=['a.b = 1', 'a.b = 2'],
  ))
  cli.parse_config()
  assert parsed == [(['a.gin', 'b.gin'], ['a.b = 1', 'a.b = 2'])]
