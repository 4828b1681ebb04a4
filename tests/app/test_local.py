"""A service that is started on demand."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest

from remit.app.folder import Folder
from remit.app.local import ensure_service, is_served
from remit.app.scaffold import make_project


def test_attack_code_in_the_working_directory_runs_as_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("project", "workspace"):
        planted = tmp_path / place / "remit"
        planted.mkdir(parents=True)
        (planted / "__init__.py").touch()
        (planted / "__main__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    make_project(tmp_path / "project")
    monkeypatch.chdir(tmp_path / "workspace")
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def popen(*args: Any, **options: Any) -> Any:
        started.append(start(*args, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    folder = Folder(tmp_path / "project")
    try:
        asyncio.run(ensure_service(folder))
        assert is_served(folder)
    finally:
        for process in started:
            process.terminate()
            process.wait(20)
    assert not (tmp_path / "ran").exists()
