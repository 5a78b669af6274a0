"""The wheel carries everything and runs from another folder."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
  folder = tmp_path_factory.mktemp('wheel')
  # A copy, for a build leaves files behind that a later wheel would carry.
  source = folder / 'source'
  source.mkdir()
  for name in ('setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE'):
    shutil.copy(os.path.join(_ROOT, name), source)
  for name in ('safer_tf', 'envs', 'bin', 'gin'):
    shutil.copytree(
        os.path.join(_ROOT, name), source / name,
        ignore=shutil.ignore_patterns('__pycache__'),
    )
  subprocess.run(
      [sys.executable, '-m', 'pip', 'wheel', str(source), '--quiet',
       '--no-deps', '--no-build-isolation', '--wheel-dir', str(folder)],
      check=True,
  )
  (found,) = folder.glob('*.whl')
  return str(found)


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
  """`bin` folder of an environment that holds nothing but the wheel."""
  folder = tmp_path_factory.mktemp('installed')
  venv.create(folder, with_pip=False)
  python = str(folder / 'bin' / 'python')
  subprocess.run(
      [sys.executable, '-m', 'pip', '--python', python, 'install', '--quiet',
       '--no-deps', '--no-index', wheel],
      check=True,
  )
  # The dependencies are lent by this environment, without its own safer_tf,
  # which an editable install adds by a file that is only read there.
  packages = subprocess.run(
      [python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'],
      check=True, text=True, capture_output=True,
  ).stdout.strip()
  with open(os.path.join(packages, 'dependencies.pth'), 'w') as file:
    file.write(sysconfig.get_path('purelib') + '\n')
  return str(folder / 'bin')


def _entry_points():
  config = configparser.ConfigParser()
  config.read(os.path.join(_ROOT, 'setup.cfg'))
  lines = config['options.entry_points']['console_scripts'].split('\n')
  return dict(line.split(' = ') for line in lines if line)


def _files(top, *endings):
  for folder, _, names in os.walk(os.path.join(_ROOT, top)):
    for name in names:
      if name.endswith(endings):
        yield os.path.relpath(
            os.path.join(folder, name), os.path.join(_ROOT, top)
        )


def test_wheel_holds_every_module_config_and_table(wheel):
  with zipfile.ZipFile(wheel) as archive:
    held = set(archive.namelist())
  expected = {
      f'{target}/{name}'
      for top, target, endings in (
          ('safer_tf', 'safer_tf', ('.py',)),
          ('bin', 'safer_tf/bin', ('.py',)),
          ('gin', 'safer_tf/configs', ('.gin',)),
          ('envs', 'envs', ('.py', '.csv', '.json', '.urdf')),
      )
      for name in _files(top, *endings)
  }
  assert expected <= held
  assert not any(name.startswith(('tests/', 'gin/')) for name in held)


@pytest.mark.parametrize('command', sorted(_entry_points()))
def test_command_answers_from_another_folder(installed, tmp_path, command):
  done = subprocess.run(
      [os.path.join(installed, command), '--help'], cwd=tmp_path, text=True,
      capture_output=True, timeout=60,
  )
  assert done.returncode == 0, done.stderr
  for flag in ('--root_dir', '--gin_file', '--gin_bindings', '--seed'):
    assert flag in done.stdout


def test_installed_config_is_found_from_another_folder(installed, tmp_path):
  done = subprocess.run(
      [os.path.join(installed, 'python'), '-c',
       'import envs; from safer_tf.common import config\n'
       'print(config.config_dir(), len(envs.ALL), *config.shipped())'],
      cwd=tmp_path, text=True, capture_output=True, check=True,
  )
  folder, tasks, *shipped = done.stdout.split()
  assert folder.startswith(os.path.dirname(installed))
  assert tasks == '40'
  assert shipped == sorted(_files('gin', '.gin'))


def test_gin_folder_does_not_shadow_gin_config():
  assert not os.path.exists(os.path.join(_ROOT, 'gin', '__init__.py'))
