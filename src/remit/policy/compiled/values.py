"""Cedar's values in Python: strings, integers and booleans as they are, all else in the types below.

| Cedar | Python |
|---|---|
| Long, String, Bool | `int`, `str`, `bool` |
| entity | `Entity`, a tuple of type and id |
| set | `Set`: its elements, and their keys for comparing |
| record | `dict` |
| decimal, ipaddr, datetime, duration | the types of `extensions` |

Python's own `==` is not Cedar's: there, `True` is not `1`. So values are compared by `equal`, and elements of sets by
their `key`.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from sys import intern
from typing import Any, Final

from remit.policy.compiled.extensions import EXTENSIONS, Extension, made

LONG_MAX: Final = 2**63 - 1
LONG_MIN: Final = -(2**63)
_joined: Final = "".join
_SMALL: Final = 2**30  # Python compares with such integers faster than with larger ones


class Unsupported(Exception):
    """Something that is not compiled: the reference engine decides instead."""


class Failed(Exception):
    """A policy's evaluation failed, as Cedar says it must: the policy is skipped and reported."""


class Entity(tuple[str, str]):
    """An entity's type and id."""

    __slots__ = ()


class Set:
    """A Cedar set: `items` in some order, `keys` for membership and comparing."""

    __slots__ = ("items", "keys")

    def __init__(self, items: Iterable[Any], keys: frozenset[Hashable] | None = None) -> None:
        """With `keys` where they are at hand: exactly those of the items."""
        self.items: Collection[Any] = tuple(items)
        self.keys = frozenset(map(key, self.items)) if keys is None else keys


def key(value: Any) -> Hashable:
    """What two values share exactly when they are equal in Cedar.

    Strings, longs, entities and extension values are their own keys: no two of different types are equal, because an
    entity is a pair of strings, and all other pairs hold something else.
    """
    kind = type(value)
    if kind is str or kind is int or kind is Entity:
        return value  # type: ignore[no-any-return]  # it is hashable
    if kind is bool:
        return ("bool", value)
    if kind is Set:
        return ("set", value.keys)
    if kind is dict:
        return ("record", frozenset((name, key(each)) for name, each in value.items()))
    if isinstance(value, Extension):
        return value
    raise Unsupported(kind.__name__)


def equal(left: Any, right: Any) -> bool:
    """Cedar's `==`: never an error; values of different types are not equal."""
    kind = type(left)
    if kind is not type(right):
        return False
    if kind is Set:
        return bool(left.keys == right.keys)
    if kind is dict:
        return key(left) == key(right)
    return bool(left == right)


def value_of(form: Any) -> Any:
    """The value in Cedar's JSON form: of entities' attributes, of contexts, of literals in policies.

    `Failed` for an extension value that can't be made, `Unsupported` for what is no such form.
    """
    kind = type(form)
    if kind is str or kind is bool:
        return form
    if kind is int:
        if not LONG_MIN <= form <= LONG_MAX:
            raise Unsupported("an integer of more than 64 bits")
        return form
    if kind is list or kind is tuple:
        try:
            _joined(form)
        except TypeError:  # not all of them are strings
            return Set(map(value_of, form))
        return Set(form, frozenset(form))
    if kind is dict:
        if "__entity" in form:
            return entity_of(form)
        if "__extn" in form:
            return _extension(form["__extn"])
        values: dict[str, Any] = {}
        for name, each in form.items():
            of = type(each)
            # Most of a context: not worth a call for each.
            is_plain = of is str or of is bool or (of is int and -_SMALL < each < _SMALL)
            values[name] = each if is_plain else value_of(each)
        return values
    raise Unsupported(kind.__name__)


def entity_of(form: Mapping[str, Any]) -> Entity:
    """The entity that `{"type", "id"}` names, also within `__entity`."""
    inner = form.get("__entity", form)
    # Types are few: as one string each, they are compared without being looked at.
    return Entity((intern(inner["type"]), inner["id"]))


def _extension(form: Any) -> Any:
    if not isinstance(form, dict) or form.keys() - {"fn", "arg", "args"} or form.get("fn") not in EXTENSIONS:
        raise Unsupported("an extension value of another form")
    arguments = form["args"] if "args" in form else [form.get("arg")]
    return call(form["fn"], *(value_of(each) for each in arguments))


def call(name: str, *arguments: Any) -> Any:
    """The result of an extension function; `Failed` where Cedar fails."""
    found = made(name, arguments)
    if found is None:
        raise Failed(f"`{name}` can't take this")
    return found
