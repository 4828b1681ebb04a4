"""Values from callers and files: what Cedar holds exactly, or a refusal that says what is wrong."""

from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st
import pytest
from cedarpy import _internal as cedar
from hypothesis import given, settings

from remit.policy import shapes
from remit.policy.entities import forms
from remit.policy.entities.forms import Misfit
from remit.policy.shapes import Shape

USER = Shape(kind="entity", entity="App::User")
SHAPES = {
    "string": shapes.STRING,
    "long": shapes.LONG,
    "bool": shapes.BOOL,
    "decimal": shapes.DECIMAL,
    "datetime": shapes.DATETIME,
    "duration": shapes.DURATION,
    "ipaddr": shapes.IPADDR,
    "entity": USER,
    "set": shapes.STRINGS,
    "record": shapes.record(n=shapes.LONG, s=shapes.optional(shapes.STRING)),
}
TYPES = {
    "string": "String",
    "long": "Long",
    "bool": "Bool",
    "entity": "User",
    "set": "Set<String>",
    "record": "{n: Long, s?: String}",
}
SCHEMAS = {
    kind: cedar.Schema.from_str(f"namespace App {{ entity User; entity Box = {{ v: {TYPES.get(kind, kind)} }}; }}")
    for kind in SHAPES
}


def typed(kind: str, value: Any, *, in_file: bool = False) -> Any:
    def names(name: str) -> str:
        return {"user": "App::User", "App::User": "App::User"}.get(name, "")

    return forms.converter(SHAPES[kind], names, in_file)(value, set())


def accepted(kind: str, value: Any) -> None:
    box = {"uid": {"type": "App::Box", "id": "b"}, "attrs": {"v": value}, "parents": []}
    cedar.Entities.from_json_str(json.dumps([box]), SCHEMAS[kind])


def extn(fn: str, arg: str) -> dict[str, Any]:
    return {"__extn": {"fn": fn, "arg": arg}}


@pytest.mark.parametrize(
    ("kind", "value", "wanted"),
    [
        ("string", "a", "a"),
        ("long", 1, 1),
        ("long", 1.0, 1),
        ("long", -(2**63), -(2**63)),
        ("bool", True, True),
        ("decimal", 12.5, extn("decimal", "12.5")),
        ("decimal", "12.50", extn("decimal", "12.50")),
        ("datetime", "2026-01-31", extn("datetime", "2026-01-31T00:00:00.000Z")),
        ("datetime", "2026-01-31T09:00:00Z", extn("datetime", "2026-01-31T09:00:00.000Z")),
        ("datetime", "2026-01-31T09:00:00.5+02:00", extn("datetime", "2026-01-31T07:00:00.500Z")),
        ("datetime", "2026-01-31t09:00:00.123000-0530", extn("datetime", "2026-01-31T14:30:00.123Z")),
        ("duration", "1d2h3m4s5ms", extn("duration", "1d2h3m4s5ms")),
        ("duration", "-90m", extn("duration", "-90m")),
        ("ipaddr", "192.0.2.1", extn("ip", "192.0.2.1")),
        ("ipaddr", "2001:db8::/32", extn("ip", "2001:db8::/32")),
        ("entity", "ann", {"__entity": {"type": "App::User", "id": "ann"}}),
        ("entity", {"type": "user", "id": "ann"}, {"__entity": {"type": "App::User", "id": "ann"}}),
        ("set", ["a", "b"], ["a", "b"]),
        ("record", {"n": 1, "s": None, "more": 2}, {"n": 1}),
    ],
)
def test_a_value_has_one_stated_form(kind: str, value: Any, wanted: Any) -> None:
    assert typed(kind, value) == wanted
    accepted(kind, wanted)


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        ("string", 1, "is not a string"),
        ("string", "\ud800", "is not valid Unicode"),
        ("long", True, "is not an integer"),
        ("long", "1", "is not an integer"),
        ("long", 2**63, "does not fit 64 bits"),
        ("bool", 1, "is not true or false"),
        ("decimal", "1.23456", "has more than 4 decimal places"),
        ("decimal", float("nan"), "is out of range"),
        ("decimal", True, "is not a number"),
        ("datetime", "2026-01-31T09:00:00", "is not a time such as"),
        ("datetime", "2026-02-30", "is not a time that there is"),
        ("datetime", "2026-01-31T09:00:00.0001Z", "is more exact than a millisecond"),
        ("datetime", 1_790_000_000, "is not a time such as"),
        ("datetime", "٢٠٢٦-01-31", "is not a time such as"),
        ("duration", "", "is not a duration"),
        ("duration", "1m1h", "is not a duration"),
        ("ipaddr", "192.0.2", "is not an address"),
        ("ipaddr", "::ffff:192.0.2.1", "is not an address"),
        ("ipaddr", "10.0.0.0/255.0.0.0", "is not an address"),
        ("ipaddr", "fe80::1%eth0", "is not an address"),
        ("entity", "", "is empty"),
        ("entity", 7, "is not an entity"),
        ("entity", "x" * 1_025, "is longer than 1024 bytes"),
        ("entity", {"type": "group", "id": "g"}, "is not of type `App::User`"),
        ("set", "a", "is not an array"),
        ("set", [1], "is not a string"),
        ("record", [], "is not an object"),
        ("record", {}, "is missing"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_is_wrong(kind: str, value: Any, problem: str) -> None:
    with pytest.raises(Misfit) as caught:
        typed(kind, value)
    assert problem in caught.value.problem


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("entity", {"__entity": {"type": "App::User", "id": "ann"}}),
        ("decimal", extn("decimal", "1.0")),
        ("ipaddr", extn("ip", "192.0.2.1")),
        ("record", {"__extn": {"fn": "decimal", "arg": "1.0"}}),
        ("record", {"__entity": {"type": "App::User", "id": "ann"}}),
    ],
)
def test_a_callers_escapes_are_data_and_not_cedar(kind: str, value: Any) -> None:
    with pytest.raises(Misfit):
        typed(kind, value)


def test_a_file_may_write_cedars_escapes() -> None:
    user = {"__entity": {"type": "App::User", "id": "ann"}}
    assert typed("entity", user, in_file=True) == user
    assert typed("decimal", extn("decimal", "1.0"), in_file=True) == extn("decimal", "1.0")
    with pytest.raises(Misfit, match="not declared"):
        typed("record", {"n": 1, "more": 2}, in_file=True)


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.floats()
    | st.text(max_size=8)
    | st.from_regex(r"-?[0-9]{1,16}\.[0-9]{0,5}", fullmatch=True)
    | st.from_regex(
        r"[0-9]{4}-[01][0-9]-[0-3][0-9](T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,3})?Z)?", fullmatch=True
    )
    | st.from_regex(r"-?([0-9]{1,9}d)?([0-9]{1,9}h)?([0-9]{1,13}m)?([0-9]{1,16}s)?([0-9]{1,18}ms)?", fullmatch=True)
    | st.ip_addresses().map(str)
    | st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9]{1,3})?", fullmatch=True)
    | st.from_regex(r"([0-9a-f]{0,4}:){1,8}[0-9a-f]{0,4}(/[0-9]{1,3})?", fullmatch=True),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["n", "s", "__entity", "__extn", "type", "id", "fn", "arg"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@settings(max_examples=500, deadline=None)
@given(kind=st.sampled_from(sorted(SHAPES)), value=ANY, in_file=st.booleans())
def test_whatever_is_taken_the_engine_takes_too(kind: str, value: Any, in_file: bool) -> None:
    try:
        found = typed(kind, value, in_file=in_file)
    except Misfit:
        return
    if value is not None:
        accepted(kind, found)
