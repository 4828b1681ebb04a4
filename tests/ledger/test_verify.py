"""The verifier on honest exports, and on bytes that were changed: each test is named after what was done."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remit.core import canonical
from remit.core.errors import NotFound
from remit.ledger.export import Manifest, open_export, stream_file
from remit.ledger.findings import CHECKS
from remit.ledger.record import decode_record, encode_record, leaf_hash
from remit.ledger.verify import verify
from tests.ledger.story import (
    AGENT,
    SESSION,
    TD,
    TEXT,
    begin,
    checks_of,
    fix_manifest,
    full,
    lines_of,
    replace_lines,
)


def test_an_honest_export_passes_every_check(tmp_path: Path) -> None:
    folder = full().write(tmp_path / "out")
    report = verify(folder, known=open_export(folder).manifest)
    assert report.findings == []
    assert not report.failed
    assert set(report.checks) == set(CHECKS) - {"events", "openings", "reevaluation"}
    assert report.records == report.checks["links"] == 39
    assert (report.streams, report.permits, report.open_permits) == (6, 6, 0)
    assert {what.partition(",")[0].partition(":")[0] for what in report.unchecked} == {
        "decisions not evaluated again",
        "denials that were only counted",
        "starts of tasks not evaluated again",
    }


def test_an_open_permit_is_no_fault(tmp_path: Path) -> None:
    story = begin()
    story.decision()
    report = story.verify(tmp_path)
    assert not report.failed
    assert report.open_permits == 1


def test_progress_is_told(tmp_path: Path) -> None:
    story = begin()
    for _ in range(3000):
        story.append("administration", "mode", {"mode": "enforce", "until": 0, "by": AGENT})
    told: list[tuple[int, int]] = []
    verify(story.write(tmp_path / "out"), lambda done, total: told.append((done, total)))
    assert told == [(2048, 3006), (3006, 3006)]


def test_an_empty_export_proves_nothing(tmp_path: Path) -> None:
    story = begin()
    story.streams.clear()
    assert story.verify(tmp_path).failed


def test_without_an_export_there_is_nothing_to_verify(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        verify(tmp_path)


def test_the_verifier_stands_alone() -> None:
    code = (
        "import sys, remit.ledger.verify\n"
        "rooms = {name.split('.')[1] for name in sys.modules if name.startswith('remit.')}\n"
        "sys.exit(0 if rooms == {'core', 'ledger'} else str(rooms))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- what was done to the bytes -----------------------------------------------------------------------------


def dropped(lines: list[bytes]) -> list[bytes]:
    return lines[:4] + lines[5:]


def dropped_first(lines: list[bytes]) -> list[bytes]:
    return lines[1:]


def dropped_last(lines: list[bytes]) -> list[bytes]:
    return lines[:-1]


def swapped(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[4], lines[3], *lines[5:]]


def repeated(lines: list[bytes]) -> list[bytes]:
    return [*lines[:4], lines[3], *lines[4:]]


def changed_byte(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[3].replace(b'"amount"', b'"Amount"'), *lines[4:]]


def changed_last(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], lines[-1].replace(b'"completed"', b'"cancelled"')]


def spaced(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[3].replace(b":", b": ", 1), *lines[4:]]


def duplicate_key(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[3].replace(b'"n":4', b'"n":9,"n":4'), *lines[4:]]


def cut(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[3][:100], *lines[4:]]


def other_stream(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[3].replace(b"session/t_1", b"session/t_2"), *lines[4:]]


def other_domain(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[3].replace(b'"td":"acme.example"', b'"td":"evil.example"'), *lines[4:]]


def later_version(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[3].replace(b'"v":1', b'"v":2'), *lines[4:]]


def new_kind(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[3].replace(b'"kind":"decision"', b'"kind":"approval"'), *lines[4:]]


def empty_line(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], b"", *lines[3:]]


@pytest.mark.parametrize(
    ("attack", "check", "n", "said"),
    [
        (dropped, "numbers", 6, "record 5 is missing before it"),
        (dropped_first, "numbers", 2, "record 1 is missing before it"),
        (dropped_last, "heads", 22, "the stream has 22 records, the export says 23"),
        (swapped, "numbers", 4, "record 4 stands again, after record 5"),
        (repeated, "numbers", 4, "record 4 stands again, after record 4"),
        (changed_byte, "links", 5, "record 5 does not follow record 4 as it stands here: its `prev` is another hash"),
        (changed_last, "heads", 23, "the last record is not the one that the export says"),
        (spaced, "canonical", 4, "the bytes are not the canonical ones of the record"),
        (duplicate_key, "canonical", 4, "the bytes are not the canonical ones of the record"),
        (cut, "format", 4, "not a record: it is not JSON"),
        (other_stream, "stream", 4, "the record belongs to the stream `session/t_2`"),
        (other_domain, "trust_domain", 4, "the record belongs to `evil.example`"),
        (later_version, "kind", 4, "version 2 is not known"),
        (new_kind, "kind", 4, "the kind `approval` is not known"),
        (empty_line, "format", 4, "not a record: it is not JSON"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_changed_stream(
    tmp_path: Path, attack: Callable[[list[bytes]], list[bytes]], check: str, n: int, said: str
) -> None:
    folder = full().write(tmp_path / "out")
    replace_lines(folder, attack(lines_of(folder)))
    report = verify(folder)
    assert report.failed
    assert any((f.check, f.stream, f.n, f.message) == (check, SESSION, n, said) for f in report.findings)


def test_truncated_file(tmp_path: Path) -> None:
    folder = full().write(tmp_path / "out")
    path = folder / "streams" / stream_file(SESSION)
    path.write_bytes(path.read_bytes()[:-1])
    assert "format" in checks_of(verify(folder))


def test_missing_file(tmp_path: Path) -> None:
    folder = full().write(tmp_path / "out")
    (folder / "streams" / stream_file(SESSION)).unlink()
    assert checks_of(verify(folder)) == {"files", "heads", "practice"}


def test_pipe_in_place_of_a_file(tmp_path: Path) -> None:
    folder = full().write(tmp_path / "out")
    for path in (folder / "streams" / stream_file(SESSION), folder / "texts" / canonical.sha256(TEXT.encode())):
        path.unlink()
        os.mkfifo(path)
    assert checks_of(verify(folder)) == {"files", "heads", "practice", "texts"}


def test_hidden_file(tmp_path: Path) -> None:
    folder = full().write(tmp_path / "out")
    (folder / "streams" / "hidden.jsonl").write_text("")
    (folder / "texts" / ("0" * 64)).write_text("")
    assert [f.message for f in verify(folder).findings] == [
        "`streams/hidden.jsonl` is not listed",
        f"`texts/{'0' * 64}` is not listed",
    ]


def test_stream_left_out_of_the_list(tmp_path: Path) -> None:
    folder = full().write(tmp_path / "out")
    edit_manifest(folder, lambda raw: raw["streams"].pop())
    assert "files" in checks_of(verify(folder))


def test_stream_listed_twice(tmp_path: Path) -> None:
    folder = full().write(tmp_path / "out")
    edit_manifest(folder, lambda raw: raw["streams"].append(raw["streams"][0]))
    assert checks_of(verify(folder)) == {"files"}


def test_changed_text(tmp_path: Path) -> None:
    folder = full().write(tmp_path / "out")
    (folder / "texts" / canonical.sha256(TEXT.encode())).write_text("forbid (principal, action, resource);")
    assert checks_of(verify(folder)) == {"texts"}


def test_dropped_text(tmp_path: Path) -> None:
    digest = canonical.sha256(TEXT.encode())
    folder = full().write(tmp_path / "out")
    (folder / "texts" / digest).unlink()
    assert checks_of(verify(folder)) == {"texts"}


def test_dropped_text_that_is_not_listed_either(tmp_path: Path) -> None:
    story = full()
    del story.texts[canonical.sha256(TEXT.encode())]
    [finding] = story.verify(tmp_path).findings
    assert finding.message == "the text of `a.cedar` in the policies is not in the export"


def test_changed_record_linked_again_without_the_head(tmp_path: Path) -> None:
    folder = full().write(tmp_path / "out")
    replace_lines(folder, relinked(lines_of(folder), 1, b'"amount"', b'"Amount"'))
    [finding] = verify(folder).findings
    assert (finding.check, finding.n) == ("heads", 23)


def test_changed_record_linked_again_with_the_head_is_seen_against_an_earlier_export(tmp_path: Path) -> None:
    folder = full().write(tmp_path / "out")
    earlier = open_export(folder).manifest
    replace_lines(folder, relinked(lines_of(folder), 8, b'"payments/refund"', b'"payments/resend"'))
    fix_manifest(folder)
    # What the verifier can't see alone, and docs/design/records.md says so.
    assert verify(folder).findings == []
    report = verify(folder, known=earlier)
    assert ("history", SESSION, 23) in {(f.check, f.stream, f.n) for f in report.findings}


def test_truncation_at_the_tail_is_seen_against_an_earlier_export(tmp_path: Path) -> None:
    folder = full().write(tmp_path / "out")
    earlier = open_export(folder).manifest
    replace_lines(folder, lines_of(folder)[:-2])
    fix_manifest(folder)
    assert verify(folder).findings == []
    [finding] = verify(folder, known=earlier).findings
    assert finding.message == "records 22 to 23 were in the earlier export and are gone"


def test_stream_left_out_is_seen_against_an_earlier_export(tmp_path: Path) -> None:
    story = full()
    earlier = open_export(story.write(tmp_path / "before")).manifest
    del story.streams[SESSION]
    report = verify(story.write(tmp_path / "out"), known=earlier)
    assert [(f.check, f.stream) for f in report.findings if f.check == "history"] == [("history", SESSION)]
    # What the workload practised there is told in another stream, and shows it too.
    assert checks_of(report) == {"history", "practice"}


def test_a_stream_that_grew_continues_an_earlier_export(tmp_path: Path) -> None:
    story = full()
    earlier = open_export(story.write(tmp_path / "before")).manifest
    story.identity(AGENT, "quarantined")
    assert verify(story.write(tmp_path / "out"), known=earlier).findings == []


def test_export_of_another_installation(tmp_path: Path) -> None:
    folder = full().write(tmp_path / "out")
    known = Manifest(td="evil.example", created=0, streams=())
    assert checks_of(verify(folder, known=known)) == {"history"}


def test_clock_set_back(tmp_path: Path) -> None:
    story = begin()
    story.decision("deny")
    story.now -= 999
    story.decision("deny")
    report = story.verify(tmp_path)
    assert [f.message for f in report.findings] == ["time goes back by 999 ms"]


def test_first_record_with_a_predecessor(tmp_path: Path) -> None:
    story = begin()
    body = {"mode": "enforce", "until": 0, "by": AGENT}
    story.streams["administration"] = [encode_record(TD, "administration", 1, "0" * 64, 0, "mode", body)]
    assert "links" in checks_of(story.verify(tmp_path))


def test_terminal_escapes_in_a_record(tmp_path: Path) -> None:
    story = begin()
    story.decision(task="\x1b[2Jt\u202e")
    report = story.verify(tmp_path)
    assert report.failed
    assert all(f.message.isprintable() for f in report.findings)


def test_many_findings_are_counted(tmp_path: Path) -> None:
    story = begin()
    for _ in range(1100):
        story.outcome("d_none")
    report = story.verify(tmp_path)
    assert len(report.findings) + report.more == 1100
    assert len(report.findings) == 1000


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_change_of_a_file_is_found(tmp_path: Path, data: st.DataObject) -> None:
    folder = tmp_path / "out"
    if not folder.exists():
        full().write(folder)
    path = data.draw(st.sampled_from(sorted((folder / "streams").iterdir()) + sorted((folder / "texts").iterdir())))
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + data.draw(st.integers(0, 3)) :]
    if changed == whole:
        return
    path.write_bytes(changed)
    try:
        assert verify(folder).failed
    finally:
        path.write_bytes(whole)


def edit_manifest(folder: Path, edit: Callable[[Any], object]) -> None:
    raw = msgspec.json.decode((folder / "export.json").read_bytes())
    edit(raw)
    (folder / "export.json").write_bytes(msgspec.json.encode(raw))


def relinked(lines: list[bytes], at: int, old: bytes, new: bytes) -> list[bytes]:
    """Changes line `at` and links every later record again."""
    result = [*lines[:at], lines[at].replace(old, new)]
    for line in lines[at + 1 :]:
        record = decode_record(line)
        result.append(
            encode_record(TD, record.stream, record.n, leaf_hash(result[-1]), record.t, record.kind, record.body)
        )
    return result
