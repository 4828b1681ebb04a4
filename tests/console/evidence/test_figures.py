"""Figures equal those counted by hand, on both storages, and the edges of a period are what they say."""

from __future__ import annotations

from typing import Any

import pytest

from remit.app.records import reader_of
from remit.console.evidence.figures import Tally
from remit.console.evidence.period import Period, period_of
from remit.console.evidence.samples import Chooser
from remit.core.errors import InvalidInput
from tests.console.evidence.made import EXPECTED, INTENTS, POLICY, WHOLE, Lines, counted, history, told
from tests.decide.stage import HOUR, READ, START, Stage, spiffe, staged
from tests.ledger.story import AGENT, NOON, OTHER, PEP, SERVICE, STARTER, Story, begin
from tests.storage.contract.stages import staged_everywhere


@staged_everywhere(intents=INTENTS, policies=POLICY)
async def test_a_known_history(stage: Stage) -> None:
    await history(stage)
    figures = counted(stage.folder, WHOLE)
    assert {name: (figures[name].value, figures[name].of) for name in EXPECTED} == EXPECTED
    assert figures["denied"].by == {
        "not_justified": 3,
        "action_unreviewed": 1,
        "identity_quarantined": 1,
        "limit_reached": 1,
        "not_for_eve": 1,
    }
    assert figures["effects"].by == {"read": 9, "pay": 1}
    assert figures["after-untrusted"].by == {"deny": 3, "permit": 3}
    assert figures["resolved"].by == {spiffe("person/admin"): 1}
    assert figures["suspended"].by == {f"cancelled by {spiffe('starter/app')}": 1}
    assert figures["stopped-identities"].by == {"quarantined": 1, "retired": 1}
    assert figures["recorded"].value == figures["unreadable"].of == len(stage.records())


@staged(intents=INTENTS, policies=POLICY)
async def test_privileges_without_use(stage: Stage) -> None:
    await history(stage)
    with reader_of(stage.folder) as reader:
        tally = Tally(reader, WHOLE, Chooser(b"", 0))
        figures = tally.count()
    # For two agents: answer (five reads), narrow (one), pay-invoice (two); for one of them three more with five reads.
    assert (figures["unused-privileges"].value, figures["unused-privileges"].of) == (25, 31)
    assert figures["unused-privileges"].by == {spiffe("workload/finance"): 18, spiffe("workload/helper"): 7}
    assert (spiffe("workload/helper"), "answer", READ) not in tally.unused
    assert (spiffe("workload/finance"), "narrow", READ) in tally.unused  # used under another intent only


@staged(intents=INTENTS, policies=POLICY)
async def test_what_changed_is_told_by_name(stage: Stage) -> None:
    await history(stage)
    with reader_of(stage.folder) as reader:
        tally = Tally(reader, WHOLE, Chooser(b"", 0))
        tally.count()
    first, second = tally.changes
    assert (first.before, set(first.parts)) == ("", {"catalogue", "intents", "policies", "settings", "windows"})
    assert second.before == first.config
    assert second.parts["intents"] == {"added": ["late"]}
    assert set(second.parts) == {"intents", "policies"}
    (name,) = second.parts["policies"]["changed"]
    assert name.endswith("own.cedar")


@staged(intents=INTENTS, policies=POLICY)
async def test_the_edges_of_a_period(stage: Stage) -> None:
    ids = await history(stage)
    at = next(each.t for each in stage.records("decision") if each.body["id"] == ids["paid"])

    def paid(period: Period) -> int:
        return counted(stage.folder, period)["effects"].by.get("pay", 0)

    assert paid(Period(START, at)) == 0  # its end is not in it
    assert paid(Period(START, at + 1)) == 1
    assert paid(Period(at, at + 1)) == 1  # its beginning is
    assert paid(Period(at + 1, at + HOUR)) == 0


@staged_everywhere(intents=INTENTS, policies=POLICY)
async def test_an_outcome_after_the_period_counts_for_its_permit(stage: Stage) -> None:
    grant = await stage.start()
    permit = await stage.permit(grant)
    end = stage.clock.now + 1
    assert counted(stage.folder, Period(START, end))["no-outcome"].value == 1
    stage.clock.pass_(1000)
    await stage.report(permit)
    figures = counted(stage.folder, Period(START, end))
    assert (figures["no-outcome"].value, figures["permitted"].value, figures["late"].of) == (0, 1, 0)


@staged_everywhere(intents=INTENTS, policies=POLICY)
async def test_repetitions_count_although_the_denial_is_older_than_the_period(stage: Stage) -> None:
    grant = await stage.start()
    for _ in range(3):
        await stage.refusal(grant, "payments/pay_invoice", {"invoice": "INV-1"})
    later = stage.clock.now + 1
    await stage.pass_(120_000)
    figures = counted(stage.folder, Period(later, later + HOUR))
    assert figures["denied"].by == {"not_justified": 2}
    assert figures["decided"].value == 2


# --- what no honest installation records ----------------------------------------------------------------------

DAY = Period(NOON - HOUR, NOON + 12 * HOUR)


def test_what_was_permitted_after_quarantine_is_seen() -> None:
    story = begin()
    story.decision()
    story.identity(AGENT, "quarantined")
    story.decision()  # in the very millisecond: the order of streams is not known
    story.now += 1
    last = story.decision()
    story.outcome(last)
    figures = told(story, DAY)
    assert (figures["permitted-after-stop"].value, figures["permitted-after-stop"].of) == (1, 1)
    assert figures["permitted-after-stop"].is_concern
    story.identity(AGENT)
    story.now += 1
    story.decision()
    assert told(story, DAY)["permitted-after-stop"].value == 1


def test_a_stop_before_the_period_that_still_holds() -> None:
    story = begin()
    story.identity(OTHER, "retired")
    story.now += 2 * HOUR
    story.decision(pep=OTHER)
    figures = told(story, Period(NOON + HOUR, NOON + 12 * HOUR))
    assert figures["stopped-identities"].by == {"retired": 1}
    assert figures["permitted-after-stop"].value == 1


def test_observing_late_outcomes_and_claims() -> None:
    story = begin()
    story.outcome(story.decision(mode="observe", would="deny"), late=True)
    story.outcome(story.decision(pep=AGENT, enforcement="self"), standing="claimed", by=AGENT)
    figures = told(story, DAY)
    assert (figures["observed"].value, figures["observed"].is_concern) == (1, True)
    assert (figures["late"].value, figures["late"].of) == (1, 1)
    assert figures["no-outcome"].value == 0


def test_owners_keys_and_their_age() -> None:
    story = Story()
    story.configure()
    who = {"id": AGENT, "kind": "agent", "roles": ["workload"], "owner": "", "key": "k1", "state": "active"}
    register(story, who)
    register(story, who | {"id": OTHER, "owner": "ada", "environment": "test"})
    story.now += 3 * 24 * HOUR
    register(story, who | {"key": "k2"})
    register(story, who | {"id": PEP, "roles": ["pep"], "key": "k1"})
    figures = told(story, Period(NOON - HOUR, NOON + 10 * 24 * HOUR))
    assert (figures["ownerless"].value, figures["ownerless"].of, figures["ownerless"].by) == (1, 2, {AGENT: 1})
    assert (figures["environments"].value, figures["environments"].by) == (1, {"test": 1})
    assert (figures["keys-changed"].value, figures["keys-changed"].by) == (1, {AGENT: 1})
    assert (figures["key-age"].value, figures["key-age"].by[AGENT]) == (10, 7)
    assert (figures["shared-keys"].value, figures["shared-keys"].by) == (1, {f"{PEP}, {OTHER}": 2})
    assert figures["registrations"].by == {STARTER: 4}


def register(story: Story, registration: dict[str, Any]) -> None:
    stream = f"identity/{registration['id']}"
    story.append(stream, "identity", {"registration": registration, "by": STARTER, "reason": ""})


def test_what_the_service_stopped_by_itself() -> None:
    story = begin()
    denied = story.decision("deny", reason={"code": "risk_too_high", "message": "", "nextStep": "", "policies": []})
    story.task(state="suspended", by=SERVICE, reason="", decision=denied)
    story.identity(OTHER, "quarantined", by=SERVICE, signal="denials")
    risk = {"id": OTHER, "signal": "denials", "value": 90, "source": "", "expires": story.now + 1, "by": SERVICE}
    story.append(f"identity/{OTHER}", "risk", risk)
    story.append(f"identity/{OTHER}", "risk", risk | {"value": 0})
    figures = told(story, DAY)
    assert figures["stopped-by-service"].by == {"identity quarantined": 1, "task suspended": 1}
    assert figures["signals"].by == {"denials": 1}


def test_erasures() -> None:
    story = begin()
    erased = {"id": "e_1", "by": STARTER, "reason": "asked for", "what": "subject", "count": 2, "openings": []}
    story.append("administration", "erasure", erased)
    assert told(story, DAY)["erasures"].by == {f"subject by {STARTER}": 1}


def test_records_that_cannot_be_read_are_counted_and_nothing_else_fails() -> None:
    story = begin()
    good = Lines(story)
    story.append("session/t_1", "decision", {"id": "d_x"})
    story.append("session/t_1", "outcome", {"decision": ["?"]})
    story.append(f"identity/{AGENT}", "identity", {"by": 1})
    figures = told(story, DAY)
    assert (figures["unreadable"].value, figures["unreadable"].is_concern) == (3, True)
    assert figures["recorded"].value == good.count() + 3
    assert figures["decided"].value == 0


# --- periods --------------------------------------------------------------------------------------------------


def test_days_are_utc_and_times_have_a_zone() -> None:
    day = period_of("2026-10-01", "2026-11-01")
    assert day == period_of("2026-10-01T02:00:00+02:00", "2026-10-31T23:00-01:00")
    assert day.end - day.start == 31 * 24 * HOUR
    assert period_of("1970-01-01", "1970-01-02").start == 0
    assert period_of("2026-10-01T00:00:00.250Z", "2026-10-02").start == day.start + 250


@pytest.mark.parametrize(
    ("from_", "to", "code"),
    [
        ("2026-10-01", "2026-10-01", "period_empty"),
        ("2026-10-02", "2026-10-01", "period_empty"),
        ("2026-10-01T00:00:00", "2026-11-01", "time_without_zone"),
        ("yesterday", "2026-11-01", "period_invalid"),
        ("2026-13-01", "2026-11-01", "period_invalid"),
        ("1969-12-31", "2026-11-01", "period_invalid"),
        ("2026-10-01", "", "period_invalid"),
        ("2026-10-01", "9" * 100, "period_invalid"),
    ],
)
def test_what_is_no_period(from_: str, to: str, code: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        period_of(from_, to)
    assert raised.value.code == code
    assert raised.value.next_step
