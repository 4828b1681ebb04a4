"""Temporal conditions of loaded policies: checked against the events that there are, and made ready to be monitored.

1. Acceptance: the condition can be monitored at all, and needs no second key of the history.
2. The pins of the event schema are put on every event that it asks for.
3. Checking: every name, field, window and type is one that events and requests have.
4. Fields are named as Remit's own events name them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from remit.core.actions import Catalogue
from remit.core.errors import DocumentError
from remit.policy import text as cedar_text
from remit.policy.dogwood import acceptance, checking, english, events, keys
from remit.policy.dogwood.ast import Leaf
from remit.policy.dogwood.events import Events
from remit.policy.dogwood.mistakes import Mistake
from remit.policy.dogwood.monitor import plan, refusing
from remit.policy.dogwood.temporal import Scope, Temporal
from remit.policy.schema import Vocabulary
from remit.policy.sources import Policy, ScopeKind, Source, error_at

SCOPES: Final[tuple[ScopeKind, ...]] = ("task", "workload")


@dataclass(frozen=True, slots=True)
class Clauses:
    """The leaves of all policies, by whose past they are about, as monitors take them."""

    events: Mapping[ScopeKind, Events]
    leaves: Mapping[ScopeKind, tuple[Leaf, ...]] = field(default_factory=dict)


def schemas(texts: Sequence[Source], chosen: str = "") -> list[Source]:
    """The event schemas that come with Remit and that these texts need: where there is Dogwood, and no other schema.

    `chosen` is `[policy] events`. A `DocumentError` where the project brings a schema of its own too.
    """
    own = {source.scope_kind: source for source in texts if source.is_event_schema}
    for source in own.values():
        if chosen:
            raise DocumentError(
                f"`[policy] events` is `{chosen}`, and the project brings an event schema of its own",
                path=source.path,
                next_step="keep one of them: remove the setting, or the file",
            )
    needed = {source.scope_kind for source in texts if source.is_dogwood and source.origin == "user"}
    return [
        Source(*events.shipped_text(scope, chosen), "shipped")
        for scope in SCOPES
        if scope in needed and scope not in own
    ]


def events_of(texts: Sequence[Source], vocabulary: Vocabulary, catalogue: Catalogue) -> dict[ScopeKind, Events]:
    """The events that there are for policies of each scope, by the event schemas among the texts."""
    found: dict[ScopeKind, Events] = {}
    names = None
    for source in texts:
        if source.is_event_schema:
            schema = events.parse(source.text, source.path)
            events.check(schema, source.scope_kind)
            names = names or events.of_project(vocabulary, catalogue)
            found[source.scope_kind] = events.derive(schema, names)
    return found


def clauses(policies: Sequence[Policy], known: Mapping[ScopeKind, Events]) -> Clauses:
    """What the policies ask of the past. A `DocumentError` at the first condition that is wrong."""
    found: dict[ScopeKind, list[Leaf]] = {scope: [] for scope in SCOPES}
    for policy in policies:
        if not policy.leaves:
            continue
        about = checking.covered(policy.json, known[policy.scope_kind].names)
        for leaf in policy.leaves:
            found[policy.scope_kind].append(_ready(policy, leaf, about, known[policy.scope_kind]))
    return Clauses(known, {scope: tuple(leaves) for scope, leaves in found.items()})


def temporal(found: Clauses) -> Temporal:
    """The clauses with how they are watched. `DocumentError` where one can't be."""
    scopes = {
        scope: Scope(leaves, plan(leaves), found.events[scope].kinds)
        for scope, leaves in found.leaves.items()
        if leaves
    }
    return Temporal(scopes.get("task"), scopes.get("workload"))


@dataclass(frozen=True, slots=True)
class InWords:
    """A clause as `remit check` tells it: where it stands, what it says, and what is kept for it."""

    policy: str
    path: str
    line: int
    says: str
    keeps: str
    reach_ms: int  # nothing that happened before that matters
    looks_through: str  # why it has no state of its own and its events are looked through; empty if it has one


def in_words(policies: Sequence[Policy], found: Clauses) -> Iterator[InWords]:
    """Each clause in plain English, in the order of the policies."""
    ready = {leaf.name: leaf for leaves in found.leaves.values() for leaf in leaves}
    for policy in policies:
        for leaf in policy.leaves:
            bounds = plan([ready[leaf.name]]).bounds(leaf.name)
            told = english.told(ready[leaf.name], bounds, policy.scope_kind)
            line, _ = cedar_text.position(policy.source.text, leaf.at)
            place = policy.source.at or (policy.source.path, line)
            yield InWords(policy.id, *place, told.says, told.keeps, bounds.reach, bounds.replayed)


def notices(policies: Sequence[Policy], known: Mapping[ScopeKind, Events]) -> Iterator[DocumentError]:
    """What is allowed and probably not meant: limits that denied calls use up."""
    for policy in policies:
        for leaf in policy.leaves:
            permits = (policy.effect == "permit") == (leaf.name not in _negated(policy))
            for mistake in checking.limits_on_requests(leaf, known[policy.scope_kind], permits=permits):
                yield _error(policy, mistake)


def _ready(policy: Policy, leaf: Leaf, about: Sequence[checking.Covered], known: Events) -> Leaf:
    second = [pin for pin in known.key if pin != events.KEYS[policy.scope_kind]]
    try:
        acceptance.check(leaf.condition)
        keys.check(leaf.condition, second)
        refusing.check(leaf)
    except Mistake as mistake:
        raise _error(policy, mistake) from None
    pinned = Leaf(leaf.name, events.inject(leaf.condition, known), leaf.at)
    if about:  # else no action that there is: it is idle, and checked once there is one
        for wrong in checking.check(pinned, about, known):
            raise _error(policy, wrong)
    return Leaf(leaf.name, events.emitted(pinned.condition, known), leaf.at)


def _error(policy: Policy, mistake: Mistake) -> DocumentError:
    return error_at(policy.source, mistake.at, mistake.message, mistake.next_step)


def _negated(policy: Policy) -> frozenset[str]:
    """The leaves that the policy needs not to hold."""
    return frozenset(
        name
        for condition in policy.json["conditions"]
        for name in _leaves(condition["body"], condition["kind"] == "unless")
    )


def _leaves(body: object, is_negated: bool) -> Iterator[str]:
    """The leaves of an expression in Cedar's JSON form whose truth works against that of the policy's conditions."""
    if isinstance(body, list):
        for each in body:
            yield from _leaves(each, is_negated)
    if not isinstance(body, dict):
        return
    if isinstance(access := body.get("."), dict):
        left = access["left"]
        if is_negated and left == {".": {"left": {"Var": "context"}, "attr": "temporal"}}:
            yield access["attr"]
    for operator, each in body.items():
        yield from _leaves(each, is_negated != (operator == "!"))
