"""Facts: what policies may use that the caller did not say, as the Cedar context of one tool action.

Everything here is computed from the records (session state), the configuration and the time; nothing is taken from
the caller but the arguments, which are typed by the tool's schema. The attributes are those of docs/design/policy.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from remit.core.actions import Action
from remit.core.intents import Intent, Limit, Prerequisite
from remit.decide.configuration import Configuration
from remit.decide.destination import Destination
from remit.decide.session import Session, Task, Used, is_erased, scalar, step_is_erased

_NOTHING_USED: Final = Used()
_LARGEST: Final = Decimal("922337203685477.5807")  # that Cedar can hold; a sum over it is missing, and so refused


def shared_context(
    configuration: Configuration,
    session: Session,
    arguments: dict[str, Any],
    destination: Destination | None,
    caller: Mapping[str, Any],
    risk: int,
    novelty: Mapping[str, Any],
    now: int,
) -> dict[str, Any]:
    """The context of one action but for its task; `arguments` are typed (`Policies.typed_input`)."""
    context: dict[str, Any] = {
        "caller": caller,
        "input": arguments,
        "novelty": novelty,
        "risk": risk,
        "session": session_facts(session),
        "system": {
            "now": {"__extn": {"fn": "datetime", "arg": timestamp(now)}},
            "windows": sorted(configuration.windows.open_at(now)),
        },
    }
    if destination is not None:
        context["destination"] = {
            "host": destination.host,
            "internal": destination.internal,
            "port": destination.port,
        }
    return context


def session_facts(session: Session) -> dict[str, Any]:
    """What this task tree has read and where it has been."""
    return {
        "calls": session.calls,
        "destinations": sorted(session.destinations),
        "labels": sorted(session.labels),
        "untrusted": session.untrusted,
    }


def task_facts(
    configuration: Configuration, session: Session, task: Task, action: Action, arguments: dict[str, Any], now: int
) -> dict[str, Any]:
    """The task, what it has spent of the limits that this action counts against, and which prerequisites are done."""
    intent = configuration.intents[task.intent]
    # A value whose opening was erased is left as its commitment, an object: it is missing here, and satisfies nothing.
    params = {
        name: configuration.policies.typed_param(task.intent, name, value)
        for name, value in task.params.items()
        if not isinstance(value, dict)
    }
    facts: dict[str, Any] = {
        "ageSeconds": max(0, now - task.created) // 1000,
        "depth": task.depth,
        "done": _done(intent, session, params, now),
        "emergency": task.emergency,
        "id": task.id,
        "intent": task.intent,
        "params": params,
        "root": task.root,
        "starter": task.starter,
        "usage": _usage(intent, session, action, arguments),
    }
    if task.case_type:
        facts["caseType"] = task.case_type
    if task.on_behalf_of:
        facts["onBehalfOf"] = {"__entity": {"type": "Remit::Person", "id": task.on_behalf_of}}
    return facts


def erased_facts(configuration: Configuration, session: Session, task: Task) -> Iterator[tuple[tuple[str, ...], str]]:
    """The paths of facts that are missing because a value was erased, each with what it was."""
    intent = configuration.intents[task.intent]
    params = {}
    for name, value in task.params.items():
        if is_erased(value):
            yield ("task", "params", name), f"the parameter `{name}` of the task"
        else:
            params[name] = configuration.policies.typed_param(task.intent, name, value)
    for prerequisite in intent.order:
        found, at = _step(prerequisite, session, params), ("task", "done", f"{intent.name}/{prerequisite.name}")
        if found is not None:
            for path, value in found.selected.items():
                if is_erased(value):
                    yield (*at, path), f"the result `{path}` of `{prerequisite.done}`"
        elif any(step_is_erased(step) for step in session.steps.get(prerequisite.done, ())) or any(
            expression.removeprefix("params.") in task.params.keys() - params.keys()
            for expression in prerequisite.where.values()
        ):
            yield at, f"what `{prerequisite.done}` was asked or answered"


def spending(
    intents: Mapping[str, Intent], tasks: tuple[Task, ...], action: Action, arguments: dict[str, Any]
) -> dict[str, str]:
    """What a permit for this action spends, by limit: "1" for a number of calls, the argument for a sum."""
    spent: dict[str, str] = {}
    for task in tasks:
        intent = intents[task.intent]
        for limit in intent.limits:
            if not applies(limit, action):
                continue
            name = f"{intent.name}/{limit.name}"
            if limit.calls is not None:
                spent[name] = "1"
            amount = number_at(arguments, limit.sum) if limit.sum else None
            # SECURITY: a negative amount, which only observing lets through, must not make room.
            if amount is not None and amount >= 0:
                spent[name + "#sum"] = str(amount)
    return spent


def applies(limit: Limit, action: Action) -> bool:
    """Whether the limit counts this action."""
    return action.name in limit.actions or action.effect in limit.effects


def number_at(arguments: dict[str, Any], path: str) -> Decimal | None:
    """The number at `input.<path>` of typed arguments; None when it is missing or no number."""
    value: Any = arguments
    for name in path.split(".")[1:]:
        value = value.get(name) if isinstance(value, dict) else None
    found = scalar(value)
    return found[1] if found is not None and found[0] == "number" else None


def timestamp(now: int) -> str:
    """RFC 3339 in UTC with milliseconds, as Cedar's `datetime` reads it."""
    return datetime.fromtimestamp(now / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _usage(intent: Intent, session: Session, action: Action, arguments: dict[str, Any]) -> dict[str, Any]:
    usage: dict[str, Any] = {}
    for limit in intent.limits:
        if not applies(limit, action):
            continue
        name = f"{intent.name}/{limit.name}"
        entry: dict[str, Any] = {"calls": session.used.get(name, _NOTHING_USED).calls}
        if limit.sum:
            amount = number_at(arguments, limit.sum)
            if amount is not None:
                total = session.used.get(name + "#sum", _NOTHING_USED).total + amount
                if abs(total) <= _LARGEST:
                    entry["total"] = {"__extn": {"fn": "decimal", "arg": f"{total:.4f}"}}
        usage[name] = entry
    return usage


def _done(intent: Intent, session: Session, params: dict[str, Any], now: int) -> dict[str, Any]:
    done: dict[str, Any] = {}
    for prerequisite in intent.order:
        found = _step(prerequisite, session, params)
        if found is None or (prerequisite.within and now - found.at > prerequisite.within * 1000):
            continue
        fields = {path: value for path, value in found.selected.items() if scalar(value) is not None}
        done[f"{intent.name}/{prerequisite.name}"] = fields
    return done


def _step(prerequisite: Prerequisite, session: Session, params: dict[str, Any]) -> Any:
    left = tuple(prerequisite.where)
    right = tuple(_wanted(prerequisite.where[path], params) for path in left)
    if None in right:
        return None
    return session.latest_step(prerequisite.done, left, right)


def _wanted(expression: str, params: dict[str, Any]) -> Any:
    if expression.startswith("params."):
        return scalar(params.get(expression[len("params.") :]))
    if expression.startswith("'") and expression.endswith("'"):
        return scalar(expression[1:-1])
    return None
