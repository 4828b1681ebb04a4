"""Any records, also those that somebody else wrote into the database, have a story and a lineage, or an error."""

from __future__ import annotations

import io
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from remit.app.lineage import catch_up
from remit.console.lineage import lineage_of
from remit.console.lineage_page import lineage_page
from remit.console.lineage_text import show_lineage
from remit.console.story import as_json, story_of
from remit.console.story_page import story_page
from remit.console.story_text import show_story
from remit.core.errors import RemitError
from remit.ledger.record import encode_record
from remit.storage.lineage import Lineage
from remit.storage.schema import prepare
from remit.storage.sqlite_reader import SqliteReader
from tests.cli.test_any_record import bodies, values
from tests.console.test_page import Page

KINDS = ("task", "decision", "denials", "outcome", "resolution", "lease", "mode")
records = st.lists(
    st.tuples(st.sampled_from(KINDS), bodies | st.dictionaries(st.text(max_size=6), values), st.integers(0, 2**53 - 1)),
    max_size=6,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records") / "remit.db"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(records)
def test_any_session(place: Path, some: list[tuple[str, dict[str, Any], int]]) -> None:
    place.unlink(missing_ok=True)
    database = sqlite3.connect(place, isolation_level=None)
    prepare(database)
    for number, (kind, body, at) in enumerate(some, 1):
        data = encode_record("a", "session/t_1", number, "", at, kind, body)
        key = {"decision": "d_1", "task": "t_1"}.get(kind)
        sql = "INSERT INTO records (stream, n, t, kind, key, bytes) VALUES (?, ?, ?, ?, ?, ?)"
        database.execute(sql, ("session/t_1", number, at, kind, key, data))
    database.close()
    shown = io.StringIO()
    console = Console(file=shown, width=80, highlight=False, markup=False, emoji=False)
    with SqliteReader(place) as reader:
        stored = reader.find("t_1")
        if stored is not None:
            with suppress(RemitError):
                told = story_of(reader, stored, 0)
                show_story(console, reader, told)
                b"".join(as_json(reader, told))
                Page(story_page(reader, told, personal=True)).check()
        with Lineage(place.with_name("lineage.db"), bytes(32)) as index:
            catch_up(reader, index)
            for value in ("answer", "b", "0", "1"):
                sightings, total = index.find([value], 100)
                lines = lineage_of(reader, sightings, total)
                show_lineage(console, lines)
                Page(lineage_page(lines, 0)).check()
    assert [c for c in shown.getvalue() if not c.isprintable() and c != "\n"] == []
