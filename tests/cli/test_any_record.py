"""Any records, also those that somebody else wrote into the database, give lines and details or errors of ours."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from remit.console import account
from remit.console.detail import detail, find, simplified
from remit.console.history import KINDS, History
from remit.console.lines import Columns, as_json
from remit.console.tasks import task_table, tasks_of
from remit.core.errors import RemitError
from remit.ledger.record import encode_record
from remit.storage.index_choice import Choice
from remit.storage.schema import prepare
from remit.storage.sqlite_reader import SqliteReader

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=12)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = (
    "id", "task", "root", "parent", "intent", "workload", "starter", "state", "decision", "count", "result", "standing",
    "by", "reason", "action", "effect", "subject", "pep", "context", "principal", "usage", "adds", "obligations",
    "expires", "deadline", "mode", "would", "digest", "config", "serverEffect", "enforcement", "params", "limits",
)  # fmt: skip
well_formed: dict[str, Any] = {
    "id": "d_1", "task": "t_1", "root": "t_1", "parent": "", "intent": "answer", "workload": "spiffe://a/workload/b",
    "starter": "spiffe://a/person/c", "state": "open", "decision": "d_1", "count": 1, "result": "response",
    "standing": "believed", "by": "spiffe://a/pep/d", "reason": {"code": "x", "message": "y", "policies": ["p"]},
    "action": "s/t", "effect": "permit", "subject": "spiffe://a/workload/b", "pep": "spiffe://a/pep/d",
    "context": {"input": {"a": {"commitment": "00"}}, "task": {"intent": "answer"}}, "principal": {}, "usage": {},
    "adds": {}, "obligations": [], "expires": 5, "deadline": 9, "mode": "enforce", "would": "", "digest": "00",
    "config": "00", "serverEffect": "read", "enforcement": "pep", "params": {}, "limits": [], "prompt": "",
    "caseType": "", "onBehalfOf": "", "key": "k", "emergency": False,
}  # fmt: skip
bodies = st.dictionaries(st.sampled_from(NAMES), values, max_size=4).map(lambda some: well_formed | some)
records = st.lists(st.tuples(st.sampled_from(KINDS), bodies | st.dictionaries(st.text(max_size=6), values)), max_size=4)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records") / "remit.db"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(records)
def test_any_bodies(place: Path, some: list[tuple[str, dict[str, Any]]]) -> None:
    place.unlink(missing_ok=True)
    database = sqlite3.connect(place, isolation_level=None)
    prepare(database)
    for number, (kind, body) in enumerate(some, 1):
        data = encode_record("a", "session/t_1", number, "", 0, kind, body)
        key = {"decision": "d_1", "task": "t_1"}.get(kind)
        database.execute(
            "INSERT INTO records (stream, n, t, kind, key, bytes) VALUES (?, ?, 0, ?, ?, ?)",
            ("session/t_1", number, kind, key, data),
        )
    database.execute("INSERT INTO openings VALUES ('session/t_1', 1, '/context/input/a', 1, x'00')")
    database.close()
    console = Console(width=80, quiet=True)
    with SqliteReader(place) as reader:
        history = History(reader)
        for line in history.last(Choice(), 100):
            Columns(80).line(line)
            as_json(line)
        for key in ("d_1", "t_1"):
            try:
                found = detail(reader, find(reader, key))
                simplified(found)
            except RemitError:
                continue
            account.show(console, found)
        with suppress(RemitError):
            task_table(tasks_of(reader, 0))
