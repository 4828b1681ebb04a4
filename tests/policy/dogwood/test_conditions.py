"""Temporal conditions as text: what is read, what is refused and where, and that no text harms who reads it."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from remit.policy.dogwood import acceptance, lexer
from remit.policy.dogwood.ast import (
    And,
    Argument,
    ArrayTerm,
    Binder,
    Comparison,
    Condition,
    Constant,
    ContextTerm,
    Count,
    DecimalTerm,
    EntityTerm,
    Exists,
    Formerly,
    Not,
    Operator,
    Predicate,
    Previous,
    ScopeTerm,
    Since,
    Sum,
    Term,
    Tp,
    Var,
    Wildcard,
    Window,
)
from remit.policy.dogwood.conditions import MAX_NESTING, free, parse
from remit.policy.dogwood.mistakes import Mistake
from remit.policy.dogwood.printing import show
from tests.policy.dogwood.fuzz import lowered, times

EVENT = 'App::Action::"Login"::request'
LOGIN = Predicate("App::Action", "Login", "request")
HOUR = Window(1, "h")


def mistake(text: str) -> Mistake:
    with pytest.raises(Mistake) as caught:
        parse(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (f"{EVENT}{{}}", LOGIN),
        (f"formerly within 1h {EVENT}{{}}", Formerly(HOUR, LOGIN)),
        (f"previous within 1h ({EVENT}{{}})", Previous(HOUR, LOGIN)),
        (f"formerly within 1 h {EVENT}{{}} // why", Formerly(HOUR, LOGIN)),
        (f"!{EVENT}{{}} since within 1h {EVENT}{{}}", Since(Not(LOGIN), HOUR, LOGIN)),
        (f"!{EVENT}{{}} && tp(t)", And(Not(LOGIN), Tp("t"))),
        (f"!!{EVENT}{{}}", Not(Not(LOGIN))),
        ("tp(a) && tp(b) && tp(c)", And(And(Tp("a"), Tp("b")), Tp("c"))),
        ("exists (x: Long). tp(x) && tp(y)", Exists(Binder("x", "Long"), And(Tp("x"), Tp("y")))),
        ("(exists (x: Long). tp(x)) && tp(y)", And(Exists(Binder("x", "Long"), Tp("x")), Tp("y"))),
        (
            "0 < count for (t: Timepoint). where tp(t) && tp(u)",
            Comparison("<", Constant(0), Count((Binder("t", "Timepoint"),), And(Tp("t"), Tp("u")))),
        ),
        (
            "(sum a for (a: Long), (t: Timepoint). where tp(t)) == n",
            Comparison("==", Sum("a", (Binder("a", "Long"), Binder("t", "Timepoint")), Tp("t")), Var("n")),
        ),
        (
            f"{EVENT}{{input.a: _}}{{input.a: *, b: -3}}",
            Predicate(
                "App::Action",
                "Login",
                "request",
                (
                    Argument(("input", "a"), Wildcard()),
                    Argument(("input", "a"), Wildcard()),
                    Argument(("b",), Constant(-3)),
                ),
            ),
        ),
        (
            'principal == App::User::"a\\"\\u{e9}\\n"',
            Comparison("==", ScopeTerm("principal"), EntityTerm("App::User", 'a"é\n')),
        ),
        ('resource.a.b != decimal("1.50")', Comparison("!=", ScopeTerm("resource", ("a", "b")), DecimalTerm("1.50"))),
        (
            "context.input.x == [1, true]",
            Comparison("==", ContextTerm(("input", "x")), ArrayTerm((Constant(1), Constant(True)))),
        ),
        (
            "count == sum && formerly < previous",
            And(Comparison("==", Var("count"), Var("sum")), Comparison("<", Var("formerly"), Var("previous"))),
        ),
    ],
)
def test_reads_what_the_grammar_says(text: str, wanted: Condition) -> None:
    assert parse(text) == wanted


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("", 0, "a temporal condition is missing"),
        ("tp(a) || tp(b)", 6, "no `||`"),
        ("a = b", 2, "`=` compares nothing"),
        ("context.input.x", 0, "a value is not a condition"),
        ("formerly (tp(t))", 9, "`within` is expected"),
        ("formerly within 1w tp(t)", 17, "unit of the window"),
        ("formerly within 0h tp(t)", 16, "not positive"),
        ("formerly within -1h tp(t)", 16, "not positive"),
        ("formerly within 99999999999999999999999h tp(t)", 16, "64 bits"),
        ("formerly within 1h !tp(t)", 19, "needs parentheses"),
        ("formerly within 1h formerly within 1h tp(t)", 19, "needs parentheses"),
        ("tp(t) since tp(u)", 12, "`within` is expected"),
        ("tp(t) since within 1h tp(u) since within 1h tp(v)", 28, "follows one condition only"),
        ("exists (x). tp(x)", 9, "a variable has a type"),
        ("exists x. tp(x)", 0, "compare it"),
        ("let n = 3", 0, "there is no `let`"),
        ("nothing(3)", 0, "there is no macro `nothing`"),
        ("?p == 3", 0, "stands outside of a macro"),
        ("$t == 3", 0, "stands outside of a macro"),
        ("tp(?p)", 3, "stands outside of a macro"),
        ("formerly within ?w tp(t)", 16, "stands outside of a macro"),
        (f"{EVENT}{{input.a 3}}", len(EVENT) + 9, "`:` is expected"),
        (f"{EVENT}{{input.a: 3,}}", len(EVENT) + 12, "a field is expected"),
        ('App::Action::"Login"{}', 20, "the kind of the event is missing"),
        ('x == "open', 5, "the string is not closed"),
        (r'x == "\q"', 6, "not one of Cedar's"),
        (r'x == "\u{d800}"', 6, "not one of Cedar's"),
        ("x == 9223372036854775808", 5, "64 bits"),
        ('x == decimal("1.23456")', 12, "no decimal"),
        ("context == 3", 0, "`context` as a whole"),
        ("a.b == 3", 1, "has no fields"),
        ("x == 3 \N{RIGHT-TO-LEFT OVERRIDE}", 7, "U+202E changes the direction"),
        ("x == 3 \N{GREEK QUESTION MARK}", 7, "can't follow here"),
        ("pаssword == 3", 0, "compare it"),  # that letter is Cyrillic
    ],
)
def test_says_what_is_wrong_and_where(text: str, at: int, words: str) -> None:
    found = mistake(text)
    assert words in f"{found.message} {found.next_step}"
    assert found.at == at


# --- round trip ---------------------------------------------------------------------------------------------

_NAMES = st.sampled_from(["a", "b", "user", "count", "sum", "formerly", "tp", "for", "x1", "_y"])
_VARS = st.builds(Var, _NAMES)
_PATHS = st.lists(_NAMES, min_size=1, max_size=3).map(tuple)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
_WINDOWS = st.builds(Window, st.integers(1, 1_000), st.sampled_from("smhd"))
_BINDERS = st.builds(Binder, _NAMES, st.sampled_from(["Long", "Timepoint", "App::User"]))
_OPERATORS: SearchStrategy[Operator] = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
_SIMPLE: SearchStrategy[Term] = st.one_of(
    _VARS,
    st.builds(Constant, st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), _TEXT, st.booleans())),
    st.builds(EntityTerm, st.sampled_from(["User", "App::User"]), _TEXT),
    st.builds(DecimalTerm, st.decimals(-9, 9, places=2).map(str)),
    st.builds(ContextTerm, _PATHS),
    st.builds(ScopeTerm, st.sampled_from(["principal", "resource"]), st.one_of(st.just(()), _PATHS)),
    st.just(Wildcard()),
)
_TERMS = st.recursive(_SIMPLE, lambda items: st.builds(ArrayTerm, st.lists(items, max_size=3).map(tuple)), max_leaves=4)


def _larger(inner: SearchStrategy[Condition]) -> SearchStrategy[Condition]:
    binders = st.lists(_BINDERS, min_size=1, max_size=2).map(tuple)
    aggregates = st.one_of(st.builds(Count, binders, inner), st.builds(Sum, _NAMES, binders, inner))
    operands = st.one_of(_TERMS, aggregates)
    return st.one_of(
        st.builds(And, inner, inner),
        st.builds(Not, inner),
        st.builds(Formerly, _WINDOWS, inner),
        st.builds(Previous, _WINDOWS, inner),
        st.builds(Since, inner, _WINDOWS, inner),
        st.builds(Exists, _BINDERS, inner),
        st.builds(Comparison, _OPERATORS, operands, operands),
    )


CONDITIONS: SearchStrategy[Condition] = st.recursive(
    st.one_of(
        st.builds(
            Predicate,
            st.sampled_from(["Action", "App::Action"]),
            _TEXT,
            st.sampled_from(["request", "response"]),
            st.lists(st.builds(Argument, _PATHS, _TERMS), max_size=3).map(tuple),
        ),
        st.builds(Tp, _NAMES),
        st.builds(Comparison, _OPERATORS, _TERMS, _TERMS),
    ),
    _larger,
    max_leaves=8,
)


@given(CONDITIONS)
@example(And(Exists(Binder("a", "Long"), Tp("a")), Tp("b")))
@example(Since(Since(Tp("a"), HOUR, Tp("b")), HOUR, Not(Tp("c"))))
@example(Comparison("<", Count((Binder("t", "Timepoint"),), Tp("t")), Constant(3)))
@settings(max_examples=times(300), deadline=None)
def test_what_is_written_out_reads_as_the_same(condition: Condition) -> None:
    assert parse(show(condition)) == condition


def test_free_variables_are_those_that_nothing_binds() -> None:
    assert free(parse("exists (a: Long). (tp(a) && tp(b)) && c == 1")) == {"b", "c"}
    assert free(parse(f"(sum a for (a: Long). where {EVENT}{{input.x: a, input.y: [d, _]}}) == n")) == {"d", "n"}


# --- attacks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "!" * 100_000 + "tp(t)",
        "x == " + "[" * 100_000,
        "exists (x: Long). " * 20_000 + "tp(x)",
        "formerly within 1h (" * 20_000,
        "0 < count for (t: Timepoint). where " * 20_000 + "tp(t)",
        "a == b && " * 20_000 + "a == b",
        "x == context" + ".a" * 50_000,
        '"' * 100_001,
        "\\" * 100_000,
        "/" * 200_000,
        "tp(t) " * 50_000,
        "a" * 1_000_000,
        "9" * 1_000_000,
        "\N{RIGHT-TO-LEFT OVERRIDE}" * 10_000,
        "x" * 2_000_000,
    ],
    ids=lambda text: f"{text[:12]}*{len(text)}",
)
def test_no_text_exhausts_the_reader(text: str) -> None:
    before = time.monotonic()
    with pytest.raises(Mistake):
        parse(text)
    assert time.monotonic() - before < 5


@given(st.text(max_size=60))
@settings(max_examples=times(300), deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    found: Mistake | None = None
    try:
        parse(text)
    except Mistake as mistake_:
        found = mistake_
    assert found is None or (0 <= found.at <= len(text) and found.message)


def test_nesting_at_the_bound_is_read() -> None:
    parse("(" * MAX_NESTING + "tp(t)" + ")" * MAX_NESTING)
    assert "nested more than" in mistake("(" * (MAX_NESTING + 1) + "tp(t)" + ")" * (MAX_NESTING + 1)).message


# --- the reference ------------------------------------------------------------------------------------------

SCHEMA = """
namespace A {
  type I = { amount: Long, user: String };
  entity G; entity U;
  action "T" appliesTo { principal: [U], resource: [G], context: { input: I } };
}
"""
SEEDS = [
    'formerly within 1h A::Action::"T"::request{ input.user: context.input.user }',
    'exists (a: Long). (formerly within 1h A::Action::"T"::request{input.amount: a} && a != 3)',
    "exists (n: Long). ((count for (t: Timepoint). where (formerly within 1h "
    '(A::Action::"T"::request{} && tp(t)))) == n && n > 3)',
    "0 < sum a for (a: Long), (t: Timepoint). where formerly within 5m "
    '(A::Action::"T"::request{input.amount: a, input.user: _} && tp(t))',
    '!A::Action::"T"::request{input.user: principal.id} since within 2h '
    'A::Action::"T"::request{input.amount: _}{input.user: [1, -2, "a"]}',
    'previous within 3d (A::Action::"T"::request{} && !(exists (u: String). A::Action::"T"::request{input.user: u})) '
    '&& A::Action::"T"::request{}',
]
WORDS = [
    *("(", ")", "{", "}", "[", "]", "&&", "!", "==", "!=", "<", ".", ",", ":", "::", "_", "*", "3", "x", "a", '"s"'),
    *("true", "since", "within", "1h", "exists", "count", "sum", "for", "where", "tp", "formerly", "previous"),
    *("context", "principal", "decimal"),
]


def test_the_same_texts_are_read_as_by_the_reference() -> None:
    by_chance = random.Random(5)
    differing: list[str] = []
    for _ in range(times(400)):
        tokens = [token.text for token in lexer.tokens(by_chance.choice(SEEDS))]
        for _ in range(by_chance.randint(0, 2)):
            place = by_chance.randrange(len(tokens))
            change = by_chance.random()
            tokens[place : place + (change < 0.7)] = [] if change < 0.35 else [by_chance.choice(WORDS)]
        text = " ".join(tokens)
        try:
            acceptance.check(parse(text))
            is_read = True
        except Mistake:
            is_read = False
        rule = f'permit(principal, action == A::Action::"T", resource) when temporal {{ {text} }};'
        if is_read != (lowered(rule, SCHEMA) is not None):
            differing.append(text)
    assert differing == []
