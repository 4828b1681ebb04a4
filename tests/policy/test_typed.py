"""Arguments as Cedar values: what fits, what is refused, and what an agent can't smuggle in."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from cedarpy import _internal as cedar
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.core.errors import InvalidInput
from remit.policy import shapes, typed_decimal, typed_time, typed_value
from remit.policy.complexity import depth_allowed
from remit.policy.typed import Converter
from tests.policy.project import NOTE, PAY, action, loaded

POLICIES = loaded()
EVERYTHING: dict[str, Any] = {
    "s": {"type": "string"},
    "i": {"type": "integer"},
    "n": {"type": "number"},
    "b": {"type": "boolean"},
    "set": {"type": "array", "items": {"type": "integer"}},
    "decimals": {"type": "array", "items": {"type": "number"}},
    "o": {"type": "object", "properties": {"s": {"type": "string"}, "n": {"type": "number"}}, "required": ["s"]},
    "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    "named": {"enum": ["a", "b"]},
}
CONVERTER = Converter(action("any/thing", "read", EVERYTHING, required=["s"]))


def decimal(text: str) -> dict[str, Any]:
    return {"__extn": {"fn": "decimal", "arg": text}}


def refused(arguments: Any, convert: Any = CONVERTER) -> str:
    with pytest.raises(InvalidInput) as caught:
        convert(arguments)
    assert caught.value.code == "arguments_invalid"
    return caught.value.message


def test_each_type_becomes_its_cedar_type() -> None:
    arguments = {
        "s": "text",
        "i": 3,
        "n": 1.5,
        "b": True,
        "set": [1, 2],
        "decimals": [1, 2.25],
        "o": {"s": "x", "n": -0.0001},
        "maybe": None,
        "named": "a",
    }
    assert CONVERTER(arguments) == {
        "s": "text",
        "i": 3,
        "n": decimal("1.5"),
        "b": True,
        "set": [1, 2],
        "decimals": [decimal("1.0"), decimal("2.25")],
        "o": {"s": "x", "n": decimal("-0.0001")},
        "named": "a",
    }


def test_what_the_schema_does_not_declare_is_not_visible() -> None:
    assert CONVERTER({"s": "x", "other": {"__entity": {"type": "Remit::Person", "id": "root"}}}) == {"s": "x"}


@pytest.mark.parametrize("key", ["__entity", "__extn", "__expr"])
def test_attack_agent_passes_a_reserved_key_in_an_object(key: str) -> None:
    poison = {key: {"type": "Remit::Person", "id": "root"}, "s": "x"}
    assert CONVERTER({"s": "x", "o": poison, key: poison}) == {"s": "x", "o": {"s": "x"}}
    refused({"s": poison})
    refused({"s": "x", "set": [poison]})


@pytest.mark.parametrize("key", ["__entity", "__extn"])
def test_attack_server_declares_a_reserved_key(key: str) -> None:
    properties = {key: {"type": "string"}, "o": {"type": "object", "properties": {key: {"type": "string"}}}}
    converter = Converter(action("any/thing", "read", properties))
    assert converter({key: "x", "o": {key: "x"}}) == {"o": {}}
    assert key not in msgspec.json.encode(shapes.to_cedar_json(converter.shape)).decode()


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**400, 1e19, -1e300], ids=lambda value: "number")
def test_attack_integer_beyond_64_bits(value: Any) -> None:
    assert "64 bits" in refused({"s": "x", "i": value})


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 0, 5.0])
def test_integers_of_64_bits_pass(value: Any) -> None:
    assert CONVERTER({"s": "x", "i": value})["i"] == int(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e400])
@pytest.mark.parametrize("name", ["i", "n", "s"])
def test_attack_number_that_is_none(name: str, value: float) -> None:
    refused({"s": "x"} | {name: value})


@pytest.mark.parametrize(
    "value", [0.00001, 1e-300, 0.1 + 0.2, 1e15, 922337203685477.6, 2**63, 10**5000], ids=lambda value: "n"
)
def test_numbers_that_a_decimal_cannot_hold_are_refused_not_rounded(value: Any) -> None:
    refused({"s": "x", "n": value})


def test_the_next_step_for_numbers_that_no_policy_needs() -> None:
    properties = {"latitude": {"type": "number"}, "amount": {"type": "number"}}
    plain = Converter(action("map/find", "read", properties))
    with pytest.raises(InvalidInput) as caught:
        plain({"latitude": 37.7749295})
    assert "`content`" in caught.value.next_step
    content = Converter(action("map/find", "read", properties, content=("latitude",)))
    assert content({"latitude": 37.7749295, "amount": 1.5}) == {"amount": decimal("1.5")}


@pytest.mark.parametrize("value", [True, False, "1", [1], {"a": 1}])
@pytest.mark.parametrize("name", ["i", "n"])
def test_attack_true_is_not_one(name: str, value: Any) -> None:
    refused({"s": "x", name: value})


def test_attack_deep_nesting_does_not_end_the_process() -> None:
    deep: dict[str, Any] = {}
    for _ in range(200_000):
        deep = {"o": deep}
    properties = {"o": {"$ref": "#/$defs/o"}}
    tool = action("any/thing", "read", properties)
    schema = tool.input_schema | {"$defs": {"o": {"type": "object", "properties": properties}}}
    converter = Converter(msgspec.structs.replace(tool, input_schema=schema))
    assert "nested too deeply" in refused(deep, converter)
    while deep:  # a deep value is also freed without recursion
        deep = deep.pop("o", {})


def test_attack_many_values() -> None:
    assert "too many values" in refused({"s": "x", "set": [1] * 30_000})


def test_attack_lone_surrogates() -> None:
    refused({"s": "\ud800"})


def test_attack_schema_reference_to_an_address_is_not_fetched() -> None:
    tool = action("any/thing", "read", {"a": {"$ref": "http://127.0.0.1:9/schema.json"}})
    converter = Converter(tool)
    assert converter.problem
    assert "can't be used" in refused({}, converter)


def test_attack_regular_expression_that_backtracks() -> None:
    converter = Converter(action("any/thing", "read", {"a": {"type": "string", "pattern": "^(?=x?)(a+)+$"}}))
    refused({"a": "a" * 20_000 + "!"}, converter)


def test_attack_references_that_fan_out_stay_small() -> None:
    properties = {f"p{number}": {"$ref": "#/$defs/o"} for number in range(40)}
    tool = action("any/thing", "read", properties)
    schema = tool.input_schema | {"$defs": {"o": {"type": "object", "properties": properties}}}
    shape = shapes.from_json_schema(schema)
    assert len(msgspec.json.encode(shapes.to_cedar_json(shape))) < 200_000


def test_attack_schema_whose_branches_double_the_work() -> None:
    definitions: dict[str, Any] = {
        f"a{step}": {"anyOf": [{"$ref": f"#/$defs/a{step + 1}"}, {"$ref": f"#/$defs/a{step + 1}"}]}
        for step in range(60)
    }
    definitions["a60"] = {"type": "integer"}
    for name in ("x", "default", "definitions", "not"):
        tool = action("any/thing", "read", {name: {"$ref": "#/$defs/a0"}})
        schema = tool.input_schema | {"$defs": definitions}
        converter = Converter(msgspec.structs.replace(tool, input_schema=schema))
        assert "branches too often" in refused({name: "s"}, converter)


def test_attack_schema_whose_branches_refer_back() -> None:
    again = {"properties": {"a": {"$ref": "#"}}, "required": ["z"]}
    tool = action("any/thing", "read", {})
    converter = Converter(msgspec.structs.replace(tool, input_schema={"anyOf": [again, again, {"type": "null"}]}))
    deep: dict[str, Any] = {}
    for _ in range(30):
        deep = {"a": deep}
    assert "nested too deeply" in refused(deep, converter)


def test_schemas_that_refer_back_without_branching_are_not_limited() -> None:
    node = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}
    assert depth_allowed({"properties": {"tree": {"$ref": "#/$defs/node"}}, "$defs": {"node": node}}) == 32
    either = {"anyOf": [{"type": "string"}, {"items": {"$ref": "#/$defs/either"}}, {"not": {"$ref": "#/$defs/either"}}]}
    assert depth_allowed({"$ref": "#/$defs/either", "$defs": {"either": either}}) == 16


def test_a_schema_that_cannot_be_used_is_noticed_and_refuses() -> None:
    tool = action(PAY, "pay", {"a": {"type": "strin"}})
    policies = loaded(None, {}, tool)
    assert "every call is refused" in policies.notices()[0]
    refused({"a": "x"}, lambda arguments: policies.typed_input(PAY, arguments))


@pytest.mark.parametrize(
    "more", [{"N": 1}, {"o": {"s": "x", "N": 9}}, {"o": {"\u017f": "x", "s": "x"}}, {"maybe": None, "Maybe": "x"}]
)
def test_attack_argument_in_other_letters_that_no_policy_sees(more: dict[str, Any]) -> None:
    assert "only in case" in refused({"s": "text"} | more)


def test_the_message_does_not_quote_the_value() -> None:
    message = refused({"s": "x", "i": "my secret"})
    assert "`input.i`" in message
    assert "my secret" not in message


def test_unknown_actions_are_refused() -> None:
    refused({}, lambda arguments: POLICIES.typed_input("payments/unknown", arguments))


def test_parameters_have_their_declared_types() -> None:
    assert POLICIES.typed_param("pay-invoice", "amount", "120.50") == decimal("120.50")
    assert POLICIES.typed_param("pay-invoice", "invoice", "INV-1") == "INV-1"
    with pytest.raises(InvalidInput):
        POLICIES.typed_param("pay-invoice", "invoice", 3)
    with pytest.raises(InvalidInput):
        POLICIES.typed_param("pay-invoice", "other", "x")
    assert typed_value("integer", 3) == 3
    assert typed_value("boolean", False) is False


def test_time_is_a_datetime() -> None:
    assert typed_time(1_790_000_000_007) == {"__extn": {"fn": "datetime", "arg": "2026-09-21T14:13:20.007Z"}}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*EVERYTHING, "__extn", ""]), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([*EVERYTHING, "__entity", "x"]), _JSON))
@settings(max_examples=400)
def test_any_json_gives_a_value_of_the_shape_or_a_refusal(arguments: dict[str, Any]) -> None:
    try:
        converted = CONVERTER(arguments | {"s": "x"})
    except InvalidInput:
        return
    assert conforms(converted, CONVERTER.shape)


@given(st.decimals(allow_nan=True, allow_infinity=True) | st.floats() | st.integers() | st.text(max_size=20))
def test_any_decimal_is_read_by_cedar_as_itself_or_refused(value: Any) -> None:
    try:
        text = typed_decimal(value)["__extn"]["arg"]
    except InvalidInput:
        return
    exact = str(value) if isinstance(value, float) else value
    assert Decimal(text) == Decimal(exact)
    same = cedar.PolicySet.from_str(f'permit (principal, action, resource) when {{ context.n == decimal("{text}") }};')
    request = dict.fromkeys(("principal", "action", "resource"), 'A::"a"')
    request["context"] = msgspec.json.encode({"n": decimal(text)}).decode()
    (answer,) = cedar.is_authorized_batch([request], same, cedar.Entities.from_json_str("[]"), None, False)
    assert msgspec.json.decode(answer)["decision"] == "Allow"


def conforms(value: Any, shape: shapes.Shape) -> bool:
    """Whether a value in Cedar's JSON form has this shape, exactly."""
    if shape.kind == "record":
        return (
            type(value) is dict
            and set(value) <= set(shape.fields)
            and all(name in value for name, field in shape.fields.items() if field.required)
            and all(conforms(item, shape.fields[name].shape) for name, item in value.items())
        )
    if shape.kind == "set" and shape.of is not None:
        of = shape.of
        return type(value) is list and all(conforms(item, of) for item in value)
    if shape.kind == "decimal":
        return isinstance(value, dict) and list(value) == ["__extn"] and value["__extn"]["fn"] == "decimal"
    expected = {"string": str, "long": int, "bool": bool}[shape.kind]
    if type(value) is int and not -(2**63) <= value < 2**63:
        return False
    return type(value) is expected


def test_the_note_tool_sees_all_its_arguments() -> None:
    arguments = {"text": "x", "urgent": True, "count": 1, "price": 2, "tags": ["a"], "where": {"page": 1}}
    assert POLICIES.typed_input(NOTE, arguments) == arguments | {"price": decimal("2.0")}
