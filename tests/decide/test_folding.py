"""Denials that repeat: counted, bounded, and forgotten with what was never stored."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.decide import folding
from remit.decide.folding import Denials, denial_key

MINUTE = 60_000


def body(id_: str = "d_1", *, task: str = "t_1", digest: str = "0", code: str = "not_justified") -> dict[str, Any]:
    return {
        "id": id_,
        "task": task,
        "subject": "s",
        "pep": "p",
        "action": "a/b",
        "digest": digest,
        "effect": "deny",
        "reason": {"code": code, "message": "m", "policies": []},
        "context": {"large": "x" * 1000},
    }


def test_a_repetition_is_counted_within_the_time_only() -> None:
    denials = Denials()
    key = denial_key(body())
    assert denials.repeat("s", key, 0, MINUTE) is None
    denials.note("s", body(), 1000)
    assert denials.repeat("s", key, 1000 + MINUTE, MINUTE) is None
    first = denials.repeat("s", key, 1000 + MINUTE - 1, MINUTE)
    assert first is not None
    assert (first.count, first.answer["id"]) == (1, "d_1")
    assert "context" not in first.answer
    assert denials.repeat("other", key, 2000, MINUTE) is None
    for changed in ({"digest": "1"}, {"task": "t_2"}, {"code": "limit_reached"}):
        assert denials.repeat("s", denial_key(body(**changed)), 2000, MINUTE) is None


def test_counts_come_out_once_and_the_oldest_first() -> None:
    denials = Denials()
    for n in range(5):
        denials.note("s", body(f"d_{n}", digest=str(n)), n)
        for _ in range(n):
            denials.repeat("s", denial_key(body(digest=str(n))), n, MINUTE)
    assert denials.settle(-1, 10) == []
    assert denials.settle(2, 10) == [("s", "d_1", 1), ("s", "d_2", 2)]
    assert denials.settle(10, 1) == [("s", "d_3", 3)]
    assert denials.settle(10, 10) == [("s", "d_4", 4)]
    assert denials.settle(10, 10) == []
    assert len(denials) == 0


def test_a_new_record_takes_the_place_of_the_old_one_whose_count_is_kept() -> None:
    denials = Denials()
    denials.note("s", body("d_1"), 0)
    denials.repeat("s", denial_key(body()), 1, MINUTE)
    denials.note("s", body("d_2"), MINUTE)
    repeated = denials.repeat("s", denial_key(body()), MINUTE, MINUTE)
    assert repeated is not None
    assert repeated.answer["id"] == "d_2"
    assert denials.settle(0, 10) == [("s", "d_1", 1)]


def test_keys_are_known_as_long_as_their_denial() -> None:
    denials = Denials()
    denials.note("s", body(), 0)
    denials.repeat("s", denial_key(body()), 1, MINUTE, "key")
    answer = denials.answered("s", "key")
    assert answer is not None
    assert answer["id"] == "d_1"
    assert denials.answered("other", "key") is None
    denials.settle(0, 10)
    assert denials.answered("s", "key") is None
    assert denials._keys == {}


def test_what_is_kept_is_bounded_and_no_count_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "KEPT", 3)
    monkeypatch.setattr(folding, "KEYS", 2)
    denials = Denials()
    for n in range(10):
        denials.note("s", body(f"d_{n}", digest=str(n)), n)
        denials.repeat("s", denial_key(body(digest=str(n))), n, MINUTE, f"k{n}")
    assert len(denials) == 3
    assert len(denials._keys) <= 2
    counted = denials.settle(100, 100)
    assert sorted(c.decision for c in counted) == [f"d_{n}" for n in range(10)]


def test_forgetting_a_stream_leaves_the_others() -> None:
    denials = Denials()
    for stream in ("a", "b"):
        denials.note(stream, body(), 0)
        denials.repeat(stream, denial_key(body()), 1, MINUTE, "key")
    denials.forget(["a"])
    assert denials.answered("a", "key") is None
    assert denials.answered("b", "key") is not None
    assert [counted.stream for counted in denials.settle(0, 10)] == ["b"]


EVENTS = st.tuples(
    st.sampled_from(["ask", "ask", "ask", "settle"]), st.sampled_from("ab"), st.integers(0, 3), st.integers(0, MINUTE)
)


@given(st.lists(EVENTS, max_size=60))
def test_every_denial_is_recorded_or_counted(events: list[tuple[str, str, int, int]]) -> None:
    denials, now, asked, recorded, counted = Denials(), 0, 0, 0, 0
    for what, stream, digest, ms in events:
        now += ms
        if what == "settle":
            counted += sum(found.times for found in denials.settle(now - MINUTE, 2))
            continue
        asked += 1
        made = body(f"d_{asked}", digest=str(digest))
        if denials.repeat(stream, denial_key(made), now, MINUTE, f"k{asked}") is None:
            recorded += 1
            denials.note(stream, made, now)
    while found := denials.settle(now, 3):
        counted += sum(each.times for each in found)
    assert recorded + counted == asked
    assert not denials._keys
