"""The evaluation of one request: the one place where an engine decides, and where the two are compared.

1. A slice holds every policy whose scope and leading intent allow one action, resource and intent: bundles that all
   slices share, and one of its own for the small ones.
2. The context is converted to values, as far as the slice reads it.
3. Compiled policies decide: its own as one function with the types of the schema (`compiled.fused`) where the context
   has these types, else each with all checks (`compiled.bundle`). What can't be compiled goes to the reference engine,
   the whole slice.
4. A sample of it the reference engine decides too; where it disagrees, the answer is a deny.
5. A policy that fails denies.

None of this changes decision, reasons or errors, and tests compare it with the reference engine on all policies.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from remit.policy.compiled.bundle import SIZES, Bundle, Entry, Outcome, Sizes
from remit.policy.compiled.contexts import MALFORMED, Reading, checked_reading, reading
from remit.policy.compiled.engine import Engine
from remit.policy.compiled.environment import Environment
from remit.policy.compiled.facts import Request
from remit.policy.compiled.fused import Functions, Fused
from remit.policy.compiled.index import Index
from remit.policy.compiled.sampling import case_of
from remit.policy.compiled.values import Entity, Unsupported
from remit.policy.identities import Given
from remit.policy.reads import Path, Uid, applies
from remit.policy.reference import Reference
from remit.policy.sources import Policy
from remit.policy.verdict import BROKEN, Verdict

_log = logging.getLogger("remit.policy")

_CUT: Final = 1_000  # parts of large bundles that are kept
_NOWHERE: Final = ("", "")


class Slice:
    """The policies that can matter to one kind of request."""

    def __init__(
        self,
        shared: Sequence[Bundle],
        own: Bundle | None,
        shelf: Shelf,
        action: Entity,
        above_action: frozenset[Entity],
    ) -> None:
        self._shared = tuple(shared)
        self._own = own
        self._bundles = self._shared if own is None else (*self._shared, own)
        self._typed: dict[tuple[str, str], Typed | None] = {}
        self._shelf = shelf
        self._engine = shelf.engine
        self._action = action
        self._above_action = above_action
        self._policies: tuple[Policy, ...] | None = None
        several = [shelf.reads(bundle) for bundle in self._bundles]
        self.values: frozenset[Path] = frozenset().union(*(each[0] for each in several))
        self.tests: frozenset[Path] = frozenset().union(*(each[1] for each in several))
        self._read = reading(self.values, self.tests)
        self._reference = Reference(lambda: self.policies)
        self._is_compiled = not shelf.engine.is_reference
        self.cached: dict[str, Any] = {}  # what others work out once for a slice

    @property
    def policies(self) -> tuple[Policy, ...]:
        """All of its policies, in rank order."""
        if self._policies is None:
            places = {entry.place for bundle in self._bundles for entry in bundle.entries}
            self._policies = tuple(self._shelf.policies[place] for place in sorted(places))
        return self._policies

    def decide(self, principal: Entity, resource: Entity, given: Given, context: Mapping[str, Any]) -> Verdict:
        """Evaluates one request; `context` is in Cedar's JSON form, and is not changed."""
        verdict = self._evaluate(principal, resource, given, context) if self._is_compiled else None
        if verdict is None:
            return self._refer([(principal, resource, context)], given)[0]
        if self._engine.sampling.is_due() and not verdict.is_broken:
            return self._compare(verdict, principal, resource, given, context)
        return verdict

    def warm(self, before: Slice) -> None:
        """Makes ready what the questions to `before` needed."""
        for principal, resource in list(before._typed):
            self._types_of(principal, resource)

    def decide_many(self, asked: Sequence[tuple[Entity, Entity, Mapping[str, Any]]], given: Given) -> list[Verdict]:
        """Evaluates requests (principal, resource, context) over the same entities."""
        if not self._is_compiled:
            return self._refer(asked, given)
        return [self.decide(principal, resource, given, context) for principal, resource, context in asked]

    def _evaluate(
        self, principal: Entity, resource: Entity, given: Given, context: Mapping[str, Any]
    ) -> Verdict | None:
        """What the compiled policies say; None where one of them can't be compiled."""
        typed = self._types_of(principal[0], resource[0])
        try:
            values = self._read(context) if typed is None else typed.read(context)
        except MALFORMED as error:
            if typed is None:
                _log.error("the context of a request has a malformed value: %s", error)
                return BROKEN
            typed = None
            try:
                values = self._read(context)
            except MALFORMED as malformed:
                _log.error("the context of a request has a malformed value: %s", malformed)
                return BROKEN
        entities = given.values
        request = Request(
            principal,
            self._action,
            resource,
            values,
            entities,
            entities.above(principal),
            self._above_action,
            entities.above(resource),
        )
        outcome = Outcome()
        try:
            for bundle in self._bundles if typed is None else self._shared:
                bundle.ask(request, outcome)
            if typed is not None:
                typed.ask(*request, outcome.permits, outcome.forbids, outcome.failed)
        except Unsupported:
            self._is_compiled = False
            self._shelf.uncompiled(self._bundles)
            return None
        matched = self._ranked(outcome.forbids or outcome.permits)
        if outcome.failed:
            # SECURITY: Cedar skips a policy that fails, so a forbid that fails would let the action through: deny.
            messages = {entry.place: message for entry, message in outcome.failed}
            failed = tuple((self._shelf.policies[place], messages[place]) for place in sorted(messages))
            return Verdict(False, matched, failed)
        return Verdict(bool(outcome.permits) and not outcome.forbids, matched, ())

    def _types_of(self, principal: str, resource: str) -> Typed | None:
        """What evaluates its own policies for requests of these types; None where they are evaluated without types."""
        key = (principal, resource)
        if key not in self._typed:
            self._typed[key] = self._make_typed(principal, resource)
        return self._typed[key]

    def _make_typed(self, principal: str, resource: str) -> Typed | None:
        environment = self._shelf.environment(principal, self._action, resource)
        if environment is None or self._own is None:
            return None
        ask = self._shelf.functions.fuse(self._own.entries, environment)
        try:
            return Typed(checked_reading(self.values, self.tests, environment), ask) if ask is not None else None
        except Unsupported:
            return None

    def _ranked(self, entries: Sequence[Entry]) -> tuple[Policy, ...]:
        policies = self._shelf.policies
        if len(entries) == 1:
            return (policies[entries[0].place],)
        return tuple([policies[place] for place in sorted({entry.place for entry in entries})])

    def _refer(self, asked: Sequence[tuple[Entity, Entity, Mapping[str, Any]]], given: Given) -> list[Verdict]:
        """What the reference engine says."""
        if not self._engine.is_reference:
            self._engine.fell_back(len(asked))
        requests = [(self._request(principal, resource), context) for principal, resource, context in asked]
        return self._reference.decide_many(requests, given.handle())

    def _request(self, principal: Entity, resource: Entity) -> dict[str, Any]:
        named = (("principal", principal), ("action", self._action), ("resource", resource))
        return {name: {"type": entity[0], "id": entity[1]} for name, entity in named}

    def _compare(
        self, verdict: Verdict, principal: Entity, resource: Entity, given: Given, context: Mapping[str, Any]
    ) -> Verdict:
        try:
            reference = self._reference.decide_many([(self._request(principal, resource), context)], given.handle())[0]
        except (ValueError, RuntimeError) as error:
            _log.error("the reference engine refused a request: %s", error)
            reference = BROKEN
        return self._engine.compare(
            verdict,
            reference,
            lambda: case_of(
                self.policies,
                given.forms(),
                {**self._request(principal, resource), "context": context},
                verdict,
                reference,
            ),
        )


class Typed(NamedTuple):
    """Typed evaluation of the policies of a slice."""

    read: Reading
    ask: Fused


class Shelf:
    """All policies of a project, as the bundles that slices consist of. Immutable but for caches."""

    def __init__(
        self,
        policies: Sequence[Policy],
        engine: Engine,
        *,
        by_intent: bool = False,
        any_resource: bool = False,
        sizes: Sizes = SIZES,
        environments: Iterable[Environment] = (),
    ) -> None:
        """`policies` stand in rank order. Slices are cut by the intent of the task, or not, and by resource, or not.

        `environments` are the kinds of requests for which the policies were validated; their entities fit the schema.
        """
        self.policies = tuple(policies)
        self.engine = engine
        self._any_resource = any_resource
        self.functions = Functions()
        self._environments = {(each.principal, each.action, each.resource): each for each in environments}
        self._sizes = sizes
        self._index = Index(
            (
                Entry(policy.id, place, policy.json, guard=policy.scope.intent if by_intent else None)
                for place, policy in enumerate(self.policies)
            ),
            any_resource=any_resource,
            sizes=sizes,
        )
        self._reads: dict[Bundle, tuple[frozenset[Path], frozenset[Path]]] = {}
        self._cut: dict[tuple[Bundle, Hashable], Bundle] = {}

    def cut(
        self,
        action: Uid,
        groups: frozenset[Uid],
        resource: Uid | None,
        intent: str | None,
        keep: tuple[Hashable, Callable[[Policy], bool]] | None = None,
    ) -> Slice:
        """The slice of an action (`groups` are it and all that it is a member of), a resource, and an intent.

        `keep` says which policies it has of all that could match or fail, and a key for that.
        """
        named = Entity(resource or _NOWHERE)
        above = frozenset(map(Entity, groups))
        found = list(self._index.bundles(Entity(action), above, named, (named,), intent))
        large = [bundle for bundle in found if len(bundle.entries) > self._sizes.own]
        own = {
            entry.place: entry
            for bundle in found
            if len(bundle.entries) <= self._sizes.own
            for entry in bundle.entries
            if applies(self.policies[entry.place].scope, action, groups, resource, intent)
            and (keep is None or keep[1](self.policies[entry.place]))
        }
        if keep is not None:
            large = [self._kept(bundle, *keep) for bundle in large]
        bundle = self._bundle([own[place] for place in sorted(own)]) if own else None
        return Slice(large, bundle, self, Entity(action), above)

    def environment(self, principal: str, action: Entity, resource: str) -> Environment | None:
        """What the schema says of requests of an action and these types."""
        return self._environments.get((principal, action, resource))

    def reads(self, bundle: Bundle) -> tuple[frozenset[Path], frozenset[Path]]:
        """The paths of the context that its policies read, and those that they only test."""
        found = self._reads.get(bundle)
        if found is None:
            several = [self.policies[entry.place].reads for entry in bundle.entries]
            values: frozenset[Path] = frozenset().union(*(reads.values for reads in several))
            tests: frozenset[Path] = frozenset().union(*(reads.tests for reads in several))
            found = values, tests
            if len(bundle.entries) > self._sizes.own:
                self._reads[bundle] = found
        return found

    def prepare(self) -> None:
        """Works out what the first requests would else wait for."""
        for bundle in self._index.all():
            if len(bundle.entries) > self._sizes.own:
                bundle.prepare()
                self.reads(bundle)

    def entries(self) -> list[Entry]:
        """Every policy as it stands in the index."""
        return list({id(entry): entry for bundle in self._index.all() for entry in bundle.entries}.values())

    def uncompiled(self, bundles: Iterable[Bundle] | None = None) -> list[tuple[Policy, str]]:
        """The policies, of all or of some bundles, that can't be compiled, with the reason; compiles the others."""
        found = {}
        for bundle in self._index.all() if bundles is None else bundles:
            for entry in bundle.entries:
                try:
                    entry.compiled()
                except Unsupported as error:
                    found[entry.place] = (self.policies[entry.place], str(error))
                    self.engine.cant_compile(entry.id, str(error))
        return [found[place] for place in sorted(found)]

    def _bundle(self, entries: Sequence[Entry]) -> Bundle:
        return Bundle(entries, any_resource=self._any_resource, sizes=self._sizes)

    def _kept(self, bundle: Bundle, key: Hashable, keep: Callable[[Policy], bool]) -> Bundle:
        """Of a large bundle the policies that are kept; the same for all slices of one key."""
        found = self._cut.get((bundle, key))
        if found is None:
            entries = [entry for entry in bundle.entries if keep(self.policies[entry.place])]
            is_whole = len(entries) == len(bundle.entries)
            found = bundle if is_whole else self._bundle(entries)
            if len(self._cut) >= _CUT:
                self._cut = {}
            self._cut[bundle, key] = found
        return found
