"""A matrix of one finished cell, and one of scripts."""

from __future__ import annotations

import json
import sys

import gin
import pytest

from safer_tf.evaluation import report
from safer_tf.experiments import builder
from safer_tf.experiments import cells
from safer_tf.experiments import reproduce


@pytest.fixture
def finished(monkeypatch, tmp_path):
  """Runs a matrix of one cell, whose finished file has a content."""
  gin.clear_config()
  monkeypatch.setattr(report, 'make_report', lambda root: f'{root}/report')

  def go(name, file, content, arguments=()):
    path = tmp_path / file
    path.write_text(json.dumps(content))
    cell = cells.Cell(name, 'none', arguments, str(path))
    monkeypatch.setattr(builder.Builder, 'build', lambda *_: [cell])
    return reproduce.reproduce(str(tmp_path))

  yield go
  gin.clear_config()  # A parsed config stays locked for whatever comes next.


class _ScriptCell(cells.Cell):
  """A cell whose first argument is a line of Python."""

  @property
  def command(self):
    return [sys.executable, '-c', self.arguments[0]]


@pytest.fixture
def run(monkeypatch, tmp_path):
  """Runs given scripts, by name, as if they were the matrix."""
  gin.clear_config()

  def go(scripts, **kwargs):
    todo = [
        _ScriptCell(
            name, 'none',
            (f'{script}; open({str(tmp_path / name)!r}, "w").close()',),
            str(tmp_path / name),
        ) for name, script in scripts.items()
    ]
    monkeypatch.setattr(
        builder.Builder, 'build', lambda self, chosen: todo
    )
    monkeypatch.setattr(report, 'make_report', lambda root: f'{root}/report')
    return reproduce.reproduce(str(tmp_path), **kwargs)

  yield go
  gin.clear_config()
