"""Questions about the project's own entities: names, properties, what is missing, and what a caller can't do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from msgspec.structs import replace

from remit.core.errors import DocumentError, InvalidInput
from remit.policy import General, Named, Question, load
from remit.policy.general import kinds, pdp
from tests.policy import own, project
from tests.policy.own import entity

SCHEMA = """
namespace App {
  entity Group in [Group];
  entity User in [Group] = { role: String, clearance?: Long, suspended?: Bool, manager?: User };
  entity doc = { owner: User, secret?: Bool, price?: decimal, tags?: Set<String> };
  entity Colour enum ["red", "blue"];
  action all;
  action read, write, "print it" in [all] appliesTo {
    principal: User, resource: doc, context: {
      mfa?: Bool, at?: datetime, from?: ipaddr, limits?: { most: decimal, why?: String }, by?: User,
      action: { method?: String, pages?: Long }
    }
  };
  action sign appliesTo { principal: User, resource: doc, context: { mfa: Bool } };
  action paint appliesTo { principal: User, resource: Colour };
  action visit appliesTo { principal: User, resource: User };
}
"""
ENTITIES = [
    entity("App::Group", "staff"),
    entity("App::User", "ann", [("App::Group", "staff")], role="editor"),
    entity("App::User", "bob", role="reader", suspended=True),
    entity("App::doc", "d1", owner="ann"),
    entity("App::doc", "d2", owner="bob", secret=True),
]
POLICIES = """
@id("owners")
permit(principal, action in App::Action::"all", resource) when { resource.owner == principal };
@id("staff")
permit(principal in App::Group::"staff", action == App::Action::"read", resource);
@id("suspended") @reason("user_suspended") @message("the user is suspended")
forbid(principal, action, resource is App::doc) when { principal has suspended && principal.suspended };
"""


@pytest.fixture
def general(tmp_path: Path) -> General:
    return own.project(tmp_path, SCHEMA, ENTITIES, POLICIES).general


def asks(subject: str | Named = "ann", action: str = "read", resource: str | Named = "d1", **context: Any) -> Question:
    who = subject if isinstance(subject, Named) else Named("user", subject)
    what = resource if isinstance(resource, Named) else Named("doc", resource)
    return Question(subject=who, action=action, resource=what, context=context)


def with_policies(tmp_path: Path, policies: str) -> General:
    return own.project(tmp_path, SCHEMA, ENTITIES, policies).general


READ = 'permit(principal, action == App::Action::"read", resource) when {{ {} }};'


# --- names


@pytest.mark.parametrize(
    ("type_", "action"),
    [("user", "read"), ("User", "read"), ("App::User", 'App::Action::"read"')],
)
def test_a_name_is_meant_in_the_only_namespace_or_in_full(general: General, type_: str, action: str) -> None:
    assert general.evaluate(asks(Named(type_, "ann"), action)).permitted


@pytest.mark.parametrize("type_", ["usr", "USER", "app::User", "Doc", "", "App::", "User::", "é" * 500])
def test_an_unknown_type_is_denied_with_its_reason(general: General, type_: str) -> None:
    answer = general.evaluate(asks(Named(type_, "ann")))
    assert (answer.permitted, answer.reason.code) == (False, "type_unknown")


@pytest.mark.parametrize("action", ["raed", "Read", "", 'Remit::Action::"tools"', 'App::Action::"raed"'])
def test_an_unknown_action_is_denied_with_its_reason(general: General, action: str) -> None:
    answer = general.evaluate(asks(action=action))
    assert (answer.permitted, answer.reason.code) == (False, "action_unknown")


@pytest.mark.parametrize(
    "question",
    [asks(Named("doc", "d1")), asks(resource=Named("user", "ann")), asks(action="all"), asks(action="paint")],
)
def test_what_the_schema_does_not_join_is_denied_with_its_reason(general: General, question: Question) -> None:
    answer = general.evaluate(question)
    assert (answer.permitted, answer.reason.code) == (False, "action_not_applicable")


@pytest.mark.parametrize("type_", ["Remit::Workload", "Remit::Person", "Remit::Server", "Remit"])
def test_identities_and_tools_are_never_asked_about_by_name(general: General, type_: str) -> None:
    for question in (asks(Named(type_, "ann")), asks(resource=Named(type_, "d1"))):
        with pytest.raises(InvalidInput) as caught:
            general.evaluate(question)
        assert caught.value.code == "type_reserved"
        with pytest.raises(InvalidInput):
            general.search("action", question)


def test_an_entity_that_an_enumeration_does_not_list_is_denied(tmp_path: Path) -> None:
    general = with_policies(tmp_path, 'permit(principal, action == App::Action::"paint", resource);')
    assert general.evaluate(asks(action="paint", resource=Named("colour", "red"))).permitted
    answer = general.evaluate(asks(action="paint", resource=Named("colour", "green")))
    assert (answer.permitted, answer.reason.code) == (False, "entity_not_listed")


@pytest.mark.parametrize("id_", ["", "x" * 1_025, "\ud800"])
def test_what_is_no_id_is_refused(general: General, id_: str) -> None:
    for question in (asks(id_), asks(resource=id_)):
        with pytest.raises(InvalidInput) as caught:
            general.evaluate(question)
        assert caught.value.code == "id_invalid"


TWO = """
entity user; action look appliesTo { principal: user, resource: user };
namespace One { entity User, thing; action see appliesTo { principal: User, resource: thing }; }
namespace Two { entity User, thing; action see appliesTo { principal: User, resource: thing }; }
"""


def test_with_two_namespaces_a_name_is_meant_where_the_setting_says(tmp_path: Path) -> None:
    own.write(tmp_path, TWO, None, 'permit(principal is Two::User, action == Two::Action::"see", resource);')

    def code(general: General, type_: str, thing: str = "thing", action: str = "see") -> str:
        question = Question(subject=Named(type_, "a"), action=action, resource=Named(thing, "b"))
        return general.evaluate(question).reason.code

    without, two = own.read(tmp_path).general, own.read(tmp_path, namespace="Two").general
    assert code(without, "Two::User", "Two::thing") == "permitted"
    assert code(without, "user", "user", "look") == "no_policy_permits"
    assert code(without, "User") == "type_unknown"
    assert code(two, "User") == "permitted"
    assert code(two, "user", "user", "look") == "no_policy_permits"  # exactly so, before `Two::User`
    assert code(two, "User", "user", "look") == "action_not_applicable"
    assert code(two, "One::User", "One::thing") == "no_policy_permits"
    with pytest.raises(DocumentError, match=r"\[authzen\] namespace"):
        own.read(tmp_path, namespace="Three")


def test_without_a_schema_nothing_is_known(tmp_path: Path) -> None:
    general = own.project(tmp_path, policies="permit(principal, action, resource);").general
    assert general.evaluate(asks()).reason.code == "type_unknown"
    assert general.search("subject", asks()).results == ()
    assert general.search("action", asks()).results == ()


# --- the answer


def test_an_answer_names_the_policies_that_decided(general: General) -> None:
    answer = general.evaluate(asks())
    assert {ref.id for ref in answer.policies} == {"owners", "staff"}
    assert answer.reason.code == "permitted"
    answer = general.evaluate(asks("bob", "write", "d2"))
    assert (answer.permitted, answer.reason.code) == (False, "user_suspended")
    assert answer.reason.message == "the user is suspended"
    assert [(ref.id, ref.path) for ref in answer.policies] == [("suspended", "policies/own.cedar")]
    assert general.evaluate(asks("ann", "write", "d2")).reason.code == "no_policy_permits"


def test_an_unknown_id_is_an_entity_of_which_nothing_is_known(tmp_path: Path) -> None:
    general = with_policies(tmp_path, 'permit(principal, action == App::Action::"read", resource);')
    assert general.evaluate(asks("nobody", resource="nothing")).permitted
    general = with_policies(tmp_path, READ.format('principal in App::Group::"staff"'))
    assert general.evaluate(asks("nobody")).reason.code == "no_policy_permits"


def test_a_policy_that_fails_denies_though_another_permits(tmp_path: Path) -> None:
    general = with_policies(
        tmp_path,
        'permit(principal, action == App::Action::"read", resource);'
        + READ.format("principal has clearance && principal.clearance * 9223372036854775807 > 1").replace(
            "permit(", '@id("overflows") forbid('
        ),
    )
    assert general.evaluate(asks()).permitted
    answer = general.evaluate(asks(Named("user", "ann", {"clearance": 3})))
    assert (answer.permitted, answer.reason.code) == (False, "policy_error")
    assert answer.errors[0][0] == "overflows"


def test_several_questions_are_each_answered_as_alone(general: General) -> None:
    questions = [
        asks(),
        asks("bob", resource="d2"),
        asks("zoe", resource=Named("doc", "new", {"owner": "zoe"})),
        asks(action="raed"),
        asks(Named("user", "zoe", {"role": "x"}), "write", Named("doc", "new", {"owner": "zoe"})),
        asks(Named("user", "zoe", {"role": "x"}), "write", Named("doc", "new", {"owner": "ann"})),
        asks(Named("user", "zoe", {"suspended": True}), resource=Named("doc", "new", {"owner": "zoe"})),
    ]
    alone = [general.evaluate(question) for question in questions]
    assert general.evaluate_many(questions) == alone
    assert general.evaluate_many(list(reversed(questions))) == list(reversed(alone))
    assert {answer.permitted for answer in alone} == {True, False}
    assert general.evaluate_many([]) == []


# --- what a caller says


def test_what_the_files_say_of_a_user_the_caller_cant_say_otherwise(tmp_path: Path) -> None:
    general = with_policies(tmp_path, READ.format('principal.role == "admin" || resource.owner == principal'))
    assert not general.evaluate(asks(Named("user", "bob", {"role": "admin"}))).permitted
    assert not general.evaluate(asks("bob", resource=Named("doc", "d1", {"owner": "bob"}))).permitted
    assert general.evaluate(asks(Named("user", "zoe", {"role": "admin"}))).permitted  # of whom the files say nothing


def test_a_suspension_in_a_file_is_not_lifted_by_a_property(general: General) -> None:
    question = asks(Named("user", "bob", {"suspended": False}), "write", "d2")
    assert general.evaluate(question).reason.code == "user_suspended"


@pytest.mark.parametrize(
    "schema",
    [
        'entity User = { @source("files") admin?: Bool, team?: String };',
        '@source("files") entity User = { admin?: Bool };',
    ],
)
def test_what_only_files_give_no_caller_gives(tmp_path: Path, schema: str) -> None:
    text = f"namespace App {{ {schema} action read appliesTo {{ principal: User, resource: User }}; }}"
    users = [entity("App::User", "ann"), entity("App::User", "root", admin=True)]
    policies = "permit(principal is App::User, action, resource) when { principal has admin && principal.admin };"
    general = own.project(tmp_path, text, users, policies).general
    for id_, wanted in (("root", True), ("ann", False), ("zoe", False)):
        asked = Question(subject=Named("user", id_, {"admin": True}), action="read", resource=Named("user", "ann"))
        assert general.evaluate(asked).permitted is wanted
        assert general.evaluate(replace(asked, subject=Named("user", id_, {"admin": "?"}))).permitted is wanted
        found = general.search("subject", asked)
        assert [each.id for each in found.results if isinstance(each, Named)] == ["root"]
        assert found.exact


def test_a_caller_puts_nobody_into_a_group(general: General) -> None:
    for more in ({"parents": [{"type": "Group", "id": "staff"}]}, {"groups": ["staff"]}, {"uid": "ann"}):
        assert not general.evaluate(asks(Named("user", "zoe", more))).permitted


def test_what_one_caller_says_is_not_there_for_the_next(tmp_path: Path) -> None:
    general = with_policies(tmp_path, READ.format("principal has clearance && principal.clearance > 3"))
    cleared, plain = asks(Named("user", "ann", {"clearance": 5})), asks("ann")
    for _ in range(3):
        assert general.evaluate(cleared).permitted
        assert not general.evaluate(plain).permitted
        assert not general.evaluate(asks(Named("user", "ann", {"clearance": 1}))).permitted
    assert [each.permitted for each in general.evaluate_many([plain, cleared, plain, cleared])] == [
        *(False, True, False, True)
    ]


def test_properties_reach_policies_only_as_the_schema_declares_them(tmp_path: Path) -> None:
    general = with_policies(tmp_path, READ.format('resource has price && resource.price == decimal("1.50")'))
    resource = Named("doc", "new", {"owner": "ann", "price": "1.5", "more": {"any": ["thing"]}, "tags": None})
    assert general.evaluate(asks(resource=resource)).permitted


@pytest.mark.parametrize(
    ("properties", "path"),
    [
        ({"owner": 1}, "resource.properties.owner"),
        ({"owner": {"type": "doc", "id": "d1"}}, "resource.properties.owner"),
        ({"owner": {"__entity": {"type": "App::User", "id": "ann"}}}, "resource.properties.owner"),
        ({"secret": "yes"}, "resource.properties.secret"),
        ({"price": "1.23456"}, "resource.properties.price"),
        ({"tags": ["a", 1]}, "resource.properties.tags.[]"),
        ({"tags": {"a": 1}}, "resource.properties.tags"),
    ],
)
def test_a_property_of_another_type_is_refused(general: General, properties: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput, match="properties") as caught:
        general.evaluate(asks(resource=Named("doc", "new", properties)))
    assert caught.value.code == "property_invalid"
    assert caught.value.message.startswith(f"`{path}` ")


def test_a_caller_that_says_two_things_of_one_entity_is_refused(tmp_path: Path) -> None:
    general = with_policies(tmp_path, 'permit(principal, action == App::Action::"visit", resource);')
    same = Named("user", "zoe", {"role": "x"})
    assert general.evaluate(asks(same, "visit", Named("user", "zoe", {"clearance": 1}))).permitted
    with pytest.raises(InvalidInput, match="are the same"):
        general.evaluate(asks(same, "visit", Named("user", "zoe", {"role": "y"})))


def test_context_is_typed_by_the_schema_and_the_rest_left_out(tmp_path: Path) -> None:
    general = with_policies(
        tmp_path,
        READ.format(
            'context has at && context.at < datetime("2026-01-02") && context has from '
            '&& context.from.isInRange(ip("192.0.2.0/24")) && context has limits '
            '&& context.limits.most.lessThan(decimal("5.0")) && context has by && context.by == principal'
        ),
    )
    context = {"at": "2026-01-01T23:59:59+00:00", "from": "192.0.2.7", "limits": {"most": 4.5}, "by": "ann"}
    assert general.evaluate(asks(**context, unknown={"deep": [1]})).permitted
    assert not general.evaluate(asks(**{**context, "at": "2026-01-01T23:59:59-01:00"})).permitted


@pytest.mark.parametrize(
    ("context", "path"),
    [
        ({"mfa": 1}, "context.mfa"),
        ({"at": "yesterday"}, "context.at"),
        ({"from": "192.0.2.300"}, "context.from"),
        ({"limits": {"most": "x"}}, "context.limits.most"),
        ({"limits": []}, "context.limits"),
    ],
)
def test_context_of_another_type_is_refused(general: General, context: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        general.evaluate(asks(**context))
    assert caught.value.code == "context_invalid"
    assert caught.value.message.startswith(f"`{path}` ")


def test_properties_of_the_action_stand_in_the_context_and_nowhere_else(tmp_path: Path) -> None:
    general = with_policies(tmp_path, READ.format('context.action has method && context.action.method == "GET"'))
    asked = Question(
        subject=Named("user", "ann"), action="read", action_properties={"method": "GET"}, resource=Named("doc", "d1")
    )
    assert general.evaluate(asked).permitted
    assert not general.evaluate(asks(action="read")).permitted
    assert not general.evaluate(asks(**{"action": "read"}, resource="d1")).permitted
    said_in_context = Question(
        subject=Named("user", "ann"), action="read", resource=Named("doc", "d1"), context={"action": {"method": "GET"}}
    )
    assert not general.evaluate(said_in_context).permitted


CHAINS = """
namespace App {
  entity Group in [Group];
  entity User in [Group] = { manager?: User, level?: Long, unused?: Bool } tags User;
  entity doc in [Group] = { owner: User, meta?: { by?: User }, readers?: Set<User>, unused?: Bool };
  action all;
  action read in [all] appliesTo { principal: User, resource: doc, context: { by?: User, at?: { by?: User } } };
}
"""
CHAINED = [
    entity("App::Group", "inner", [("App::Group", "middle")]),
    entity("App::Group", "middle", [("App::Group", "outer")]),
    entity("App::Group", "outer"),
    {**entity("App::User", "ann", [("App::Group", "inner")], manager="bob"), "tags": {"deputy": "bob"}},
    entity("App::User", "bob", [("App::Group", "middle")], manager="cid", level=2),
    entity("App::User", "cid", [("App::Group", "outer")], level=3),
    entity("App::doc", "d", [("App::Group", "inner")], owner="ann", meta={"by": "bob"}, readers=["ann", "cid"]),
]


@pytest.mark.parametrize(
    "condition",
    [
        'principal in App::Group::"outer"',
        'resource in App::Group::"outer"',
        "principal has manager && principal.manager has level && principal.manager.level == 2",
        "principal has manager && principal.manager has manager && principal.manager.manager has level",
        'principal has manager && principal.manager in App::Group::"outer"',
        "resource.owner has manager.manager.level && resource.owner.manager.manager.level == 3",
        "resource has meta && resource.meta has by && resource.meta.by has level && resource.meta.by.level == 2",
        'resource has meta.by && resource.meta.by in App::Group::"middle"',
        "(if principal has level then principal else resource.owner) has manager",
        '(if context has by then context.by else principal) in App::Group::"inner"',
        'principal.hasTag("deputy") && principal.getTag("deputy") has level && principal.getTag("deputy").level == 2',
        "resource has readers && resource.readers.contains(principal) && principal in resource.readers",
        'App::User::"cid" has level && App::User::"cid".level == 3',
        'App::User::"bob" in App::Group::"outer"',
        '[App::User::"bob"].contains(principal) || App::User::"bob" has level',
        'principal is App::User in App::Group::"outer"',
        "resource.owner is App::User && resource.owner has manager",
        'action in App::Action::"all"',
    ],
)
def test_what_policies_reach_is_there_whatever_the_caller_says_besides(tmp_path: Path, condition: str) -> None:
    policies = f'@id("a") permit(principal, action in App::Action::"all", resource) when {{ {condition} }};'
    general = own.project(tmp_path, CHAINS, CHAINED, policies).general
    asked = Question(subject=Named("user", "ann"), action="read", resource=Named("doc", "d"))
    assert general.evaluate(asked).permitted
    for more in (
        {"subject": Named("user", "ann", {"unused": True})},
        {"resource": Named("doc", "d", {"unused": True})},
    ):
        assert general.evaluate(replace(asked, **more)).permitted


@pytest.mark.parametrize(
    ("condition", "context"),
    [
        ("context has by && context.by has manager && context.by.manager has level", {"by": "ann"}),
        ('context has by && context.by in App::Group::"outer"', {"by": "ann"}),
        ("context has at && context.at has by && context.at.by has level", {"at": {"by": "bob"}}),
    ],
)
def test_what_policies_reach_through_the_context_is_there(
    tmp_path: Path, condition: str, context: dict[str, Any]
) -> None:
    general = own.project(
        tmp_path, CHAINS, CHAINED, f"permit(principal, action, resource is App::doc) when {{ {condition} }};"
    ).general
    for subject in (
        Named("user", "ann"),
        Named("user", "ann", {"unused": True}),
        Named("user", "zoe", {"unused": True}),
    ):
        asked = Question(subject=subject, action="read", resource=Named("doc", "d"), context=context)
        assert general.evaluate(asked).permitted
        assert not general.evaluate(replace(asked, context={})).permitted


# --- what is missing


def test_a_required_attribute_that_is_missing_denies_before_a_forbid_could_miss_it(tmp_path: Path) -> None:
    """`context has mfa` counts as true in validation; without the attribute it would be false, and the forbid off."""
    policies = 'permit(principal, action == App::Action::"sign", resource);'
    policies += 'forbid(principal, action == App::Action::"sign", resource) when { context has mfa && !context.mfa };'
    general = with_policies(tmp_path, policies)
    assert general.evaluate(asks(action="sign", mfa=True)).permitted
    assert general.evaluate(asks(action="sign", mfa=False)).reason.code == "policy_forbids"
    answer = general.evaluate(asks(action="sign"))
    assert (answer.permitted, answer.reason.code) == (False, "attribute_missing")
    assert "`context.mfa`" in answer.reason.message


@pytest.mark.parametrize("condition", ['principal has role && principal.role == "bad"', 'principal.role == "bad"'])
def test_a_subject_without_what_the_schema_promises_is_denied(tmp_path: Path, condition: str) -> None:
    policies = 'permit(principal, action == App::Action::"read", resource);'
    general = with_policies(tmp_path, policies + READ.format(condition).replace("permit", "forbid"))
    assert general.evaluate(asks("ann")).permitted
    answer = general.evaluate(asks("zoe"))
    assert (answer.permitted, answer.reason.code) == (False, "attribute_missing")
    assert "`App::User.role`" in answer.reason.message
    assert general.evaluate(asks(Named("user", "zoe", {"role": "good"}))).permitted
    assert not general.evaluate(asks(Named("user", "zoe", {"role": "bad"}))).permitted


def test_one_that_a_value_names_is_denied_without_what_the_schema_promises(tmp_path: Path) -> None:
    policies = 'permit(principal, action == App::Action::"read", resource);'
    forbid = READ.format('context has by && context.by has role && context.by.role == "bad"').replace(
        "permit", "forbid"
    )
    general = with_policies(tmp_path, policies + forbid)
    assert general.evaluate(asks(by="bob")).permitted
    assert general.evaluate(asks(by="zoe")).reason.code == "attribute_missing"
    general = with_policies(tmp_path, READ.format("context has by && context.by == resource.owner"))
    assert general.evaluate(asks(by="ann")).permitted
    assert general.evaluate(asks(by="zoe")).reason.code == "no_policy_permits"  # who is only compared needs nothing


def test_what_no_policy_mentions_may_be_missing(general: General) -> None:
    assert general.evaluate(asks("zoe", resource=Named("doc", "new", {"owner": "zoe"}))).permitted


def test_a_policy_that_reads_one_that_is_in_no_file_is_refused_at_load(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="is in no file of `entities/`, but its attributes are read"):
        with_policies(tmp_path, READ.format('App::User::"zoe" has role && principal.role == "x"'))
    with_policies(tmp_path, READ.format('App::User::"ann".role == "editor" && principal == App::User::"zoe"'))


# --- Remit's own policies and the project's


def test_no_shipped_policy_answers_general_questions(general: General) -> None:
    kind = general._asking._kinds.get("App::User", ("App::Action", "read"), "App::doc")
    assert kind is not None
    assert {policy.origin for policy in kind.slice.policies} == {"user"}


def test_entities_change_nothing_for_governed_actions(tmp_path: Path) -> None:
    own.write(tmp_path, SCHEMA, ENTITIES, POLICIES)
    (tmp_path / "policies" / "own.cedar").write_text(POLICIES + "permit(principal, action, resource);")
    loaded = load(
        folder_policies=[tmp_path / "policies"],
        catalogue=project.catalogue(*project.ACTIONS),
        intents=project.INTENTS,
        trust_domain=project.TRUST_DOMAIN,
        folder_entities=tmp_path / "entities",
    )
    assert project.pay(loaded).permitted
    assert project.pay(loaded, input={"invoice": "other"}).reason.code == "argument_not_bound"


@pytest.mark.parametrize(
    ("policy", "step"),
    [
        ("permit(principal, action, resource) when { resource.owner == principal };", "`resource is App::doc`"),
        ('permit(principal, action, resource) when { principal.role == "x" };', "`principal is App::User`"),
        (
            'permit(principal is App::User, action, resource) when { principal.rule == "x" };',
            "declare it in the schema",
        ),
        ('permit(principal, action == App::Action::"raed", resource);', "declare it in the schema"),
    ],
)
def test_a_policy_for_more_than_it_can_read_is_told_what_to_say(tmp_path: Path, policy: str, step: str) -> None:
    with pytest.raises(DocumentError) as caught:
        with_policies(tmp_path, policy)
    assert step in caught.value.next_step


def test_odd_names_and_actions_that_nothing_permits_are_noticed(tmp_path: Path) -> None:
    loaded = own.project(tmp_path, SCHEMA, ENTITIES, POLICIES.replace('"staff"', '"stuff"'))
    found = loaded.notices()
    assert any('names `App::Group::"stuff"`' in notice and "did you mean `staff`" in notice for notice in found)
    assert 'no policy permits `App::Action::"paint"`, so it is always denied' in found
    assert not any('"read"' in notice for notice in found)


# --- caches


def test_caches_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "_PIECES", 4)
    monkeypatch.setattr(kinds, "_KINDS", 1)
    monkeypatch.setattr(pdp, "_KEPT_HANDLES", 3)
    monkeypatch.setattr(pdp, "_EXPLAINED", 1)
    general = own.project(tmp_path, SCHEMA, ENTITIES, POLICIES).general
    for number in range(20):
        question = asks(resource=Named("doc", "new", {"owner": f"u{number}"}))
        assert general.evaluate(question).permitted  # of the staff
        assert not general.evaluate(asks(f"u{number}", resource=Named("doc", "new", {"secret": True}))).permitted
        assert general.evaluate(asks(action="write")).permitted
    kind = general._asking._kinds.get("App::User", ("App::Action", "read"), "App::doc")
    assert kind is not None
    assert len(kind._pieces) <= 4
    assert len(general._asking._kinds._kinds) <= 1
    assert len(general._handles) <= 3
    assert len(general._explained) <= 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["ann", "d1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "owner", "__entity", "__extn", "type", "id", "most"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
WORDS = st.sampled_from(["role", "clearance", "suspended", "manager", "owner", "secret", "price", "tags", "x"])


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    subject=st.dictionaries(WORDS, JSON, max_size=4),
    resource=st.dictionaries(WORDS, JSON, max_size=4),
    context=st.dictionaries(st.sampled_from(["mfa", "at", "from", "limits", "by", "action", "x"]), JSON, max_size=4),
    action=st.dictionaries(st.sampled_from(["method", "pages", "x"]), JSON, max_size=2),
)
def test_whatever_a_caller_says_is_answered_or_refused_and_gives_bob_nothing(
    general: General, subject: dict[str, Any], resource: dict[str, Any], context: dict[str, Any], action: dict[str, Any]
) -> None:
    question = Question(
        subject=Named("user", "bob", subject),
        action="write",
        action_properties=action,
        resource=Named("doc", "d1", resource),
        context=context,
    )
    try:
        answer = general.evaluate(question)
    except InvalidInput:
        return
    assert not answer.permitted
    assert answer.reason.code != "policy_error"
