"""Which entities have which value: the lookups behind search, each made when it is first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remit.policy.entities.files import Entities
from remit.policy.reads import Uid

Key = tuple[str, Any]

_NONE: frozenset[str] = frozenset()


def key_of(value: Any) -> Key | None:
    """What equal values of one declared type share; None for a value that is not looked up by."""
    kind = type(value)
    if kind is str or kind is int or kind is bool:
        return kind.__name__, value
    if kind is dict:
        named = value.get("__entity")
        if named is not None:
            return "entity", (named["type"], named["id"])
    return None


class Index:
    """Lookups over all entities of a project. Safe in several threads: what is made twice is the same."""

    def __init__(self, entities: Entities) -> None:
        self._entities = entities
        self._having: dict[tuple[str, str], frozenset[str]] = {}
        self._equal: dict[tuple[str, str], Mapping[Key, frozenset[str]]] = {}
        self._holding: dict[tuple[str, str], Mapping[Key, frozenset[str]]] = {}
        self._below: dict[str, Mapping[Uid, frozenset[str]]] = {}

    def having(self, type_: str, attribute: str) -> frozenset[str]:
        """Those that have the attribute, whatever its value."""
        found = self._having.get((type_, attribute))
        if found is None:
            by_uid = self._entities.by_uid
            found = frozenset(
                id_ for id_ in self._entities.by_type.get(type_, ()) if attribute in by_uid[type_, id_].attrs
            )
            self._having[type_, attribute] = found
        return found

    def equal(self, type_: str, attribute: str) -> Mapping[Key, frozenset[str]]:
        """By value of the attribute, those that have it so."""
        found = self._equal.get((type_, attribute))
        if found is None:
            found = self._equal[type_, attribute] = self._by_key(type_, attribute, in_sets=False)
        return found

    def holding(self, type_: str, attribute: str) -> Mapping[Key, frozenset[str]]:
        """By element, those whose set has it."""
        found = self._holding.get((type_, attribute))
        if found is None:
            found = self._holding[type_, attribute] = self._by_key(type_, attribute, in_sets=True)
        return found

    def below(self, type_: str, above: Uid) -> frozenset[str]:
        """Those that are in an entity, itself included."""
        by_above = self._below.get(type_)
        if by_above is None:
            sets: dict[Uid, set[str]] = {}
            for id_ in self._entities.by_type.get(type_, ()):
                for each in self._entities.ancestors.get((type_, id_), ()):
                    sets.setdefault(each, set()).add(id_)
            by_above = self._below[type_] = {each: frozenset(ids) for each, ids in sets.items()}
        found = by_above.get(above, _NONE)
        return found | {above[1]} if above[0] == type_ else found

    def _by_key(self, type_: str, attribute: str, *, in_sets: bool) -> Mapping[Key, frozenset[str]]:
        sets: dict[Key, set[str]] = {}
        for id_ in self.having(type_, attribute):
            value = self._entities.by_uid[type_, id_].attrs[attribute]
            if in_sets is not (type(value) is list):
                continue
            for each in value if in_sets else (value,):
                key = key_of(each)
                if key is not None:
                    sets.setdefault(key, set()).add(id_)
        return {key: frozenset(ids) for key, ids in sets.items()}
