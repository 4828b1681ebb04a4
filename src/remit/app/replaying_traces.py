"""A Dogwood trace put to two configurations: which of its requests one refuses, and the other does not.

A trace says what happened and what was asked; it has no tasks, intents or enforcement points. So only the project's own
policies are put to it, and a request is denied where one of them forbids it or fails. Each event belongs to the
history of its `task.root`, and for `policies/workload/` to that of its `callerPrincipal`; a request's own event is in
it after it was decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from remit.app.replaying import Progress, Tally, Wanted
from remit.app.ruling import ruling_of
from remit.console.replay import Change, Replayed, Side
from remit.core.errors import DocumentError, InvalidInput, TooLarge
from remit.decide.configuration import Configuration
from remit.policy.compiled.values import Entity
from remit.policy.dogwood import traces
from remit.policy.dogwood.history import Exceeded, Monitor
from remit.policy.dogwood.mistakes import Mistake
from remit.policy.dogwood.temporal import Scope
from remit.policy.dogwood.traces import Known, Point
from remit.policy.text import position
from remit.policy.traced import Request, trace

_ACTION: Final = "Remit::Action"
_ROOT: Final = ("task", "root")
_PRINCIPAL: Final = ("callerPrincipal",)
_EVERY: Final = 256


def replay_trace(
    file: Path,
    before: Configuration,
    after: Configuration,
    wanted: Wanted,
    progress: Progress = lambda *_: None,
) -> Replayed:
    """What `after` would say otherwise than `before`; a `DocumentError` where the trace can't be read."""
    text = _text(file)
    one, other = _Judging(before), _Judging(after)
    tally = Tally(after.digest)
    lines = text.count("\n") + 1
    try:
        for number, point in enumerate(traces.read(text), 1):
            if number % _EVERY == 0:
                progress("replaying", number, lines)
            if point.request is not None:
                _compare(point, number, one, other, wanted, tally)
            for judging in (one, other):
                judging.take(point)
    except Mistake as mistake:
        line, column = position(text, mistake.at)
        raise DocumentError(str(mistake), path=file, line=line, column=column, next_step=mistake.next_step) from None
    progress("replaying", lines, lines)
    return tally.replayed()


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(traces.MAX_TEXT + 1)
        if len(data) > traces.MAX_TEXT:
            raise TooLarge("trace_too_large", f"`{file}` is over {traces.MAX_TEXT} bytes", "split it by session")
        return data.decode()
    except OSError as error:
        raise InvalidInput(
            "trace_unreadable", f"can't read `{file}`: {(error.strerror or '').lower()}", "name a trace file"
        ) from None
    except UnicodeDecodeError:
        raise InvalidInput("trace_unreadable", f"`{file}` is not UTF-8", "name a trace file") from None


def _compare(point: Point, number: int, one: _Judging, other: _Judging, wanted: Wanted, tally: Tally) -> None:
    event = point.event
    task, workload = str(event.fields.get(_ROOT, "")), point.principal[1] if point.principal else ""
    if not wanted.fits(event.at, task, workload):
        return
    before, after = one.judge(point), other.judge(point)
    tally.compare(
        before,
        after,
        Change(
            category="changed",
            id=str(event.fields.get(("requestId",), f"line {number}")),
            at=event.at,
            stream="",
            n=number,
            action=event.action,
            workload=workload,
            task=task,
            intent="",
            before=before if isinstance(before, Side) else Side(effect="deny", reason="unknown"),
        ),
    )


class _Judging:
    """One configuration with the histories that the trace gives."""

    def __init__(self, configuration: Configuration) -> None:
        policies = configuration.policies
        self._actions = ruling_of(configuration).actions
        self._policies = [policy for policy in policies.policies() if policy.origin == "user"]
        self._scopes = [
            (scope, key)
            for scope, key in ((policies.temporal.task, _ROOT), (policies.temporal.workload, _PRINCIPAL))
            if scope is not None
        ]
        self._histories: dict[tuple[int, Any], Monitor] = {}

    def take(self, point: Point) -> None:
        """Takes an event that happened."""
        for place, (scope, key) in enumerate(self._scopes):
            if key in point.event.fields and scope.watches(point.event.action, point.event.kind):
                self._history(place, scope, point.event.fields[key]).observe(point.event)

    def judge(self, point: Point) -> Side | str:
        """What the project's policies say to a request; a sentence where that can't be said."""
        try:
            temporal = self._clauses(point)
        except Exceeded as error:
            return f"what happened before is more than may be looked at: {error}"
        request = Request(
            principal=point.principal or Entity(("", "")),
            action=Entity((_ACTION, point.event.action)),
            resource=point.resource or Entity(("", "")),
            context={**point.context, "temporal": temporal},
            entities=_Entities(point.entities, self._actions),
        )
        found = [(policy, trace(policy.id, policy.json, request)) for policy in self._policies]
        failed = [policy for policy, traced in found if traced.status == "failed"]
        forbids = [policy for policy, traced in found if traced.status == "matched" and policy.effect == "forbid"]
        if failed:
            return Side(effect="deny", reason="policy_error", policies=tuple(policy.id for policy in failed))
        if forbids:
            reason = forbids[0].annotations.get("reason", "policy_forbids")
            message = forbids[0].annotations.get("message", "")
            return Side(effect="deny", reason=reason, message=message, policies=tuple(each.id for each in forbids))
        return Side(effect="permit", reason="permitted")

    def _clauses(self, point: Point) -> dict[str, bool]:
        values: dict[str, bool] = {}
        request = point.request
        for place, (scope, key) in enumerate(self._scopes):
            if request is not None and key in point.event.fields:
                history = self._history(place, scope, point.event.fields[key])
                values |= history.evaluate(request, point.event, scope.names)
        return values

    def _history(self, place: int, scope: Scope, key: Any) -> Monitor:
        found = self._histories.get((place, key))
        if found is None:
            found = self._histories[place, key] = scope.plan.start()
        return found


class _Entities:
    """The entities of one line, and the actions of the catalogue; fulfils `operators.Entities`."""

    def __init__(self, known: Mapping[Entity, Known], actions: Mapping[str, Iterable[str]]) -> None:
        self._known = known
        self._actions = actions
        self.attributes = {entity: each.attributes for entity, each in known.items()}
        self.tags: dict[Entity, Mapping[str, Any]] = {}

    def above(self, entity: Entity) -> frozenset[Entity]:
        """The entity and all its ancestors."""
        found, left = {entity}, [entity]
        while left:
            at = left.pop()
            parents = [Entity((_ACTION, group)) for group in self._actions.get(at[1], ())] if at[0] == _ACTION else []
            for parent in (*parents, *(self._known[at].parents if at in self._known else ())):
                if parent not in found:
                    found.add(parent)
                    left.append(parent)
        return frozenset(found)
