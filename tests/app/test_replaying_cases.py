"""What was recorded in every decision case of the examples, replayed by the configuration that decided, is the same."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remit.app import trial
from remit.app.cases import load_cases
from remit.app.folder import Folder
from remit.app.project import load_project
from remit.app.recordings import Installed
from remit.app.replaying import replay
from remit.app.trial import Difference, Play, run_cases
from remit.storage.sqlite_reader import SqliteReader

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("cascade", [False, True])
@pytest.mark.parametrize(("example", "least"), [("finance", 60), ("pipeline", 40), ("drift", 3), ("support", 100)])
def test_the_records_of_a_case_replay_to_what_was_decided(
    example: str, least: int, cascade: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(EXAMPLES / example)
    _, configuration = load_project(folder)
    seen: Counter[str] = Counter()
    recorded = Play._recorded

    def also(play: Any, key: str) -> Iterator[Difference]:
        with SqliteReader(play._installation.folder.database) as reader:
            found = replay(Installed(reader), configuration, cascade=cascade)
        assert found.changes == (), play._case.name
        seen["decisions"] += found.decisions
        yield from recorded(play, key)

    monkeypatch.setattr(trial.Play, "_recorded", also)
    cases = [case for case in load_cases(folder.root / "tests") if not getattr(case.when, "start", True)]
    results = asyncio.run(run_cases(folder, cases))
    assert [result for result in results if not result.passed] == []
    assert seen["decisions"] >= least
