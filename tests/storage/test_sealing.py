"""A sealed value opens at its own place, under its own key, as it was sealed; keys go without a trace."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as some

from remit.decide.sequence import Erased
from remit.storage import schema, sqlite_erasing
from remit.storage.sealing import KEY_BYTES, Vault, mark_of, name_of, seal, subject_of, unseal

KEY = bytes(range(KEY_BYTES))
PLACE = ("session/t_1", 7, "/context/input/email")


def sealed(value: bytes = b'"ann@private.example"') -> bytes:
    return seal(AESGCM(KEY), *PLACE, b"s" * 16, value)


def test_what_is_sealed_opens_at_its_place_and_is_sealed_differently_each_time() -> None:
    assert unseal(KEY, *PLACE, sealed()) == (b"s" * 16, b'"ann@private.example"')
    assert sealed() != sealed()
    assert b"private" not in sealed()


@pytest.mark.parametrize(
    "place",
    [("session/t_2", 7, PLACE[2]), (PLACE[0], 8, PLACE[2]), (PLACE[0], 7, "/prompt"), ("session/t_1\n7", 7, PLACE[2])],
)
def test_a_value_that_was_moved_to_another_record_or_path_does_not_open(place: tuple[str, int, str]) -> None:
    assert unseal(KEY, *place, sealed()) is None


def test_a_value_does_not_open_under_another_key() -> None:
    assert unseal(bytes(KEY_BYTES), *PLACE, sealed()) is None
    assert unseal(b"", *PLACE, sealed()) is None


@given(some.data())
def test_a_value_that_was_cut_or_changed_anywhere_does_not_open(data: some.DataObject) -> None:
    whole = sealed()
    at = data.draw(some.integers(0, len(whole) - 1))
    assert unseal(KEY, *PLACE, whole[:at]) is None
    changed = bytearray(whole)
    changed[at] ^= data.draw(some.integers(1, 255))
    assert unseal(KEY, *PLACE, bytes(changed)) is None
    assert unseal(KEY, *PLACE, whole + b"\x00") is None


def test_a_subject_has_one_key_until_it_is_erased_and_then_another() -> None:
    vault = Vault(lambda _: None)
    first = vault.seal("ann", "session/t_1", 1, [("/a", b"s" * 16, "x")], 1)[0][3]
    assert vault.seal("ann", "session/t_2", 1, [("/a", b"s" * 16, "x")], 2)[0][3] == first
    other = vault.seal("eve", "session/t_3", 1, [("/a", b"s" * 16, "x")], 2)[0][3]
    assert other != first
    made = vault.take_made()
    assert [name_of(each.id, each.name, each.key) for each in made] == ["ann", "eve"]
    assert made[0].mark == mark_of("ann")
    assert b"ann" not in made[0].name
    vault.forget([first])
    third = vault.seal("ann", "session/t_4", 1, [("/a", b"s" * 16, "x")], 3)[0][3]
    assert third > other > first  # in the order of time: a table of keys grows at its end


def test_a_name_is_sealed_under_its_own_key_only() -> None:
    subject = subject_of("spiffe://example.org/person/ann", 9, 1)
    assert name_of(9, subject.name, subject.key) == "spiffe://example.org/person/ann"
    assert name_of(8, subject.name, subject.key) is None
    assert name_of(9, subject.name, bytes(KEY_BYTES)) is None


def test_no_key_that_was_erased_is_left_in_any_page(tmp_path: Path) -> None:
    """Whatever order keys and openings come and go in: SQLite moves rows, and no copy may stay behind."""
    choice = random.Random(4)
    path = tmp_path / "remit.db"
    vault = Vault(lambda name: sqlite_erasing.newest_key(db, name))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        schema.prepare(db)
        alive: dict[int, tuple[str, bytes]] = {}
        gone: list[bytes] = []
        for turn in range(60):
            db.execute("BEGIN")
            rows = []
            for n in range(40):
                name = f"person-{choice.randrange(400)}-{'x' * choice.randrange(80)}"
                stream = f"session/t_{choice.randrange(200)}"
                values = [(f"/{turn}/{n}", b"s" * 16, "v" * choice.randrange(300))]
                rows += vault.seal(name, stream, turn * 40 + n + 1, values, turn)
            made = vault.take_made()
            alive |= {each.id: (str(name_of(each.id, each.name, each.key)), each.key) for each in made}
            sqlite_erasing.put(db, made, rows, set())
            erased = choice.sample(sorted(alive), len(alive) // 3)
            vault.forget(sqlite_erasing.erase(db, [Erased(keys=tuple(erased))]))
            db.execute("COMMIT")
            gone += [alive.pop(key)[1] for key in erased]
            if turn % 10 == 0:
                assert schema.truncate(db)
        assert schema.truncate(db)
        living = {row[0] for row in db.execute("SELECT key FROM subjects WHERE mark IS NOT NULL")}
        left = db.execute("SELECT count(*) FROM openings o JOIN subjects s ON s.id = o.key WHERE s.mark IS NULL")
        assert left.fetchone() == (0,)
    data = path.read_bytes()
    assert living == {key for _, key in alive.values()}
    assert all(key in data for key in living)
    assert len(gone) > 500
    assert sum(key in data for key in gone) == 0
