"""Records of erasures against the records that values were erased from: what a service that lies would write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from remit.ledger.erasures import ELSEWHERE, ERASED
from tests.ledger.story import SERVICE, SESSION, STARTER, Story, begin, found, only

COMMITMENT = {"commitment": "a" * 64}
CONTEXT = {"input": {"email": COMMITMENT, "lines": [COMMITMENT, 2], "odd": {"literal": {"a/b": COMMITMENT}}}}
EMAIL = "/context/input/email"


def told(*paths: str, stream: str = SESSION, n: int = 0, **more: Any) -> Story:
    """A decision with personal values, and an erasure of those at these paths."""
    story = begin()
    story.decision(context=CONTEXT)
    number = n or len(story.streams[SESSION])
    openings = [[stream, number, path] for path in paths]
    body = {
        "by": STARTER,
        "count": len(paths),
        "id": "e_1",
        "keys": [],
        "openings": openings,
        "reason": "",
        "what": "task",
    }
    story.now += 1
    story.append("administration", "erasure", body | more)
    return story


@pytest.mark.parametrize(
    "paths",
    [(EMAIL,), ("/context/input/lines/0", "/digest"), ("/context/input/odd/a~1b",), (EMAIL, EMAIL)],
)
def test_what_was_committed_to_may_be_erased_and_is_counted(tmp_path: Path, paths: tuple[str, ...]) -> None:
    story = told(*paths)
    report = story.verify(tmp_path)
    assert report.findings == []
    assert report.unchecked[ERASED] == len(set(paths))
    assert report.checks["erasures"] == 1 + len(set(paths))


@pytest.mark.parametrize("by", [SERVICE, STARTER])
def test_a_key_may_go_without_an_opening_that_is_named(tmp_path: Path, by: str) -> None:
    assert found(tmp_path, told(keys=["0" * 16], by=by, what="subject")) == []


@pytest.mark.parametrize(
    "path", ["/context/input/lines/1", "/context/input/phone", "/context/input", "/prompt", "email"]
)
def test_an_erasure_of_what_was_never_personal(tmp_path: Path, path: str) -> None:
    said = f"a value at `{path}` was erased, and none is committed to there"
    only(tmp_path, told(path), "erasures", said)


def test_an_erasure_that_miscounts(tmp_path: Path) -> None:
    only(tmp_path, told(EMAIL, count=2), "erasures", "it counts 2 values and names 1")


def test_an_erasure_of_nothing(tmp_path: Path) -> None:
    only(tmp_path, told(), "erasures", "it erases nothing")


def test_an_erasure_by_nobody(tmp_path: Path) -> None:
    nobody = STARTER + "s"
    said = f"values are erased, and `{nobody}` is not registered in this export"
    only(tmp_path, told(EMAIL, by=nobody), "erasures", said)


def test_an_erasure_by_somebody_who_was_stopped(tmp_path: Path) -> None:
    story = begin()
    story.identity(STARTER, "quarantined")
    story.now += 1
    body = {"by": STARTER, "count": 0, "id": "e_1", "keys": ["0" * 16], "openings": [], "reason": "", "what": "subject"}
    story.append("administration", "erasure", body)
    only(tmp_path, story, "erasures", f"values are erased, and `{STARTER}` was quarantined")


def test_an_erasure_in_a_stream_that_there_can_not_be(tmp_path: Path) -> None:
    only(tmp_path, told(EMAIL, stream="nowhere"), "erasures", "`nowhere` is not a stream's name")


def test_erasures_from_records_that_are_not_here_are_counted(tmp_path: Path) -> None:
    story = told(EMAIL, stream="session/t_9", n=3)
    report = story.verify(tmp_path)
    assert report.findings == []
    assert report.unchecked[ELSEWHERE] == 1


@pytest.mark.parametrize(
    "more",
    [{"keys": ["short"]}, {"openings": [[SESSION, 0, EMAIL]]}, {"what": "everything"}, {"openings": [[SESSION, 1]]}],
)
def test_an_erasure_whose_body_is_not_one(tmp_path: Path, more: dict[str, Any]) -> None:
    check = "erasures" if "openings" in more else "body"
    assert {finding.check for finding in told(EMAIL, **more).verify(tmp_path).findings} == {check}


def test_an_erasure_in_a_session_has_no_place_there(tmp_path: Path) -> None:
    story = told(EMAIL)
    story.append(SESSION, "erasure", {"id": "e_1"})
    only(tmp_path, story, "kind", "a record of kind `erasure` has no place in `session`")
