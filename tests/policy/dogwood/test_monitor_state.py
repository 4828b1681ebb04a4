"""What a monitor holds: nothing that no window needs, work that does not grow with the history, checked dumps."""

from __future__ import annotations

import hashlib
import random

import msgspec
import pytest

from remit.policy.compiled.values import Entity, Set, call
from remit.policy.dogwood.ast import Leaf
from remit.policy.dogwood.conditions import parse
from remit.policy.dogwood.history import Event
from remit.policy.dogwood.monitor import plan
from remit.policy.dogwood.monitor.watching import Watch
from tests.policy.dogwood import histories
from tests.policy.dogwood.generating import seeds
from tests.policy.dogwood.test_monitor import INCREMENTAL, NAMES, ask, event, leaf, request

DAY = 86_400_000


def started(*texts: str, bound: int = 1_000_000) -> Watch:
    made = plan([leaf(text, f"p/{number}") for number, text in enumerate(texts)], bound).start()
    assert isinstance(made, Watch)
    return made


def load(monitor: Watch, count: int, step: int = 1_000) -> int:
    """So many events of 50 users, and the time after them."""
    chance = random.Random(5)
    for number in range(count):
        action = chance.choice(("read", "pay", "open", "close"))
        monitor.observe(event(number * step, action, u=f"u{chance.randrange(50)}", n=chance.randrange(10)))
    return count * step


@pytest.mark.parametrize("text", INCREMENTAL)
def test_nothing_is_held_once_the_windows_are_over(text: str) -> None:
    monitor = started(text)
    end = load(monitor, 200)
    monitor.observe(Event("A", "other", "request", end + DAY, {}))
    # A previous event is one that a window may still hold, if it was one of those that are asked for.
    assert monitor.size == 0
    fresh = started(text)
    for number in range(200):
        fresh.observe(Event("A", "other", "request", number, {}))
    assert len(monitor.dump()) <= len(fresh.dump()) + 8  # of the time


def test_random_conditions_hold_no_more_rows_than_events_for_each_operator() -> None:
    for seed in seeds(150):
        chance = random.Random(seed)
        made = histories.Conditions(chance).leaf()
        found = plan([made], 100_000)
        monitor = found.start()
        assert isinstance(monitor, Watch)
        operators = len(found.bounds(made.name).kept)
        for number, each in enumerate(histories.trace(chance, 40)):
            monitor.observe(each)
            assert monitor.size <= operators * (number + 1), f"seed {seed}"


@pytest.mark.parametrize(
    "text",
    [
        "formerly within 1h read{input.u: context.input.u}",
        "(count for (t: Timepoint). where formerly within 1h (pay{input.u: context.input.u} && tp(t))) < 3",
        "(sum a for (a: Long), (t: Timepoint). where formerly within 1h "
        "(pay{input.u: context.input.u, input.n: a} && tp(t))) < 3",
        "!close{input.u: context.input.u} since within 1h open{input.u: context.input.u}",
        "formerly within 1h (read{input.u: context.input.u} && formerly within 1h open{input.u: context.input.u})",
    ],
)
def test_no_row_is_walked_through_however_long_the_history(text: str) -> None:
    for count in (10, 1_000, 5_000):
        monitor = started(text)
        end = load(monitor, count, step=3_600_000 // count)
        ask(monitor, end, u="u1")
        assert monitor.steps == 0
        monitor.observe(event(end, "pay", u="u1", n=1))
        assert monitor.steps == 0


def test_only_the_rows_of_the_same_key_are_walked_through() -> None:
    monitor = started("exists (a: Long). formerly within 1h (pay{input.u: context.input.u, input.n: a} && "
                      "a > context.input.n)")  # fmt: skip
    end = load(monitor, 3_000)
    ask(monitor, end, u="u1", n=100)
    assert 1 <= monitor.steps <= 10  # the amounts of one user


def test_each_kind_of_value_is_stored_and_found_again() -> None:
    text = "formerly within 1h read{input.v: context.input.v}"
    values = (
        "a", 1, -(2**63), True, Entity(("U", "u")), Entity(("set", "x")), Set([1, "1", True]), Set([]),
        {"b": 1, "a": Set(["x"])}, call("decimal", "1.50"), call("ip", "10.0.0.0/8"), call("datetime", "2026-01-01"),
        call("duration", "1h"),
    )  # fmt: skip
    monitor = started(text)
    for number, value in enumerate(values):
        monitor.observe(event(number, v=value))
    again = plan([leaf(text)], 1_000_000).restore(monitor.dump())
    assert again.dump() == monitor.dump()
    for value in values:
        assert again.evaluate(request(v=value), event(100, "other"), NAMES)["p/0"]
    for value in ("1", 2, False, Set([1, "1"]), {"b": 1}, call("decimal", "1.5001"), Set(["x"])):
        assert not again.evaluate(request(v=value), event(100, "other"), NAMES)["p/0"]


def test_a_damaged_dump_is_never_taken() -> None:
    text = (
        "!close{} since within 1h open{input.u: context.input.u} && previous within 1h read{input.u: context.input.u}"
    )
    monitor = started(text)
    load(monitor, 30)
    data = monitor.dump()
    chance = random.Random(1)
    for number in range(len(data)):
        damaged = bytearray(data)
        damaged[number] ^= 1 << chance.randrange(8)
        with pytest.raises(ValueError, match=r"rebuild|no stored state"):
            plan([leaf(text)]).restore(bytes(damaged))
    for end in range(len(data)):
        with pytest.raises(ValueError, match=r"rebuild|no stored state"):
            plan([leaf(text)]).restore(data[:end])


def test_a_dump_of_other_conditions_is_never_taken() -> None:
    data = started("formerly within 1h read{input.u: context.input.u}").dump()
    for other in (
        "formerly within 2h read{input.u: context.input.u}",
        "formerly within 1h read{input.n: context.input.u}",
        "previous within 1h read{input.u: context.input.u}",
    ):
        with pytest.raises(ValueError, match="other conditions"):
            plan([leaf(other)]).restore(data)


def test_a_dump_made_by_hand_is_checked_in_every_part() -> None:
    text = "formerly within 1h read{input.u: context.input.u}"
    monitor = started(text)
    monitor.observe(event(5, u="ada"))
    monitor.observe(event(6, u="bob"))
    seal, state = msgspec.msgpack.decode(monitor.dump())
    good = msgspec.msgpack.decode(state)
    assert good[4] == [[0, [[0, 5, [["ada"]]], [1, 6, [["bob"]]]]]]
    for stores in (
        [[1, good[4][0][1]]],  # of a store that there is not
        [good[4][0], good[4][0]],
        [[0, []]],
        [[0, [[0, 5, [["ada"]]], [0, 6, [["bob"]]]]]],  # two times of one timepoint
        [[0, [[0, 6, [["ada"]]], [1, 5, [["bob"]]]]]],  # time that goes back
        [[0, [[0, 5, [["ada"]]], [1, 6, [["ada"]]]]]],  # one row twice
        [[0, [[0, 5, [["ada", 1]]]]]],
        [[0, [[0, 5, [[None]]]]]],
        [[0, [[0, 5, [[["entity", "U"]]]]]]],
        [[0, [[7, 6, [["ada"]]]]]],  # a timepoint that is still to come
        [[0, 5]],
        [5],
    ):
        forged = msgspec.msgpack.encode([*good[:4], stores, *good[5:]])
        sealed = msgspec.msgpack.encode([_seal(forged), forged])
        with pytest.raises(ValueError, match="no stored state"):
            plan([leaf(text)]).restore(sealed)
    assert _seal(state) == seal


def test_the_digest_is_of_what_is_kept_and_not_of_names_or_thresholds() -> None:
    def digest(*texts: str, name: str = "p") -> str:
        return plan([Leaf(f"{name}/{number}", parse(text)) for number, text in enumerate(texts)]).digest

    one = 'formerly within 1h A::"read"::request{input.u: context.input.u}'
    other = 'previous within 1h A::"pay"::request{}'
    count = '(count for (t: Timepoint). where formerly within 1h (A::"pay"::request{} && tp(t))) < '
    assert digest(one, other) == digest(other, one, name="q")
    assert digest(one) != digest(other)
    assert digest(count + "3") == digest(count + "4")


def _seal(state: bytes) -> bytes:
    return hashlib.blake2b(state, digest_size=16).digest()
