"""Where the reference engine (dogwood-py 0.0.12) differs from its specification or from Cedar, and what Remit does.

`docs/design/dogwood.md` lists them. A test that fails here after an update of the reference says that it was mended.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from remit.policy.dogwood.ast import Leaf
from remit.policy.dogwood.conditions import parse
from remit.policy.dogwood.interpreter import Interpreter
from remit.policy.dogwood.mistakes import Mistake
from remit.policy.dogwood.traces import Point, read
from tests.policy.dogwood.reference import Answer, Reference

SCHEMA = """
namespace R {
  entity User; entity Server;
  action "A" appliesTo {
    principal: [User], resource: [Server],
    context: { input: { s: String, n: Long, o?: Long, d: decimal, tags: Set<String> } }
  };
}
"""
EVENTS = "decision event <A>::request { ...inputs(A), callerPrincipal: principalType(A) }"
EVENT = 'R::Action::"A"::request'


@pytest.fixture(scope="module")
def reference() -> Iterator[Reference]:
    with Reference() as made:
        yield made


def line(at: int = 0, **inputs: str) -> str:
    fields = {"s": '"a"', "n": "1", "d": "1.0", "tags": "[]", **inputs}
    given = "input: { " + ", ".join(f"{name}: {value}" for name, value in fields.items()) + " }"
    scope = 'scope(principal: R::User::"u", resource: R::Server::"s")'
    return f'@{at} {scope} request_context({given}) {EVENT}({given}, callerPrincipal: R::User::"u")\n'


def theirs(reference: Reference, condition: str, trace: str) -> Answer:
    policy = f'permit(principal, action == R::Action::"A", resource) when temporal {{ {condition} }};'
    (answer,) = reference.ask([policy], SCHEMA, trace, EVENTS)
    assert not answer.lost
    return answer


def ours(condition: str, trace: str) -> tuple[tuple[int, bool], ...]:
    monitor = Interpreter([Leaf("p/0", parse(condition))])

    def verdict(point: Point) -> bool:
        assert point.request is not None
        value = monitor.evaluate(point.request, point.event, frozenset({"p/0"}))["p/0"]
        monitor.observe(point.event)
        return value

    return tuple((number, verdict(point)) for number, point in enumerate(read(trace)))


# --- texts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("literal", [r"a\"b", r"a\\b", r"a\nb", r"\u{41}", r"\0"])
def test_the_reference_does_not_read_escapes_in_literals(reference: Reference, literal: str) -> None:
    # A forbid of such a string never fires there.
    condition, trace = f'{EVENT}{{input.s: "{literal}"}}', line(s=f'"{literal}"')
    assert theirs(reference, condition, trace).verdicts == ((0, False),)
    assert ours(condition, trace) == ((0, True),)


def test_the_reference_does_not_read_escapes_in_entities(reference: Reference) -> None:
    condition = f'{EVENT}{{callerPrincipal: R::User::"a\\"b"}}'
    trace = line().replace('R::User::"u"', 'R::User::"a\\"b"')
    assert theirs(reference, condition, trace).verdicts == ((0, False),)
    assert ours(condition, trace) == ((0, True),)


def test_the_reference_reads_another_string_where_one_ends_with_a_quote(reference: Reference) -> None:
    condition = f"formerly within 1h ({EVENT}{{input.s: context.input.s, input.n: 1}})"
    trace = line(s=r'"x\""') + line(s=r'"x\\"', n="2")
    assert theirs(reference, condition, trace).verdicts == ((0, True), (1, True))
    assert ours(condition, trace) == ((0, True), (1, False))


def test_the_reference_takes_an_integer_beyond_64_bits_for_0(reference: Reference) -> None:
    condition = f"{EVENT}{{input.n: 9223372036854775808}}"
    assert theirs(reference, condition, line(n="0")).verdicts == ((0, True),)
    with pytest.raises(Mistake, match="64 bits"):
        parse(condition)


def test_the_reference_knows_an_operator_of_which_its_guide_says_that_there_is_none(reference: Reference) -> None:
    # With a field that is not there it is not the negation of `==`.
    absent = f"formerly within 1h ({EVENT}{{}} && context.input.o != 1)"
    negated = f"formerly within 1h ({EVENT}{{}} && !(context.input.o == 1))"
    for condition, wanted in ((absent, False), (negated, True)):
        assert theirs(reference, condition, line()).verdicts == ((0, wanted),)
        assert ours(condition, line()) == ((0, wanted),)


# --- values ---------------------------------------------------------------------------------------------------


def test_the_reference_takes_lists_of_another_order_for_other_sets(reference: Reference) -> None:
    condition = f"previous within 1h ({EVENT}{{input.tags: context.input.tags}})"
    trace = line(tags='["a", "b"]') + line(tags='["b", "a"]') + line(tags='["b", "a", "a"]')
    assert theirs(reference, condition, trace).verdicts == ((0, False), (1, False), (2, False))
    assert ours(condition, trace) == ((0, False), (1, True), (2, True))


def test_decimals_are_equal_however_they_are_written(reference: Reference) -> None:
    # The guide says that they are compared as text; the reference does as Cedar does.
    condition = f'{EVENT}{{input.d: decimal("1.50")}}'
    assert theirs(reference, condition, line(d="1.5")).verdicts == ((0, True),)
    assert ours(condition, line(d="1.5")) == ((0, True),)


def test_the_reference_takes_for_a_decimal_what_is_none(reference: Reference) -> None:
    condition = f'formerly within 1h ({EVENT}{{}} && decimal("x") == decimal("x"))'
    assert theirs(reference, condition, line()).verdicts == ((0, True),)
    with pytest.raises(Mistake, match="`x` is no decimal"):
        parse(condition)


# --- times ----------------------------------------------------------------------------------------------------


def test_the_reference_goes_on_when_time_goes_back(reference: Reference) -> None:
    condition = f"formerly within 1h {EVENT}{{input.n: 2}}"
    trace = line(10, n="2") + line(0)
    assert theirs(reference, condition, trace).verdicts == ((0, True), (1, False))
    with pytest.raises(Mistake, match="before that of the line above"):
        ours(condition, trace)
