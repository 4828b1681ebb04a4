"""Joining obligations: whatever the order, the strictest of each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from remit.core.decisions import Obligation
from remit.core.obligations import KNOWN, LIMIT, NOTIFY, REDACT, SELECT, join, terms

PATHS = st.sampled_from(["a", "a.b", "c", ""])
FIELDS = st.lists(PATHS.filter(bool), max_size=3).map(tuple)
ONE = st.one_of(
    st.builds(lambda fields: Obligation(id=REDACT, fields=fields), FIELDS),
    st.builds(lambda fields: Obligation(id=SELECT, fields=fields), FIELDS),
    st.builds(
        lambda items, size: Obligation(id=LIMIT, items=items, bytes=size),
        st.dictionaries(PATHS, st.integers(1, 9), max_size=3),
        st.integers(0, 9),
    ),
    st.builds(lambda to: Obligation(id=NOTIFY, to=to), st.sampled_from(["security", "audit"])),
    st.builds(lambda: Obligation(id="report_first")),
    st.builds(lambda fields: Obligation(id="unknown", fields=fields), FIELDS),
)
SOME = st.lists(ONE, max_size=6)


def strictness(obligations: tuple[Obligation, ...] | list[Obligation]) -> set[tuple[object, ...]]:
    """Every single demand, limits as each number that they rule out."""
    found: set[tuple[object, ...]] = set()
    for each in obligations:
        found |= {(each.id, "field", field) for field in each.fields}
        found |= {(each.id, path, more) for path, most in each.items.items() for more in range(most + 1, 12)}
        found |= {(each.id, "bytes", more) for more in range(each.bytes + 1, 12)} if each.bytes else set()
        found |= {(each.id, "to", each.to)} if each.to else {(each.id,)}
    return found


@given(SOME, st.randoms(use_true_random=False))
def test_the_order_in_which_policies_come_makes_no_difference(some: list[Obligation], random: object) -> None:
    mixed = list(some)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert join(mixed) == join(some)


@given(SOME, SOME, SOME)
def test_joining_in_parts_is_joining_at_once(a: list[Obligation], b: list[Obligation], c: list[Obligation]) -> None:
    assert join((*join((*a, *b)), *c)) == join((*a, *join((*b, *c)))) == join((*a, *b, *c))


@given(SOME)
def test_twice_is_once(some: list[Obligation]) -> None:
    assert join((*some, *some)) == join(some) == join(join(some))


@given(SOME, SOME)
def test_another_policy_takes_no_demand_away(some: list[Obligation], more: list[Obligation]) -> None:
    both = strictness(join((*some, *more)))
    assert both >= strictness(some)
    assert both == strictness((*some, *more))


@given(SOME)
def test_one_of_each_comes_out(some: list[Obligation]) -> None:
    joined = [(each.id, each.to) for each in join(some)]
    assert len(joined) == len(set(joined))


def test_a_limit_is_not_raised_by_a_second_policy() -> None:
    strict, generous = (
        Obligation(id=LIMIT, items={"a": 10}, bytes=100),
        Obligation(id=LIMIT, items={"a": 99}, bytes=999),
    )
    assert join((strict, generous)) == join((generous, strict)) == (strict,)


def test_a_limit_without_bytes_does_not_lift_one_with_them() -> None:
    assert join((Obligation(id=LIMIT, bytes=5), Obligation(id=LIMIT, items={"": 1}))) == (
        Obligation(id=LIMIT, items={"": 1}, bytes=5),
    )


def test_every_known_obligation_says_what_it_demands() -> None:
    assert terms(Obligation(id=LIMIT, items={"": 3, "a.b": 7}, bytes=9)) == ("output=3", "output.a.b=7", "bytes=9")
    assert terms(Obligation(id=NOTIFY, to="security")) == ("security",)
    assert terms(Obligation(id=REDACT, fields=("a", "b"))) == ("a", "b")
    assert {"redact", "limit", "notify", "select", "report_first"} == KNOWN
