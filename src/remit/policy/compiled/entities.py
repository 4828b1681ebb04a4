"""Entities as compiled policies read them: attributes and tags as values, and every ancestor at hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from remit.policy.compiled.values import Entity, entity_of, value_of


class EntityStore:
    """Entities from Cedar's JSON form (docs.cedarpolicy.com, entities); immutable.

    Raises `Failed` or `Unsupported` for a value that can't be made, `KeyError` or `TypeError` for another form.
    """

    def __init__(self, forms: Iterable[Mapping[str, Any]]) -> None:
        self.attributes: dict[Entity, Mapping[str, Any]] = {}
        self.tags: dict[Entity, Mapping[str, Any]] = {}
        parents: dict[Entity, list[Entity]] = {}
        for form in forms:
            entity = entity_of(form["uid"])
            self.attributes[entity] = {name: value_of(each) for name, each in form.get("attrs", {}).items()}
            self.tags[entity] = {name: value_of(each) for name, each in form.get("tags", {}).items()}
            parents[entity] = [entity_of(parent) for parent in form.get("parents", ())]
        self._above = {entity: _closure(entity, parents) for entity in parents}

    def above(self, entity: Entity) -> frozenset[Entity]:
        """The entity and all its ancestors."""
        return self._above.get(entity) or frozenset((entity,))


def _closure(entity: Entity, parents: Mapping[Entity, Iterable[Entity]]) -> frozenset[Entity]:
    found, left = {entity}, [entity]
    while left:
        for parent in parents.get(left.pop(), ()):
            if parent not in found:
                found.add(parent)
                left.append(parent)
    return frozenset(found)
