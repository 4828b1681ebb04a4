"""Projects for the commands: one without a past, and copies of one with a past."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from remit.app.folder import Folder
from tests.cli import desk
from tests.cli.desk import Command, Story


@pytest.fixture(scope="session")
def _told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Folder, Story]:
    folder = desk.write_project(tmp_path_factory.mktemp("desk"))
    return folder, desk.make_history(folder)


@pytest.fixture
def folder(tmp_path: Path, _told: tuple[Folder, Story]) -> Folder:
    """A project with a history, a copy of its own for each test."""
    shutil.copytree(_told[0].root, tmp_path / "desk")
    return Folder(tmp_path / "desk")


@pytest.fixture
def story(_told: tuple[Folder, Story]) -> Story:
    """The ids of what happened in `folder`."""
    return _told[1]


@pytest.fixture
def remit(folder: Folder) -> Command:
    """Runs commands in `folder`."""
    return desk.command_in(folder.root)


@pytest.fixture
def fresh(tmp_path: Path) -> Folder:
    """A project in which nothing has happened."""
    return desk.write_project(tmp_path / "fresh")
