"""Everything about one workload: what it may do, what it really did, what it is used to, and what it never used.

Made from the project's files and the records, for people and, as JSON, for machines.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from contextlib import suppress
from typing import Any, Final

from remit.app.folder import Folder
from remit.app.project import load_project
from remit.app.records import reader_of
from remit.console.deeds import Acts, Deed, Deeds, deeds_of
from remit.core.actions import Action
from remit.core.errors import DocumentError, NotFound
from remit.core.identities import Registration
from remit.core.intents import Intent
from remit.decide.configuration import Configuration
from remit.decide.habits import NEVER_SEEN, Habit, Terms
from remit.decide.world import LIFE_KINDS, Life, identity_stream
from remit.policy.schema import justifies
from remit.storage.reader import Reader

DAY_MS: Final = 86_400_000
NEW_DAYS: Final = 7  # what was first learned so few days ago is told apart


def account(folder: Folder, registration: Registration, days: int, now: int) -> dict[str, Any]:
    """The account as JSON types: `grants`, `deeds`, `unused`, `habits`; `problem` where the project does not load."""
    problem = ""
    configuration: Configuration | None = None
    try:
        configuration = load_project(folder)[1]
    except DocumentError as error:
        problem = str(error)
    since = max(0, now - days * DAY_MS)
    deeds, life = Deeds(since), Life()
    with suppress(NotFound), reader_of(folder) as reader:
        deeds = deeds_of(reader, registration.id, since)
        life = _life(reader, registration.id)
    terms = configuration.habits if configuration is not None else Terms()
    intents = _intents(configuration, registration)
    return {
        "problem": problem,
        "grants": [_grant(configuration, intent, deeds) for intent in intents] if configuration is not None else [],
        "unusedServers": _unused_servers(configuration, intents, deeds),
        "deeds": _deeds(deeds, life, terms, now, days),
        "habits": _habits(life, terms, now),
        "newFrom": configuration.risk.novel_from if configuration is not None else NEVER_SEEN,
    }


def live_signals(risks: Iterable[dict[str, Any]], named: Container[str], now: int) -> tuple[list[dict[str, Any]], int]:
    """The signals with whether they live and are among those that count, and the risk that follows."""
    found = [each | {"lives": each["expires"] > now, "counts": each["signal"] in named} for each in risks]
    return found, max((each["value"] for each in found if each["lives"] and each["counts"]), default=0)


def _life(reader: Reader, id_: str) -> Life:
    life = Life()
    for stored in reader.stream(identity_stream(id_)):
        record = stored.record
        if record.kind in LIFE_KINDS:
            life.apply(record.kind, record.body, record.t)
    return life


# --- what it may do ------------------------------------------------------------------------------------------------


def _intents(configuration: Configuration | None, registration: Registration) -> list[Intent]:
    """The intents that name the workload, itself or by a group."""
    if configuration is None:
        return []
    path = registration.id.split("/", 3)[3]
    names = {registration.id, path, *(f"group:{group}" for group in registration.groups)}
    return [intent for _, intent in sorted(configuration.intents.items()) if not names.isdisjoint(intent.workloads)]


def _grant(configuration: Configuration, intent: Intent, deeds: Deeds) -> dict[str, Any]:
    """What an intent justifies, and what of it was never used; methods of MCP that are no tools are left out."""
    justified = [action for action in configuration.catalogue.actions.values() if justifies(intent, action)]
    tools = [action for action in justified if not action.tool.startswith("mcp:")]
    actions = sorted(action.name for action in tools if _is_usable(configuration, action))
    run = deeds.runs.get(intent.name)
    used = {name for name, acts in deeds.actions.items() if intent.name in acts.intents}
    return {
        "intent": intent.name,
        "description": intent.description,
        "effects": list(intent.effects),
        "actions": actions,
        "unreviewed": sorted(action.name for action in tools if not _is_usable(configuration, action)),
        "tasks": run.tasks if run is not None else 0,
        "lastStarted": run.last if run is not None else 0,
        "unusedActions": [name for name in actions if name not in used],
        "unusedCaseTypes": [name for name in intent.case_types if run is None or name not in run.case_types],
    }


def _is_usable(configuration: Configuration, action: Action) -> bool:
    """Whether somebody reviewed it, or a pack covers what nobody reviewed."""
    return action.reviewed or configuration.catalogue.servers[action.server].covers_unreviewed


def _unused_servers(configuration: Configuration | None, intents: list[Intent], deeds: Deeds) -> list[str]:
    """The servers of which it may use something, and used nothing."""
    if configuration is None:
        return []
    actions = configuration.catalogue.actions.values()
    granted = {action.server for action in actions for intent in intents if justifies(intent, action)}
    return sorted(granted - {name.partition("/")[0] for name, acts in deeds.actions.items() if acts.completed})


# --- what it did, and is used to -------------------------------------------------------------------------------------


def _deeds(deeds: Deeds, life: Life, terms: Terms, now: int, days: int) -> dict[str, Any]:
    today = life.today(now)

    def novelty(habit: Habit | None) -> int:
        return NEVER_SEEN if habit is None else habit.novelty(today, terms)

    def one(name: str, acts: Acts) -> dict[str, Any]:
        hosts = [
            {"host": host, **_times(deed), "novelty": novelty(life.habits.destinations.get(host))}
            for host, deed in sorted(acts.destinations.items(), key=lambda item: -item[1].last)
        ]
        counted = {"permitted": acts.permitted, "refused": acts.refused}
        told = {"action": name, **_times(acts), **counted, "novelty": novelty(life.habits.tools.get(name))}
        return told | {"destinations": hosts}

    ordered = sorted(deeds.actions.items(), key=lambda item: (-item[1].last, item[0]))
    return {
        "days": days,
        "since": deeds.since,
        "tasks": deeds.tasks,
        "isWhole": deeds.is_whole,
        "unreadable": deeds.unreadable,
        "actions": [one(name, acts) for name, acts in ordered],
    }


def _times(deed: Deed) -> dict[str, int]:
    return {"completed": deed.completed, "first": deed.first, "last": deed.last}


def _habits(life: Life, terms: Terms, now: int) -> dict[str, Any]:
    """What it has learned; ages are days of its own, without those in quarantine."""
    today = life.today(now)

    def one(habit: Habit) -> dict[str, int]:
        ages = {"firstDaysAgo": max(0, today - habit.first), "lastDaysAgo": max(0, today - habit.last)}
        return {"novelty": habit.novelty(today, terms), "days": habit.days, **ages}

    habits = life.habits
    tools = {name: one(habit) for name, habit in sorted(habits.tools.items())}
    destinations = {name: one(habit) for name, habit in sorted(habits.destinations.items())}
    steps = [{"from": before, "to": name, **one(habit)} for (before, name), habit in sorted(habits.steps.items())]
    return {
        "days": habits.days,
        "isLearning": habits.days < terms.learning_days,
        "learningDays": terms.learning_days,
        "stoppedSince": life.stopped_on * DAY_MS if life.stopped_on is not None else 0,
        "tools": tools,
        "destinations": destinations,
        "steps": steps,
        "new": [
            {"what": what, "name": name, "daysAgo": told["firstDaysAgo"]}
            for what, known in (("tool", tools), ("destination", destinations))
            for name, told in known.items()
            if told["firstDaysAgo"] < NEW_DAYS and habits.days >= terms.learning_days
        ],
    }
