"""Project folders with short paths: a unix socket's path has at most 103 bytes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from remit.app.folder import Folder
from tests.e2e.service import write_project


@pytest.fixture
def short_path() -> Iterator[Path]:
    """An empty folder in a short place."""
    path = Path(tempfile.mkdtemp(prefix="remit-e2e-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def folder(short_path: Path) -> Folder:
    """The small project."""
    return write_project(short_path / "p")
