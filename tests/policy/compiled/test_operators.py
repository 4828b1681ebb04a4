"""Single expressions, made at random, against the reference engine: the same value, or the same failure."""

from __future__ import annotations

from typing import Any

import cedarpy
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.policy.compiled.compiler import compile_policy
from remit.policy.compiled.entities import EntityStore
from remit.policy.compiled.index import compiled
from remit.policy.compiled.values import Entity, Unsupported, value_of

USER, ACTION, THING = Entity(("User", "a")), Entity(("Action", "act")), Entity(("Thing", "t"))
ENTITIES = [
    {
        "uid": {"type": "User", "id": "a"},
        "attrs": {
            "n": 3,
            "s": "text",
            "set": [1, "1", True],
            "r": {"n": 1},
            "e": {"__entity": {"type": "User", "id": "b"}},
        },
        "tags": {"k": "v"},
        "parents": [{"type": "Group", "id": "g"}],
    },
    {"uid": {"type": "User", "id": "b"}, "attrs": {}, "parents": [{"type": "User", "id": "a"}]},
    {"uid": {"type": "Group", "id": "g"}, "attrs": {}, "parents": []},
]
CONTEXT = {"n": -1, "ip": {"__extn": {"fn": "ip", "arg": "10.0.0.1"}}, "d": {"__extn": {"fn": "decimal", "arg": "1.5"}}}


def both(expression: str) -> tuple[str, str]:
    """What the two engines say of a policy with this condition: true, false, or failed."""
    text = f"permit (principal, action, resource) when {{ {expression} }};"
    request = {
        "principal": {"type": "User", "id": "a"},
        "action": {"type": "Action", "id": "act"},
        "resource": {"type": "Thing", "id": "t"},
        "context": CONTEXT,
    }
    policies = cedarpy.PolicySet.from_str(text)
    known = cedarpy.is_authorized(
        request, policies, cedarpy.Entities.from_json_str(msgspec.json.encode(ENTITIES).decode())
    )
    wanted = "failed" if known.diagnostics.errors else str(known.allowed)
    index = compiled(msgspec.json.decode(cedarpy.policies_to_json_str(text)))
    answer = index.decide(USER, ACTION, THING, value_of(CONTEXT), EntityStore(ENTITIES))
    return "failed" if answer.errors else str(answer.permitted), wanted


LITERALS = st.sampled_from(
    (
        "true false 0 1 -1 9223372036854775807 'text' '' 'k' '1' User::'a' User::'b' User::'nobody' Group::'g' "
        "principal action resource context principal.n principal.s principal.set principal.r principal.e "
        "principal.none context.n context.ip context.d [1,2] [] ['1',true] {n:1} {} ip('10.0.0.0/8') ip('::1') "
        "ip('nonsense') decimal('1.50') decimal('1.5') decimal('99999999999999999.0') datetime('2024-10-15') "
        "datetime('2024-02-30') duration('1d2h') duration('-3ms') duration('')"
    )
    .replace("'", '"')
    .split()
)


def expressions() -> st.SearchStrategy[str]:
    def more(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        two = st.tuples(inner, inner)
        infix = st.tuples(st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "&&", "||", "in"]), two)
        method = st.sampled_from(
            ["contains", "containsAll", "containsAny", "getTag", "hasTag", "isInRange", "lessThan"]
        )
        methods = st.tuples(method | st.sampled_from(["greaterThanOrEqual", "offset", "durationSince"]), two)
        unary = st.sampled_from(
            ["isEmpty", "isIpv4", "isLoopback", "isMulticast", "toDate", "toTime", "toDays", "toHours"]
        )
        return (
            infix.map(lambda of: f"({of[1][0]} {of[0]} {of[1][1]})")
            | methods.map(lambda of: f"({of[1][0]}).{of[0]}({of[1][1]})")
            | st.tuples(inner, unary).map(lambda of: f"({of[0]}).{of[1]}()")
            | st.tuples(inner, two).map(lambda of: f"(if {of[0]} then {of[1][0]} else {of[1][1]})")
            | inner.map(lambda of: f"!({of})")
            | inner.map(lambda of: f"-({of})")
            | inner.map(lambda of: f"(({of}) has n)")
            | inner.map(lambda of: f"(({of}) has r.n)")
            | inner.map(lambda of: f"({of}).n")
            | inner.map(lambda of: f"(({of}) is User)")
            | inner.map(lambda of: f'(({of}) is User in Group::"g")')
            | inner.map(lambda of: f'(({of}) like "t*t")')
            | st.lists(inner, max_size=3).map(lambda of: f"[{', '.join(of)}]")
            | inner.map(lambda of: f"{{n: {of}}}")
        )

    return st.recursive(LITERALS, more, max_leaves=6)


@settings(max_examples=1500, deadline=None)
@given(expressions(), expressions())
def test_expressions_mean_the_same(left: str, right: str) -> None:
    for expression in (left, f"({left}) == ({right})"):
        try:
            mine, wanted = both(expression)
        except ValueError:
            continue  # the reference engine can't parse it: an unknown method on a literal, say
        assert mine == wanted, expression


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(["ip", "decimal", "datetime", "duration"]),
    st.text(alphabet="0123456789abcdf.:/-+TZdhms ", max_size=26)
    | st.from_regex(r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?(Z|[+-]\d{4})\Z")
    | st.ip_addresses().map(str)
    | st.from_regex(r"\A-?\d{1,20}\.\d{1,5}\Z")
    | st.from_regex(r"\A-?(\d{1,12}d)?(\d+h)?(\d{1,9}ms)?\Z"),
)
def test_the_same_texts_are_values(function: str, text: str) -> None:
    if not text.isascii():
        return  # digits of other scripts are digits of neither
    mine, wanted = both(f'{function}("{text}") == {function}("{text}")')
    assert mine == wanted, (function, text)


@pytest.mark.parametrize("pattern", ["", "*", "a*", "*a", "a*b*c", "**", r"a\*b", "*aa*aa", "a*a"])
@given(st.text(alphabet="ab*c", max_size=8))
def test_patterns_fit_the_same_texts(pattern: str, text: str) -> None:
    mine, wanted = both(f'"{text}" like "{pattern}"')
    assert mine == wanted


def test_a_policy_that_is_nested_too_deeply_is_left_to_the_reference() -> None:
    form: dict[str, Any] = {"Value": True}
    for _ in range(500):
        form = {"!": {"arg": form}}
    policy = {
        "effect": "permit",
        "principal": {"op": "All"},
        "action": {"op": "All"},
        "resource": {"op": "All"},
        "conditions": [{"kind": "when", "body": form}],
    }
    with pytest.raises(Unsupported):
        compile_policy("p", policy)


def test_no_name_or_literal_of_a_policy_becomes_code() -> None:
    for text in ("');raise SystemExit#", '"\\"', "{0}", "\n", "\ud800".encode("utf-8", "replace").decode()):
        form = {"==": {"left": {".": {"left": {"Var": "context"}, "attr": text}}, "right": {"Value": text}}}
        policy = {"effect": "permit", "conditions": [{"kind": "when", "body": form}]}
        scope = {name: {"op": "All"} for name in ("principal", "action", "resource")}
        found = compile_policy("p", policy | scope)
        none: frozenset[Entity] = frozenset()
        assert found.matches(USER, ACTION, THING, {text: text}, EntityStore([]), none, none, none)


def test_templates_match_where_they_are_linked() -> None:
    policy_set = {
        "staticPolicies": {},
        "templates": {
            "t": {
                "effect": "permit",
                "principal": {"op": "in", "slot": "?principal"},
                "action": {"op": "All"},
                "resource": {"op": "==", "slot": "?resource"},
                "conditions": [],
            }
        },
        "templateLinks": [
            {
                "templateId": "t",
                "newId": "linked",
                "values": {"?principal": {"type": "Group", "id": "g"}, "?resource": {"type": "Thing", "id": "t"}},
            }
        ],
    }
    index = compiled(policy_set)
    assert index.decide(USER, ACTION, THING, {}, EntityStore(ENTITIES)).reasons == {"linked"}
    assert not index.decide(USER, ACTION, Entity(("Thing", "u")), {}, EntityStore(ENTITIES)).permitted
