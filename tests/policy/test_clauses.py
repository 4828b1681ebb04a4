"""Temporal conditions of a project's policies: refused at load where they would never hold, or mean something else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from remit.core.errors import DocumentError
from remit.policy import Policies, load
from remit.policy.dogwood.ast import ContextTerm, EntityTerm, Formerly, Predicate, Var
from tests.policy.project import INTENTS, TRUST_DOMAIN, catalogue

PAY = 'Remit::Action::"payments/pay_invoice"'
READ = 'Remit::Action::"payments/read_invoice"'
NOTE = 'Remit::Action::"payments/add_note"'


def loaded(folder: Path, texts: Mapping[str, str], events: str = "") -> Policies:
    policies = folder / "policies"
    for name, text in texts.items():
        path = policies / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return load(
        folder_policies=[policies],
        catalogue=catalogue(),
        intents=INTENTS,
        trust_domain=TRUST_DOMAIN,
        events=events,
    )


def rule(condition: str, *, effect: str = "permit", keyword: str = "when", action: str = PAY) -> dict[str, str]:
    return {
        "own.dw": f'@id("own")\n{effect}(principal, action == {action}, resource)\n'
        f"{keyword} temporal {{\n  {condition}\n}};\n"
    }


GOOD = f"formerly within 1h {READ}::response{{ input.invoice: context.input.invoice, output.account: * }}"
COUNT = "(count for (t: Timepoint). where (formerly within 1h (" + PAY + "::%s{ } && tp(t))))"


def test_a_condition_over_what_the_catalogue_selects_is_taken_with_its_pin(tmp_path: Path) -> None:
    found = loaded(tmp_path, rule(GOOD)).temporal.task
    assert found is not None
    condition = found.leaves["own/0"].condition
    assert isinstance(condition, Formerly)
    assert isinstance(condition.body, Predicate)
    pinned = condition.body.arguments[-1]
    assert (pinned.path, pinned.value) == (("task", "root"), ContextTerm(("task", "root")))


def test_policies_across_tasks_are_pinned_to_their_workload(tmp_path: Path) -> None:
    found = loaded(tmp_path, {"workload/own.dw": rule(GOOD)["own.dw"]}).temporal
    assert found.task is None
    assert found.workload is not None
    condition = found.workload.leaves["own/0"].condition
    assert isinstance(condition, Formerly)
    assert isinstance(condition.body, Predicate)
    assert [argument.path for argument in condition.body.arguments][-1] == ("callerPrincipal",)


WRONG = {
    "an action that is not there": (
        'formerly within 1h Remit::Action::"payments/read_invoise"::response{ }',
        "there is no action `payments/read_invoise` (did you mean `payments/read_invoice`?)",
        22,
    ),
    "a group of actions": (
        'formerly within 1h Remit::Action::"read"::response{ }',
        "there is no action `read`",
        22,
    ),
    "a kind that is not there": (
        f"formerly within 1h {READ}::respones{{ }}",
        "there is no kind of event `respones` (did you mean `response`?)",
        22,
    ),
    "a field that is not there": (
        f'formerly within 1h {READ}::response{{ input.invoise: "x" }}',
        "has no field `input.invoise` (did you mean `input.invoice`?)",
        72,
    ),
    "a result that the catalogue does not select": (
        f'formerly within 1h {READ}::response{{ output.iban: "x" }}',
        "add it to the tool's `select`",
        72,
    ),
    "a result of a request": (
        f'formerly within 1h {READ}::request{{ output.status: "x" }}',
        "results are fields of `response` events",
        71,
    ),
    "a group of fields": (f'formerly within 1h {READ}::response{{ input: "x" }}', "is a group of fields", 72),
    "a value of another type": (
        f"formerly within 1h {READ}::response{{ input.invoice: 3 }}",
        "`input.invoice` of `payments/read_invoice` is `String`, not `Long`",
        72,
    ),
    "a decimal compared with an integer": (
        f"formerly within 1h {READ}::response{{ output.amount: 3 }}",
        'write decimals as `decimal("1.0")`',
        72,
    ),
    "a path of the context that is not there": (
        f"formerly within 1h {READ}::response{{ input.invoice: context.input.invoise }}",
        "has no `context.input.invoise` (did you mean `invoice`?)",
        87,
    ),
    "an attribute that the principal lacks": (
        f"formerly within 1h {READ}::response{{ input.invoice: principal.name }}",
        "`Remit::Workload` has no `principal.name`",
        87,
    ),
    "a type of entities that is not there": (
        f'formerly within 1h {READ}::response{{ callerPrincipal: Remit::Worker::"x" }}',
        "there is no type of entities `Remit::Worker` (did you mean `Remit::Workload`?)",
        89,
    ),
    "an entity that never asks": (
        f'formerly within 1h {READ}::response{{ callerPrincipal: Remit::Person::"x" }}',
        "is `Remit::Workload`, not `Remit::Person`",
        72,
    ),
    "a window that is longer than the schema allows": (
        f"formerly within 31d {READ}::response{{ }}",
        "the window `31d` is longer than `30d`",
        3,
    ),
    "a variable of a type that is not there": (
        f"exists (a: Strng). formerly within 1h {READ}::response{{ input.invoice: a }}",
        "there is no type `Strng`",
        10,
    ),
    "a variable of another type": (
        f"exists (a: Long). formerly within 1h {READ}::response{{ input.invoice: a }}",
        "is `String`, not `Long`",
        90,
    ),
    "a timepoint of another type": (
        f"(count for (t: Long). where ({READ}::response{{ }} && tp(t))) > 2",
        "`tp(t)` is a point of the history",
        87,
    ),
    "a sum of decimals": (
        f"(sum a for (a: decimal). where {READ}::response{{ output.amount: a }}) > 2",
        "only Long can be added up",
        4,
    ),
    "an ordering of decimals": (
        f'exists (a: decimal). (formerly within 1h {READ}::response{{ output.amount: a }} && a > decimal("1.0"))',
        "`>` compares integers",
        118,
    ),
    "a condition that nothing limits": (
        f"formerly within 1h {READ}::response{{ input.invoice: i }}",
        "nothing binds the variable `i`",
        87,
    ),
}


@pytest.mark.parametrize(("condition", "message", "column"), WRONG.values(), ids=WRONG)
def test_a_condition_that_would_never_hold_is_refused_at_its_place(
    tmp_path: Path, condition: str, message: str, column: int
) -> None:
    with pytest.raises(DocumentError) as refused:
        loaded(tmp_path, rule(condition))
    assert message in str(refused.value)
    assert f"policies/own.dw:4:{column}:" in str(refused.value)


def test_a_path_is_checked_for_every_action_that_the_rule_is_about(tmp_path: Path) -> None:
    text = (
        f"permit(principal, action in [{READ}, {PAY}], resource)\n"
        f"when temporal {{ formerly within 1h {READ}::response{{ output.account: context.input.account }} }};"
    )
    with pytest.raises(DocumentError, match=r"`payments/read_invoice` has no `context\.input\.account`"):
        loaded(tmp_path, {"own.dw": text})


def test_a_variable_of_the_same_name_has_the_type_of_its_own_binder(tmp_path: Path) -> None:
    condition = (
        f"(exists (a: String). formerly within 1h {READ}::response{{ input.invoice: a }})"
        f" && (exists (a: decimal). formerly within 1h {READ}::response{{ output.amount: a }})"
    )
    assert loaded(tmp_path, rule(condition)).temporal.task is not None


# --- schemas ------------------------------------------------------------------------------------------------

OWN = """max_window = 90d
decision event <A>::request { args: { ...inputs(A) }, who: principalType(A), task: { pin root: String = context.task.root } }
event <A>::response { args: { ...inputs(A) }, ...outputs(A), task: { pin root: String = context.task.root } }
"""  # noqa: E501


def test_a_project_brings_its_own_schema(tmp_path: Path) -> None:
    condition = f'formerly within 90d {READ}::request{{ args.input.invoice: "x", who: principal }}'
    found = loaded(tmp_path, {"events.dwschema": OWN, **rule(condition)}).temporal.task
    assert found is not None
    condition_ = found.leaves["own/0"].condition
    assert isinstance(condition_, Formerly)
    assert isinstance(condition_.body, Predicate)
    paths = [argument.path for argument in condition_.body.arguments]
    assert paths == [("input", "invoice"), ("callerPrincipal",), ("task", "root")], "as events have them"


def test_the_schema_is_part_of_what_decisions_quote(tmp_path: Path) -> None:
    first = loaded(tmp_path / "a", {"events.dwschema": OWN, **rule(f"formerly within 1h {READ}::response{{ }}")})
    second = loaded(
        tmp_path / "b",
        {"events.dwschema": OWN.replace("90d", "91d"), **rule(f"formerly within 1h {READ}::response{{ }}")},
    )
    assert ("policies/events.dwschema", OWN) in [(path, text) for path, text in first.sources()]
    assert first.digest != second.digest


def test_a_schema_that_is_not_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="this event schema is not used"):
        loaded(tmp_path, {"event.dwschema": OWN})
    with pytest.raises(DocumentError, match="this event schema is not used"):
        loaded(tmp_path / "other", {"sub/events.dwschema": OWN})


def test_a_pin_that_one_kind_lacks_is_refused_with_file_and_line(tmp_path: Path) -> None:
    text = OWN.replace("...outputs(A), task: { pin root: String = context.task.root }", "...outputs(A)")
    with pytest.raises(DocumentError) as refused:
        loaded(tmp_path, {"events.dwschema": text, **rule(GOOD)})
    assert "policies/events.dwschema:3:1: `response` events lack `pin task.root" in str(refused.value)


def test_the_kinds_of_agentcore_have_no_permitted(tmp_path: Path) -> None:
    condition = f"formerly within 1h {PAY}::permitted{{ }}"
    assert loaded(tmp_path / "own", rule(condition)).temporal.task is not None
    with pytest.raises(DocumentError, match="there is no kind of event `permitted`"):
        loaded(tmp_path / "agentcore", rule(condition), "agentcore")
    known = f'formerly within 1h {READ}::response{{ sessionId: "s" }}'
    assert loaded(tmp_path / "session", rule(known), "agentcore").temporal.task is not None


def test_a_choice_and_a_schema_of_its_own_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="`agentcore`, and the project brings an event schema of its own"):
        loaded(tmp_path, {"events.dwschema": OWN, **rule(f"formerly within 1h {READ}::response{{ }}")}, "agentcore")


SECOND_KEY = {
    "previous": f"previous within 1h {READ}::response{{ }}",
    "a left side of since that must hold": f"{READ}::response{{ }} since within 1h {READ}::request{{ }}",
    "a count at any event": (
        f"formerly within 1h (exists (n: Long). ((count for (t: Timepoint). "
        f"where (formerly within 1h ({READ}::response{{ }} && tp(t)))) == n && n == 0))"
    ),
}


@pytest.mark.parametrize("condition", SECOND_KEY.values(), ids=SECOND_KEY)
def test_what_would_see_events_of_other_principals_is_refused_where_they_are_hidden(
    tmp_path: Path, condition: str
) -> None:
    # SECURITY: AgentCore's own schema pins the principal, and a session has several workloads.
    assert loaded(tmp_path / "own", rule(condition)).temporal.task is not None
    with pytest.raises(DocumentError, match="looks at every event of the history"):
        loaded(tmp_path / "agentcore", rule(condition), "agentcore")


def test_what_asks_for_events_alone_means_the_same_with_a_second_key(tmp_path: Path) -> None:
    condition = f"!{PAY}::request{{ }} since within 1h {READ}::response{{ }} && {COUNT % 'request'} < 9"
    found = loaded(tmp_path, rule(condition), "agentcore").temporal.task
    assert found is not None
    assert str(found.leaves["own/0"].condition).count("'callerPrincipal'") == 3


# --- warnings -----------------------------------------------------------------------------------------------

LIMITS = {
    "a count that is compared at once": rule(f"{COUNT % 'request'} < 3"),
    "a count that is bound first": rule(f"exists (n: Long). ({COUNT % 'request'} == n && n <= 2)"),
    "a count on the right": rule(f"3 > {COUNT % 'request'}"),
    "a negated one": rule(f"!({COUNT % 'request'} >= 3)"),
    "a forbid": rule(f"{COUNT % 'request'} >= 3", effect="forbid"),
    "a permit with unless": rule(f"{COUNT % 'request'} > 2", keyword="unless"),
}
NO_LIMITS = {
    "a count of permits": rule(f"{COUNT % 'permitted'} < 3"),
    "at least so many": rule(f"{COUNT % 'request'} >= 3"),
    "a forbid of too few": rule(f"{COUNT % 'request'} < 3", effect="forbid"),
    "an event": rule(GOOD),
}


def notices(policies: Policies) -> list[str]:
    return [notice for notice in policies.notices() if "denied calls use it up" in notice]


@pytest.mark.parametrize("texts", LIMITS.values(), ids=LIMITS)
def test_a_limit_that_denied_calls_would_use_up_is_told(tmp_path: Path, texts: dict[str, str]) -> None:
    (notice,) = notices(loaded(tmp_path, texts))
    assert notice.startswith("policies/own.dw:4:")
    assert "count `…::permitted{ … }` instead of `…::request{ … }`" in notice


@pytest.mark.parametrize("texts", NO_LIMITS.values(), ids=NO_LIMITS)
def test_what_is_no_such_limit_is_left_alone(tmp_path: Path, texts: dict[str, str]) -> None:
    assert notices(loaded(tmp_path, texts)) == []


def test_with_the_kinds_of_agentcore_there_is_nothing_else_to_count(tmp_path: Path) -> None:
    assert notices(loaded(tmp_path, rule(f"{COUNT % 'request'} < 3"), "agentcore")) == []


def test_conditions_are_values_that_say_what_they_mean(tmp_path: Path) -> None:
    found = loaded(tmp_path, rule(f"exists (i: String). formerly within 1h {READ}::response{{ input.invoice: i }}"))
    assert found.temporal.task is not None
    text = str(found.temporal.task.leaves["own/0"].condition)
    assert str(Var("i")) in text
    assert EntityTerm.__name__ not in text
