"""What a decision leads to by itself: risk signals that rise, a quarantine, a suspension (docs/design/drift.md).

All of it is decided and recorded in the same step as the decision, and names it. A signal is a function of the records
in the workload's stream and of this decision, but for the count of refusals, which each process keeps for itself.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from remit.core.decisions import PERMITTED, Reason
from remit.core.identities import Registration
from remit.core.risk import DENIALS, NOVELTY
from remit.core.tasks import RiskSignal
from remit.decide import entries
from remit.decide.case import Case
from remit.decide.configuration import Configuration
from remit.decide.sequence import Entry
from remit.decide.world import Life, World, identity_stream

log = logging.getLogger("remit.decide")

ITEMS: Final = 32  # that one signal `novelty` counts
# Refusals that say nothing of what the workload tried: faults, others' mistakes, and what follows from risk itself.
NOT_ITS_DOING: Final = frozenset(
    {
        "internal_fault",
        "policy_error",
        "engines_disagree",
        "identity_expired",
        "identity_quarantined",
        "identity_retired",
        "enforcement_point_not_registered",
        "obligation_unsupported",
        "risk_too_high",
        "task_suspended",
    }
)


@dataclass(frozen=True, slots=True)
class Rise:
    """A signal that rises, and what it counts."""

    signal: RiskSignal
    items: tuple[str, ...] = ()


def rises(configuration: Configuration, case: Case, world: World, reason: Reason) -> tuple[Rise, ...]:
    """The signals that rise with this decision; none for a workload that has not proved itself."""
    # SECURITY: whoever only names a workload must not raise its risk.
    if case.subject is None or case.subject.state != "active" or reason.code in NOT_ITS_DOING:
        return ()
    life = world.life(case.subject.id)
    if life is None:
        return ()
    refused = reason.code != PERMITTED
    found = [_novelty(configuration, case, life, refused)]
    if refused and not case.would:
        found.append(_denials(configuration, case, life, world, reason))
    rising = tuple(rise for rise in found if rise is not None)
    if rising:
        world.expect((identity_stream(case.subject.id),))
    return rising


def quarantines(configuration: Configuration, signal: RiskSignal) -> bool:
    """Whether a workload that gets this signal is quarantined."""
    terms = configuration.risk
    return 0 < terms.quarantine_at <= signal.value and signal.signal in terms.signals


def quarantine(configuration: Configuration, registration: Registration, signal: RiskSignal) -> Entry:
    """The entry by which Remit quarantines a workload, for a signal that does so."""
    at = configuration.risk.quarantine_at
    log.critical("ALARM %s is quarantined: its risk signal %s reached %d", registration.id, signal.signal, signal.value)
    reason = f"the risk signal `{signal.signal}` reached {signal.value}; `[risk] quarantine_at` is {at}"
    changed = msgspec.structs.replace(registration, state="quarantined")
    return entries.registration(changed, configuration.service, reason, signal=signal.signal)


def refusal(configuration: Configuration, rising: Iterable[Rise]) -> Reason | None:
    """Why what policies permit is refused all the same: it is what makes a signal quarantine."""
    for rise in rising:
        signal = rise.signal
        if quarantines(configuration, signal):
            return Reason(
                code="identity_quarantined",
                message=f"with this the risk signal `{signal.signal}` of `{signal.id}` reaches {signal.value}, and at "
                f"{configuration.risk.quarantine_at} it is quarantined",
                next_step="ask its owner or an administrator",
            )
    return None


def recorded(configuration: Configuration, case: Case, rising: tuple[Rise, ...], cause: str) -> list[Entry]:
    """The entries of what rises, and of the quarantine that follows; `cause` is the decision."""
    by = configuration.service
    found = [entries.risk(rise.signal, by, decision=cause, items=rise.items) for rise in rising]
    signal = next((rise.signal for rise in rising if quarantines(configuration, rise.signal)), None)
    if signal is not None and case.subject is not None:
        found.append(quarantine(configuration, case.subject, signal))
    return found


def suspended(configuration: Configuration, case: Case, cause: str) -> list[Entry]:
    """The entries that suspend each task of the chain whose intent does not bear the risk that was decided on."""
    if not case.contexts or case.mode != "enforce":
        return []
    risk = case.contexts[0]["risk"]
    return [
        entries.task_change(
            task.id,
            task.root,
            "suspended",
            configuration.service,
            f"the risk is {risk}, and the intent `{task.intent}` allows {most}",
            decision=cause,
        )
        for task in case.tasks
        if (most := configuration.intents[task.intent].risk_at_most) < risk
    ]


def _novelty(configuration: Configuration, case: Case, life: Life, refused: bool) -> Rise | None:
    """It rises with each action whose tool or destination is new to the workload: once, however often it is tried."""
    terms = configuration.risk
    facts = case.contexts[0]["novelty"] if case.contexts else {"isLearning": True}
    if facts["isLearning"] or NOVELTY not in terms.signals:
        return None
    live = life.risk.get(NOVELTY)
    is_live = live is not None and live.expires > case.now
    known = life.novel if is_live else ()
    value = live.value if live is not None and is_live else 0
    acted = [f"tool {case.ask.action}"] if facts["tool"] >= terms.novel_from else []
    if case.destination is not None and facts["destination"] >= terms.novel_from:
        acted.append(f"destination {case.destination.host}")
    new = [item for item in acted if item not in known]
    points = terms.novel_refused if refused or case.would == "deny" else terms.novel_permitted
    if not new or not points or len(known) + len(new) > ITEMS:
        return None
    items = (*known, *new)
    return Rise(
        _signal(
            case,
            NOVELTY,
            min(100, value + points),
            f"{'refused' if refused else 'permitted'}, and new to it: {', '.join(new)}",
            terms.novel_ms,
        ),
        items,
    )


def _denials(configuration: Configuration, case: Case, life: Life, world: World, reason: Reason) -> Rise | None:
    """It rises with so many refusals in a time, repeated ones included; those that raised it are not counted again."""
    terms = configuration.risk
    if DENIALS not in terms.signals:
        return None
    since = max(case.now - terms.denials_within_ms, life.raised.get(DENIALS, 0))
    question = (case.asked, case.digest)
    count = world.refusals.note(_subject(case), question, case.now, most=terms.denials, since=since)
    if count < terms.denials or not terms.denials_value:
        return None
    live = life.risk.get(DENIALS)
    value = live.value if live is not None and live.expires > case.now else 0
    seconds = terms.denials_within_ms // 1000
    source = (
        f"refused {count} times within {seconds} s, the last time {entries.bounded(case.ask.action)} ({reason.code})"
    )
    return Rise(_signal(case, DENIALS, min(100, value + terms.denials_value), source, terms.denials_ms))


def _signal(case: Case, name: str, value: int, source: str, lasts: int) -> RiskSignal:
    return RiskSignal(id=_subject(case), signal=name, value=value, source=source[:512], expires=case.now + lasts)


def _subject(case: Case) -> str:
    return case.subject.id if case.subject is not None else ""
