"""The export folder: written whole or not at all, and read within bounds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.core import bounds, canonical
from remit.core.errors import Conflict, InvalidInput, NotFound, RemitError, TooLarge, Unavailable
from remit.ledger.export import Manifest, decode_manifest, export, open_export, stream_file
from remit.ledger.record import leaf_hash
from tests.ledger.story import SESSION, TD, TEXT, begin, full, lines_of

TEXT_DIGEST = canonical.sha256(TEXT.encode())


def test_what_is_exported_is_read_back(tmp_path: Path) -> None:
    story = full()
    opened = open_export(story.write(tmp_path / "out"))
    manifest = opened.manifest
    assert (manifest.v, manifest.td, manifest.created) == (1, TD, story.now)
    assert {entry.name for entry in manifest.streams} == set(story.streams)
    for entry in manifest.streams:
        lines = [line.data for line in opened.lines(entry)]
        assert lines == story.streams[entry.name]
        assert (entry.records, entry.head) == (len(lines), leaf_hash(lines[-1]))
    assert opened.text(TEXT_DIGEST) == TEXT.encode()
    assert manifest.texts == opened.present("texts") == set(story.texts)
    assert not list(tmp_path.glob(".*"))


def test_the_folder_is_private(tmp_path: Path) -> None:
    assert begin().write(tmp_path / "out").stat().st_mode & 0o077 == 0


def test_an_empty_folder_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    open_export(begin().write(tmp_path / "out"))


def test_an_existing_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(Conflict):
        begin().write(tmp_path / "out")
    assert (tmp_path / "out" / "mine").read_text() == "x"


def test_a_failure_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    def records() -> Iterator[tuple[str, int, bytes]]:
        yield (SESSION, 1, b"{}")
        raise OSError(28, "No space left on device")

    with pytest.raises(Unavailable, match="no space left on device"):
        export(records(), {}, tmp_path / "out", td=TD, created=0)
    assert list(tmp_path.iterdir()) == []


def test_streams_must_come_together(tmp_path: Path) -> None:
    records = [(SESSION, 1, b"{}"), ("administration", 1, b"{}"), (SESSION, 2, b"{}")]
    with pytest.raises(InvalidInput):
        export(records, {}, tmp_path / "out", td=TD, created=0)
    assert list(tmp_path.iterdir()) == []


def test_text_named_out_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        export([], {"../../evil": "x"}, tmp_path / "out", td=TD, created=0)
    assert list(tmp_path.iterdir()) == []


def test_stream_file_named_out_of_the_folder(tmp_path: Path) -> None:
    folder = begin().write(tmp_path / "out")
    manifest = folder / "export.json"
    manifest.write_text(manifest.read_text().replace(stream_file(SESSION), "../export.json"))
    with pytest.raises(InvalidInput):
        open_export(folder)


def test_a_line_without_end_is_read_within_bounds(tmp_path: Path) -> None:
    folder = begin().write(tmp_path / "out")
    (folder / "streams" / stream_file(SESSION)).write_bytes(b"x" * 10 * bounds.RECORD_BYTES)
    opened = open_export(folder)
    [entry] = [entry for entry in opened.manifest.streams if entry.name == SESSION]
    [line] = opened.lines(entry)
    assert not line.complete
    assert len(line.data) == bounds.RECORD_BYTES + 1


def test_a_record_of_exactly_64_kib_is_a_whole_line(tmp_path: Path) -> None:
    data = b"x" * bounds.RECORD_BYTES
    manifest = export([(SESSION, 1, data)], {}, tmp_path / "out", td=TD, created=0)
    [line] = open_export(tmp_path / "out").lines(manifest.streams[0])
    assert line.complete
    assert line.data == data


def test_a_text_over_its_bound_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = begin().write(tmp_path / "out")
    monkeypatch.setattr(bounds, "DOCUMENT_BYTES", 1)
    with pytest.raises(TooLarge):
        open_export(folder).text(TEXT_DIGEST)


def test_no_export_at_all(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        open_export(tmp_path)


def test_an_empty_export(tmp_path: Path) -> None:
    export([], {}, tmp_path / "out", td=TD, created=0)
    assert open_export(tmp_path / "out").manifest.streams == ()


def test_lines_are_the_stored_bytes(tmp_path: Path) -> None:
    story = begin()
    assert lines_of(story.write(tmp_path / "out")) == story.streams[SESSION]


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_give_a_manifest_or_an_error(data: bytes) -> None:
    with contextlib.suppress(RemitError):
        assert isinstance(decode_manifest(data), Manifest)


@settings(deadline=None)
@given(st.data())
def test_any_changed_manifest_gives_a_manifest_or_an_error(data: st.DataObject) -> None:
    head = "0" * 64
    whole = b'{"v":1,"td":"a","created":0,"streams":[{"name":"x","file":"%s","records":1,"head":"%s"}],"texts":["%s"]}'
    changed = bytearray(whole % (stream_file("x").encode(), head.encode(), head.encode()))
    assert isinstance(decode_manifest(bytes(changed)), Manifest)
    at = data.draw(st.integers(0, len(changed)))
    changed[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    with contextlib.suppress(RemitError):
        assert isinstance(decode_manifest(bytes(changed)), Manifest)
