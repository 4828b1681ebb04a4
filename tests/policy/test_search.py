"""Search: pages that miss nobody, bounds, and saying so where an answer can't be exact."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from remit.core.errors import InvalidInput
from remit.policy import Found, General, Named, Question
from remit.policy.general import search as searching
from remit.policy.general.narrowing import Narrowing
from tests.policy import own
from tests.policy.own import entity

SCHEMA = """
namespace App {
  entity Team in [Team];
  entity User in [Team] = { level: Long, badge?: String, boss?: User };
  entity Doc in [Doc] = { owner: User, label?: String, readers?: Set<User> };
  entity Draft = { owner?: User };
  entity Colour enum ["red", "green", "blue"];
  action view, edit, "delete" appliesTo { principal: User, resource: [Doc, Draft], context: { night?: Bool } };
  action sign appliesTo { principal: User, resource: Doc, context: { mfa: Bool } };
  action visit appliesTo { principal: User, resource: User };
  action paint appliesTo { principal: User, resource: Colour };
}
"""
USERS = [entity("App::User", f"u{number:02}", [("App::Team", "all")], level=number) for number in range(20)]
DOCS = [entity("App::Doc", f"d{number}", owner="u03", label="x" if number % 2 else "y") for number in range(4)]
ENTITIES = [entity("App::Team", "all"), *USERS, *DOCS]


def general_of(tmp_path: Path, policies: str, entities: list[dict[str, Any]] | None = None) -> General:
    return own.project(tmp_path, SCHEMA, ENTITIES if entities is None else entities, policies).general


def when(condition: str, action: str = "view", effect: str = "permit", of: str = "Doc") -> str:
    return f'{effect}(principal, action == App::Action::"{action}", resource is App::{of}) when {{ {condition} }};'


def subjects(general: General, resource: str | Named = "d1", action: str = "view", **more: Any) -> Found:
    what = resource if isinstance(resource, Named) else Named("doc", resource)
    properties = more.pop("properties", {})
    context = more.pop("context", {})
    question = Question(subject=Named("user", "", properties), action=action, resource=what, context=context)
    return general.search("subject", question, **more)


def ids(found: Found) -> list[str]:
    return [each.id for each in found.results if isinstance(each, Named)]


def test_all_pages_together_are_one_answer_in_the_order_of_ids(tmp_path: Path) -> None:
    general = general_of(tmp_path, when("principal.level >= 5 && principal.level != 7"))
    whole = ids(subjects(general))
    assert whole == [f"u{number:02}" for number in range(5, 20) if number != 7]
    for limit in (1, 2, 3, 14, 15):
        after, pages = "", []
        while True:
            page = subjects(general, after=after, limit=limit)
            pages.append(ids(page))
            after = page.next
            if not after:
                break
        assert list(itertools.chain(*pages)) == whole
        assert all(len(page) == limit for page in pages[:-1])


def test_a_result_names_the_type_as_the_caller_did(tmp_path: Path) -> None:
    general = general_of(tmp_path, when("principal.level == 3"))
    assert subjects(general).results == (Named("user", "u03"),)
    question = Question(subject=Named("App::User"), action="view", resource=Named("doc", "d1"))
    assert general.search("subject", question).results == (Named("App::User", "u03"),)


def test_the_id_and_the_action_of_what_is_sought_do_not_count(tmp_path: Path) -> None:
    general = general_of(tmp_path, when("principal.level == 3"))
    question = Question(subject=Named("user", "u05"), action="view", resource=Named("doc", "d1"))
    assert ids(general.search("subject", question)) == ["u03"]
    assert general.search(
        "action", Question(subject=Named("user", "u03"), action="nothing", resource=Named("doc", "d1"))
    ).results == ("view",)


def test_actions_are_found_in_the_order_of_the_schema(tmp_path: Path) -> None:
    policies = "".join(when("principal.level > 1", action) for action in ("delete", "view", "edit"))
    general = general_of(tmp_path, policies)
    question = Question(subject=Named("user", "u05"), action="", resource=Named("doc", "d1"))
    assert general.search("action", question).results == ("view", "edit", "delete")
    first = general.search("action", question, limit=2)
    assert (first.results, first.next) == (("view", "edit"), "edit")
    second = general.search("action", question, limit=2, after=first.next)
    assert second.results == ("delete",)
    assert not general.search("action", question, limit=9, after="sign").next
    with pytest.raises(InvalidInput) as caught:
        general.search("action", question, after="gone")
    assert caught.value.code == "page_invalid"


@pytest.mark.parametrize("limit", [0, -1, 10_001])
def test_a_page_is_bounded(tmp_path: Path, limit: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        subjects(general_of(tmp_path, when("true")), limit=limit)
    assert caught.value.code == "limit_invalid"


def test_a_page_that_took_its_time_says_where_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is left out without a word, though a page may be empty."""
    monkeypatch.setattr(searching, "BATCH", 4)
    general = general_of(tmp_path, when("principal.level >= 18"))
    general._search._clock = itertools.count(step=1).__next__  # type: ignore[assignment]
    found, after, pages = [], "", 0
    while True:
        page = subjects(general, after=after)
        found += ids(page)
        pages += 1
        after = page.next
        if not after:
            break
    assert found == ["u18", "u19"]
    assert pages == 5


def test_whom_no_permit_can_match_is_not_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policies = when("resource.owner == principal") + when(
        "resource has readers && resource.readers.contains(principal)"
    )
    policies += when("resource has label && principal has badge && principal.badge == resource.label")
    users = [entity("App::User", f"u{number:02}", level=1, badge=f"b{number % 5}") for number in range(20)]
    docs = [entity("App::Doc", "d1", owner="u03", readers=["u04", "u05"], label="b0")]
    general = general_of(tmp_path, policies, [*users, *docs])
    asked: list[str] = []
    decide = general._search._decide

    def counting(group: Any) -> Any:
        asked.extend(each.request["principal"]["id"] for each in group)
        return decide(group)

    monkeypatch.setattr(general._search, "_decide", counting)
    assert ids(subjects(general)) == ["u00", "u03", "u04", "u05", "u10", "u15"]
    assert sorted(set(asked)) == ["\0stranger", "u00", "u03", "u04", "u05", "u10", "u15"]


def test_a_permit_that_the_question_itself_rules_out_costs_nothing(tmp_path: Path) -> None:
    general = general_of(
        tmp_path,
        when("context has night && context.night") + when('resource has label && resource.label == "y"', "edit"),
    )
    assert ids(subjects(general)) == []
    assert len(ids(subjects(general, context={"night": True}))) == 20


# --- exactness


def test_a_policy_for_anybody_makes_an_answer_inexact(tmp_path: Path) -> None:
    found = subjects(general_of(tmp_path, when('resource has label && resource.label == "x"')))
    assert len(found.results) == 20
    assert not found.exact
    assert found.why == "a `user` that is in no file of `entities/` is permitted too"


def test_a_policy_that_asks_for_what_files_say_leaves_an_answer_exact(tmp_path: Path) -> None:
    for condition in ("principal.level > 3", 'principal in App::Team::"all"', "resource.owner == principal"):
        found = subjects(general_of(tmp_path, when(condition)))
        assert found.results
        assert (found.exact, found.why) == (True, "")


def test_a_type_that_no_file_has_can_only_be_answered_for_those_who_are_named(tmp_path: Path) -> None:
    general = general_of(tmp_path, when("resource has owner && resource.owner == principal", of="Draft"))
    question = Question(subject=Named("user", "u03"), action="view", resource=Named("draft"))
    found = general.search("resource", question)
    assert (found.results, found.exact) == ((), False)
    assert found.why == "no `draft` is in a file of `entities/`, and one may be permitted by its properties"
    named = general_of(tmp_path, when('resource == App::Draft::"one"', of="Draft")).search("resource", question)
    assert (ids(named), named.exact) == (["one"], True)


def test_one_who_is_only_named_by_a_policy_or_a_value_is_found(tmp_path: Path) -> None:
    entities = [*ENTITIES, entity("App::Draft", "s", owner="u01")]
    general = general_of(
        tmp_path, when('principal == App::User::"zoe"') + when("resource.owner == principal"), entities
    )
    assert ids(subjects(general)) == ["u03", "zoe"]
    assert ids(subjects(general, Named("doc", "new", {"owner": "yve"}))) == ["yve", "zoe"]


def test_whoever_is_named_is_tried_also_where_no_index_helps(tmp_path: Path) -> None:
    policies = when('[App::User::"zoe"].containsAll([principal])')  # not understood by the index
    found = subjects(general_of(tmp_path, policies))
    assert (ids(found), found.exact) == (["zoe"], True)
    general = general_of(tmp_path, when("[resource].containsAll([principal])", "visit", of="User"))
    assert ids(subjects(general, Named("user", "yve"), "visit")) == ["yve"]
    policies = when("context has night && [resource.owner].containsAll([principal])")
    question = {"context": {"night": True}, "resource": Named("doc", "new", {"owner": "xia"})}
    assert ids(subjects(general_of(tmp_path, policies), **question)) == ["xia"]


def test_whom_the_question_describes_as_the_other_one_is_tried(tmp_path: Path) -> None:
    general = general_of(tmp_path, when('principal has badge && principal.badge == "gold"', "visit", of="User"))
    assert ids(subjects(general, Named("user", "u05", {"badge": "gold"}), "visit")) == ["u05"]
    question = Question(subject=Named("user", "u05", {"badge": "gold"}), action="visit", resource=Named("user"))
    assert len(ids(general.search("resource", question))) == 20


def test_enumerated_entities_are_all_that_there_are(tmp_path: Path) -> None:
    general = general_of(tmp_path, 'permit(principal, action == App::Action::"paint", resource);')
    question = Question(subject=Named("user", "u03"), action="paint", resource=Named("colour"))
    found = general.search("resource", question)
    assert (ids(found), found.exact) == (["blue", "green", "red"], True)


def test_a_question_that_lacks_something_is_open_and_not_empty(tmp_path: Path) -> None:
    general = general_of(tmp_path, when("context.mfa && principal.level > 3", "sign"))
    found = subjects(general, action="sign")
    assert (found.results, found.exact) == ((), False)
    assert "`context.mfa` is missing" in found.why
    assert len(subjects(general, action="sign", context={"mfa": True}).results) == 16
    question = Question(subject=Named("user", "u05"), action="", resource=Named("doc", "d1"))
    actions = general.search("action", question)
    assert (actions.results, actions.exact) == ((), False)
    assert actions.why.startswith("`sign` can't be answered: `context.mfa` is missing")


@pytest.mark.parametrize(
    ("subject", "action", "resource"), [("usr", "view", "doc"), ("user", "veiw", "doc"), ("user", "view", "colour")]
)
def test_where_nothing_is_known_nobody_is_found(tmp_path: Path, subject: str, action: str, resource: str) -> None:
    general = general_of(tmp_path, when("true"))
    question = Question(subject=Named(subject, "u01"), action=action, resource=Named(resource, "d1"))
    assert general.search("subject", question) == Found(results=())
    assert general.search("resource", question) == Found(results=())


# --- properties


def test_properties_of_whom_is_sought_count_where_files_say_nothing(tmp_path: Path) -> None:
    users = [entity("App::User", "a", level=1), entity("App::User", "b", level=1, badge="gold")]
    general = general_of(tmp_path, when('principal has badge && principal.badge == "silver"'), [*users, *DOCS[:0]])
    assert ids(subjects(general)) == []
    assert ids(subjects(general, properties={"badge": "silver"})) == ["a"]
    general = general_of(tmp_path, when('principal has badge && principal.badge == "gold"'), users)
    assert ids(subjects(general, properties={"badge": "silver"})) == ["b"]
    assert ids(subjects(general, properties={"badge": "gold"})) == ["a", "b"]


def test_properties_of_the_other_side_count(tmp_path: Path) -> None:
    general = general_of(tmp_path, when("resource.owner == principal && resource has label"))
    assert ids(subjects(general, Named("doc", "new", {"owner": "u07", "label": "z"}))) == ["u07"]
    assert ids(subjects(general, Named("doc", "new", {"owner": "u07"}))) == []
    assert ids(subjects(general, Named("doc", "d1", {"owner": "u07"}))) == ["u03"]  # the file says who owns it


def test_a_property_of_another_type_is_refused(tmp_path: Path) -> None:
    general = general_of(tmp_path, when("true"))
    for properties in ({"level": "high"}, {"badge": 1}):
        with pytest.raises(InvalidInput) as caught:
            subjects(general, properties=properties)
        assert caught.value.code == "property_invalid"


def test_what_is_said_of_one_candidate_is_not_said_of_the_next(tmp_path: Path) -> None:
    """The boss that the caller names is in no file, so whoever would have it is denied, and nobody else."""
    users = [entity("App::User", "a", level=1), entity("App::User", "b", level=1, boss="a"), *DOCS[:0]]
    general = general_of(tmp_path, when("principal has boss && principal.boss.level == 1"), users)
    assert ids(subjects(general, properties={"boss": "nobody"})) == ["b"]
    assert ids(subjects(general, properties={"boss": "b"})) == ["a", "b"]


def test_a_policy_that_fails_leaves_a_candidate_out(tmp_path: Path) -> None:
    forbid = when("principal.level * 600000000000000000 > 0 && false", effect="forbid")
    assert ids(subjects(general_of(tmp_path, when("true") + forbid))) == [f"u{number:02}" for number in range(16)]


def test_ten_thousand_users_are_narrowed_by_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users = [entity("App::User", f"u{number:05}", level=number % 1_000, badge=f"b{number}") for number in range(10_000)]
    general = general_of(tmp_path, when('principal has badge && principal.badge == "b77"'), [*users, DOCS[0]][:-1])
    sizes: list[int] = []
    candidates = Narrowing.candidates

    def measured(self: Narrowing, policies: Any) -> Any:
        found = candidates(self, policies)
        sizes.append(-1 if found is None else len(found))
        return found

    monkeypatch.setattr(Narrowing, "candidates", measured)
    assert ids(subjects(general)) == ["u00077"]
    assert sizes == [1]
