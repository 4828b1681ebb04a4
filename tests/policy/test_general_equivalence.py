"""On generated projects: answers are those of the engine on everything, and search finds whom asking finds."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from cedarpy import _internal as cedar
from hypothesis import HealthCheck, given, settings
from msgspec.structs import replace

from remit.core.errors import InvalidInput
from remit.policy import General, Named, Question
from tests.policy import own

SCHEMA = """
namespace App {
  entity Group in [Group];
  entity User in [Group] = { team: String, level: Long, boss?: User, active?: Bool, unused?: Bool };
  entity Folder in [Folder] = { owner?: User, name?: String, unused?: Bool };
  entity Doc in [Folder] = {
    owner: User, team?: String, level?: Long, readers?: Set<User>, groups?: Set<Group>, labels?: Set<String>,
    meta?: { team?: String, owner?: User }, unused?: Bool
  } tags String;
  action all;
  action read, write in [all] appliesTo {
    principal: [User], resource: [Doc, Folder, User], context: { team?: String, who?: User, strong?: Bool }
  };
}
"""
USERS = ["ann", "bob", "cid", "dee"]
GROUPS = ["g1", "g2", "g3"]
FOLDERS = ["f1", "f2"]
DOCS = ["d1", "d2", "d3", "d4"]
TEAMS = ["red", "blue"]


def _maybe(draw: st.DrawFn, strategy: st.SearchStrategy[Any], into: dict[str, Any], name: str) -> None:
    if draw(st.booleans()):
        into[name] = draw(strategy)


@st.composite
def entities(draw: st.DrawFn) -> list[dict[str, Any]]:
    found = []
    for place, group in enumerate(GROUPS):
        above = [("App::Group", each) for each in GROUPS[:place] if draw(st.booleans())]
        found.append(own.entity("App::Group", group, above))
    for user in USERS:
        attrs: dict[str, Any] = {"team": draw(st.sampled_from(TEAMS)), "level": draw(st.integers(0, 2))}
        _maybe(draw, st.sampled_from(USERS), attrs, "boss")
        _maybe(draw, st.booleans(), attrs, "active")
        found.append(own.entity("App::User", user, [("App::Group", g) for g in GROUPS if draw(st.booleans())], **attrs))
    for place, folder in enumerate(FOLDERS):
        attrs = {}
        _maybe(draw, st.sampled_from(USERS), attrs, "owner")
        _maybe(draw, st.sampled_from(TEAMS), attrs, "name")
        above = [("App::Folder", each) for each in FOLDERS[:place] if draw(st.booleans())]
        found.append(own.entity("App::Folder", folder, above, **attrs))
    for doc in DOCS:
        if draw(st.integers(0, 3)) == 0:
            continue
        attrs = {"owner": draw(st.sampled_from(USERS))}
        _maybe(draw, st.sampled_from(TEAMS), attrs, "team")
        _maybe(draw, st.integers(0, 2), attrs, "level")
        _maybe(draw, st.lists(st.sampled_from(USERS)), attrs, "readers")
        _maybe(draw, st.lists(st.sampled_from(GROUPS)), attrs, "groups")
        _maybe(draw, st.lists(st.sampled_from(TEAMS)), attrs, "labels")
        _maybe(draw, st.just({"team": "red", "owner": "ann"}), attrs, "meta")
        above = [("App::Folder", each) for each in FOLDERS if draw(st.booleans())]
        found.append(own.entity("App::Doc", doc, above, **attrs))
    return found


CONDITIONS = [
    "principal.team == {t}",
    "{t} == principal.team",
    "principal == App::User::{u}",
    "principal in App::Group::{g}",
    "principal in [App::Group::{g}, App::Group::{g2}]",
    "principal.level >= {n}",
    "principal.level == {n}",
    "principal has active && principal.active",
    "principal has active && !principal.active",
    "principal has boss && principal.boss == App::User::{u}",
    "principal has boss && principal.boss.team == {t}",
    "principal has boss && principal.boss in App::Group::{g}",
    "context has team && context.team == principal.team",
    "context has who && context.who == principal",
    "context has who && context.who in App::Group::{g}",
    "context has strong && context.strong",
    "!(context has strong && context.strong)",
    "[App::User::{u}, App::User::{u2}].contains(principal)",
    "[{t}].contains(principal.team)",
    "(if principal.level == {n} then principal.team == {t} else principal in App::Group::{g})",
    "principal.team != {t}",
    "!(principal.team != {t})",
    '[{t}, "none"].containsAny([principal.team])',
]
ON_DOC = [
    "resource.owner == principal",
    "principal == resource.owner",
    "resource in App::Folder::{f}",
    "resource has team && resource.team == principal.team",
    "resource has readers && resource.readers.contains(principal)",
    "resource has readers && principal in resource.readers",
    "resource has groups && principal in resource.groups",
    "resource has groups && resource.groups.contains(App::Group::{g})",
    "resource has labels && resource.labels.contains(principal.team)",
    "resource has labels && resource.labels.contains({t})",
    "resource has labels && resource.labels.containsAny([{t}, principal.team])",
    "resource has labels && resource.labels.containsAll([{t}])",
    "resource has labels && resource.labels.isEmpty()",
    "resource has level && resource.level < principal.level",
    "resource has meta && resource.meta has team && resource.meta.team == principal.team",
    "resource has meta.owner && resource.meta.owner == principal",
    "resource.owner.team == principal.team",
    "resource.owner has boss && resource.owner.boss == principal",
    'resource.hasTag("x") && resource.getTag("x") == principal.team',
    "resource == App::Doc::{d}",
]
ON_FOLDER = [
    "resource has owner && resource.owner == principal",
    "resource in App::Folder::{f}",
    "App::Folder::{f} in resource",
    "resource has name && resource.name == principal.team",
]
ON_USER = [
    "resource == principal",
    "resource in App::Group::{g}",
    "principal has boss && principal.boss == resource",
    "resource.team == principal.team",
    "resource has active && resource.active",
    "principal in resource",
]
SCOPES = ["principal", "principal == App::User::{u}", "principal in App::Group::{g}", "principal is App::User"]
KINDS = {"Doc": ON_DOC, "Folder": ON_FOLDER, "User": ON_USER}


@st.composite
def policy(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(list(KINDS)))
    effect = draw(st.sampled_from(["permit", "permit", "permit", "forbid"]))
    scope = draw(st.sampled_from(SCOPES))
    parts = draw(st.lists(st.sampled_from([*CONDITIONS, *KINDS[kind]]), min_size=0, max_size=4))
    text = ""
    for place, part in enumerate(parts):
        text = f"({part})" if place == 0 else f"({text}) {draw(st.sampled_from(['&&', '||']))} ({part})"
    action = draw(st.sampled_from(['action == App::Action::"read"', 'action in App::Action::"all"']))
    end = f" {draw(st.sampled_from(['when', 'when', 'unless']))} {{ {text} }}" if text else ""
    written = f"{effect}({scope}, {action}, resource is App::{kind}){end};"
    for mark, values in {
        "{t}": TEAMS,
        "{u}": [*USERS, "zoe"],
        "{u2}": USERS,
        "{g}": GROUPS,
        "{g2}": GROUPS,
        "{f}": FOLDERS,
        "{d}": [*DOCS, "dx"],
    }.items():
        while mark in written:
            written = written.replace(mark, f'"{draw(st.sampled_from(values))}"', 1)
    while "{n}" in written:
        written = written.replace("{n}", str(draw(st.integers(0, 2))), 1)
    return written


@st.composite
def properties(draw: st.DrawFn, type_: str) -> dict[str, Any]:
    given_: dict[str, Any] = {}
    if draw(st.booleans()):
        return given_
    if type_ == "User":
        _maybe(draw, st.sampled_from(TEAMS), given_, "team")
        _maybe(draw, st.integers(0, 2), given_, "level")
        _maybe(draw, st.booleans(), given_, "active")
        _maybe(draw, st.sampled_from(USERS), given_, "boss")
    elif type_ == "Folder":
        _maybe(draw, st.sampled_from(USERS), given_, "owner")
        _maybe(draw, st.sampled_from(TEAMS), given_, "name")
    else:
        _maybe(draw, st.sampled_from(USERS), given_, "owner")
        _maybe(draw, st.sampled_from(TEAMS), given_, "team")
        _maybe(draw, st.lists(st.sampled_from(USERS)), given_, "readers")
        _maybe(draw, st.lists(st.sampled_from(TEAMS)), given_, "labels")
    return given_


@st.composite
def context(draw: st.DrawFn) -> dict[str, Any]:
    given_: dict[str, Any] = {}
    _maybe(draw, st.sampled_from(TEAMS), given_, "team")
    _maybe(draw, st.sampled_from(USERS), given_, "who")
    _maybe(draw, st.booleans(), given_, "strong")
    return given_


def permitted(general: General, question: Question) -> bool:
    try:
        return general.evaluate(question).permitted
    except InvalidInput as error:
        return _contradicts(error)


PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
IDS = {"User": [*USERS, "zoe"], "Folder": FOLDERS, "Doc": [*DOCS, "dx"]}


@st.composite
def question(draw: st.DrawFn) -> Question:
    kind = draw(st.sampled_from(list(IDS)))
    user = Named("user", draw(st.sampled_from(IDS["User"])), draw(properties("User")))
    thing = Named(kind.lower(), draw(st.sampled_from(IDS[kind])), draw(properties(kind)))
    return Question(
        subject=user, action=draw(st.sampled_from(["read", "write"])), resource=thing, context=draw(context())
    )


def general_of(data: st.DataObject) -> tuple[General, str]:
    policies = "\n".join(data.draw(st.lists(policy(), min_size=1, max_size=5)))
    with tempfile.TemporaryDirectory() as folder:
        return own.project(Path(folder), SCHEMA, data.draw(entities()), policies).general, policies


def compare_search(data: st.DataObject) -> None:
    general, _ = general_of(data)
    for _ in range(6):
        asked = data.draw(question())
        for what in ("subject", "resource"):
            sought: Named = getattr(asked, what)
            type_ = sought.type.capitalize()
            wanted = [id_ for id_ in sorted(IDS[type_]) if permitted(general, _with(asked, what, id_))]
            names, exact = pages(general, what, _with(asked, what, ""), data.draw(st.integers(1, 4)))
            assert not (exact and permitted(general, _with(asked, what, "nobody")))
            # An id that nothing names is found by no search; then the answer says that it is not exact.
            assert names == [id_ for id_ in wanted if exact or id_ in names]
            assert {id_ for id_ in wanted if (f"App::{type_}", id_) in general.entities.by_uid} <= set(names)
        actions = [name for name in ("read", "write") if permitted(general, replace(asked, action=name))]
        assert list(_actions(general, asked)) == actions


def compare_engine(data: st.DataObject) -> None:
    general, policies = general_of(data)
    asked = data.draw(st.lists(question(), min_size=1, max_size=8))
    alone = []
    for each in asked:
        try:
            alone.append(general.evaluate(each))
        except InvalidInput as error:
            _contradicts(error)
    together = [each for each in asked if not _is_contradiction(general, each)]
    assert general.evaluate_many(together) == alone
    for each, answer in zip(together, alone, strict=True):
        if answer.reason.code == "attribute_missing":
            continue
        decision, matched, errors = engine(general, policies, each)
        assert answer.permitted is (decision == "Allow" and not errors)
        assert (answer.reason.code == "policy_error") is bool(errors)
        if not errors:
            assert {ref.id for ref in answer.policies} == {f"own#{name.removeprefix('policy')}" for name in matched}


def compare_cut(data: st.DataObject) -> None:
    """With it, entities are cut to what policies can reach; without it, they are all there."""
    general, _ = general_of(data)
    for _ in range(8):
        asked = data.draw(question())
        asked = replace(asked, subject=replace(asked.subject, properties={}))
        asked = replace(asked, resource=replace(asked.resource, properties={}))
        for what in ("subject", "resource"):
            more = replace(asked, **{what: replace(getattr(asked, what), properties={"unused": True})})
            assert general.evaluate(more) == general.evaluate(asked)


def engine(general: General, policies: str, asked: Question) -> tuple[str, list[str], list[str]]:
    """The engine on the whole, with what the caller says added where the files say nothing."""
    said: dict[tuple[str, str], dict[str, Any]] = {}
    for named in (asked.subject, asked.resource):
        said.setdefault((f"App::{named.type.capitalize()}", named.id), {}).update(_cedar(named.properties))
    found = []
    for uid in {*general.entities.by_uid, *said}:
        known = general.entities.by_uid.get(uid)
        attrs = {**said.get(uid, {}), **(known.attrs if known else {})}
        parents = [{"type": type_, "id": id_} for type_, id_ in (known.parents if known else ())]
        found.append({"uid": {"type": uid[0], "id": uid[1]}, "attrs": attrs, "parents": parents})
        if known:
            found[-1]["tags"] = dict(known.tags)
    action = {"type": "App::Action", "id": asked.action}
    found.append({"uid": action, "attrs": {}, "parents": [{"type": "App::Action", "id": "all"}]})
    request = {
        "principal": {"type": "App::User", "id": asked.subject.id},
        "action": action,
        "resource": {"type": f"App::{asked.resource.type.capitalize()}", "id": asked.resource.id},
        "context": json.dumps(_cedar(asked.context)),
    }
    answer = json.loads(cedar.is_authorized_batch([request], policies, json.dumps(found), None, False)[0])
    return answer["decision"], answer["diagnostics"]["reason"], answer["diagnostics"]["errors"]


def _cedar(values: Mapping[str, Any]) -> dict[str, Any]:
    def user(id_: str) -> dict[str, Any]:
        return {"__entity": {"type": "App::User", "id": id_}}

    return {
        name: user(value)
        if name in ("owner", "boss", "who")
        else [user(id_) for id_ in value]
        if name == "readers"
        else value
        for name, value in values.items()
    }


def _is_contradiction(general: General, asked: Question) -> bool:
    try:
        general.evaluate(asked)
    except InvalidInput:
        return True
    return False


def pages(general: General, what: Any, question: Question, limit: int) -> tuple[list[str], bool]:
    names: list[str] = []
    after, exact = "", True
    while True:
        page = general.search(what, question, after=after, limit=limit)
        assert len(page.results) <= limit
        names += [result.id for result in page.results if isinstance(result, Named)]
        exact = exact and page.exact
        if not page.next:
            return names, exact
        after = page.next


def _with(asked: Question, what: str, id_: str) -> Question:
    return replace(asked, **{what: replace(getattr(asked, what), id=id_)})


def _actions(general: General, question: Question) -> tuple[Any, ...]:
    try:
        return general.search("action", question).results
    except InvalidInput as error:
        _contradicts(error)
        return ()


def _contradicts(error: InvalidInput) -> bool:
    """Never permitted: the subject and the resource are one, of whom the question says two things."""
    if "the same" not in error.message:
        raise error
    return False


@settings(PATIENT, max_examples=100)
@given(data=st.data())
def test_search_finds_exactly_whom_asking_one_by_one_finds(data: st.DataObject) -> None:
    compare_search(data)


@settings(PATIENT, max_examples=100)
@given(data=st.data())
def test_an_answer_is_that_of_the_engine_on_all_policies_and_all_entities(data: st.DataObject) -> None:
    compare_engine(data)


@settings(PATIENT, max_examples=100)
@given(data=st.data())
def test_what_no_policy_reads_changes_no_answer(data: st.DataObject) -> None:
    compare_cut(data)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("compare", [compare_search, compare_engine, compare_cut])
def test_the_same_at_length(compare: Callable[[st.DataObject], None]) -> None:
    settings(PATIENT, max_examples=2_000)(given(data=st.data())(compare))()
