"""The facts that a decision was made on, against what the records themselves show.

A service that records false facts gives right answers to wrong questions. So the facts that follow from other records
are worked out again: about the caller, the principal, the task and those above it, what limits had been spent, which
steps were completed, what the session had read and where it had been, and the risk. A fact that is not recorded is left
out: policies that read it fail, and a policy that fails denies. Which facts are not compared: docs/design/ledger.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from remit.ledger.bodies import UNIT, Decision, Registration, scaled
from remit.ledger.configured import Action, Configured, Intent
from remit.ledger.history import HIDDEN, Completed, History, is_hidden, scalar
from remit.ledger.tasks import Task

_LARGEST: Final = 922337203685477_580700000  # that a sum may be, in units of 10^-9
_ABSENT: Final = object()


class Shown(NamedTuple):
    """What the records before a decision show."""

    chain: tuple[Task, ...]  # its task and those above it
    history: History
    spent: Mapping[str, int]  # by limit, in units of 10^-9
    subjects: tuple[Registration, ...]  # who the subject may have been at that time
    callers: tuple[Registration, ...]
    risks: frozenset[int] | None  # what the risk may have been; None where that can't be said
    configured: Configured | None
    at: int


def contradictions(body: Decision, shown: Shown) -> Iterator[str]:
    """What is recorded otherwise than the records before it show, one sentence each."""
    yield from _principal(body, shown.subjects)
    context = body.context
    if not context:
        return
    yield from _caller(body, shown)
    yield from _session(context.get("session"), shown.history)
    system, risk = context.get("system"), context.get("risk")
    if isinstance(system, dict) and system.get("now", _ABSENT) not in (_ABSENT, _time(shown.at)):
        yield "the time that it was decided at is not the time of its record"
    if isinstance(risk, int) and shown.risks is not None and risk not in shown.risks:
        yield f"the risk is recorded as {risk}, and the signals make it {', '.join(map(str, sorted(shown.risks)))}"
    yield from _tasks(body, shown)


def _principal(body: Decision, subjects: tuple[Registration, ...]) -> Iterator[str]:
    said = body.principal
    if not said or not subjects:
        return
    for subject in subjects:
        known = {
            "environment": subject.environment,
            "id": subject.id,
            "kind": subject.kind,
            "owner": subject.owner,
        }
        if all(said.get(name) == value for name, value in known.items()) and (
            _same_set(said.get("groups"), subject.groups) and _same_set(said.get("roles"), subject.roles)
        ):
            return
    yield "the principal that policies saw is not who is registered"


def _caller(body: Decision, shown: Shown) -> Iterator[str]:
    caller = body.context.get("caller")
    if isinstance(caller, dict):
        expected = {"id": body.pep, "isSubject": body.pep == body.subject, "registered": body.enforcement != ""}
        for name, value in expected.items():
            if caller.get(name, value) != value or type(caller.get(name, value)) is not type(value):
                yield f"`caller.{name}` is not that of the one who asked"
    server = body.action.partition("/")[0]
    standing = [each for each in shown.callers if "pep" in each.roles and server in each.servers]
    if body.enforcement == "pep" and shown.callers and not standing:
        yield f"`{body.pep}` is no enforcement point that is registered for `{server[:64]}`"


def _session(said: Any, history: History) -> Iterator[str]:
    if not isinstance(said, dict):
        return
    if said.get("calls", history.calls) != history.calls:
        yield f"the session is recorded with {said['calls']} calls, and it had {history.calls}"
    if said.get("untrusted", history.untrusted) is not history.untrusted:
        yield "whether the session had read what can't be trusted is not what its permits say"
    for name, values in (("labels", history.labels), ("destinations", history.destinations)):
        if name in said and not _same_set(said[name], values):
            yield f"the {name} of the session are not those that its permits added"


# --- tasks ----------------------------------------------------------------------------------------------------------


def _tasks(body: Decision, shown: Shown) -> Iterator[str]:
    facts = body.context.get("task", _ABSENT)
    levels = [facts, *body.above] if facts is not _ABSENT else list(body.above)
    if facts is not _ABSENT and len(levels) != len(shown.chain):
        yield f"it is decided for {len(levels)} tasks, and its task has {len(shown.chain) - 1} above it"
        return
    for task, said in zip(shown.chain, levels, strict=False):
        if not isinstance(said, dict):
            yield f"there are no facts of the task `{task.id}`"
            continue
        for problem in (*_task(task, said, shown), *_params(task, said.get("params"))):
            yield f"`{task.id}`: {problem}"
        intent = shown.configured.intents.get(task.intent) if shown.configured else None
        if shown.configured is not None and intent is not None:
            action = shown.configured.actions.get(body.action)
            if action is not None:
                yield from _usage(intent, action, said.get("usage"), body, shown)
            yield from _done(intent, said, shown)


def _task(task: Task, said: Mapping[str, Any], shown: Shown) -> Iterator[str]:
    behalf = {"__entity": {"id": task.on_behalf_of, "type": "Remit::Person"}}
    always = {
        "ageSeconds": max(0, shown.at - task.created) // 1000,
        "depth": task.id.count("."),
        "emergency": task.emergency,
        "id": task.id,
        "intent": task.intent,
        "root": task.id.partition(".")[0],
        "starter": task.starter,
    }
    for name, value in always.items():
        if said.get(name, value) != value:
            yield f"`task.{name}` is not what its records say"
    # Policies may test whether there is one.
    sometimes = {"caseType": task.case_type or None, "onBehalfOf": behalf if task.on_behalf_of else None}
    for name, value in sometimes.items():
        if said.get(name) != value and not is_hidden(task.on_behalf_of):
            yield f"`task.{name}` is not what its records say"


def _params(task: Task, said: Any) -> Iterator[str]:
    if not isinstance(said, dict):
        return
    for name, value in task.params.items():
        if name not in said:
            # One whose opening was erased is missing, and satisfies nothing.
            if not is_hidden(value):
                yield f"the parameter `{name[:64]}` is missing"
        elif not is_hidden(value) and not is_hidden(said[name]) and not _same_param(said[name], value):
            yield f"the parameter `{name[:64]}` is not the one that the task was started with"
    if more := said.keys() - task.params.keys():
        yield f"the task was started without a parameter `{min(more)[:64]}`"


def _same_param(said: Any, started: Any) -> bool:
    if type(said) is type(started):
        return bool(said == started)
    number = _number(said)
    return number is not None and number == scaled(started)


def _usage(intent: Intent, action: Action, said: Any, body: Decision, shown: Shown) -> Iterator[str]:
    if not isinstance(said, dict):
        return
    limits = {f"{intent.name}/{limit.name}": limit for limit in intent.limits if limit.counts(action)}
    if said.keys() != limits.keys():
        yield f"what is said to be spent is not of the limits of `{intent.name}` that count `{action.name}`"
        return
    for name, limit in limits.items():
        entry = said[name]
        if not isinstance(entry, dict):
            yield f"there is no saying what was spent of the limit `{name}`"
            continue
        calls = shown.spent.get(name, 0) // UNIT
        if entry.get("calls") != calls:
            yield f"{entry.get('calls')} calls are said to be spent of the limit `{name}`, and {calls} were"
        amount = _amount(body.context, limit.sum) if limit.sum else None
        if amount is HIDDEN:
            continue
        total = shown.spent.get(f"{name}#sum", 0) + amount if isinstance(amount, int) else None
        expected = total if total is not None and abs(total) <= _LARGEST else None
        found = entry.get("total")
        if (
            scaled(found["__extn"]["arg"]) if scalar(found) is not None and isinstance(found, dict) else None
        ) != expected:
            yield f"the sum that is said to be spent of the limit `{name}` is not what its permits spent"


def _amount(context: Mapping[str, Any], path: str) -> Any:
    """The argument at `input.<path>`, scaled; None where it is no number, `HIDDEN` where it is concealed."""
    value: Any = context
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
        if is_hidden(value):
            return HIDDEN
    return _number(value)


def _number(value: Any) -> int | None:
    """An integer or a decimal of a context, in units of 10^-9."""
    if isinstance(value, int):
        return None if isinstance(value, bool) else scaled(value)
    extension = value.get("__extn") if isinstance(value, dict) and len(value) == 1 else None
    return scaled(extension.get("arg")) if isinstance(extension, dict) and extension.get("fn") == "decimal" else None


def _done(intent: Intent, said: Mapping[str, Any], shown: Shown) -> Iterator[str]:
    done, params = said.get("done"), said.get("params")
    if not isinstance(done, dict) or not isinstance(params, dict):
        return
    for step in intent.order:
        name = f"{intent.name}/{step.name}"
        wanted = tuple(_wanted(expression, params) for expression in step.where.values())
        found = shown.history.latest(step, wanted) if None not in wanted else None
        if found is HIDDEN:
            continue
        if isinstance(found, Completed) and step.within and shown.at - found.at > step.within * 1000:
            found = None
        if (found is None) != (name not in done):
            yield f"the step `{name}` is said to be {'open' if found else 'done'}, and the session shows otherwise"
        elif isinstance(found, Completed) and not _same_fields(done[name], found.selected):
            yield f"the result of the step `{name}` is not the one that was reported"
    if more := done.keys() - {f"{intent.name}/{step.name}" for step in intent.order}:
        yield f"a step `{min(more)[:128]}` is said to be done, which `{intent.name}` does not have"


def _wanted(expression: str, params: Mapping[str, Any]) -> Any:
    if expression.startswith("params."):
        value = params.get(expression.removeprefix("params."))
        return HIDDEN if is_hidden(value) else scalar(value)
    if expression.startswith("'") and expression.endswith("'"):
        return ("string", expression[1:-1])
    return None


def _same_fields(said: Any, selected: Mapping[str, Any]) -> bool:
    if not isinstance(said, dict):
        return False
    if said == selected:
        return True
    for path, value in selected.items():
        if is_hidden(value) or is_hidden(said.get(path)):
            continue
        if scalar(said.get(path)) != scalar(value):
            return False
    return said.keys() <= selected.keys()


# --- values ---------------------------------------------------------------------------------------------------------


def _same_set(said: Any, values: Collection[str]) -> bool:
    if len(values) <= 1:
        return isinstance(said, list) and said == [*values]
    return isinstance(said, list) and all(isinstance(each, str) for each in said) and set(said) == set(values)


@lru_cache(maxsize=64)
def _time(at: int) -> dict[str, Any]:
    try:
        text = datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
    except (ValueError, OverflowError, OSError):
        text = ""
    return {"__extn": {"arg": text, "fn": "datetime"}}
