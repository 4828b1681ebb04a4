"""All policies of a set, found by their scope, and evaluated with the types of the schema.

For each kind of request (`environment`), the policies at one place of the three hierarchies are one function (`fused`).
Where they are many, or one of them can't be typed, a `Bundle` finds those that matter by their facts instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from remit.policy.compiled.bundle import Bundle, Entry, Outcome, named
from remit.policy.compiled.environment import Environment
from remit.policy.compiled.facts import Request
from remit.policy.compiled.fused import Functions, Fused
from remit.policy.compiled.index import Answer
from remit.policy.compiled.operators import Entities
from remit.policy.compiled.requests import Check, Checker, Misfit
from remit.policy.compiled.values import Entity, Unsupported

MANY: Final = 96  # policies at one place that facts narrow down faster than one function asks them all
_KEPT: Final = 256  # principals and resources of one kind whose functions are kept at hand

_Place = Entity | None  # what a scope names; None where it is open
_Found = dict[_Place, dict[_Place, "_Policies"]]  # by principal and resource


class TypedIndex:
    """Policies by the action, the principal and the resource of their scope, for every environment of a schema.

    Immutable but for what it works out when it is first asked; safe to use from several threads.
    """

    def __init__(self, entries: Iterable[Entry], environments: Iterable[Environment]) -> None:
        self._environments: dict[Entity, list[Environment]] = {}
        for environment in environments:
            self._environments.setdefault(environment.action, []).append(environment)
        by_place: dict[_Place, dict[_Place, dict[_Place, list[Entry]]]] = {}
        for entry in entries:
            for action in _places(entry, "action"):
                for principal in _places(entry, "principal"):
                    by_resource = by_place.setdefault(action, {}).setdefault(principal, {})
                    for resource in _places(entry, "resource"):
                        by_resource.setdefault(resource, []).append(entry)
        self._found: dict[_Place, _Found] = {
            action: {
                principal: {resource: _Policies(entries) for resource, entries in by_resource.items()}
                for principal, by_resource in by_principal.items()
            }
            for action, by_principal in by_place.items()
        }
        self._kinds: dict[Entity, tuple[Kind, ...]] = {}
        self._checks: dict[int, Check] = {}
        self._functions = Functions()

    def kind(self, principal: Entity, action: Entity, resource: Entity) -> Kind | None:
        """The policies for requests of this kind; None where the schema has no such requests, or can't check them."""
        kinds = self._kinds.get(action)
        if kinds is None:
            made = (self._made(each) for each in self._environments.get(action, ()))
            kinds = tuple(kind for kind in made if kind is not None)
            if action in self._environments:
                self._kinds[action] = kinds
        for kind in kinds:
            if kind.principal == principal[0] and kind.resource == resource[0]:
                return kind
        return None

    def decide(
        self, principal: Entity, action: Entity, resource: Entity, context: Mapping[str, Any], entities: Entities
    ) -> Outcome | None:
        """What the policies say to one request, of which the context is in Cedar's JSON form.

        None where the request is not what the schema says, so that it has no typed evaluation; `Unsupported` where it
        meets a policy that can't be compiled.
        """
        kind = self.kind(principal, action, resource)
        if kind is None:
            return None
        outcome = Outcome()
        try:
            kind.ask(principal, resource, kind.check.values(principal, resource, context), entities, outcome)
        except Misfit:
            return None
        return outcome

    def _made(self, environment: Environment) -> Kind | None:
        if environment.groups is None:
            return None
        try:
            checker = Checker(environment, self._checks.get(id(environment.context)))
        except Unsupported:
            return None
        self._checks[id(environment.context)] = checker.context
        found = [self._found[action] for action in (None, *environment.groups) if action in self._found]
        return Kind(environment, checker, found, self._functions)


class Kind:
    """The policies for one kind of request."""

    __slots__ = (
        *("action", "check", "groups", "principal", "resource", "untyped"),
        *("_environment", "_found", "_functions", "_known", "_made"),
    )

    def __init__(self, environment: Environment, check: Checker, found: Sequence[_Found], functions: Functions) -> None:
        self.principal = environment.principal
        self.action = environment.action
        self.resource = environment.resource
        self.check = check
        self.groups = environment.groups or frozenset()
        self.untyped: list[Entry] = []  # of those that were asked, what is evaluated dynamically
        self._environment = environment
        self._found = found
        self._functions = functions
        self._made: dict[int, Fused] = {}
        self._known: dict[tuple[frozenset[Entity], frozenset[Entity]], tuple[Fused, ...]] = {}

    def ask(
        self, principal: Entity, resource: Entity, values: Mapping[str, Any], entities: Entities, outcome: Outcome
    ) -> None:
        """Adds what the policies say to `outcome`; `values` are what `check` gave for this request.

        `Unsupported` where the request meets a policy that can't be compiled.
        """
        above = (entities.above(principal), entities.above(resource))
        asked = self._known.get(above)
        if asked is None:
            asked = self._at(above)
        permits, forbids, failed = outcome.permits, outcome.forbids, outcome.failed
        action, groups = self.action, self.groups
        for ask in asked:
            ask(principal, action, resource, values, entities, above[0], groups, above[1], permits, forbids, failed)

    def _at(self, above: tuple[frozenset[Entity], frozenset[Entity]]) -> tuple[Fused, ...]:
        """What has to be asked about a principal and a resource with these ancestors."""
        places = [
            policies
            for found in self._found
            for principal, by_resource in found.items()
            if principal is None or principal in above[0]
            for resource, policies in by_resource.items()
            if resource is None or resource in above[1]
        ]
        functions = tuple(self._function(policies) for policies in places)
        if len(self._known) >= _KEPT:
            self._known = {}
        self._known[above] = functions
        return functions

    def _function(self, policies: _Policies) -> Fused:
        made = self._made.get(id(policies))
        if made is None:
            if len(policies.entries) <= MANY:
                made = self._functions.fuse(policies.entries, self._environment)
            if made is None:
                self.untyped.extend(policies.entries)
                made = policies.narrowed
            self._made[id(policies)] = made
        return made


def answer(outcome: Outcome) -> Answer:
    """Cedar's answer, from what the policies say: a forbid decides, then a permit."""
    decisive = outcome.forbids or outcome.permits
    return Answer(
        bool(outcome.permits) and not outcome.forbids,
        frozenset([entry.id for entry in decisive]),
        frozenset([entry.id for entry, _ in outcome.failed]),
    )


class _Policies:
    """Those of one place; the bundle of them is the same for every environment."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self._bundle: Bundle | None = None

    def narrowed(self, *given: Any) -> None:
        """Asks those that matter by their facts."""
        if self._bundle is None:
            self._bundle = Bundle(self.entries)
        outcome = Outcome()
        self._bundle.ask(Request(*given[:8]), outcome)
        for into, found in zip(given[8:], (outcome.permits, outcome.forbids, outcome.failed), strict=True):
            into += found


def _places(entry: Entry, part: str) -> tuple[_Place, ...]:
    how, entities = named(entry.json[part], entry.slots)
    return (None,) if how is None else tuple(dict.fromkeys(entities))
