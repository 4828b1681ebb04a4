"""One recorded run of a service, cut in many places."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.disk import Change, read_journal
from tests.faults.running import acknowledged_in, build_recorder, run_victim
from tests.faults.victim import make_project

# More runs than those that fit into minutes: REMIT_FAULTS=10 makes ten times as many.
TIMES = int(os.environ.get("REMIT_FAULTS", "1"))


@dataclass(frozen=True)
class Recorded:
    """A run from the first start on: what stood there before, and every change in order."""

    start: Path
    changes: list[Change]


@pytest.fixture(scope="session")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that is preloaded."""
    return build_recorder(tmp_path_factory.mktemp("recorder"))


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory, recorder: Path) -> Recorded:
    """A service that starts for the first time, decides, publishes and stops."""
    folder = tmp_path_factory.mktemp("recorded")
    root = folder / "project"
    make_project(root)
    shutil.copytree(root, folder / "start")
    ended = run_victim(root, 20, recorder, folder / "journal")
    assert ended.returncode == 0, ended.stderr
    assert len(acknowledged_in(root)) == 60
    return Recorded(folder / "start", read_journal(folder / "journal", root))


@pytest.fixture(scope="session")
def before(tmp_path_factory: pytest.TempPathFactory, recorder: Path) -> Path:
    """An installation that ran and was stopped; to be copied."""
    root = tmp_path_factory.mktemp("before") / "project"
    make_project(root)
    ended = run_victim(root, 12, recorder)
    assert ended.returncode == 0, ended.stderr
    return root
