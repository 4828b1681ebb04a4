"""The project's own schema: merged with Remit's, never into it, and refused where it is wrong."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from cedarpy import _internal as cedar
from hypothesis import HealthCheck, given, settings

from remit.core.errors import DocumentError
from remit.policy import shapes
from remit.policy.entities import syntax
from remit.policy.entities.reading import load_declared
from tests.policy import own

SCHEMA = """
namespace App {
  type Address = { street: String, zip?: Long };
  @doc("whoever has a desk")
  entity User in [Group] = { home: Address, @doc("in euro") pay?: decimal } tags Long;
  entity Group in [Group, Club];
  entity Club;
  action all;
  action read, write in [all] appliesTo { principal: User, resource: [Group, User], context: { from: Address } };
}
"""
IN_JSON: dict[str, Any] = {
    "App": {
        "commonTypes": {
            "Address": {
                "type": "Record",
                "attributes": {
                    "street": {"type": "EntityOrCommon", "name": "String"},
                    "zip": {"type": "Long", "required": False},
                },
            }
        },
        "entityTypes": {
            "User": {
                "memberOfTypes": ["Group"],
                "shape": {
                    "type": "Record",
                    "attributes": {
                        "home": {"type": "Address"},
                        "pay": {"type": "Extension", "name": "decimal", "required": False},
                    },
                },
                "tags": {"type": "Long"},
            },
            "Group": {"memberOfTypes": ["Group", "Club"]},
            "Club": {},
        },
        "actions": {
            "all": {},
            **{
                name: {
                    "memberOf": [{"id": "all"}],
                    "appliesTo": {
                        "principalTypes": ["User"],
                        "resourceTypes": ["Group", "App::User"],
                        "context": {"type": "Record", "attributes": {"from": {"type": "Address"}}},
                    },
                }
                for name in ("read", "write")
            },
        },
    }
}


def refused(root: Path, schema: Any, policies: str = "") -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        own.project(root, schema, None, policies)
    return caught.value


def test_both_forms_say_the_same(tmp_path: Path) -> None:
    own.write(tmp_path / "text", SCHEMA)
    own.write(tmp_path / "json", IN_JSON)
    text, json = load_declared(tmp_path / "text" / "entities"), load_declared(tmp_path / "json" / "entities")
    assert text.actions == json.actions
    assert text.namespaces == json.namespaces == ("App",)
    user, same = text.types["App::User"], json.types["App::User"]
    assert user.within == same.within == {"App::Group", "App::Club"}
    assert user.required == same.required == {"home"}
    assert {name: field.shape for name, field in user.attributes.items()} == {
        name: field.shape for name, field in same.attributes.items()
    }
    assert text.actions["App::Action", "read"].groups == {("App::Action", "read"), ("App::Action", "all")}


def test_the_merged_schema_is_one_that_other_tools_read(tmp_path: Path) -> None:
    shown = own.project(tmp_path, SCHEMA).schema_text()
    assert "namespace App {" in shown
    assert "namespace Remit {" in shown


@pytest.mark.parametrize(
    "schema",
    [
        "namespace Remit { entity Robot; }",
        "namespace Remit::More { entity Robot; }",
        "namespace App { entity Robot in [Remit::Group]; }",
        "namespace App { entity Robot = { owner: Remit::Person }; }",
        "namespace App { entity Robot = { owners: Set<{ of: Remit::Workload }> }; }",
        "namespace App { entity Robot tags Remit::Person; }",
        'namespace App { entity R; action a in [Remit::Action::"tools"] appliesTo { principal: R, resource: R }; }',
        "namespace App { entity R; action a appliesTo { principal: Remit::Workload, resource: R }; }",
        "namespace App { entity R; action a appliesTo { principal: R, resource: Remit::Server }; }",
        "namespace App { entity R; action a appliesTo { principal: R, resource: R, context: { p: Remit::Person } }; }",
        {"App": {"entityTypes": {"Robot": {"memberOfTypes": ["Remit::Group"]}}, "actions": {}}},
        {"Remit": {"entityTypes": {"Robot": {}}, "actions": {}}},
    ],
)
def test_a_project_can_neither_add_to_remits_namespace_nor_borrow_from_it(tmp_path: Path, schema: Any) -> None:
    assert "Remit's own" in refused(tmp_path, schema).message


@pytest.mark.parametrize(
    "schema", ["entity Group;", "entity U; action delete appliesTo { principal: U, resource: U };"]
)
def test_a_name_that_hides_one_of_remits_is_refused_with_the_way_out(tmp_path: Path, schema: str) -> None:
    error = refused(tmp_path, schema)
    assert "does not go with Remit's own" in error.message
    assert "namespace App" in error.next_step


def test_a_schema_that_is_read_in_two_ways_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = syntax.parse

    def otherwise(text: str) -> dict[str, Any]:
        read = parse(text)
        read["App"]["entityTypes"]["User"]["shape"]["attributes"]["pay"]["required"] = True
        return read

    monkeypatch.setattr(syntax, "parse", otherwise)
    assert "the schema can't be read reliably" in refused(tmp_path, SCHEMA).message


@pytest.mark.parametrize(
    ("schema", "line", "message"),
    [
        ("\nentity A = {b: Foo};", 2, "there is no type `Foo`"),
        ("entity A;\nentity B in [C];", 2, "there is no entity type `C`"),
        ("\n\nentity A {b: Long", 3, "not a Cedar schema: expected `,` or `}`"),
        ("\ntype T = {a: T};", 2, "the type refers to itself"),
        ("type T = Long;\nentity A in [T];", 2, "there is no entity type `T`"),
        ("entity A;\naction a appliesTo { principal: A, resource: A, context: T };\ntype T = Long;", 2, "not a valid"),
        ({"App": []}, 1, "not a valid schema: invalid length"),
        ({"App": {"entityTypes": {"A": {"shpe": {}}}, "actions": {}}}, 1, "unknown field `shpe`"),
        ({"App": {"entityTypes": {"A": {"shape": {"type": "Set"}}}, "actions": {}}}, 1, "not a valid schema"),
        ({"App": {"entityTypes": {}, "actions": {"a": {"memberOf": ["b"]}}}}, 1, "not a valid schema"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, schema: Any, line: int, message: str) -> None:
    error = refused(tmp_path, schema)
    assert message in error.message
    assert error.line == line
    assert Path(error.path).name.startswith("schema.")


@pytest.mark.parametrize("used", ["entity A = { t: T40 };", "entity A tags T40;", "entity A;"])
def test_types_that_double_with_each_step_do_not_fill_the_memory(tmp_path: Path, used: str) -> None:
    steps = ["type T0 = { a: Long, b: Long };"]
    steps += [f"type T{number + 1} = {{ a: T{number}, b: T{number} }};" for number in range(40)]
    assert "larger than" in refused(tmp_path, "\n".join([*steps, used])).message


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("step", ["{{ a: T{} }}", "Set<T{}>", "T{}"])
def test_types_that_nest_with_each_step_do_not_end_the_process(tmp_path: Path, step: str, turned: bool) -> None:
    steps = [f"type T{number + 1} = {step.format(number)};" for number in range(3_000)]
    steps = [*(reversed(steps) if turned else steps), "type T0 = Long;", "entity A;"]
    assert "deeper than" in refused(tmp_path, "\n".join(steps)).message


@pytest.mark.parametrize(
    "schema",
    [
        'entity A = { @source("caller") a?: Long };',
        "entity A = { @source a?: Long };",
        '@source("file") entity A;',
        'entity A = { a?: { @source("files") b?: Long } };',
        'entity A; type T = { @source("files") b?: Long };',
        'entity A; @source("files") type T = { b?: Long };',
        '@source("files") namespace App { entity A; }',
        'entity A; @source("files") action a appliesTo { principal: A, resource: A };',
        'entity A; action a appliesTo { principal: A, resource: A, context: { @source("files") a?: Long } };',
    ],
)
def test_a_source_that_would_not_be_heeded_is_refused(tmp_path: Path, schema: str) -> None:
    assert "`@source`" in refused(tmp_path, schema).message


NAMES = [
    *("String", "Long", "Bool", "ipaddr", "decimal", "datetime", "duration", "__cedar::decimal", "__cedar::Long"),
    *("T", "U", "App::T", "User", "App::User", "Top"),
]


@st.composite
def types(draw: st.DrawFn, depth: int = 0) -> str:
    kind = draw(st.integers(0, 7 if depth < 3 else 4))
    if kind <= 4:
        return draw(st.sampled_from(NAMES))
    if kind == 5:
        return f"Set<{draw(types(depth + 1))}>"
    names = draw(st.lists(st.sampled_from(["a", "b", '"c d"']), unique=True, max_size=3))
    return (
        "{" + ", ".join(f"{name}{draw(st.sampled_from(['', '?']))}: {draw(types(depth + 1))}" for name in names) + "}"
    )


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    of=types(),
    inner=types(),
    hidden=st.sampled_from(["decimal", "datetime", "ipaddr", "Other"]),
    optional=st.booleans(),
)
def test_a_type_means_to_the_engine_what_it_means_here(
    tmp_path: Path, of: str, inner: str, hidden: str, optional: bool
) -> None:
    """Names resolved here, of types that hide built-in ones too, are those that the engine resolves."""
    if "T" in inner:
        inner = "Long"
    text = f"type U = {inner if 'App' not in inner and 'U' not in inner else 'Long'}; entity Top; "
    text += f"namespace App {{ type T = {inner}; entity User; entity {hidden}; entity Box = {{ v: {of} }}; }}"
    own.write(tmp_path, text)
    declared = load_declared(tmp_path / "entities")
    value = shapes.example(declared.types["App::Box"].attributes["v"].shape, optional_too=optional)
    box = {"uid": {"type": "App::Box", "id": "b"}, "attrs": {"v": value}, "parents": []}
    cedar.Entities.from_json_str(json.dumps([box]), cedar.Schema.from_str(text))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["Long", "A", "Set", "Record", "Remit::Person"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "App",
                    "",
                    "entityTypes",
                    "actions",
                    "A",
                    "shape",
                    "type",
                    "attributes",
                    "element",
                    "name",
                    "memberOf",
                    "id",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schema=JSON.map(lambda value: {"App": value}) | JSON)
def test_any_json_is_a_schema_or_a_mistake_in_a_file(tmp_path: Path, schema: Any) -> None:
    own.write(tmp_path)
    (tmp_path / "entities" / "schema.json").write_text(json.dumps(schema))
    with contextlib.suppress(DocumentError):
        own.read(tmp_path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=100))
def test_any_bytes_are_a_schema_or_a_mistake_in_a_file(tmp_path: Path, data: bytes) -> None:
    own.write(tmp_path)
    (tmp_path / "entities" / "schema.cedarschema").write_bytes(data)
    with contextlib.suppress(DocumentError):
        own.read(tmp_path)
