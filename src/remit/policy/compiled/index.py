"""All policies of a set, found by what they can match: action, resource, principal, each with its ancestors, and facts.

Policies with the same action, resource and pivot in their scope are one bundle (`bundle`), which finds those of a
principal and those whose leading conditions hold. So the cost of a request does not grow with the number of
policies that are about something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Generic, NamedTuple, TypeVar

from remit.policy.compiled.bundle import SIZES, Bundle, Entry, Outcome, Sizes, named
from remit.policy.compiled.facts import Request
from remit.policy.compiled.operators import Entities
from remit.policy.compiled.values import Entity, entity_of

T = TypeVar("T")
Where = tuple[str | None, Entity | None]  # `==` or `in` with an entity, or neither
_ANYWHERE: Final[tuple[Where, ...]] = ((None, None),)


class Answer(NamedTuple):
    """Cedar's answer: the policies that decided, and those that failed, by id."""

    permitted: bool
    reasons: frozenset[str]
    errors: frozenset[str]


class Index:
    """Bundles of policies by action, resource and pivot of their scope. Immutable; safe to use from several threads."""

    def __init__(self, entries: Iterable[Entry], *, any_resource: bool = False, sizes: Sizes = SIZES) -> None:
        """With `any_resource`, bundles are for any resource: `bundles` looks at the action alone."""
        found: dict[Where, dict[Where, dict[str | None, list[Entry]]]] = {}
        for entry in entries:
            for action in _wheres(entry, "action"):
                by_resource = found.setdefault(action, {})
                for resource in _wheres(entry, "resource") if not any_resource else _ANYWHERE:
                    by_resource.setdefault(resource, {}).setdefault(entry.guard, []).append(entry)
        self._actions: _Places[_Places[dict[str | None, Bundle]]] = _Places(
            {
                action: _Places(
                    {
                        resource: {
                            guard: Bundle(entries, any_resource=any_resource, sizes=sizes)
                            for guard, entries in by_guard.items()
                        }
                        for resource, by_guard in by_resource.items()
                    }
                )
                for action, by_resource in found.items()
            }
        )

    def bundles(
        self,
        action: Entity,
        above_action: Iterable[Entity],
        resource: Entity,
        above_resource: Iterable[Entity],
        pivot: str | None = None,
    ) -> Iterator[Bundle]:
        """All bundles with policies whose scope allows this.

        Of bundles with a pivot, only those with this one; all, where it is None.
        """
        for by_resource in self._actions.at(action, above_action):
            for by_guard in by_resource.at(resource, above_resource):
                if pivot is None:
                    yield from by_guard.values()
                    continue
                for guard in (None, pivot):
                    if (found := by_guard.get(guard)) is not None:
                        yield found

    def all(self) -> Iterator[Bundle]:
        """All bundles."""
        for by_resource in self._actions.all():
            for by_guard in by_resource.all():
                yield from by_guard.values()

    def prepare(self) -> None:
        """Works out what the first requests would else wait for."""
        for bundle in self.all():
            bundle.prepare()

    def decide(
        self, principal: Entity, action: Entity, resource: Entity, context: Mapping[str, Any], entities: Entities
    ) -> Answer:
        """The answer to one request; `context` holds values (`values.value_of`).

        A forbid that matches decides, then a permit; a policy that fails is skipped and named (Cedar's authorization
        algorithm). `Unsupported` where the request meets a policy that can't be compiled.
        """
        above = (entities.above(principal), entities.above(action), entities.above(resource))
        request = Request(principal, action, resource, context, entities, *above)
        outcome = Outcome()
        for bundle in self.bundles(action, above[1], resource, above[2]):
            bundle.ask(request, outcome)
        decisive = outcome.forbids or outcome.permits
        return Answer(
            bool(outcome.permits) and not outcome.forbids,
            frozenset([entry.id for entry in decisive]),
            frozenset([entry.id for entry, _ in outcome.failed]),
        )


class _Places(Generic[T]):
    """What stands under entities, by how a scope names them."""

    def __init__(self, found: Mapping[Where, T]) -> None:
        self._open = found.get((None, None))
        self._exact = {entity: each for (how, entity), each in found.items() if how == "==" and entity is not None}
        self._within = {entity: each for (how, entity), each in found.items() if how == "in" and entity is not None}

    def at(self, entity: Entity, above: Iterable[Entity]) -> list[T]:
        """What could be about the entity, of which `above` are it and its ancestors."""
        found = [] if self._open is None else [self._open]
        if self._exact and (exact := self._exact.get(entity)) is not None:
            found.append(exact)
        if self._within:
            found += [self._within[each] for each in above if each in self._within]
        return found

    def all(self) -> Iterator[T]:
        """Everything."""
        if self._open is not None:
            yield self._open
        yield from self._exact.values()
        yield from self._within.values()


def _wheres(entry: Entry, part: str) -> Iterator[Where]:
    how, entities = named(entry.json[part], entry.slots)
    if how is None:
        yield None, None
    for each in dict.fromkeys(entities):
        yield how, each


def compiled(policy_set: Mapping[str, Any], sizes: Sizes = SIZES) -> Index:
    """The index of a policy set in Cedar's JSON form, templates and links with it; `Unsupported` where one can't be."""
    found: list[Entry] = []
    for id_, policy in policy_set["staticPolicies"].items():
        found.append(Entry(id_, len(found), policy))
    for link in policy_set.get("templateLinks", ()):
        slots = {name: entity_of(value) for name, value in link["values"].items()}
        found.append(Entry(link["newId"], len(found), policy_set["templates"][link["templateId"]], slots))
    return Index(found, sizes=sizes)
