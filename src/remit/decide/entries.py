"""Entries of the stream: what decisions, tasks and outcomes leave behind (docs/design/records.md), and back."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from remit.core import canonical
from remit.core.decisions import Ask, Decision, Obligation, PolicyRef, Reason
from remit.core.identities import Registration
from remit.core.intents import Intent
from remit.core.tasks import Forgetting, RiskSignal, TaskState
from remit.decide import folding, requests
from remit.decide.case import Case
from remit.decide.configuration import Configuration
from remit.decide.histories import Told, event_body
from remit.decide.sequence import Entry, Opening
from remit.decide.session import Task
from remit.decide.world import identity_stream, session_stream, workload_stream
from remit.ledger.commitments import conceal, reveal
from remit.policy.dogwood.temporal import Scope

# The path under which the request digest of a decision with personal arguments is kept.
DIGEST: Final = "/digest"


def idempotency(ask: Ask) -> str:
    """The name under which a key's decision is kept: per caller, and not the key itself."""
    return hashlib.sha256(f"{ask.caller.id}\n{ask.idempotency_key}".encode()).hexdigest()


def decision(configuration: Configuration, case: Case, made: Decision, deadline: int) -> Entry:
    """The entry of a decision: what was asked, the facts that it used, what decided it, and what it spends."""
    ask, action = case.ask, case.action
    permit = made.effect == "permit" and action is not None
    body: dict[str, Any] = {
        "action": bounded(ask.action),
        "config": configuration.digest,
        "context": case.contexts[0] if case.contexts else {},
        "deadline": deadline,
        "digest": case.digest,
        "effect": made.effect,
        "enforcement": case.enforcement,
        "expires": made.expires,
        "id": made.id,
        "idempotencyKey": idempotency(ask) if ask.idempotency_key else "",
        "mattered": list(case.mattered),
        "micros": int((time.perf_counter() - case.asked) * 1e6) if case.asked else 0,
        "mode": made.mode,
        "obligations": [obligation_body(each) for each in made.obligations],
        "pep": ask.caller.id,
        "principal": principal(case.subject) if case.subject is not None else {},
        "reason": reason_body(made.reason),
        "request": bounded(ask.request_id),
        "serverEffect": action.effect if action is not None else "",
        "subject": bounded(ask.subject),
        "task": made.task,
        "usage": case.usage if permit else {},
        "would": made.would,
    }
    if ask.trace:
        body["trace"] = ask.trace
    if made.request is not None:
        body["requestable"] = requests.body_of(made.request)
    if len(case.contexts) > 1:
        # The tasks above share every fact but their own, and what clauses say under their intents.
        body["above"] = [context["task"] for context in case.contexts[1:]]
        clauses = [context.get("temporal", {}) for context in case.contexts]
        if any(clauses):
            body["aboveTemporal"] = clauses[1:]
    if permit and action is not None:
        body["adds"] = {
            "destination": case.destination.host if case.destination else "",
            "labels": list(action.labels),
            "untrusted": not action.trusted,
        }
        if case.destination is not None and not action.destination.startswith("input."):
            body["adds"]["fixed"] = True
    recorded, openings = _conceal_facts(body, configuration, case)
    if recorded is body:
        entry = Entry(case.stream, "decision", body, made.id)
    else:
        kept = _kept(recorded, openings)
        entry = Entry(case.stream, "decision", kept, made.id, recorded, tuple(openings), behind(case.tasks))
    # SECURITY: personal arguments could be found by trying them against the digest, also where none is recorded.
    return _with_salted_digest(entry, behind(case.tasks)) if openings or _may_be_personal(configuration, ask) else entry


def denial_key(case: Case, made: Decision) -> tuple[str, ...]:
    """What makes two denials identical; as `folding.denial_key` says of a record's body."""
    ask = case.ask
    named = (bounded(ask.subject), ask.caller.id, bounded(ask.action), case.digest)
    return folding.key_of(made.task, *named, made.reason.code, made.reason.message)


def bounded(text: str) -> str:
    """A name that a caller gave, as it may stand in a record: at most 512 bytes of it."""
    return text if len(text) <= 128 else text.encode()[:512].decode(errors="ignore")


def as_decision(
    body: Mapping[str, Any], refs: Mapping[str, PolicyRef], now: int, ask: Ask, repeated: int = 0
) -> Decision:
    """The decision that a record's body describes, answered again at `now`: a permit is no fresher for it.

    `ask` is the question that it answers again. `refs` are the loaded policies by id; one that is loaded no more is
    named without its place.
    """
    reason = body["reason"]
    request = requests.from_body(body["requestable"], ask) if "requestable" in body else None
    return Decision(
        id=body["id"],
        effect=body["effect"],
        reason=Reason(
            code=reason["code"],
            message=reason["message"],
            next_step=reason.get("nextStep", ""),
            policies=tuple(refs.get(name) or PolicyRef(id=name) for name in reason["policies"]),
        ),
        action=body["action"],
        digest=body["digest"],
        task=body["task"],
        at=now,
        expires=body["expires"],
        obligations=tuple(msgspec.convert(each, Obligation) for each in body.get("obligations", ())),
        mode=body["mode"],
        would=body.get("would", ""),
        repeated=repeated,
        requestable=request is not None,
        request=request,
    )


def obligation_body(obligation: Obligation) -> dict[str, Any]:
    """An obligation as records keep it: what it does not use is left out, but for its fields."""
    body: dict[str, Any] = {"fields": list(obligation.fields), "id": obligation.id}
    if obligation.items:
        body["items"] = dict(obligation.items)
    if obligation.bytes:
        body["bytes"] = obligation.bytes
    if obligation.to:
        body["to"] = obligation.to
    return body


def reason_body(reason: Reason) -> dict[str, Any]:
    """A reason as records keep it."""
    return {
        "code": reason.code,
        "message": reason.message,
        "nextStep": reason.next_step,
        "policies": [policy.id for policy in reason.policies],
    }


def principal(registration: Registration) -> dict[str, Any]:
    """The subject as policies saw it."""
    return {
        "environment": registration.environment,
        "groups": list(registration.groups),
        "id": registration.id,
        "kind": registration.kind,
        "owner": registration.owner,
        "roles": list(registration.roles),
    }


def behind(tasks: Sequence[Task]) -> str:
    """Whom personal values of a task are about: the person that the root of these tasks works for, else its starter."""
    return (tasks[-1].on_behalf_of or tasks[-1].starter) if tasks else ""


def task_open(body: dict[str, Any], personal: tuple[str, ...], subject: str) -> Entry:
    """The entry that opens a task; `personal` are the paths of values that the record only commits to."""
    return _concealed(session_stream(body["task"]), "task", body, body["task"], personal, subject)


def task_change(task: str, root: str, state: TaskState, by: str, reason: str, decision: str = "") -> Entry:
    """The entry that moves a task to another state; `decision` is the denial that it follows from, if it does."""
    body = {"by": by, "reason": reason, "root": root, "state": state, "task": task}
    if decision:
        body["decision"] = decision
    return Entry(session_stream(task), "task", body)


def outcome(stream: str, body: dict[str, Any], recorded_digest: str, personal: tuple[str, ...], subject: str) -> Entry:
    """The entry of an outcome; it quotes the digest as the permit's record has it."""
    return _concealed(stream, "outcome", body | {"digest": recorded_digest}, "", personal, subject)


def event(configuration: Configuration, kind: str, told: Told, scope: Scope, tasks: Sequence[Task]) -> Entry:
    """The entry of what a workload did, in its own stream: for policies over all its tasks."""
    action = configuration.catalogue.actions.get(told.action)
    personal = action.personal if action is not None else ()
    body = event_body(kind, told, scope)
    return _concealed(workload_stream(told.subject), "event", body, "", personal, behind(tasks))


def events(
    configuration: Configuration,
    workload: str,
    clauses: str,
    several: list[dict[str, Any]],
    subject: str,
    *,
    is_first: bool,
) -> Entry:
    """The entry of what a workload did before policies asked; the first one is in place of all before it.

    `subject` is whom personal values in all of these events are about.
    """
    catalogue = configuration.catalogue.actions
    personal = {
        f"events.{path}"
        for event in several
        if (action := catalogue.get(event["action"])) is not None
        for path in action.personal
    }
    body = {"clauses": clauses, "events": several, "first": is_first}
    return _concealed(workload_stream(workload), "events", body, "", tuple(sorted(personal)), subject)


def registration(changed: Registration, by: str, reason: str, signal: str = "") -> Entry:
    """The entry of a registration or of its change; `signal` is the risk signal that it follows from, if it does."""
    body = {"by": by, "reason": reason, "registration": msgspec.to_builtins(changed)}
    if signal:
        body["signal"] = signal
    return Entry(identity_stream(changed.id), "identity", body)


def exchange(spiffe_id: str, body: dict[str, Any], *, personal: bool) -> Entry:
    """The entry of an outside token's exchange; what its issuer calls a person is personal."""
    return _concealed(identity_stream(spiffe_id), "exchange", body, "", ("subject",) if personal else ())


def risk(signal: RiskSignal, by: str, decision: str = "", items: tuple[str, ...] = ()) -> Entry:
    """The entry of a risk signal; `decision` is what raised it and `items` what it counts, where Remit raised it."""
    body = msgspec.to_builtins(signal) | {"by": by}
    if decision:
        body["decision"] = decision
    if items:
        body["items"] = list(items)
    return Entry(identity_stream(signal.id), "risk", body)


def forgotten(wanted: Forgetting, by: str) -> Entry:
    """The entry of habits that are forgotten."""
    return Entry(identity_stream(wanted.id), "forgotten", msgspec.to_builtins(wanted) | {"by": by})


def repeated(stream: str, decision_id: str, count: int) -> Entry:
    """The entry that counts identical denials."""
    return Entry(stream, "denials", {"count": count, "decision": decision_id})


def _conceal_facts(
    body: dict[str, Any], configuration: Configuration, case: Case
) -> tuple[dict[str, Any], list[Opening]]:
    """What callers and starters supplied, as a record may hold it; every other fact is Remit's own and short."""
    if not case.contexts:
        return body, []
    openings: list[Opening] = []
    personal = case.action.personal if case.action is not None else ()
    paths = tuple(path.removeprefix("input.") for path in personal if path.startswith("input."))
    context = case.contexts[0]
    arguments, opened = conceal(context["input"], paths, _salt, "/context/input")
    openings += opened
    tasks = []
    for number, (task, each) in enumerate(zip(case.tasks, case.contexts, strict=True)):
        intent, facts = configuration.intents[task.intent], each["task"]
        at = "/context/task" if number == 0 else f"/above/{number - 1}"
        names = tuple(name for name, parameter in intent.params.items() if parameter.personal)
        params, done = facts["params"], facts["done"]
        if params:
            params, opened = conceal(params, names, _salt, at + "/params")
            openings += opened
        if done:
            # SECURITY: a result field that was concealed in its outcome comes back here as a fact.
            done, opened = conceal(done, _personal_steps(configuration, intent), _salt, at + "/done")
            openings += opened
        unchanged = params is facts["params"] and done is facts["done"]
        tasks.append(facts if unchanged else {**facts, "done": done, "params": params})
    if arguments is context["input"] and all(
        task is each["task"] for task, each in zip(tasks, case.contexts, strict=True)
    ):
        return body, []
    recorded = {**body, "context": {**context, "input": arguments, "task": tasks[0]}}
    if "above" in body:
        recorded["above"] = tasks[1:]
    return recorded, openings


def _personal_steps(configuration: Configuration, intent: Intent) -> tuple[str, ...]:
    """The paths in `task.done` of personal result fields."""
    return tuple(
        f"{intent.name}/{step.name}.{path.removeprefix('output.')}"
        for step in intent.order
        if (done := configuration.catalogue.actions.get(step.done)) is not None
        for path in done.personal
        if path.startswith("output.")
    )


def _may_be_personal(configuration: Configuration, ask: Ask) -> bool:
    """Whether the arguments may hold personal values; those of an unknown action may."""
    action = configuration.catalogue.actions.get(ask.action)
    return action is None or any(path.startswith("input.") for path in action.personal)


def _concealed(
    stream: str, kind: str, body: dict[str, Any], key: str, personal: tuple[str, ...], subject: str = ""
) -> Entry:
    recorded, openings = conceal(body, personal, _salt)
    if recorded is body:
        return Entry(stream, kind, body, key)
    return Entry(stream, kind, _kept(recorded, openings), key, recorded, tuple(openings), subject)


def _kept(recorded: dict[str, Any], openings: list[Opening]) -> dict[str, Any]:
    """State is a function of the record and its openings, so that a replay arrives at the same state."""
    return reveal(recorded, [(path, value) for path, _, value in openings])


def _salt() -> bytes:
    return secrets.token_bytes(16)


def _with_salted_digest(entry: Entry, subject: str) -> Entry:
    """Personal arguments could be found by trying them against an unsalted request digest."""
    salt = secrets.token_bytes(16)
    digest = entry.body["digest"]
    salted = canonical.commitment(salt, digest)
    return Entry(
        entry.stream,
        entry.kind,
        entry.body | {"recordedDigest": salted},
        entry.key,
        {**(entry.body if entry.recorded is None else entry.recorded), "digest": salted},
        (*entry.openings, (DIGEST, salt, digest)),
        subject,
    )
