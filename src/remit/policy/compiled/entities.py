"""Entities as compiled policies read them: attributes and tags as values, and every ancestor at hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from remit.policy.compiled.values import Entity, entity_of, value_of

Values = Mapping[str, Any]


class EntityStore:
    """Entities from Cedar's JSON form (docs.cedarpolicy.com, entities); immutable.

    Raises `Failed` or `Unsupported` for a value that can't be made, `KeyError` or `TypeError` for another form.
    """

    def __init__(self, forms: Iterable[Mapping[str, Any]]) -> None:
        attributes: dict[Entity, Values] = {}
        tags: dict[Entity, Values] = {}
        parents: dict[Entity, list[Entity]] = {}
        for form in forms:
            entity = entity_of(form["uid"])
            attributes[entity] = {name: value_of(each) for name, each in form.get("attrs", {}).items()}
            tags[entity] = {name: value_of(each) for name, each in form.get("tags", {}).items()}
            parents[entity] = [entity_of(parent) for parent in form.get("parents", ())]
        self.attributes: Mapping[Entity, Values] = attributes
        self.tags: Mapping[Entity, Values] = tags
        self._above = {entity: _closure(entity, parents) for entity in parents}

    def above(self, entity: Entity) -> frozenset[Entity]:
        """The entity and all its ancestors."""
        return self._above.get(entity) or frozenset((entity,))


class Below(Protocol):
    """Entities that others are added to."""

    attributes: Mapping[Entity, Values]
    tags: Mapping[Entity, Values]

    def above(self, entity: Entity) -> frozenset[Entity]:
        """The entity and all its ancestors."""
        ...


class Added:
    """A few entities upon many, which are not copied; where both have one, the added one counts."""

    __slots__ = ("_above", "_below", "attributes", "tags")

    def __init__(
        self, below: Below, attributes: Mapping[Entity, Values], above: Mapping[Entity, frozenset[Entity]]
    ) -> None:
        self.attributes: Mapping[Entity, Values] = _Upon(below.attributes, attributes)
        self.tags = below.tags
        self._above = above
        self._below = below

    def above(self, entity: Entity) -> frozenset[Entity]:
        """The entity and all its ancestors."""
        return self._above.get(entity) or self._below.above(entity)


class _Upon(dict[Entity, Values]):
    """A mapping that looks up in another what it has not itself."""

    __slots__ = ("_below",)

    def __init__(self, below: Mapping[Entity, Values], own: Mapping[Entity, Values]) -> None:
        super().__init__(own)
        self._below = below

    def get(self, key: Entity, default: Any = None) -> Any:
        found = super().get(key)
        return found if found is not None else self._below.get(key, default)

    def __missing__(self, key: Entity) -> Values:
        return self._below[key]

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self._below


def _closure(entity: Entity, parents: Mapping[Entity, Iterable[Entity]]) -> frozenset[Entity]:
    found, left = {entity}, [entity]
    while left:
        for parent in parents.get(left.pop(), ()):
            if parent not in found:
                found.add(parent)
                left.append(parent)
    return frozenset(found)
