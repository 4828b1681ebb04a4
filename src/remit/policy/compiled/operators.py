"""Cedar's operators on values, checked at each step: what compiled policies call (docs.cedarpolicy.com, operators).

Each raises `Failed` exactly where Cedar's evaluator fails. `&&`, `||` and `if` are Python's own, around `boolean`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn, Protocol

from remit.policy.compiled.extensions import Datetime, Duration
from remit.policy.compiled.values import LONG_MAX, LONG_MIN, Entity, Failed, Set, key


class Entities(Protocol):
    """What is known of entities."""

    attributes: Mapping[Entity, Mapping[str, Any]]
    tags: Mapping[Entity, Mapping[str, Any]]

    def above(self, entity: Entity) -> frozenset[Entity]:
        """The entity and all its ancestors."""
        ...


class _Absent(dict[str, Any]):
    """What an entity has that nobody has given: reading it fails."""

    def __missing__(self, name: str) -> NoReturn:
        raise Failed("there is no such entity")


ABSENT: Final[Mapping[str, Any]] = _Absent()


def boolean(value: Any) -> bool:
    """The value, if it is a boolean."""
    if value is True or value is False:
        return bool(value)
    raise Failed("a boolean is wanted")


def long(value: Any) -> int:
    """The value, if it is a Long."""
    if type(value) is int:
        return value
    raise Failed("a long is wanted")


def in_bounds(value: int) -> int:
    """The result of arithmetic, if it fits in 64 bits."""
    if LONG_MIN <= value <= LONG_MAX:
        return value
    raise Failed("a long overflows")


def less(left: Any, right: Any) -> bool:
    """`<` of two longs, datetimes or durations."""
    kind = type(left)
    if kind is type(right) and (kind is int or kind is Datetime or kind is Duration):
        return bool(left < right)
    raise Failed("these can't be compared")


def less_or_equal(left: Any, right: Any) -> bool:
    """`<=` of two longs, datetimes or durations."""
    kind = type(left)
    if kind is type(right) and (kind is int or kind is Datetime or kind is Duration):
        return bool(left <= right)
    raise Failed("these can't be compared")


def attribute(of: Any, name: str, entities: Entities) -> Any:
    """`of.name`."""
    kind = type(of)
    known: Mapping[str, Any] | None
    if kind is dict:
        known = of
    elif kind is Entity:
        known = entities.attributes.get(of)
    else:
        raise Failed("only entities and records have attributes")
    if known is None or name not in known:
        raise Failed("there is no such attribute")
    return known[name]


def has(of: Any, name: str, entities: Entities) -> bool:
    """`of has name`."""
    kind = type(of)
    if kind is dict:
        return name in of
    if kind is Entity:
        return name in entities.attributes.get(of, ())
    raise Failed("only entities and records have attributes")


def has_path(of: Any, names: Sequence[str], entities: Entities) -> bool:
    """`of has a.b.c`."""
    for name in names:
        if not has(of, name, entities):
            return False
        of = attribute(of, name, entities)
    return True


def is_in(entity: Any, of: Any, entities: Entities) -> bool:
    """`entity in of`: of an entity, or of any in a set."""
    if type(entity) is not Entity:
        raise Failed("only entities are in others")
    if type(of) is Entity:
        return of in entities.above(entity)
    if type(of) is not Set or not all(type(each) is Entity for each in of.items):
        raise Failed("an entity is in entities only")
    above = entities.above(entity)
    return any(each in above for each in of.items)


def is_type(entity: Any, name: str) -> bool:
    """`entity is name`."""
    if type(entity) is Entity:
        return bool(entity[0] == name)
    raise Failed("only entities have a type")


def like(text: Any, fits: Callable[[str], bool]) -> bool:
    """`text like pattern`; `fits` is the pattern, compiled."""
    if type(text) is str:
        return fits(text)
    raise Failed("only strings are like a pattern")


def contains(whole: Any, value: Any) -> bool:
    """`whole.contains(value)`."""
    return key(value) in _set(whole).keys


def contains_all(whole: Any, part: Any) -> bool:
    """`whole.containsAll(part)`."""
    found = _set(whole)
    return _set(part).keys <= found.keys


def contains_any(whole: Any, part: Any) -> bool:
    """`whole.containsAny(part)`."""
    found = _set(whole)
    return not found.keys.isdisjoint(_set(part).keys)


def is_empty(whole: Any) -> bool:
    """`whole.isEmpty()`."""
    return not _set(whole).keys


def tag(of: Any, name: Any, entities: Entities) -> Any:
    """`of.getTag(name)`."""
    known = _tags(of, name, entities)
    if known is None or name not in known:
        raise Failed("there is no such tag")
    return known[name]


def has_tag(of: Any, name: Any, entities: Entities) -> bool:
    """`of.hasTag(name)`."""
    return name in (_tags(of, name, entities) or ())


def between(parts: Sequence[Any]) -> list[str]:
    """The literals of a `like` pattern; a wildcard stands between each two."""
    pieces = [""]
    for part in parts:
        if part == "Wildcard":
            pieces.append("")
        else:
            pieces[-1] += part["Literal"]
    return pieces


def pattern(parts: Sequence[Any]) -> Callable[[str], bool]:
    """A `like` pattern (its literals and wildcards) as a function; linear in the text for each wildcard."""
    pieces = between(parts)
    if len(pieces) == 1:
        return lambda text: text == pieces[0]
    first, last = pieces[0], pieces[-1]
    middle = [piece for piece in pieces[1:-1] if piece]
    least = len(first) + len(last)

    def fits(text: str) -> bool:
        if len(text) < least or not text.startswith(first) or not text.endswith(last):
            return False
        start, end = len(first), len(text) - len(last)
        for piece in middle:
            found = text.find(piece, start, end)
            if found < 0:
                return False
            start = found + len(piece)
        return True

    return fits


def _set(value: Any) -> Set:
    if type(value) is Set:
        return value
    raise Failed("a set is wanted")


def _tags(of: Any, name: Any, entities: Entities) -> Mapping[str, Any] | None:
    if type(of) is not Entity or type(name) is not str:
        raise Failed("entities have tags, named by strings")
    return entities.tags.get(of)
