"""Which candidates a condition leaves: certain or everybody, whichever side is sought."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from remit.policy.general.index import Index
from remit.policy.general.narrowing import Narrowing
from remit.policy.reads import Uid
from tests.policy import own
from tests.policy.own import entity

SCHEMA = """
namespace App {
  entity Team in [Team];
  entity User in [Team] = {
    @source("files") rank?: Long, team: String, level: Long, active?: Bool, boss?: User, tags?: Set<String>
  };
  entity Doc in [Doc] = {
    owner: User, team?: String, readers?: Set<User>, teams?: Set<Team>, labels?: Set<String>, price?: decimal,
    meta?: { by: User }
  } tags String;
  action read appliesTo { principal: User, resource: Doc, context: { who?: User, team?: String, night?: Bool } };
}
"""
ENTITIES = [
    entity("App::Team", "t1"),
    entity("App::Team", "t2", [("App::Team", "t1")]),
    entity("App::User", "ann", [("App::Team", "t2")], team="red", level=1, active=True, boss="bob", tags=["a", "b"]),
    entity("App::User", "bob", [("App::Team", "t1")], team="red", level=2, active=False),
    entity("App::User", "cid", team="blue", level=3, boss="ann", tags=[]),
    entity("App::Doc", "d1", owner="ann", team="red", readers=["ann", "bob"], labels=["red", "x"], price="1.0"),
    entity("App::Doc", "d2", [("App::Doc", "d1")], owner="bob", teams=["t1"], meta={"by": "cid"}),
    entity("App::Doc", "d3", owner="cid", teams=["t2"], labels=[]),
]
ALL = None
SUBJECTS: list[tuple[str, set[str] | None]] = [  # of d1
    ("true", ALL),
    ("false", set()),
    ('principal == App::User::"zoe"', {"zoe"}),
    ("resource.owner == principal", {"ann"}),
    ("principal != resource.owner", ALL),
    ("!(principal != resource.owner)", {"ann"}),
    ('principal.team == "red"', {"ann", "bob"}),
    ("principal.level == 3", {"cid"}),
    ("principal.level > 2", ALL),
    ("!(principal.level == 3)", ALL),
    ("principal has team && resource has team && resource.team == principal.team", {"ann", "bob"}),
    ("principal has boss", {"ann", "cid"}),
    ('principal has boss && principal.boss == App::User::"ann"', {"cid"}),
    ("principal has boss && principal.boss == resource.owner", {"cid"}),
    ("principal has boss && principal.boss.level == 2", {"ann", "cid"}),
    ("principal has active && principal.active == true", {"ann"}),
    ('principal in App::Team::"t1"', {"ann", "bob"}),
    ('principal in [App::Team::"t2", App::Team::"t3"]', {"ann"}),
    ("resource has readers && resource.readers.contains(principal)", {"ann", "bob"}),
    ("resource has readers && principal in resource.readers", {"ann", "bob"}),
    ('[App::User::"cid"].contains(principal)', {"cid"}),
    ('["blue", "green"].contains(principal.team)', {"cid"}),
    ('principal has tags && principal.tags.contains("a")', {"ann"}),
    ('principal has tags && principal.tags.containsAny(["b", "c"])', {"ann"}),
    ('principal has tags && ["b", "c"].containsAny(principal.tags)', {"ann"}),
    ('principal has tags && principal.tags.containsAll(["a", "b"])', {"ann"}),
    ('principal has tags && principal.tags.containsAll(["a", "c"])', set()),
    ('principal has tags && ["a", "b"].containsAll(principal.tags)', {"ann", "cid"}),
    ('principal.team == "red" && principal.level == 1', {"ann"}),
    ('principal.team == "blue" || principal.level == 1', {"ann", "cid"}),
    ('!(principal.team != "red" || principal.level != 1)', {"ann"}),
    ('!(principal.team != "red" && principal.level != 3)', {"ann", "bob", "cid"}),
    ('if resource.owner == App::User::"ann" then principal.level == 1 else true', {"ann"}),
    ('if principal.team == "red" then principal.level == 1 else principal.level == 3', {"ann", "cid"}),
    ('resource.owner == App::User::"bob" && principal.level > 0', set()),
    ('App::User::"cid" has active', set()),
    ('App::User::"ann" has active', ALL),
    ("context has who && context.who == principal", {"bob"}),
    ("context has who && principal has boss && principal.boss == context.who", {"ann"}),
    ("context has team && context.team == principal.team", set()),
    ("context has night && context.night", ALL),
    ("!(context has night && context.night)", set()),
    ("principal is App::User", ALL),
    ('principal is App::User in App::Team::"t2"', {"ann"}),
    ('resource has price && resource.price == decimal("1.0")', ALL),
    ('resource.hasTag("x") && resource.getTag("x") == principal.team', ALL),
    ('principal.team like "r*"', ALL),
]
RESOURCES: list[tuple[str, set[str] | None]] = [  # for ann
    ("resource.owner == principal", {"d1"}),
    ('resource == App::Doc::"new"', {"new"}),
    ('resource in App::Doc::"d1"', {"d1", "d2"}),
    ("resource has readers && principal in resource.readers", {"d1"}),
    ("resource has readers && resource.readers.contains(principal)", {"d1"}),
    ("resource has teams && principal in resource.teams", {"d2", "d3"}),
    ('resource has teams && resource.teams.contains(App::Team::"t1")', {"d2"}),
    ("resource has labels && resource.labels.contains(principal.team)", {"d1"}),
    ("resource has meta && resource.meta.by == principal", {"d2"}),
    ('principal.team == "blue" && resource has team', set()),
    ("principal in resource.owner", {"d1"}),
    ("resource has team && resource.team == principal.team && principal.level == 1", {"d1"}),
]


def narrowed(tmp_path: Path, condition: str, sought: str, kind: str = "when", scope: str = "", **more: Any) -> Any:
    text = f"permit({scope or 'principal, action, resource is App::Doc'}) {kind} {{ {condition} }};"
    loaded = own.project(tmp_path, SCHEMA, ENTITIES, text)
    entities = loaded.general.entities
    known: dict[str, Uid] = {
        "principal": ("App::User", "ann"),
        "action": ("App::Action", "read"),
        "resource": ("App::Doc", "d1"),
    }
    del known[sought]
    types = {"principal": "App::User", "resource": "App::Doc"}
    context = {"who": {"__entity": {"type": "App::User", "id": "bob"}}, "team": "none", "night": True}
    found = Narrowing(
        entities,
        Index(entities),
        (sought, types[sought]),
        known,
        context,
        more.get("said", {}),
        more.get("supplied", {}),
        strangers=more.get("strangers", False),
    ).candidates([policy for policy in loaded.policies() if policy.origin == "user"])
    return None if found is None else set(found)


@pytest.mark.parametrize(("condition", "wanted"), SUBJECTS)
def test_subjects_are_narrowed_by_what_is_certain(tmp_path: Path, condition: str, wanted: set[str] | None) -> None:
    assert narrowed(tmp_path, condition, "principal") == wanted


@pytest.mark.parametrize(("condition", "wanted"), RESOURCES)
def test_resources_are_narrowed_by_what_is_certain(tmp_path: Path, condition: str, wanted: set[str] | None) -> None:
    assert narrowed(tmp_path, condition, "resource") == wanted


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        ("true", set()),
        ("false", ALL),
        ('principal.team != "red"', {"ann", "bob"}),
        ('principal.team == "red"', ALL),
        ('principal.team != "red" || principal.level != 1', {"ann"}),
        ("resource.owner == principal", ALL),
    ],
)
def test_unless_is_narrowed_by_what_is_certainly_false(tmp_path: Path, condition: str, wanted: set[str] | None) -> None:
    assert narrowed(tmp_path, condition, "principal", "unless") == wanted


@pytest.mark.parametrize(
    ("scope", "subjects", "resources"),
    [
        ('principal == App::User::"ann", action, resource is App::Doc', {"ann"}, ALL),
        ('principal == App::User::"bob", action, resource is App::Doc', {"bob"}, set()),
        ('principal in App::Team::"t2", action, resource is App::Doc', {"ann"}, ALL),
        ('principal is App::User in App::Team::"t1", action, resource is App::Doc', {"ann", "bob"}, ALL),
        ('principal, action, resource == App::Doc::"d2"', set(), {"d2"}),
        ('principal, action, resource in App::Doc::"d1"', ALL, {"d1", "d2"}),
    ],
)
def test_scopes_narrow_too(tmp_path: Path, scope: str, subjects: set[str] | None, resources: set[str] | None) -> None:
    assert narrowed(tmp_path, "true", "principal", scope=scope) == subjects
    assert narrowed(tmp_path, "true", "resource", scope=scope) == resources


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        ("principal has active && principal.active == true", ALL),  # of whoever has no value of his own
        ("principal has active && principal.active == false", {"bob"}),
        ('principal has tags && principal.tags.contains("a")', ALL),
        ("principal has boss", {"ann", "cid"}),
        ('App::User::"cid" has active', ALL),  # cid may be the one who is sought, and described
        ('App::User::"bob" has boss', set()),
    ],
)
def test_what_the_caller_says_of_whom_is_sought_widens(tmp_path: Path, condition: str, wanted: set[str] | None) -> None:
    supplied = {"active": True, "tags": ["z"]}
    assert narrowed(tmp_path, condition, "principal", supplied=supplied) == wanted


def test_what_the_caller_says_of_the_other_counts_where_files_say_nothing(tmp_path: Path) -> None:
    said = {("App::Doc", "d1"): {"owner": "never", "teams": [{"__entity": {"type": "App::Team", "id": "t2"}}]}}
    assert narrowed(tmp_path, "resource has teams && principal in resource.teams", "principal", said=said) == {"ann"}
    assert narrowed(tmp_path, "resource.owner == principal", "principal", said=said) == {"ann"}


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        ('principal.team == "red"', ALL),
        ("principal has boss", ALL),
        ('principal has tags && principal.tags.contains("a")', ALL),
        ("principal has rank && principal.rank == 1", set()),
        ('principal in App::Team::"t1"', set()),
        ('principal in App::User::"zoe"', {"zoe"}),
        ("resource.owner == principal", {"ann"}),
        ('context has team && context.team == "x"', set()),
        ("resource.owner has active && resource.owner.active", ALL),
    ],
)
def test_strangers_may_have_any_attribute_that_callers_give_and_are_in_nothing(
    tmp_path: Path, condition: str, wanted: set[str] | None
) -> None:
    assert narrowed(tmp_path, condition, "principal", strangers=True) == wanted
