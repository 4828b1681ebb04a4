"""Temporal conditions by chance: texts that parse, of which some can be monitored and some can't."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

SCHEMA = """
namespace App {
  entity User = { dept: String, level: Long };
  entity Color enum ["red", "blue"];
  entity Box;
  action "Login" appliesTo { principal: [User], resource: [Box], context: {
    input: {
      user: String, n: Long, d: decimal, tags: Set<String>, meta: { r: String }, c: Color, who: User, flag: Bool
    },
    output?: { ok: Bool, id: String },
    system: { now: datetime }
  } };
  action "Send" appliesTo { principal: [User], resource: [Box], context: {
    input: { user: String, n: String }, output?: { ok: Bool }
  } };
}
"""
KINDS = ("request", "response", "error")
EVENTS = "\n".join(
    f"{'decision ' if kind == 'request' else ''}event <A>::{kind} {{ ...inputs(A), "
    f"{'...outputs(A), ' if kind == 'response' else ''}callerPrincipal: principalType(A), "
    "callerResource: resourceType(A), requestId: String, sessionId: String }"
    for kind in KINDS
)

_VARIABLES = st.sampled_from(["a", "b", "t"])
_VALUES = st.sampled_from(
    [
        "1",
        '"s"',
        "true",
        'decimal("1.5")',
        "context.input.user",
        "context.input.n",
        "context.input.d",
        "context.input.flag",
        "context.input.missing",
        "principal",
        "resource",
        "principal.dept",
        "principal.id",
        'App::Color::"red"',
        'App::Color::"green"',
        "*",
    ]
)
_FIELDS = st.sampled_from(
    [
        "input.user",
        "input.n",
        "input.d",
        "input.flag",
        "input.who",
        "input.c",
        "input.meta.r",
        "input.meta",
        "output.ok",
    ]
)
_WINDOWS = st.sampled_from(["1h", "10m", "24h", "25h"])


@st.composite
def _binder(draw: DrawFn, name: str) -> str:
    types = ["Timepoint"] * 9 + ["Long"] if name == "t" else ["Long", "String", "String", "App::User", "Bool"]
    return f"({name}: {draw(st.sampled_from(types))})"


def _value() -> SearchStrategy[str]:
    return st.one_of(_VARIABLES, _VALUES)


@st.composite
def _event(draw: DrawFn) -> str:
    action = draw(st.sampled_from(["Login", "Login", "Send"]))
    fields = [f"{draw(_FIELDS)}: {draw(_value())}" for _ in range(draw(st.integers(0, 2)))]
    return f'App::Action::"{action}"::{draw(st.sampled_from(KINDS[:2]))}{{ {", ".join(fields)} }}'


@st.composite
def _aggregate(draw: DrawFn, depth: int) -> str:
    names = draw(st.lists(_VARIABLES, min_size=1, max_size=2, unique=True))
    binders = ", ".join(draw(_binder(name)) for name in names)
    what = draw(st.sampled_from(["count", f"sum {names[0]}", f"sum {draw(_VARIABLES)}"]))
    return f"({what} for {binders}. where ({draw(_condition(depth - 1))}))"


@st.composite
def _condition(draw: DrawFn, depth: int) -> str:
    shape = draw(st.integers(0, 12)) if depth > 0 else draw(st.integers(0, 4))
    if shape < 3:
        return draw(_event())
    if shape == 3:
        return f"tp({draw(st.sampled_from(['t', 't', 'a']))})"
    if shape == 4:
        return f"{draw(_value())} {draw(st.sampled_from(['==', '==', '<', '>=', '!=']))} {draw(_value())}"
    inner = draw(_condition(depth - 1))
    if shape in (5, 6):
        return f"({inner} && {draw(_condition(depth - 1))})"
    if shape == 7:
        return f"formerly within {draw(_WINDOWS)} ({inner})"
    if shape == 8:
        return f"previous within {draw(_WINDOWS)} ({inner})"
    if shape == 9:
        return f"({inner} since within {draw(_WINDOWS)} ({draw(_condition(depth - 1))}))"
    if shape == 10:
        return f"(!({inner}))"
    if shape == 11:
        name = draw(_VARIABLES)
        return f"(exists {draw(_binder(name))}. ({inner}))"
    return f"{draw(_aggregate(depth))} {draw(st.sampled_from(['==', '==', '>']))} {draw(_value())}"


@st.composite
def conditions(draw: DrawFn) -> str:
    """A condition; most are closed."""
    text = draw(_condition(draw(st.integers(1, 4))))
    for name in ("a", "b", "t"):
        if f" {name} " in f" {text} ".replace("(", " ").replace(")", " ").replace(",", " ") and draw(st.booleans()):
            text = f"exists {draw(_binder(name))}. ({text})"
    return text
