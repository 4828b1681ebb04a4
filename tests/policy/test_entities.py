"""Entities from files: what is checked when they are loaded, and where a mistake is said to be."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from remit.core import canonical
from remit.core.errors import DocumentError
from remit.policy.entities import files, load_entities, strict_json
from tests.policy import own
from tests.policy.own import entity

SCHEMA = """
namespace App {
  entity Group in [Group];
  entity User in [Group] = { team: String, boss?: User } tags Set<String>;
  entity Doc = { owner: User };
  entity Colour enum ["red", "blue"];
  action read appliesTo { principal: User, resource: [Doc, Colour] };
}
"""
ANN = entity("App::User", "ann", team="red")


def refused(root: Path, entities: Any, schema: Any = SCHEMA, policies: str = "") -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        own.project(root, schema, entities, policies)
    return caught.value


def test_entities_of_all_files_are_one_set_in_the_order_of_their_ids(tmp_path: Path) -> None:
    own.write(tmp_path, SCHEMA, [entity("App::User", "zoe", team="red")])
    more = [ANN, {**entity("App::User", "bob", [("App::Group", "g")], team="red"), "tags": {"a": ["b"]}}]
    (tmp_path / "entities" / "more.json").write_text(json.dumps([*more, entity("App::Group", "g")]))
    (tmp_path / "entities" / "README.md").write_text("what stands here")
    (tmp_path / "entities" / ".hidden").write_text("?")
    found = load_entities(tmp_path / "entities")
    assert found.by_type == {"App::Group": ["g"], "App::User": ["ann", "bob", "zoe"]}
    assert found.ancestors == {("App::User", "bob"): (("App::Group", "g"),)}
    assert found.by_uid["App::User", "bob"].tags == {"a": ["b"]}


def test_cedars_escapes_and_plain_values_are_one(tmp_path: Path) -> None:
    plain = entity("App::Doc", "d", owner="ann")
    escaped = entity("App::Doc", "e", owner={"__entity": {"type": "App::User", "id": "ann"}})
    escaped["uid"] = {"__entity": escaped["uid"]}
    found = own.project(tmp_path, SCHEMA, [ANN, plain, escaped]).general.entities
    assert found.by_uid["App::Doc", "d"].attrs == found.by_uid["App::Doc", "e"].attrs


def test_the_digest_changes_with_every_file_and_what_is_kept_has_nobody_in_it(tmp_path: Path) -> None:
    own.write(tmp_path, SCHEMA, [ANN])
    found = load_entities(tmp_path / "entities")
    schema, data = (
        canonical.sha256((tmp_path / "entities" / name).read_bytes()) for name in ("schema.cedarschema", "data.json")
    )
    assert found.texts == {
        found.digest: f'{{"data.json":"sha256:{data}","schema.cedarschema":"{schema}"}}',
        schema: SCHEMA,
    }
    assert canonical.sha256(found.texts[found.digest].encode()) == found.digest
    (tmp_path / "entities" / "data.json").write_text(json.dumps([entity("App::User", "bob", team="red")]))
    assert load_entities(tmp_path / "entities").digest != found.digest
    (tmp_path / "entities" / "schema.cedarschema").write_text(SCHEMA + "// more")
    assert load_entities(tmp_path / "entities").digest != found.digest


def test_a_project_without_entities_has_no_digest_and_no_texts(tmp_path: Path) -> None:
    (tmp_path / "entities").mkdir()
    for folder in (tmp_path / "entities", tmp_path / "none"):
        found = load_entities(folder)
        assert (found.digest, found.texts, found.by_uid) == ("", {}, {})


LOOP = [entity("App::Group", "a", [("App::Group", "b")]), entity("App::Group", "b", [("App::Group", "a")])]


@pytest.mark.parametrize(
    ("entities", "line", "message"),
    [
        ("{}", 1, "not valid JSON: expected an array: `[`"),
        ("[\n {]", 2, "not valid JSON: expecting property name"),
        ("[\n 1]", 2, 'this is not {"uid": …'),
        ('[\n {"uid": 1}]', 2, '`uid` is not {"type": …, "id": …}'),
        ('[{"uid": {"type": "App::Group", "id": "g"}, "more": 1}]', 1, "this is not"),
        ('[\n{"uid": {"type": "App::Group", "id": "g"}, "attrs": {}, "attrs": {}}]', 2, "`attrs` stands twice"),
        ('[{"uid": {"type": "App::Group", "id": "\\ud800"}}]', 1, "a text is not valid Unicode"),
        ('[{"uid": {"type": "App::Group", "id": NaN}}]', 1, "`nan` is not json"),
        ('[{"uid": {"type": "App::Group", "id": "g"}}] x', 1, "there is more after the end"),
        ("[" * 100_000, 1, "nested too deeply"),
        ('[{"uid": ' + "9" * 5_000 + "}]", 1, "exceeds the limit"),
        ([entity("App::User", "ann")], 1, "`attrs.team` is missing"),
        ([entity("App::User", "ann", team=1)], 1, "`attrs.team` is not a string"),
        ([entity("App::User", "ann", team="red", more=1)], 1, "`attrs.more` is not declared in the schema"),
        ([entity("App::Usr", "ann")], 1, "`uid` is of the type `App::Usr`, which is not declared"),
        ([entity("App::Group", "")], 1, "`uid` is empty"),
        ([ANN, ANN], 1, '`App::User::"ann"` stands twice: also at'),
        ([entity("App::Group", "g", [("App::Group", "h")])], 1, 'its parent `App::Group::"h"` is in no file'),
        ([ANN, entity("App::Group", "g", [("App::User", "ann")])], 1, "which a `App::Group` can't be in"),
        (LOOP, 1, "is in itself"),
        ([entity("App::Doc", "d", owner="ann")], 1, "which is in no file, but entities of its type must have"),
        ([entity("App::Colour", "green")], 1, "`uid` is not listed for `App::Colour`"),
        ([{**entity("App::Group", "g"), "tags": {"a": "b"}}], 1, "`tags` is not declared"),
        ([{**ANN, "tags": {"a": "b"}}], 1, "`tags.a` is not an array"),
        ([{**ANN, "parents": {}}], 1, "`parents` is not an array"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, entities: Any, line: int, message: str) -> None:
    error = refused(tmp_path, entities)
    assert message in error.message
    assert Path(error.path).name == "data.json"
    assert error.line == line


@pytest.mark.parametrize("type_", ["Remit::Person", "Remit::Workload", "Remit::Group", "Remit::Action", "Remit"])
def test_nobody_is_made_a_person_a_workload_or_a_group_by_a_file(tmp_path: Path, type_: str) -> None:
    assert "which is Remit's own" in refused(tmp_path, [entity(type_, "x")]).message


@pytest.mark.parametrize("name", ["data.jsn", "schema.cedar", "data.json.bak"])
def test_a_misspelt_ending_takes_no_entities_away(tmp_path: Path, name: str) -> None:
    own.write(tmp_path, SCHEMA)
    (tmp_path / "entities" / name).write_text("[]")
    with pytest.raises(DocumentError, match="this is not a file of entities"):
        load_entities(tmp_path / "entities")


def test_a_folder_among_the_files_is_refused(tmp_path: Path) -> None:
    own.write(tmp_path, SCHEMA)
    (tmp_path / "entities" / "more.json").mkdir()
    with pytest.raises(DocumentError, match="not a file of entities"):
        load_entities(tmp_path / "entities")


def test_two_schemas_are_refused(tmp_path: Path) -> None:
    own.write(tmp_path, SCHEMA)
    own.write(tmp_path, {"App": {"entityTypes": {}, "actions": {}}})
    with pytest.raises(DocumentError, match="there are two schemas"):
        load_entities(tmp_path / "entities")


def test_the_number_of_entities_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_ENTITIES", 3)
    own.project(tmp_path, SCHEMA, [entity("App::Group", str(number)) for number in range(3)])
    assert "more than 3" in refused(tmp_path, [entity("App::Group", str(number)) for number in range(4)]).message


def test_what_one_entity_is_in_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_ANCESTORS", 3)
    chain = [entity("App::Group", "0")]
    chain += [entity("App::Group", str(number), [("App::Group", str(number - 1))]) for number in range(1, 5)]
    assert '`App::Group::"4"` is in more than 3 others' in refused(tmp_path, chain).message


def test_a_long_chain_of_parents_is_followed_without_recursion(tmp_path: Path) -> None:
    chain = [entity("App::Group", f"{number:04}", [("App::Group", f"{number + 1:04}")]) for number in range(900)]
    found = own.project(tmp_path, SCHEMA, [*chain, entity("App::Group", "0900")]).general.entities
    assert len(found.ancestors["App::Group", "0000"]) == 900


BYTES = st.binary(max_size=200) | st.text(alphabet='[]{}",:0aé\\u"\n ', max_size=80).map(str.encode)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["ann", "App::User"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["uid", "type", "id", "attrs", "team", "boss", "parents", "tags", "__entity", "__extn"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
NEARLY = st.fixed_dictionaries(
    {
        "uid": st.fixed_dictionaries(
            {"type": st.sampled_from(["App::User", "App::Group", "App::Doc", "App::Colour", "Remit::Person"])},
            optional={"id": VALUES},
        )
    },
    optional={"attrs": VALUES, "parents": VALUES, "tags": VALUES},
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=BYTES | st.lists(NEARLY, max_size=3).map(lambda each: json.dumps(each).encode()))
def test_any_bytes_are_entities_or_a_mistake_in_a_file(tmp_path: Path, data: bytes) -> None:
    own.write(tmp_path, SCHEMA)
    (tmp_path / "entities" / "data.json").write_bytes(data)
    with contextlib.suppress(DocumentError):
        own.read(tmp_path)


@settings(max_examples=300, deadline=None)
@given(BYTES)
def test_strict_json_agrees_with_the_usual_parser_or_refuses(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        found, _ = strict_json.value(text, 0)
    except strict_json.StrictJsonError:
        return
    assert json.loads(text) == found
