"""A matrix of one finished cell."""

from __future__ import annotations

import json

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
