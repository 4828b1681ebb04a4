"""The index of values: found by who has the key, and gone without a trace where something was erased."""

from __future__ import annotations

import secrets
import sqlite3
import stat
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core import canonical
from remit.core.errors import Unavailable
from remit.ledger.record import decode_record, encode_record
from remit.storage.lineage import KEY_BYTES, Lineage, Reached, Sighting
from remit.storage.lineage_values import MOST, Value, long, normal, values_of

KEY = bytes(range(KEY_BYTES))
SALT = bytes(16)


def opened(path: Path, key: bytes = KEY) -> Lineage:
    return Lineage(path, key)


def values(kind: str, body: dict[str, Any], **openings: Any) -> list[tuple[str, str, bool]]:
    data = encode_record("example.org", "session/t_1", 1, "", 1, kind, body)
    given = {path: (SALT, canonical.encode(value)) for path, value in openings.items()}
    return [tuple(each) for each in values_of(decode_record(data), given).values]  # type: ignore[misc]  # three fields


# --- what a value is ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("  INV-1\n", "INV-1"),
        ("cafe\u0301", "caf\u00e9"),
        (120.5, "120.50"),
        ("120.5000", 120.5),
        (120, "120.0"),
        ("-0", 0),
        (1e16, "10000000000000000"),
        (1e-7, "0.0000001"),
        ("\u00a0x\u2003", "x"),
    ],
)
def test_what_is_the_same_value(one: Any, other: Any) -> None:
    assert normal(one) == normal(other)


@pytest.mark.parametrize(
    ("one", "other"), [("007", "7"), ("INV-1", "inv-1"), ("1e5", "100000"), ("1,5", "1.5"), ("+1", "1")]
)
def test_what_is_another_value(one: str, other: str) -> None:
    assert normal(one) != normal(other)


@pytest.mark.parametrize("nothing", ["", "  ", None, True, False])
def test_what_is_no_value(nothing: Any) -> None:
    assert normal(nothing) is None


@given(st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_normalising_twice_changes_nothing(value: Any) -> None:
    once = normal(value)
    assert once is None or normal(once) == once


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**12), max_value=10**12))
def test_numbers_stay_what_they_are(value: Decimal) -> None:
    text = normal(f"{value:f}")
    assert text is not None
    assert Decimal(text) == value


def test_the_values_of_a_call_are_its_arguments_and_where_it_goes() -> None:
    facts = {"input": {"a": "x", "list": ["y", {"deep": 5}], "yes": True}, "destination": {"host": "h.example"}}
    body = {"action": "s/t", "context": facts | {"task": {"done": {"s/t": {"f": "not an argument"}}}}}
    assert values("decision", body) == [
        ("x", "/context/input/a", False),
        ("y", "/context/input/list/0", False),
        ("5", "/context/input/list/1/deep", False),
        ("h.example", "/context/destination/host", False),
    ]
    assert values("decision", body | {"action": "task.start"}) == []


def test_decimals_digests_and_look_alikes_are_the_values_that_they_stand_for() -> None:
    arguments = {
        "amount": {"__extn": {"fn": "decimal", "arg": "20.00"}},
        "long": {"sha256": "a" * 64, "bytes": 4000},
        "odd": {"literal": {"commitment": "x"}},
    }
    found = values("decision", {"action": "s/t", "context": {"input": arguments}})
    assert [value for value, _, _ in found] == ["20", long("a" * 64), "x"]


def test_personal_values_come_from_openings_that_open_and_keep_their_names_to_themselves() -> None:
    person = {"name": "Kim", "mail of kim@example.org": ["k@example.org"]}
    body = {"decision": "d", "selected": {"who": {"commitment": canonical.commitment(SALT, person)}}}
    assert values("outcome", body) == []
    assert sorted(values("outcome", body, **{"/selected/who": person})) == [
        ("Kim", "/selected/who", True),
        ("k@example.org", "/selected/who", True),
    ]
    assert values("outcome", body, **{"/selected/who": {"name": "Eve"}}) == [], "a forged opening"


def test_a_record_with_more_values_than_are_known_of_one_says_so() -> None:
    body = {"decision": "d", "selected": {str(n): f"v{n}" for n in range(MOST + 50)}}
    data = encode_record("example.org", "session/t_1", 1, "", 1, "outcome", body)
    found = values_of(decode_record(data), {})
    assert (len(found.values), found.is_whole) == (MOST, False)


scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=9)
bodies = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)


@given(bodies)
def test_any_body_has_values_or_none(body: Any) -> None:
    wrapped: tuple[dict[str, Any], ...] = (
        {"intent": "x", "params": body, "prompt": body},
        {"action": "s/t", "context": body},
        {"action": "s/t", "context": {"input": body, "destination": body}},
        {"selected": body},
    )
    for kind in ("task", "decision", "outcome", "lease"):
        for each in wrapped:
            for value, path, _ in values(kind, each):
                assert value
                assert path.startswith("/")


# --- the index ------------------------------------------------------------------------------------------------


def test_a_value_is_found_where_it_stood(tmp_path: Path) -> None:
    with opened(tmp_path / "lineage.db") as index:
        with index.change():
            index.add(3, "session/a", 1, [Value("INV-1", "/params/invoice", is_personal=False)])
            index.add(7, "session/b", 4, [Value("INV-1", "/context/input/i", is_personal=True)])
            index.add(7, "session/b", 4, [Value("INV-1", "/context/input/i", is_personal=True)])
            index.reach(7, "leaf")
        assert index.find(["INV-1"], 10) == (
            [Sighting(3, "/params/invoice", is_personal=False), Sighting(7, "/context/input/i", is_personal=True)],
            2,
        )
        assert index.find(["INV-1"], 1)[0] == [Sighting(7, "/context/input/i", is_personal=True)]
        assert index.find(["INV-2"], 10) == ([], 0)
        assert index.reached() == Reached(7, "leaf")


def test_the_file_holds_no_value_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "lineage.db"
    with opened(path) as index, index.change():
        index.add(1, "session/a", 1, [Value("kim@example.org", "/context/input/email", is_personal=True)])
    assert b"kim" not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_another_installations_key_finds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lineage.db"
    with opened(path) as index, index.change():
        index.add(1, "session/a", 1, [Value("INV-1", "/params/i", is_personal=False)])
        index.reach(1, "leaf")
        mac = index.mac("INV-1")
    with opened(path, secrets.token_bytes(KEY_BYTES)) as index:
        assert index.mac("INV-1") != mac
        assert index.find(["INV-1"], 10) == ([], 0)
        assert index.reached() == Reached()
    with pytest.raises(Unavailable, match="too short"):
        opened(path, b"short")


def test_an_erased_value_leaves_no_trace_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "lineage.db"
    people = [f"person{n}@example.org" for n in range(3_000)]
    with opened(path) as index:
        # In several changes, so that rows are moved from page to page between them.
        for start in range(0, 3_000, 100):
            with index.change():
                for n in range(start, start + 100):
                    kept = Value(f"kept {n}", "/context/input/reason", is_personal=True)
                    gone = Value(people[n], "/context/input/email", is_personal=True)
                    index.add(n + 1, "session/a", n + 1, [gone, kept])
        macs = [index.mac(person) for person in people]
        data = path.read_bytes()
        assert all(mac in data for mac in macs)
        erased = range(0, 3_000, 2)
        with index.change():
            assert index.forget(("session/a", n + 1, "/context/input/email") for n in erased) == len(erased)
        index.tidy()
        files = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert [n for n in erased if macs[n] in files] == []
        assert all(macs[n] in files for n in range(1, 3_000, 2))
        assert index.find(["kept 4"], 5)[1] == 1
        assert index.find([people[4]], 5) == ([], 0)


def test_an_erasure_that_was_interrupted_is_finished_later(tmp_path: Path) -> None:
    path = tmp_path / "lineage.db"
    with opened(path) as index:
        with index.change():
            index.add(1, "session/a", 1, [Value("kim", "/params/name", is_personal=True)])
        with index.change():
            index.forget([("session/a", 1, "/params/name")])
    with opened(path) as index:
        index.tidy()
        assert index.mac("kim") not in path.read_bytes()
        assert index.size() == (0, 0)


def test_what_was_in_clear_stays_when_an_opening_of_the_same_path_is_erased(tmp_path: Path) -> None:
    with opened(tmp_path / "lineage.db") as index, index.change():
        index.add(
            1, "session/a", 1, [Value("x", "/params/a", is_personal=False), Value("y", "/params/a", is_personal=True)]
        )
        assert index.forget([("session/a", 1, "/params/a"), ("session/other", 9, "/params/a")]) == 1
        assert index.find(["x"], 5)[1] == 1


def test_a_file_that_is_no_index_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "lineage.db"
    path.write_bytes(b"something else" * 1000)
    with opened(path) as index:
        assert index.find(["x"], 5) == ([], 0)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with opened(path) as index:
        assert index.reached() == Reached()


def test_a_change_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def change(index: Lineage) -> None:
        with index.change():
            index.add(1, "session/a", 1, [Value("x", "/params/a", is_personal=False)])
            raise RuntimeError

    with opened(tmp_path / "lineage.db") as index:
        with pytest.raises(RuntimeError):
            change(index)
        assert index.size() == (0, 0)
