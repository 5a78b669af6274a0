from __future__ import annotations

import json
import subprocess
import sys

import gin
import numpy as np

import safer_tf
from safer_tf.common import files
from safer_tf.common import provenance


def test_record_names_code_versions_seed_and_inputs(tmp_path):
  path = tmp_path / 'input'
  path.write_text('x')
  hashes = provenance.hashes({'input': str(path)})
  expected = files.sha256(str(path))
  path.write_text('what stands there when the stage ends')
  record = provenance.record(7, hashes, wall_seconds=1.5)
  assert json.loads(json.dumps(record)) == record
  assert record['seed'] == 7 and record['wall_seconds'] == 1.5
  assert record['inputs'] == {'input': expected}
  assert record['packages']['numpy'] == np.__version__
  assert record['git_revision']


def test_the_machine_is_told_with_its_widest_vectors(tmp_path, monkeypatch):
  path = tmp_path / 'cpuinfo'
  path.write_text(
      'processor\t: 0\nmodel name\t: A Model\nflags\t\t: fpu avx avx2 sse\n\n'
      'processor\t: 1\nmodel name\t: Another\nflags\t\t: fpu\n'
  )
  monkeypatch.setattr(provenance, '_CPU_INFO', str(path))
  assert provenance.machine().startswith('A Model avx2, ')
  monkeypatch.setattr(provenance, '_CPU_INFO', str(tmp_path / 'none'))
  assert provenance.machine().endswith(' cores')


def test_revision_outside_a_checkout_is_the_release(monkeypatch):
  def no_git(*arguments, **options):
    raise subprocess.CalledProcessError(128, 'git')

  monkeypatch.setattr(subprocess, 'run', no_git)
  assert provenance.git_revision.__wrapped__().startswith('release-')


def test_a_checkout_it_is_installed_in_is_not_its_own(tmp_path, monkeypatch):
  here = tmp_path / 'venv' / 'safer_tf'
  here.mkdir(parents=True)
  (here / '__init__.py').touch()
  (tmp_path / '.gitignore').write_text('venv\n')
  git = ('git', '-C', str(tmp_path), '-c', 'user.name=a', '-c', 'user.email=b')
  for command in (('init', '-q'), ('add', '.'), ('commit', '-qm', 'theirs')):
    subprocess.run((*git, *command), check=True)
  monkeypatch.setattr(safer_tf, '__file__', str(here / '__init__.py'))
  assert provenance.git_revision.__wrapped__().startswith('release-')
  for command in (('add', '-f', '.'), ('commit', '-qm', 'ours')):
    subprocess.run((*git, *command), check=True)
  head = subprocess.run(
      (*git, 'rev-parse', '--short=12', 'HEAD'), check=True, text=True,
      capture_output=True,
  ).stdout.strip()
  assert provenance.git_revision.__wrapped__() == head


def test_the_revision_is_that_at_the_start(monkeypatch):
  # Were it asked for at the end, a commit made meanwhile would be named.
  known = subprocess.run(
      [sys.executable, '-c', 'from safer_tf.common import provenance as p; '
       'print(p.git_revision.cache_info().currsize)'],
      check=True, capture_output=True, text=True,
  ).stdout
  assert known.strip() == '1'
  before = provenance.git_revision()
  monkeypatch.setattr(provenance, '_git', lambda *arguments: 'a later commit')
  assert provenance.record(0)['git_revision'] == before


def test_a_revision_is_marked_where_code_was_changed(tmp_path, monkeypatch):
  here = tmp_path / 'safer_tf'
  for name in ('safer_tf/__init__.py', 'envs/a.py', 'results/a.csv'):
    files.write_text(str(tmp_path / name), '')
  git = ('git', '-C', str(tmp_path), '-c', 'user.name=a', '-c', 'user.email=b')
  for command in (('init', '-q'), ('add', '.'), ('commit', '-qm', 'ours')):
    subprocess.run((*git, *command), check=True)
  monkeypatch.setattr(safer_tf, '__file__', str(here / '__init__.py'))
  revision = provenance.git_revision.__wrapped__
  (tmp_path / 'results' / 'a.csv').write_text('a row')
  clean = revision()
  assert len(clean) == 12 and not clean.endswith('+')
  (tmp_path / 'envs' / 'a.py').write_text('changed')
  assert revision() == f'{clean}+'


def test_a_record_holds_the_config_of_what_was_called():
  @gin.configurable('recorded_stage')
  def stage(size=3):
    return size

  with gin.unlock_config():
    gin.bind_parameter('recorded_stage.size', 7)
  try:
    assert stage() == 7
    assert 'recorded_stage.size = 7' in provenance.record(0)['config']
  finally:
    gin.clear_config()
