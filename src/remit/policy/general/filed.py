"""A project's own entities as compiled policies read them: each converted when it is first read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remit.policy.compiled.entities import Added, Values
from remit.policy.compiled.values import Entity, value_of
from remit.policy.entities import Entities
from remit.policy.reads import Uid


class OfFiles:
    """All entities of the files, and all actions. Immutable but for what was converted."""

    def __init__(self, entities: Entities) -> None:
        self._entities = entities
        self.attributes: Mapping[Entity, Values] = _Converted(entities, "attrs")
        self.tags: Mapping[Entity, Values] = _Converted(entities, "tags")
        self._above: dict[Entity, frozenset[Entity]] = {
            Entity(uid): frozenset(map(Entity, action.groups)) for uid, action in entities.declared.actions.items()
        }

    def above(self, entity: Entity) -> frozenset[Entity]:
        """The entity and all its ancestors."""
        found = self._above.get(entity)
        if found is None:
            known = self._entities.ancestors.get(entity, ())
            found = frozenset((entity, *map(Entity, known)))
            if known:
                self._above[entity] = found
        return found

    def with_said(self, said: Mapping[Uid, Mapping[str, Any]]) -> Added:
        """These entities, with what a caller says of some of which the files don't."""
        by_uid = self._entities.by_uid
        attributes = {}
        for uid, added in said.items():
            known = by_uid.get(uid)
            # SECURITY: what the files say of an entity, a caller can't say otherwise.
            whole = {**added, **known.attrs} if known is not None else added
            attributes[Entity(uid)] = {name: value_of(value) for name, value in whole.items()}
        return Added(self, attributes, {})

    def forms(self) -> list[dict[str, Any]]:
        """All of them in Cedar's JSON form."""
        found = [
            {"uid": _form(uid), "attrs": {}, "parents": [_form(each) for each in action.groups if each != uid]}
            for uid, action in self._entities.declared.actions.items()
        ]
        for uid, entity in self._entities.by_uid.items():
            parents = [_form(each) for each in entity.parents]
            found.append({"uid": _form(uid), "attrs": entity.attrs, "tags": entity.tags, "parents": parents})
        return found


class _Converted(dict[Entity, Values]):
    """Attributes or tags by entity, converted when they are first looked up."""

    __slots__ = ("_entities", "_what")

    def __init__(self, entities: Entities, what: str) -> None:
        super().__init__()
        self._entities = entities
        self._what = what

    def get(self, key: Entity, default: Any = None) -> Any:
        found = super().get(key)
        if found is None:
            known = self._entities.by_uid.get(key)
            if known is None:
                return default
            found = self[key] = {name: value_of(value) for name, value in getattr(known, self._what).items()}
        return found

    def __missing__(self, key: Entity) -> Values:
        found: Values | None = self.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def __contains__(self, key: object) -> bool:
        return key in self._entities.by_uid


def _form(uid: Uid) -> dict[str, str]:
    return {"type": uid[0], "id": uid[1]}
