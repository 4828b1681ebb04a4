"""Each decision is evaluated again: attacks by who holds the records, the texts and the log's key."""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remit.app.exports import export_folder
from remit.app.records import reader_of
from remit.app.reevaluating import CedarEvaluator
from remit.core.errors import RemitError
from remit.ledger.findings import Report
from remit.ledger.opened import Opening, Openings
from remit.ledger.published import verify_log
from remit.ledger.record import leaf_hash
from remit.ledger.tlog.folder import LogFolder
from remit.ledger.tlog.source import FolderSource
from remit.ledger.verify import verify
from tests.app.forging import Body, Forgery
from tests.decide.stage import (
    CHILDREN,
    FETCH,
    LOOKUP,
    PARAMS,
    PAY,
    PAYMENT,
    READ,
    Clock,
    Stage,
    identity,
    spiffe,
    write_project,
)
from tests.ledger.tlog.test_notes import LOG

NOTIFIERS = '[[notifiers]]\nname = "audit"\nfile = "audit.jsonl"\n'
POLICIES = """
@id("only-colleagues")
@reason("not_a_colleague")
@notify("audit")
forbid (principal, action == Remit::Action::"people/lookup", resource)
unless { context.input.email like "*@example.org" };

@id("pages-are-cut")
@limit("output.lines=10")
permit (principal, action == Remit::Action::"web/fetch", resource) when { context.task.depth == 0 };

@id("staff-only")
@requestable
forbid (principal, action == Remit::Action::"web/search", resource)
unless { context.task has onBehalfOf && context.task.onBehalfOf in Remit::Group::"staff" };

@id("words-overflow")
forbid (principal, action == Remit::Action::"billing/read_invoice", resource)
when { context.input has pages && context.input.pages * 4611686018427387904 > 0 };
"""
OBSERVING = '[mode]\ndefault = "observe"\nobserve_until = 2027-01-01T00:00:00Z\n'
PERSON = """
[[people]]
name = "ann"
roles = ["approver"]
groups = ["staff"]
key = "k-ann"
"""


async def story(stage: Stage) -> None:
    """Permits and denials of every kind."""
    paying = await stage.start_payment()
    await stage.authorize(paying, PAY, {**PAYMENT, "account": "DE00"})
    await stage.report(await stage.permit(paying, PAY, PAYMENT), output={})
    await stage.authorize(paying, PAY, PAYMENT)
    with contextlib.suppress(RemitError):
        await stage.end(paying, by=identity("starter/other"))
    answering = await stage.start(person=identity("person/ann"))
    await stage.report(await stage.permit(answering, LOOKUP, {"email": "ben@example.org"}), output={"name": "Ben"})
    await stage.authorize(answering, LOOKUP, {"email": "eve@elsewhere.example", "reason": "x" * 2000})
    await stage.permit(answering, FETCH, {"url": "https://example.org/a"})
    await stage.authorize(answering, FETCH, {"url": "https://example.org/a"}, supports=frozenset())
    await stage.authorize(answering, "web/search", {"words": ["a", "b"]})
    await stage.authorize(answering, READ, {"invoice": "INV-1", "pages": 7})
    await stage.authorize(answering, PAY, PAYMENT)
    child = await stage.start("narrow", parent=answering.task)
    await stage.permit(child, READ)
    await stage.authorize(child, FETCH, {"url": "https://example.org/b"})
    other = await stage.start()
    await stage.authorize(other, "web/search", {"words": []})
    await stage.risk(90, stage.clock.now + 60_000)
    await stage.pass_(1)
    risky = await stage.start("pay-invoice", params=PARAMS)
    await stage.authorize(risky, READ, {"invoice": "INV-1"})
    await stage.end(answering)
    await stage.authorize(answering, READ)


class Kept:
    """An export of the story, with everything that was concealed in it."""

    def __init__(self, root: Path, configured: str) -> None:
        self.folder = root / "export"
        asyncio.run(self._play(root / "project", configured))
        self.forgery = Forgery(self.folder)

    async def _play(self, root: Path, configured: str) -> None:
        write_project(root, settings=configured + PERSON, intents=CHILDREN, policies=POLICIES)
        stage = Stage(root, Clock())
        await stage.open()
        try:
            await story(stage)
        finally:
            await stage.close()
        export_folder(stage.folder, self.folder)
        with reader_of(stage.folder) as reader:
            self._opened = [
                (stored.record.stream, stored.record.n, path, salt.hex(), msgspec.json.decode(value))
                for stored in reader.records()
                for path, salt, value in reader.openings(stored.record.stream, stored.record.n)
            ]

    def openings(self, forgery: Forgery | None = None) -> list[Opening]:
        """All that was concealed, as it opens the records of the story, or the forged ones in their places."""
        lines = (forgery or self.forgery).streams()
        return [Opening(leaf_hash(lines[stream][n - 1]), *opened) for stream, n, *opened in self._opened]


@pytest.fixture(scope="module")
def enforced(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return Kept(tmp_path_factory.mktemp("enforced"), NOTIFIERS)


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return Kept(tmp_path_factory.mktemp("observed"), OBSERVING + NOTIFIERS)


def check(folder: Path, openings: Openings | None = None) -> Report:
    return verify(folder, evaluator=CedarEvaluator(), openings=openings)


def test_what_the_service_decided_is_what_its_policies_say(enforced: Kept, observed: Kept) -> None:
    for kept in (enforced, observed):
        report = check(kept.folder, Openings(kept.openings()))
        assert report.findings == []
        assert report.checks["reevaluation"] > 14
        assert report.checks["openings"] == len(kept.openings()) > 4
    assert {body["reason"]["code"] for body in enforced.forgery.bodies("decision")} >= {
        *("permitted", "limit_reached", "argument_not_bound", "not_a_colleague", "obligation_unsupported"),
        *("policy_error", "not_justified", "policy_forbids", "risk_too_high", "task_completed"),
    }
    assert "observed" in {body["reason"]["code"] for body in observed.forgery.bodies("decision")}


# --- attacks --------------------------------------------------------------------------------------------------------

Attack = Callable[[Forgery], None]


def denial_recorded_as_permit(forgery: Forgery) -> None:
    body = forgery.decision(code="not_a_colleague")
    permit = forgery.decision(action=LOOKUP, effect="permit")
    body |= {name: permit[name] for name in ("effect", "reason", "expires", "deadline", "usage", "adds", "obligations")}


def permit_recorded_as_denial(forgery: Forgery) -> None:
    body = forgery.decision(action=FETCH, effect="permit")
    denial = forgery.decision(code="not_justified")
    body |= {name: denial[name] for name in ("effect", "reason", "expires", "deadline", "usage", "obligations")}
    del body["adds"]


def denial_of_another_policy(forgery: Forgery) -> None:
    forgery.decision(code="limit_reached")["reason"] = forgery.decision(code="argument_not_bound")["reason"]


def policy_that_did_not_decide(forgery: Forgery) -> None:
    forgery.decision(action=PAY, effect="permit")["reason"]["policies"] = ["pages-are-cut"]


def policy_that_there_is_not(forgery: Forgery) -> None:
    forgery.decision(action=PAY, effect="permit")["reason"]["policies"].append("ours")


def policy_left_out(forgery: Forgery) -> None:
    forgery.decision(action=FETCH, effect="permit")["reason"]["policies"].remove("pages-are-cut")


def error_called_a_denial(forgery: Forgery) -> None:
    body = forgery.decision(code="policy_error")
    body["reason"] |= {"code": "no_policy_permits", "policies": []}


def code_of_another_reason(forgery: Forgery) -> None:
    forgery.decision(code="not_justified")["reason"]["code"] = "policy_forbids"


def fact_changed(forgery: Forgery) -> None:
    forgery.decision(action=PAY, effect="permit")["context"]["input"]["account"] = "DE00"


def labels_forgotten(forgery: Forgery) -> None:
    forgery.decision(action=LOOKUP, effect="permit")["adds"]["labels"] = []


def effect_played_down(forgery: Forgery) -> None:
    forgery.decision(action=PAY, effect="permit")["serverEffect"] = "read"


def groups_of_the_principal_changed(forgery: Forgery) -> None:
    forgery.decision(action=PAY, effect="permit")["principal"]["kind"] = "person"


def policy_replaced(forgery: Forgery) -> None:
    forgery.replace_policy("policies/own.cedar", lambda text: text.replace("*@example.org", "*"))


def permit_withdrawn(forgery: Forgery) -> None:
    forgery.replace_policy(
        "generated/answer.cedar", lambda text: text.replace('action in Remit::Action::"read"', "action", 1)
    )
    forgery.replace_policy("generated/answer.cedar", lambda text: text.replace("permit", "forbid", 1))


def ceiling_removed(forgery: Forgery) -> None:
    forgery.replace_policy("generated/answer.cedar", lambda text: text.replace('"answer"', '"nothing"'))


def observed_where_it_is_enforced(forgery: Forgery) -> None:
    body = forgery.decision(code="not_justified")
    permit = forgery.decision(action=PAY, effect="permit")
    body |= {name: permit[name] for name in ("effect", "expires", "deadline", "usage", "adds", "obligations")}
    body |= {"mode": "observe", "would": "deny"}
    body["reason"]["code"] = "observed"


def obligation_dropped(forgery: Forgery) -> None:
    forgery.decision(action=FETCH, effect="permit")["obligations"] = []


def obligation_weakened(forgery: Forgery) -> None:
    body = forgery.decision(action=FETCH, effect="permit")
    body["obligations"][0]["items"]["lines"] = 1000


def notification_dropped(forgery: Forgery) -> None:
    forgery.decision(code="not_a_colleague")["obligations"] = []


def facts_left_out(forgery: Forgery) -> None:
    forgery.decision(action=PAY, effect="permit")["context"] = {}


def task_above_left_out(forgery: Forgery) -> None:
    body = forgery.decision(action=FETCH, code="not_justified")
    permit = forgery.decision(action=FETCH, effect="permit")
    body |= {name: permit[name] for name in ("effect", "reason", "expires", "deadline", "usage", "adds", "obligations")}


def obligation_that_nothing_demands(forgery: Forgery) -> None:
    body = forgery.decision(action="web/search", effect="permit")
    body |= {"effect": "deny", "expires": 0, "deadline": 0, "usage": {}, "obligations": []}
    del body["adds"]
    body["reason"]["code"] = "obligation_unsupported"


ATTACKS: list[tuple[Attack, str]] = [
    (denial_recorded_as_permit, "it is recorded as permitted, and `only-colleagues` (policies/own.cedar:2) forbids it"),
    (permit_recorded_as_denial, "it is recorded as denied (`not_justified`), and `intent:answer/justifies`"),
    (denial_of_another_policy, "which did not decide"),
    (policy_that_did_not_decide, "it names `pages-are-cut` (policies/own.cedar:8), which did not decide"),
    (policy_that_there_is_not, "it names `ours`, which did not decide"),
    (policy_left_out, "it does not name `pages-are-cut` (policies/own.cedar:8), which decided too"),
    (error_called_a_denial, "`words-overflow` (policies/own.cedar:17) can't be evaluated, which denies"),
    (code_of_another_reason, "its reason is `policy_forbids`, and that of `intent:"),
    (fact_changed, "forbids it"),
    (labels_forgotten, "what it adds to the session is not what the catalogue says"),
    (effect_played_down, "its effect is recorded as read, and the catalogue says pay"),
    (groups_of_the_principal_changed, "no policy permits it"),
    (policy_replaced, "it is recorded as denied (`not_a_colleague`), and `intent:answer/justifies`"),
    (permit_withdrawn, "forbids it"),
    (ceiling_removed, "which did not decide"),
    (observed_where_it_is_enforced, "it is only observed, and its configuration enforces"),
    (obligation_dropped, "its obligations are not those that its policies and the catalogue demand: limit"),
    (obligation_weakened, "its obligations are not those that its policies and the catalogue demand: limit"),
    (notification_dropped, "its obligations are not those that its policies and the catalogue demand: notify"),
    (facts_left_out, "it is a permit, and there is no fact that it was decided on"),
    (task_above_left_out, "does not justify it"),
    (obligation_that_nothing_demands, "it is denied for its obligations, and nothing obliges to any"),
]


@pytest.mark.parametrize(("attack", "said"), ATTACKS, ids=lambda value: getattr(value, "__name__", ""))
def test_attack(attack: Attack, said: str, enforced: Kept, tmp_path: Path) -> None:
    forgery = enforced.forgery.copy()
    attack(forgery)
    openings = Openings(enforced.openings(forgery))
    report = check(forgery.write(tmp_path / "forged"), openings)
    found = [finding.message for finding in report.findings if finding.check == "reevaluation"]
    assert any(said in message for message in found), found


def test_attack_a_log_that_is_signed_anew_hides_nothing(enforced: Kept, tmp_path: Path) -> None:
    forgery = enforced.forgery.copy()
    permit_recorded_as_denial(forgery)
    log = LogFolder(tmp_path / "log", LOG)
    for digest, text in forgery.texts.items():
        log.keep_text(digest, text.encode())
    log.extend([line for lines in forgery.streams().values() for line in lines])
    log.close()
    report = verify_log(FolderSource(tmp_path / "log"), LOG.key, evaluator=CedarEvaluator())
    assert {finding.check for finding in report.findings} == {"facts", "reevaluation"}


def test_attack_a_task_is_started_by_who_may_not(enforced: Kept, tmp_path: Path) -> None:
    forgery = enforced.forgery.copy()
    task = next(body for body in forgery.bodies("task") if body.get("intent") == "pay-invoice")
    task["starter"] = spiffe("starter/other")
    found = [
        each.message for each in check(forgery.write(tmp_path / "forged")).findings if each.check == "reevaluation"
    ]
    assert len(found) == 1
    assert "starts it for" in found[0]
    assert "`intent:pay-invoice/starters` (generated/pay-invoice.cedar:" in found[0]


def test_attack_a_person_who_is_no_member_is_permitted_as_one(enforced: Kept, tmp_path: Path) -> None:
    forgery = enforced.forgery.copy()
    for body in forgery.bodies("identity"):
        if body["registration"]["id"] == spiffe("person/ann"):
            body["registration"]["groups"] = []
    report = check(forgery.write(tmp_path / "forged"))
    told = [finding.message for finding in report.findings if finding.check == "reevaluation"]
    assert [message.partition(": ")[2] for message in told] == [
        "it is recorded as permitted, and `staff-only` (policies/own.cedar:12) forbids it"
    ]


# --- facts that the service makes up --------------------------------------------------------------------------------


def paid(forgery: Forgery) -> Body:
    """The context of the payment."""
    context: Body = forgery.decision(action=PAY, effect="permit")["context"]
    return context


def later(forgery: Forgery) -> Body:
    """The context of a decision on a session that has read what can't be trusted."""
    context: Body = forgery.decision(action="web/search", effect="permit")["context"]
    return context


def spent_forgotten(forgery: Forgery) -> None:
    refused = forgery.decision(code="limit_reached")
    refused["context"]["task"]["usage"]["pay-invoice/once"]["calls"] = 0


def sum_lowered(forgery: Forgery) -> None:
    paid(forgery)["task"]["usage"]["pay-invoice/amount"]["total"]["__extn"]["arg"] = "1.0000"


def limit_left_out(forgery: Forgery) -> None:
    del paid(forgery)["task"]["usage"]["pay-invoice/once"]


def step_made_up(forgery: Forgery) -> None:
    for body in forgery.bodies("outcome"):
        body["selected"].pop("status", None)


def result_of_a_step_changed(forgery: Forgery) -> None:
    paid(forgery)["task"]["done"]["pay-invoice/invoice-read"]["account"] = "DE00"


def step_made_up_for_another_intent(forgery: Forgery) -> None:
    paid(forgery)["task"]["done"]["answer/read"] = {}


def labels_left_out(forgery: Forgery) -> None:
    later(forgery)["session"]["labels"] = []


def untrusted_forgotten(forgery: Forgery) -> None:
    later(forgery)["session"]["untrusted"] = False


def destinations_left_out(forgery: Forgery) -> None:
    later(forgery)["session"]["destinations"] = []


def calls_left_out(forgery: Forgery) -> None:
    later(forgery)["session"]["calls"] = 1


def another_intent(forgery: Forgery) -> None:
    later(forgery)["task"]["intent"] = "narrow"


def task_above_forgotten(forgery: Forgery) -> None:
    next(each for each in forgery.bodies("decision") if "above" in each).pop("above")


def another_task_above(forgery: Forgery) -> None:
    next(each for each in forgery.bodies("decision") if "above" in each)["above"][0]["intent"] = "pay-invoice"


def parameter_changed(forgery: Forgery) -> None:
    paid(forgery)["task"]["params"]["amount"]["__extn"]["arg"] = "999.00"


def parameter_added(forgery: Forgery) -> None:
    later(forgery)["task"]["params"]["vip"] = True


def person_made_up(forgery: Forgery) -> None:
    paid(forgery)["task"]["onBehalfOf"] = {"__entity": {"id": spiffe("person/ann"), "type": "Remit::Person"}}


def person_hidden(forgery: Forgery) -> None:
    del later(forgery)["task"]["onBehalfOf"]


def task_made_younger(forgery: Forgery) -> None:
    later(forgery)["task"]["ageSeconds"] = 7


def emergency_claimed(forgery: Forgery) -> None:
    later(forgery)["task"]["emergency"] = True


def risk_lowered(forgery: Forgery) -> None:
    forgery.decision(code="risk_too_high")["context"]["risk"] = 10


def time_changed(forgery: Forgery) -> None:
    paid(forgery)["system"]["now"]["__extn"]["arg"] = "2026-11-22T10:00:00.000Z"


def group_added(forgery: Forgery) -> None:
    forgery.decision(action=PAY, effect="permit")["principal"]["groups"].append("staff")


def caller_made_up(forgery: Forgery) -> None:
    paid(forgery)["caller"]["id"] = spiffe("pep/elsewhere")


def enforcement_point_of_another_server(forgery: Forgery) -> None:
    body = forgery.decision(action=PAY, effect="permit")
    body["pep"] = body["context"]["caller"]["id"] = spiffe("pep/elsewhere")


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        (spent_forgotten, "0 calls are said to be spent of the limit `pay-invoice/once`, and 1 were"),
        (sum_lowered, "the sum that is said to be spent of the limit `pay-invoice/amount` is not what"),
        (limit_left_out, "what is said to be spent is not of the limits"),
        (step_made_up, "the step `pay-invoice/invoice-read` is said to be done, and the session shows otherwise"),
        (
            result_of_a_step_changed,
            "the result of the step `pay-invoice/invoice-read` is not the one that was reported",
        ),
        (step_made_up_for_another_intent, "a step `answer/read` is said to be done, which `pay-invoice` does not have"),
        (labels_left_out, "the labels of the session are not those that its permits added"),
        (untrusted_forgotten, "whether the session had read what can't be trusted"),
        (destinations_left_out, "the destinations of the session are not those that its permits added"),
        (calls_left_out, "the session is recorded with 1 calls, and it had"),
        (another_intent, "`task.intent` is not what its records say"),
        (task_above_forgotten, "it is decided for 1 tasks, and its task has 1 above it"),
        (another_task_above, "`task.intent` is not what its records say"),
        (parameter_changed, "the parameter `amount` is not the one that the task was started with"),
        (parameter_added, "the task was started without a parameter `vip`"),
        (person_made_up, "`task.onBehalfOf` is not what its records say"),
        (person_hidden, "`task.onBehalfOf` is not what its records say"),
        (task_made_younger, "`task.ageSeconds` is not what its records say"),
        (emergency_claimed, "`task.emergency` is not what its records say"),
        (risk_lowered, "the risk is recorded as 10, and the signals make it 90"),
        (time_changed, "the time that it was decided at is not the time of its record"),
        (group_added, "the principal that policies saw is not who is registered"),
        (caller_made_up, "`caller.id` is not that of the one who asked"),
        (enforcement_point_of_another_server, "is no enforcement point that is registered for `payments`"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_attack_on_facts(attack: Attack, said: str, enforced: Kept, tmp_path: Path) -> None:
    forgery = enforced.forgery.copy()
    attack(forgery)
    report = check(forgery.write(tmp_path / "forged"), Openings(enforced.openings(forgery)))
    found = [finding.message for finding in report.findings if finding.check == "facts"]
    assert any(said in message for message in found), found


def observed_denied_after_all(forgery: Forgery) -> None:
    body = forgery.decision(code="observed", action=FETCH)
    body |= {"effect": "deny", "expires": 0, "deadline": 0, "usage": {}, "obligations": []}
    del body["adds"]
    body["reason"]["code"] = "not_justified"


def observed_called_permitted(forgery: Forgery) -> None:
    body = forgery.decision(code="observed", action=FETCH)
    body["reason"]["code"], body["would"] = "permitted", "permit"


def permitted_called_observed(forgery: Forgery) -> None:
    body = forgery.decision(code="permitted", action=FETCH)
    body["reason"]["code"], body["would"] = "observed", "deny"


def error_observed(forgery: Forgery) -> None:
    body = forgery.decision(code="policy_error")
    permit = forgery.decision(action=READ, effect="permit")
    body |= {name: permit[name] for name in ("effect", "expires", "deadline", "usage", "adds", "obligations")}
    body["reason"]["code"] = "observed"


def observed_after_its_end(forgery: Forgery) -> None:
    forgery.replace_settings(lambda text: text.replace("2027-01-01", "2026-01-01"))


def enforced_while_it_is_observed(forgery: Forgery) -> None:
    body = forgery.decision(code="permitted", action=FETCH)
    body["mode"], body["would"] = "enforce", ""


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        (observed_denied_after_all, "it is observed only, and denied all the same"),
        (observed_called_permitted, "it is recorded as permitted, and `intent:"),
        (permitted_called_observed, "enforcing is said to have denied it, and `intent:answer/justifies`"),
        (error_observed, "is denied in any mode: `words-overflow`"),
        (observed_after_its_end, "it is only observed, and its configuration enforces"),
        (enforced_while_it_is_observed, "it is enforced, and its configuration only observes"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_attack_on_observing(attack: Attack, said: str, observed: Kept, tmp_path: Path) -> None:
    forgery = observed.forgery.copy()
    attack(forgery)
    report = check(forgery.write(tmp_path / "forged"))
    found = [finding.message for finding in report.findings if finding.check == "reevaluation"]
    assert any(said in message for message in found), found


# --- what is concealed ----------------------------------------------------------------------------------------------

PARTLY = "decisions evaluated again only in part: facts that are concealed, and not opened"


def test_what_is_not_opened_is_counted(enforced: Kept) -> None:
    report = check(enforced.folder)
    assert report.findings == []
    assert report.unchecked[PARTLY] == 2
    assert PARTLY not in check(enforced.folder, Openings(enforced.openings())).unchecked


def test_attack_a_forbid_that_reads_nothing_personal_is_broken_beside_a_concealed_value(
    enforced: Kept, tmp_path: Path
) -> None:
    forgery = enforced.forgery.copy()
    forgery.decision(action=LOOKUP, effect="permit")["context"]["task"]["intent"] = "pay-invoice"
    messages = [finding.message for finding in check(forgery.write(tmp_path / "forged")).findings]
    assert any("`intent:pay-invoice/ceiling`" in message and "forbids it" in message for message in messages)


def test_attack_another_value_is_shown_than_was_decided_on(enforced: Kept) -> None:
    openings = enforced.openings()
    wrong = next(opening for opening in openings if opening.value == "eve@elsewhere.example")
    changed = msgspec.structs.replace(wrong, value="eve@example.org")
    report = check(enforced.folder, Openings([changed]))
    assert [finding.check for finding in report.findings] == ["openings"]
    assert "is not of the record" in report.findings[0].message


def test_a_value_of_no_record_is_refused(enforced: Kept) -> None:
    [opening, *_] = enforced.openings()
    report = check(enforced.folder, Openings([msgspec.structs.replace(opening, leaf="0" * 64)]))
    assert [finding.message for finding in report.findings] == [
        f"a value is shown of a record `{'0' * 64}` that is not here"
    ]


# --- what can't be read ---------------------------------------------------------------------------------------------


def without(forgery: Forgery, part: str) -> None:
    del forgery.texts[forgery.bodies("configuration")[0][part]]


@pytest.mark.parametrize("part", ["catalogue", "intents", "policies", "settings"])
def test_without_a_text_decisions_are_counted(part: str, enforced: Kept, tmp_path: Path) -> None:
    forgery = enforced.forgery.copy()
    without(forgery, part)
    report = check(forgery.write(tmp_path / "forged"))
    assert {finding.check for finding in report.findings} == {"texts"}
    [(what, times)] = [
        (what, times) for what, times in report.unchecked.items() if what.startswith("decisions not evaluated")
    ]
    assert f"the text of the {part} is not there" in what
    assert times == len(forgery.bodies("decision"))


def test_a_text_that_is_not_what_its_digest_says_decides_nothing(enforced: Kept, tmp_path: Path) -> None:
    forgery = enforced.forgery.copy()
    digest = dict(msgspec.json.decode(forgery.text_of("policies")))["policies/own.cedar"]
    folder = forgery.write(tmp_path / "forged")
    (folder / "texts" / digest).write_text("permit (principal, action, resource);")
    report = check(folder)
    assert {finding.check for finding in report.findings} == {"texts"}
    assert any("`policies/own.cedar` is not what its digest says" in what for what in report.unchecked)


@pytest.mark.parametrize(
    "text",
    [
        "permit (principal, action, resource)",
        "forbid (principal, action, resource) when { " + "(" * 5000 + "true" + ")" * 5000 + " };",
        "forbid (principal, action, resource) when { " + "!" * 100_000 + "true };",
        "permit (principal == ?principal, action, resource);",
        '@id("only-colleagues") forbid (principal, action, resource);' * 2,
        '@redact("nothing") permit (principal, action, resource);',
        "\x00\ud7ff{[(",
        "// nothing but a remark",
    ],
    ids=range(8),
)
def test_policies_that_nobody_can_read_are_counted(text: str, enforced: Kept, tmp_path: Path) -> None:
    forgery = enforced.forgery.copy()
    forgery.replace_policy("policies/own.cedar", lambda _: text)
    report = check(forgery.write(tmp_path / "forged"))
    assert report.findings or any("can't be read" in what for what in report.unchecked)


JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.text(max_size=5)),
    lambda below: st.one_of(
        st.lists(below, max_size=3),
        st.dictionaries(
            st.sampled_from(["__extn", "__entity", "fn", "arg", "type", "id", "commitment", "literal", "intent", "x"]),
            below,
            max_size=3,
        ),
    ),
    max_leaves=8,
)
KINDS = ("decision", "task", "outcome", "identity", "risk", "configuration")


def put_somewhere(body: Body, junk: Any, seed: int) -> None:
    """Puts junk in the place of a value anywhere in a body."""
    choose, node = random.Random(seed), body
    while True:
        keys: list[Any] = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = choose.choice(keys)
        if not isinstance(node[key], dict | list) or not node[key] or choose.random() < 0.3:
            node[key] = junk
            return
        node = node[key]


@given(kind=st.sampled_from(KINDS), junk=JUNK, which=st.integers(0, 30), seed=st.integers(0, 10**6))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_body_ends_the_verifier(kind: str, junk: Any, which: int, seed: int, enforced: Kept) -> None:
    forgery = enforced.forgery.copy()
    bodies = forgery.bodies(kind)
    put_somewhere(bodies[which % len(bodies)], junk, seed)
    openings = Openings(enforced.openings(forgery)) if which % 2 else None
    with tempfile.TemporaryDirectory() as folder:
        assert check(forgery.write(Path(folder) / "forged"), openings).records > 0


@pytest.mark.parametrize(
    "junk", [{"commitment": None}, {"literal": {"a": 1}}, {"bytes": 1, "sha256": ""}, {"task": ""}]
)
def test_facts_that_are_concealed_as_a_whole_are_judged(junk: Body, enforced: Kept, tmp_path: Path) -> None:
    forgery = enforced.forgery.copy()
    forgery.decision(action=PAY, effect="permit")["context"] = junk
    assert "reevaluation" in {finding.check for finding in check(forgery.write(tmp_path / "forged")).findings}


def test_a_configuration_whose_part_is_no_digest_is_a_finding(enforced: Kept, tmp_path: Path) -> None:
    forgery = enforced.forgery.copy()
    forgery.bodies("configuration")[0]["windows"] = ["none"]
    assert "texts" in {finding.check for finding in check(forgery.write(tmp_path / "forged")).findings}


@given(part=st.sampled_from(["catalogue", "intents", "policies", "settings", "windows"]), data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_ends_the_verifier(part: str, data: st.DataObject, enforced: Kept) -> None:
    forgery = enforced.forgery.copy()
    text = forgery.text_of(part)
    at = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(at, min(len(text), at + 20)))
    forgery.replace_part(part, text[:at] + data.draw(st.text(max_size=10)) + text[end:])
    with tempfile.TemporaryDirectory() as folder:
        assert check(forgery.write(Path(folder) / "forged")).records > 0


def test_facts_that_are_nested_as_deep_as_a_record_may_be_are_judged(enforced: Kept, tmp_path: Path) -> None:
    forgery = enforced.forgery.copy()
    deep: Any = 1
    for _ in range(58):
        deep = [deep]
    forgery.decision(action=PAY, effect="permit")["context"]["input"]["deep"] = deep
    assert check(forgery.write(tmp_path / "forged")).records > 0


def test_without_an_engine_decisions_are_counted(enforced: Kept) -> None:
    report = verify(enforced.folder)
    assert report.findings == []
    assert "reevaluation" not in report.checks
    assert report.unchecked["decisions not evaluated again: without the policy engine"] > 14
