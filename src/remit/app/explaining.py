"""Why a decision was made: each policy that could matter, each clause with its value, each fact with source and age.

A recorded decision is explained from its record, with the policies that decided then: their texts are kept. A question
put now is judged by the folder's files on the state that the records give; no service is asked, and nothing is recorded
or consumed. A trace never decides: what follows from it is compared with what was decided, and a difference is told.

Temporal clauses are traced on the recorded events, by the interpreter that keeps every event
(`remit.policy.dogwood.interpreter`), where the configuration that decided is the one in the folder.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, Final, NamedTuple, cast

import msgspec

from remit.app.explained_facts import Sources, facts_of
from remit.app.folder import Folder
from remit.app.project import load_project
from remit.app.reevaluating import ENGINE
from remit.app.ruling import Ruling, ruling_of
from remit.console.detail import configuration_of, policies_of, revealed
from remit.console.explanation import Event, Explained, Explanation, Level, Temporal
from remit.core import canonical
from remit.core.clock import Clock, system_clock
from remit.core.decisions import OBSERVED, PERMITTED, Ask, Decision, Reason, TaskHandle
from remit.core.errors import InvalidInput, NotFound, RemitError
from remit.core.evaluations import Asked
from remit.core.identities import Identity
from remit.core.obligations import KNOWN
from remit.decide import entries
from remit.decide.case import Case
from remit.decide.configuration import Configuration
from remit.decide.histories import WORKLOAD, History, Told, Unknowable
from remit.decide.pipeline import Pipeline
from remit.decide.sequence import Sequencer
from remit.decide.world import LIFE_KINDS, Replayed, World, session_stream, workload_stream
from remit.ledger.concealed import known
from remit.ledger.configured import Configured, read_configured
from remit.policy.compiled.values import Entity, Failed, Unsupported
from remit.policy.dogwood.ast import (
    And,
    Argument,
    Comparison,
    Condition,
    Constant,
    ContextTerm,
    Exists,
    Formerly,
    Leaf,
    Not,
    Path,
    Predicate,
    Previous,
    ScopeTerm,
    Since,
    Var,
)
from remit.policy.dogwood.history import Event as Happened
from remit.policy.dogwood.history import Request as Asking
from remit.policy.dogwood.interpreter import Interpreter
from remit.policy.dogwood.printing import show
from remit.policy.dogwood.temporal import Scope
from remit.policy.dogwood.witnesses import REQUEST_ID, Compared, Part, Witness
from remit.policy.sources import Policy
from remit.policy.traced import Trace, shown, verdict
from remit.storage.reader import Reader, Stored
from remit.storage.reveal import reveal

_FOREVER: Final = 2**53
_EVENTS: Final = 100_000  # that an explanation of a temporal clause looks at
_WORK: Final = 5_000_000
_BY_POLICIES: Final = frozenset({"no_policy_permits", "policy_error", PERMITTED, OBSERVED})
_OTHER_FILES: Final = (
    "it was decided by another configuration than the one in the folder: of temporal clauses only the values are told"
)


class Looked(NamedTuple):
    """What is asked for one task: the context, and who it names."""

    context: Mapping[str, Any]
    related: Sequence[Mapping[str, Any]]
    temporal: Mapping[str, Temporal]


# --- a recorded decision ------------------------------------------------------------------------------------------


def explain_recorded(folder: Folder, reader: Reader, stored: Stored) -> Explanation:
    """Why a recorded decision was made; `NotFound` where what decided it is not kept."""
    record = stored.record
    if record.kind != "decision":
        raise InvalidInput("not_a_decision", "this is the id of a task", "give the id of a decision: `remit log`")
    body = revealed(reader, stored, record)
    context = body.get("context", {})
    found = Explanation(
        kind="recorded",
        id=body["id"],
        action=body["action"],
        effect="permit" if (body.get("would") or body["effect"]) == "permit" else "deny",
        reason=body["reason"]["code"],
        message=body["reason"]["message"],
        policies=tuple(body["reason"]["policies"]),
        at=record.t,
        workload=body["subject"],
        config=body["config"],
    )
    if not context or "/" not in body["action"]:
        return msgspec.structs.replace(found, note="no policy was asked: it was decided before its facts were known")
    configured, policies = _recorded_policies(reader, body["config"])
    ruling = Ruling(policies, configured.groups, configured.purposes)
    configuration = _same(folder, body["config"]) if context.get("temporal") else None
    events = _Recorded(reader, stored, body, configuration) if configuration is not None else None
    looked = []
    for task in (context.get("task", {}), *body.get("above", [])):
        each = {**context, "task": task}
        parts = events.parts(each) if events is not None else {}
        looked.append(Looked(each, _persons(reader, task, record.t), parts))
    steps = {f"{intent.name}/{step.name}": step.done for intent in configured.intents.values() for step in intent.order}
    sources = Sources(reader, body["subject"], str(body.get("task", "")), record.t, stored.seq, steps)
    levels = _levels(ruling, body["principal"], body["action"], looked, sources)
    note = _OTHER_FILES if context.get("temporal") and configuration is None else ""
    found = msgspec.structs.replace(found, levels=tuple(levels), note=note)
    disagrees = _otherwise(found) or _engine_otherwise(record.body, configured, looked, levels)
    return msgspec.structs.replace(found, disagrees=disagrees)


def _recorded_policies(reader: Reader, config: str) -> tuple[Configured, list[Policy]]:
    parts = configuration_of(reader, config)
    try:
        configured = read_configured(parts, lambda digest: _text(reader, digest))
    except RemitError as error:
        raise NotFound("policies_not_kept", f"what decided it can't be read: {error.message}") from None
    return configured, list(policies_of(reader, str(parts.get("policies", ""))))


def _text(reader: Reader, digest: str) -> bytes:
    text = reader.text(digest)
    if text is None:
        raise NotFound("text_missing", f"the text `{digest[:16]}…` is not kept")
    return text.encode()


def _same(folder: Folder, config: str) -> Configuration | None:
    """The folder's configuration, if it is the one that decided."""
    try:
        _, configuration = load_project(folder)
    except RemitError:
        return None
    return configuration if configuration.digest == config else None


def _persons(reader: Reader, task: Mapping[str, Any], at: int) -> list[dict[str, Any]]:
    """Whom the task acts for, as they were registered then."""
    entity = task.get("onBehalfOf")
    named = entity.get("__entity", {}).get("id") if isinstance(entity, dict) else None
    found: dict[str, Any] | None = None
    for stored in reader.stream(f"identity/{named}") if isinstance(named, str) else ():
        record = stored.record
        if record.kind == "identity" and record.t <= at:
            found = record.body["registration"]
    keys = ("environment", "groups", "id", "kind", "owner", "roles")
    return [{key: found.get(key, () if key in ("groups", "roles") else "") for key in keys}] if found else []


# --- a question put now -------------------------------------------------------------------------------------------


def explain_now(
    folder: Folder,
    reader: Reader,
    task_id: str,
    action: str,
    arguments: dict[str, Any],
    point: str,
    clock: Clock = system_clock,
) -> Explanation:
    """Why an action would be permitted or denied now under a task, by the folder's files; `point` is who would ask."""
    _, configuration = load_project(folder)
    world = world_of(reader, configuration)
    session = world.session(task_id)
    task = session.tasks.get(task_id) if session is not None else None
    if session is None or task is None:
        raise NotFound("task_unknown", f"there is no task `{task_id[:64]}`", "`remit log` shows them")
    ask = Ask(
        caller=Identity(id=point, key=task.key, expires=_FOREVER),
        subject=task.workload,
        proof=Identity(id=task.workload, key=task.key, expires=_FOREVER),
        task=TaskHandle(task=task.id, workload=task.workload, key=task.key, expires=_FOREVER),
        action=action,
        input=arguments,
        supports=KNOWN,
    )
    now = clock()
    judging = _Judging(configuration, cast(Sequencer, None), world.glance)
    case, reason = asyncio.run(judging.judged(ask, world, now))
    found = Explanation(
        kind="now",
        action=action,
        effect="permit" if reason.code == PERMITTED else "deny",
        reason=reason.code,
        message=reason.message,
        policies=tuple(ref.id for ref in reason.policies),
        at=now,
        workload=task.workload,
        config=configuration.digest,
    )
    if not case.contexts or case.subject is None:
        return msgspec.structs.replace(found, note="no policy was asked: it is decided before its facts are known")
    told = Told(action, task.workload, "", task.id, case.arguments)
    attributes = entries.principal(case.subject)
    events = _Events(configuration, told, _records(reader, session_stream(task.id)), now, attributes)
    events.over_all(_records(reader, workload_stream(task.workload)))
    looked = []
    for each, context in zip(case.tasks, case.contexts, strict=True):
        behalf = world.registration(each.on_behalf_of) if each.on_behalf_of else None
        related = [entries.principal(behalf)] if behalf is not None else []
        looked.append(Looked(context, related, events.parts(context)))
    sources = Sources(reader, task.workload, task.id, now, None, _steps(configuration))
    principal = entries.principal(case.subject)
    levels = _levels(ruling_of(configuration), principal, action, looked, sources)
    found = msgspec.structs.replace(found, levels=tuple(levels))
    return msgspec.structs.replace(found, disagrees=_otherwise(found))


def explain_supposed(
    folder: Folder, decision: Decision, detail: Mapping[str, Any], clock: Clock = system_clock
) -> Explanation:
    """The same for the first action of a task that is only supposed; `detail` tells its decision (`app.hypothesis`)."""
    _, configuration = load_project(folder)
    reason = decision.reason
    found = Explanation(
        kind="hypothetical",
        action=decision.action,
        effect="permit" if (decision.would or decision.effect) == "permit" else "deny",
        reason=reason.code,
        message=reason.message,
        policies=tuple(ref.id for ref in reason.policies),
        at=detail.get("at", clock()),
        workload=detail.get("who", {}).get("workload", ""),
        config=configuration.digest,
    )
    context = detail.get("context", {})
    if not context:
        return msgspec.structs.replace(found, note="no policy was asked: it is decided before its facts are known")
    principal = detail["who"]["principal"]
    told = Told(decision.action, found.workload, "", decision.task, context.get("input", {}))
    events = _Events(configuration, told, (), found.at)
    events.over_all(())
    sources = Sources(None, found.workload, "", found.at, None, _steps(configuration))
    levels = _levels(
        ruling_of(configuration), principal, decision.action, [Looked(context, (), events.parts(context))], sources
    )
    found = msgspec.structs.replace(found, levels=tuple(levels))
    return msgspec.structs.replace(found, disagrees=_otherwise(found))


def world_of(reader: Reader, configuration: Configuration) -> World:
    """The state that the records give, to look at: identities at once, sessions when they are asked for."""

    def find(key: str) -> str | None:
        stored = reader.find(key)
        return stored.stream if stored is not None else None

    world = World(lambda stream: list(_records(reader, stream)), find)
    world.watch(configuration.policies.temporal)
    for stored in reader.records(kinds=LIFE_KINDS):
        record = stored.record
        if record.stream.startswith("identity/"):
            world.apply(record.stream, record.kind, record.body, record.t)
    return world


class _Judging(Pipeline):
    """The pipeline's steps, without a record. Modes are left aside: what policies say is explained."""

    async def judged(self, ask: Ask, world: World, now: int) -> tuple[Case, Reason]:
        """The case with its facts, and the reason."""
        given = await self._provide(ask)
        digest = canonical.request_digest(ask.action, ask.input)
        case = Case(ask, now, digest, provided=given.values, unprovided=given.failed)
        reason = self.judge(case, world, resume=False)
        if isinstance(reason, Decision):
            raise TypeError(reason)
        return case, reason

    def _mode(self, case: Case, reason: Reason) -> Reason:
        return reason


def _steps(configuration: Configuration) -> dict[str, str]:
    return {f"{name}/{step.name}": step.done for name, intent in configuration.intents.items() for step in intent.order}


def _records(reader: Reader, stream: str, *, before: Callable[[Stored], bool] = lambda _: True) -> Iterator[Replayed]:
    """The records of a stream as state takes them."""
    for stored in reader.stream(stream):
        if not before(stored):
            return
        record = stored.record
        kept = [(path, value) for path, _, value in reader.openings(stored.stream, stored.n)]
        yield record.kind, reveal(record.body, kept), record.t


# --- tracing ------------------------------------------------------------------------------------------------------


def _levels(
    ruling: Ruling, principal: Mapping[str, Any], action: str, looked: Sequence[Looked], sources: Sources
) -> list[Level]:
    return list(_each_level(ruling, principal, action, looked, sources))


def _each_level(
    ruling: Ruling, principal: Mapping[str, Any], action: str, looked: Sequence[Looked], sources: Sources
) -> Iterator[Level]:
    for each in looked:
        task = each.context.get("task", {})
        request = ruling.request(principal, action, ("Server", action.partition("/")[0]), each.context, each.related)
        traced = ruling.traces(request)
        told = [(policy, trace) for policy, trace in traced if _could_matter(policy, trace, task.get("intent"))]
        told.sort(key=lambda pair: _ORDER[pair[1].status] if pair[1].effect == "forbid" else 4 + _ORDER[pair[1].status])
        yield Level(
            task=str(task.get("id", "")),
            intent=str(task.get("intent", "")),
            policies=tuple(_explained(policy, trace, each.temporal) for policy, trace in told),
            elsewhere=len(traced) - len(told),
            facts=tuple(facts_of([trace for _, trace in told], sources)),
            verdict=verdict(trace for _, trace in traced),
        )


_ORDER: Final = {"failed": 0, "matched": 1, "unknown": 2, "not matched": 3}


def _could_matter(policy: Policy, trace: Trace, intent: Any) -> bool:
    """Whether it is about this principal, this resource and this intent."""
    if not all(clause.is_true for clause in trace.scope):
        return False
    return policy.scope.intent is None or policy.scope.intent == intent


def _explained(policy: Policy, trace: Trace, temporal: Mapping[str, Temporal]) -> Explained:
    return Explained(
        id=policy.id,
        path=policy.ref.path,
        line=policy.ref.line,
        trace=trace,
        temporal={leaf.name: temporal[leaf.name] for leaf in policy.leaves if leaf.name in temporal},
    )


# --- what was decided, against the trace --------------------------------------------------------------------------


def _otherwise(found: Explanation) -> str:
    """SECURITY: where the trace is not what was decided, one of them is wrong; "" where they agree."""
    verdicts = [level.verdict for level in found.levels]
    if found.reason not in _BY_POLICIES and not found.policies:
        return ""
    if None in verdicts:
        return ""
    effect = "permit" if all(verdicts) else "deny"
    if effect != found.effect:
        return f"the trace says {effect}, and {found.effect} was decided"
    if effect == "permit" or found.reason == "policy_error":
        return ""
    refusing = next(level for level in found.levels if not level.verdict)
    matched = {
        each.id for each in refusing.policies if each.trace.status == "matched" and each.trace.effect == "forbid"
    }
    if found.reason not in _BY_POLICIES and matched != set(found.policies):
        return f"the trace says that {_listed(matched)} refuse, and {_listed(found.policies)} were named"
    return ""


def _engine_otherwise(
    body: Mapping[str, Any], configured: Configured, looked: Sequence[Looked], levels: Sequence[Level]
) -> str:
    """The same, compared with the reference engine on the recorded texts."""
    try:
        policies = ENGINE.policies(configured.sources, configured.groups, configured.purposes)
    except RemitError as error:
        return f"the reference engine can't read what was recorded: {error.message}"
    tasks = [body["context"].get("task", {}), *body.get("above", [])]
    for task, each, level in zip(tasks, looked, levels, strict=True):
        context, concealed = _known({**body["context"], "task": task})
        related = each.related[0] if each.related else None
        resource = ("Server", body["action"].partition("/")[0])
        [said] = policies.evaluate([Asked(body["principal"], body["action"], resource, context, concealed, related)])
        if said.unknown or concealed or level.verdict is None:
            continue
        if said.permitted != level.verdict:
            return f"the reference engine says {'permit' if said.permitted else 'deny'}, and the trace the opposite"
    return ""


def _known(facts: Mapping[str, Any]) -> tuple[dict[str, Any], frozenset[Path]]:
    context: dict[str, Any] = {}
    hidden: set[Path] = set()
    for name, value in facts.items():
        context[name], below = known(value, (name,))
        hidden |= below
    return context, frozenset(hidden)


def _listed(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "no policies"


# --- temporal clauses ---------------------------------------------------------------------------------------------


class _Explainer(Interpreter):
    """A monitor that keeps every event, and why each clause that it evaluated last holds or does not."""

    def __init__(self, leaves: Sequence[Leaf]) -> None:
        super().__init__(leaves, _EVENTS, _WORK)
        self.parts: dict[str, Part] = {}

    def evaluate(self, request: Asking, event: Happened, names: frozenset[str]) -> dict[str, bool]:
        """As `Monitor.evaluate`."""
        self.parts = {name: self.explain(request, event, name) for name in sorted(names)}
        return {name: part.holds for name, part in self.parts.items()}


class _Explaining:
    """Fulfils `Plan`."""

    digest = ""

    def __init__(self, leaves: Sequence[Leaf]) -> None:
        self._leaves = leaves

    def start(self) -> _Explainer:
        """As `Plan.start`."""
        return _Explainer(self._leaves)

    def restore(self, data: bytes) -> _Explainer:
        """Nothing is dumped of it."""
        raise NotImplementedError


class _Traceable(History):
    """A history that explains."""

    def __init__(self, scope: Scope) -> None:
        leaves = tuple(scope.leaves.values())
        self.explainer = _Explainer(leaves)
        super().__init__(Scope(leaves, _Explaining(leaves), scope.kinds), self.explainer)

    def _event(self, kind: str, told: Told, at: int) -> Happened | None:
        # The decision is named, also where no clause looks at its id.
        event = super()._event(kind, told, at)
        return replace(event, fields={**event.fields, REQUEST_ID: told.decision}) if event is not None else None


class _Events:
    """The histories that clauses are about, up to a request."""

    def __init__(
        self,
        configuration: Configuration,
        told: Told,
        records: Any,
        at: int,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self._temporal = configuration.policies.temporal
        self._told = told
        self._at = at
        self._attributes = attributes or {}
        self._histories: list[_Traceable] = []
        self._take(self._temporal.task, records)

    def over_all(self, records: Any) -> None:
        """Takes what the workload did over all its tasks."""
        self._take(self._temporal.workload, records)

    def parts(self, context: Mapping[str, Any]) -> dict[str, Temporal]:
        """Each clause that was asked, part by part; nothing of those that can't be evaluated any more."""
        found: dict[str, Temporal] = {}
        principal = Entity((WORKLOAD, self._told.subject))
        attributes = {principal: self._attributes}
        for history in self._histories:
            for name in sorted(history.scope.names & context.get("temporal", {}).keys()):
                try:
                    history.evaluate(frozenset((name,)), self._told, principal, context, attributes, self._at)
                except (Unknowable, Failed, Unsupported, LookupError, TypeError):
                    continue
                found[name] = _temporal(history.explainer.parts[name])
        return found

    def _take(self, scope: Scope | None, records: Any) -> None:
        if scope is None:
            return
        history = _Traceable(scope)
        for kind, body, at in records:
            history.take(kind, body, at)
        self._histories.append(history)


class _Recorded(_Events):
    """The same for a recorded decision: what had been recorded before it."""

    def __init__(self, reader: Reader, stored: Stored, body: Mapping[str, Any], configuration: Configuration) -> None:
        state = next(iter(_records_at(reader, stored)))
        told = Told(body["action"], body["subject"], "", body["task"], state["context"].get("input", {}))
        records = _records(reader, stored.stream, before=lambda each: each.n < stored.n)
        super().__init__(configuration, told, records, stored.record.t, body["principal"])
        self.over_all(_records(reader, workload_stream(body["subject"]), before=lambda each: each.seq < stored.seq))
        self._context = state["context"]

    def parts(self, context: Mapping[str, Any]) -> dict[str, Temporal]:
        """As `_Events.parts`, with the context as state has it."""
        return super().parts({**self._context, "task": context.get("task", {})})


def _records_at(reader: Reader, stored: Stored) -> Iterator[dict[str, Any]]:
    kept = [(path, value) for path, _, value in reader.openings(stored.stream, stored.n)]
    yield reveal(stored.record.body, kept)


def _temporal(part: Part) -> Temporal:
    """A part for people: what `&&` joins stands side by side, and events stand at what they are witnesses of."""
    below = tuple(map(_temporal, _joined(part)))
    bound = ", ".join(
        f"{name} = {shown(value)}" for name, value in part.bindings if isinstance(part.condition, Comparison)
    )
    text = _label(part.condition)
    return Temporal(
        text=f"{text}  with {bound}" if bound else text,
        holds=part.holds,
        events=() if below else tuple(map(_event, part.witnesses)),
        values=tuple(_compared(each) for each in part.operands if not isinstance(each.term, Constant | Var)),
        parts=below,
    )


def _joined(part: Part) -> Iterator[Part]:
    for below in part.parts:
        if isinstance(below.condition, And):
            yield from _joined(below)
        else:
            yield below


def _label(condition: Condition) -> str:
    """What is said of a condition whose parts stand below it."""
    match condition:
        case And():
            return "all of"
        case Not():
            return "not"
        case Formerly(window):
            return f"formerly within {window}"
        case Previous(window):
            return f"at the event before, within {window}"
        case Since(_, window, _):
            return f"since, within {window}"
        case Exists(binder):
            return f"exists {binder.name}"
        case Predicate(_, action, kind):
            return f"{action}::{kind}{_arguments(condition)}"
        case _:
            return show(_unpinned(condition))


def _arguments(predicate: Predicate) -> str:
    text = show(_unpinned(predicate))
    return text[text.index("{") :]


def _unpinned(node: Any) -> Any:
    """A condition without what says whose history it is about, which the trace says anyway."""
    if isinstance(node, Predicate):
        return replace(node, arguments=tuple(each for each in node.arguments if not _is_pin(each)))
    if is_dataclass(node) and not isinstance(node, type):
        return replace(node, **{each.name: _unpinned(getattr(node, each.name)) for each in fields(node)})
    return tuple(map(_unpinned, node)) if isinstance(node, tuple) else node


def _is_pin(argument: Argument) -> bool:
    path, value = argument.path, argument.value
    return (path == ("task", "root") and value == ContextTerm(("task", "root"))) or (
        path == ("callerPrincipal",) and value == ScopeTerm("principal")
    )


def _event(witness: Witness) -> Event:
    what = " ".join(witness.signature[1:]) if witness.signature is not None else "another event"
    return Event(at=witness.at, what=what, decision=witness.request or "", is_now=witness.is_decision)


def _compared(compared: Compared) -> str:
    return f"{show(_unpinned(compared.term))} = {shown(compared.value)}"
