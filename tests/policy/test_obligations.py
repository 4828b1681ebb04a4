"""Obligations as annotations: what is read, what is refused and where, and what several policies come to together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.decisions import Obligation
from remit.core.errors import DocumentError
from remit.core.settings import read_settings
from remit.policy import Policies, load
from remit.policy.obligations import Mistake, read
from remit.policy.questions import Named, Question
from tests.policy import own
from tests.policy.project import (
    ACTIONS,
    INTENTS,
    NOTE,
    PAY,
    READ,
    SERVER,
    TRUST_DOMAIN,
    WORKLOAD,
    catalogue,
    context,
    write,
)

REDACT = Obligation(id="redact", fields=("account", "owner.email"))
LIMIT = Obligation(id="limit", items={"": 5, "invoices.lines": 20}, bytes=4096)
SECURITY, AUDIT = Obligation(id="notify", to="security"), Obligation(id="notify", to="audit")
TOOLS = 'principal, action in Remit::Action::"tools", resource'


def project(folder: Path, text: str, schemas: dict[str, Any] | None = None) -> Policies:
    """The small project with these policies, two notifiers, and output schemas by action."""
    known = catalogue(*ACTIONS)
    servers = {
        name: msgspec.structs.replace(
            server, output_schemas={action.partition("/")[2]: schema for action, schema in (schemas or {}).items()}
        )
        for name, server in known.servers.items()
    }
    return load(
        folder_policies=[write(folder, rules=text)],
        catalogue=msgspec.structs.replace(known, servers=servers),
        intents=INTENTS,
        trust_domain=TRUST_DOMAIN,
        notifiers=frozenset({"security", "audit"}),
    )


def decided(policies: Policies, action: str = PAY, **more: Any) -> tuple[Obligation, ...]:
    return policies.evaluate(WORKLOAD, action, SERVER, context(**more), "pay-invoice").obligations


def failure(folder: Path, text: str, schemas: dict[str, Any] | None = None) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        project(folder, text, schemas)
    return caught.value


# --- reading ------------------------------------------------------------------------------------------------


def test_all_three_are_read() -> None:
    found = read(
        "permit",
        {
            "id": "p",
            "redact": "output.owner.email, output.account",
            "limit": "output.invoices.lines=20 , bytes=4096,output = 5",
            "notify": "security, audit",
        },
    )
    assert found == (REDACT, LIMIT, AUDIT, SECURITY)


def test_without_annotations_nothing_is_obliged() -> None:
    assert read("permit", {"id": "p", "message": "m", "next": "n", "reason": "r", "owner": "payments team"}) == ()


@pytest.mark.parametrize(
    ("effect", "annotations", "words"),
    [
        ("permit", {"redact": "email"}, "not the path of a result field"),
        ("permit", {"redact": "output"}, "not the path of a result field"),
        ("permit", {"redact": "output."}, "not the path of a result field"),
        ("permit", {"redact": "output.a..b"}, "not the path of a result field"),
        ("permit", {"redact": "input.email"}, "not the path of a result field"),
        ("permit", {"redact": ""}, "names nothing"),
        ("permit", {"redact": "output.a,"}, "a comma too many"),
        ("permit", {"redact": "output.a, output.a"}, "stands twice"),
        ("permit", {"redact": ", ".join(f"output.f{n}" for n in range(65))}, "more than 64 items"),
        ("permit", {"redact": "output." + "a" * 300}, "more than 256 characters"),
        ("permit", {"limit": "100"}, "limits nothing"),
        ("permit", {"limit": "rows=100"}, "limits nothing"),
        ("permit", {"limit": "calls=3"}, "limits nothing"),
        ("permit", {"limit": "output.rows"}, "limits nothing"),
        ("permit", {"limit": "output.rows=0"}, "not a number from 1"),
        ("permit", {"limit": "output.rows=-1"}, "not a number from 1"),
        ("permit", {"limit": "output.rows=1e3"}, "not a number from 1"),
        ("permit", {"limit": "output.rows=٣"}, "not a number from 1"),
        ("permit", {"limit": "output.rows=1000001"}, "not a number from 1"),
        ("permit", {"limit": "output.rows=99999999999999999999"}, "not a number from 1"),
        ("permit", {"limit": "bytes=99999999"}, "not a number from 1"),
        ("permit", {"limit": "output.rows=1, output.rows=2"}, "limited twice"),
        ("permit", {"limit": "bytes=1, bytes=2"}, "limited twice"),
        ("permit", {"notify": "Security"}, "not the name of a notifier"),
        ("permit", {"notify": "https://hooks.example.org"}, "not the name of a notifier"),
        ("permit", {"notify": "security;audit"}, "not the name of a notifier"),
        ("forbid", {"redact": "output.a"}, "a forbid lets no result through"),
        ("forbid", {"limit": "bytes=1"}, "a forbid lets no result through"),
    ],
)
def test_a_mistake_is_said(effect: str, annotations: dict[str, str], words: str) -> None:
    with pytest.raises(Mistake) as caught:
        read(effect, annotations)
    assert words in caught.value.message
    assert caught.value.annotation in annotations


@pytest.mark.parametrize("name", ["redacts", "Redact", "reddact", "limits", "notifiy", "notification", "obligation"])
def test_attack_a_misspelt_annotation_switches_the_obligation_off(name: str) -> None:
    with pytest.raises(Mistake) as caught:
        read("permit", {name: "output.a"})
    assert "is no obligation" in caught.value.message


@given(st.sampled_from(["redact", "limit", "notify"]), st.text(max_size=60))
def test_any_text_is_read_or_refused(name: str, text: str) -> None:
    try:
        found = read("permit", {name: text})
    except Mistake:
        return
    assert {obligation.id for obligation in found} == {name}


# --- where a mistake is said to be --------------------------------------------------------------------------


def test_a_mistake_names_its_line(tmp_path: Path) -> None:
    error = failure(tmp_path, f'@id("a")\npermit ({TOOLS});\n\n@id("b")\n@limit("rows=5")\npermit ({TOOLS});\n')
    assert (error.line, error.column) == (5, 1)
    assert "`rows=5` limits nothing" in error.message
    assert "in the intent, under `limits`" in error.next_step


def test_an_unknown_notifier_is_refused(tmp_path: Path) -> None:
    error = failure(tmp_path, f'@id("a")\n@notify("audit, securty")\npermit ({TOOLS});')
    assert error.line == 2
    assert "there is no notifier `securty` (did you mean `security`?)" in error.message
    assert "[[notifiers]]" in error.next_step


@pytest.mark.parametrize(
    "scope", ["principal, action, resource", 'principal, action == Remit::Action::"risk.set", resource']
)
def test_attack_an_obligation_where_nobody_would_fulfil_it(tmp_path: Path, scope: str) -> None:
    error = failure(tmp_path, f'@id("a")\n@notify("security")\npermit ({scope});')
    assert error.line == 2
    assert "nobody would fulfil the obligation" in error.message


ROWS = {"type": "object", "properties": {"rows": {"type": "array", "items": {"properties": {"email": {}}}}}}


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        ('@redact("output.rows.emial")', "no result of these actions has the field `output.rows.emial`"),
        ('@redact("output.row")', "(did you mean `output.rows`?)"),
        ('@limit("output.rwos=3")', "no result of these actions has a list at `output.rwos`"),
        ('@limit("output=3")', "no result of these actions has a list at `output`"),
    ],
)
def test_attack_a_mistyped_field_lets_through_what_should_be_removed(
    tmp_path: Path, annotation: str, words: str
) -> None:
    text = f'@id("a")\n{annotation}\npermit (principal, action == Remit::Action::"{READ}", resource);'
    error = failure(tmp_path, text, {READ: ROWS})
    assert error.line == 2
    assert words in error.message


def test_a_field_that_one_of_the_actions_may_have_is_taken(tmp_path: Path) -> None:
    text = f'@redact("output.rows.email, output.x")\n@limit("output.rows=3")\npermit ({TOOLS});'
    project(tmp_path, text, {READ: ROWS})  # the other tools declare no output schema


# --- deciding -----------------------------------------------------------------------------------------------


def test_all_permits_that_decide_oblige(tmp_path: Path) -> None:
    policies = project(
        tmp_path,
        f"""
        @redact("output.a") @limit("output.rows=100, bytes=900") @notify("audit") permit ({TOOLS});
        @redact("output.b") @limit("output.rows=10") @notify("security")
        permit (principal, action == Remit::Action::"{PAY}", resource);
        @redact("output.c") permit (principal, action == Remit::Action::"{NOTE}", resource);
        """,
    )
    assert decided(policies) == (
        Obligation(id="redact", fields=("a", "b")),
        Obligation(id="limit", items={"rows": 10}, bytes=900),
        AUDIT,
        SECURITY,
    )


def test_attack_a_limit_is_raised_by_a_second_policy(tmp_path: Path) -> None:
    text = f'@limit("output.rows=10") permit ({TOOLS}); @limit("output.rows=1000") permit ({TOOLS});'
    assert decided(project(tmp_path, text)) == (Obligation(id="limit", items={"rows": 10}),)


def test_a_permit_whose_condition_does_not_hold_obliges_to_nothing(tmp_path: Path) -> None:
    text = f'@notify("security") permit ({TOOLS}) when {{ context.risk > 50 }};'
    policies = project(tmp_path, text)
    assert decided(policies) == ()
    assert decided(policies, risk=55) == (SECURITY,)


def test_a_denial_is_told_by_the_forbids_that_decided(tmp_path: Path) -> None:
    policies = project(
        tmp_path,
        f"""
        @redact("output.a") permit ({TOOLS});
        @notify("security") forbid ({TOOLS}) when {{ context.risk > 10 }};
        @notify("audit") forbid ({TOOLS}) when {{ context.risk > 20 }};
        """,
    )
    assert decided(policies, risk=15) == (SECURITY,)
    assert decided(policies, risk=25) == (AUDIT, SECURITY)
    assert decided(policies, risk=5) == (Obligation(id="redact", fields=("a",)),)


def test_a_failed_policy_obliges_to_nothing_and_denies(tmp_path: Path) -> None:
    text = f'@notify("security") permit ({TOOLS}) when {{ context.session.calls * 9223372036854775807 > 0 }};'
    policies = project(tmp_path, text)
    answer = policies.evaluate(WORKLOAD, PAY, SERVER, context(session={"calls": 5}), "pay-invoice")
    assert (answer.reason.code, answer.obligations) == ("policy_error", ())


# --- the project's own types ----------------------------------------------------------------------------------

OWN = """
entity User;
entity Record { secret: Bool };
action view, change appliesTo { principal: User, resource: Record };
"""
RECORDS = [own.entity("Record", name, secret=name == "b") for name in ("a", "b", "c")]
VIEWERS = """
permit (principal, action == Action::"view", resource);
@redact("output.salary") @limit("output=5")
permit (principal, action == Action::"view", resource is Record) when { resource.secret };
permit (principal == User::"kim", action == Action::"change", resource);
"""


def asked(action: str = "view", record: str = "b") -> Question:
    return Question(subject=Named("User", "kim"), action=action, resource=Named("Record", record))


def test_a_general_answer_carries_obligations(tmp_path: Path) -> None:
    general = own.project(tmp_path, OWN, RECORDS, VIEWERS).general
    wanted = (Obligation(id="redact", fields=("salary",)), Obligation(id="limit", items={"": 5}))
    assert general.evaluate(asked()).obligations == wanted
    assert general.evaluate(asked(record="a")).obligations == ()


def test_what_a_search_finds_carries_obligations(tmp_path: Path) -> None:
    general = own.project(tmp_path, OWN, RECORDS, VIEWERS).general
    wanted = (Obligation(id="redact", fields=("salary",)), Obligation(id="limit", items={"": 5}))
    records = general.search("resource", asked(record=""))
    assert [each.id for each in records.results if isinstance(each, Named)] == ["a", "b", "c"]
    assert records.obligations == {"b": wanted}
    actions = general.search("action", asked(action=""))
    assert (actions.results, actions.obligations) == (("view", "change"), {"view": wanted})
    assert general.search("resource", asked(record=""), limit=1).obligations == {}


# --- the guide --------------------------------------------------------------------------------------------------

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "obligations.md").read_text("utf-8")


def test_the_guide_s_policies_load(tmp_path: Path) -> None:
    [text] = re.findall(r"```cedar\n(.*?)```", GUIDE, re.DOTALL)
    policies = project(tmp_path, text.replace("crm/list_customers", READ))
    found = {policy.id: policy.obligations for policy in policies.policies() if policy.obligations}
    assert found == {
        "customers-are-cut": (
            Obligation(id="redact", fields=("customers.email", "customers.phone")),
            Obligation(id="limit", items={"customers": 100}, bytes=65536),
        ),
        "payments-are-told": (AUDIT, SECURITY),
        "nothing-to-strangers": (SECURITY,),
    }


def test_the_guide_s_notifiers_load(tmp_path: Path) -> None:
    [text] = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "remit.toml").write_text('trust_domain = "example.org"\n' + text)
    assert [each.name for each in read_settings(tmp_path).notifiers] == ["security", "audit"]


def test_the_guide_s_message_is_given(tmp_path: Path) -> None:
    [said] = re.findall(r"```text\n(.*?)```", GUIDE, re.DOTALL)
    error = failure(tmp_path, f'@notify("securty")\npermit ({TOOLS});')
    assert str(error).replace(":1:1:", ":2:1:").replace("  1 |", "  2 |") + "\n" == said
