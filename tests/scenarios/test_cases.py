"""The decision cases of the examples and of a new folder, which state every sentence of the two scenarios."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from remit.app.cases import load_cases
from remit.app.folder import Folder
from remit.app.scaffold import make_project
from remit.app.trial import run_cases

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("example", "least"),
    [
        ("finance", 50),
        ("pipeline", 50),
        ("support", 38),
        ("authzen/todo", 15),
        ("authzen/api-gateway", 7),
        ("authzen/search", 15),
        ("authzen/idp", 4),
        ("authzen/certification", 8),
    ],
)
def test_the_cases_of_an_example_hold(example: str, least: int) -> None:
    cases = load_cases(EXAMPLES / example / "tests")
    results = asyncio.run(run_cases(Folder(EXAMPLES / example), cases))
    assert len(results) >= least
    assert [result for result in results if not result.passed] == []


def test_the_cases_of_a_new_folder_hold(tmp_path: Path) -> None:
    make_project(tmp_path / "project")
    cases = load_cases(tmp_path / "project" / "tests")
    results = asyncio.run(run_cases(Folder(tmp_path / "project"), cases))
    assert len(results) == 4
    assert [result for result in results if not result.passed] == []


def test_running_cases_leaves_nothing_in_the_folder(tmp_path: Path) -> None:
    make_project(tmp_path / "project")
    project = tmp_path / "project"

    def files() -> dict[Path, int]:
        # What is remembered of policies may stand there: it only makes the next start faster.
        return {path: path.stat().st_mtime_ns for path in project.rglob("*") if ".remit/cache" not in str(path)
                and path.name != ".remit"}  # fmt: skip

    before = files()
    asyncio.run(run_cases(Folder(project), load_cases(project / "tests")))
    assert files() == before
