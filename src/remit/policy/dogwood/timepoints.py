"""The events of one history that some condition can still look at.

Of each event those fields are kept that a condition names, and an event that no predicate names is kept as a timepoint
without fields. Timepoints are numbered from 0 since the history began; the numbers stay when old ones are forgotten.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from remit.policy.dogwood.ast import Path
from remit.policy.dogwood.history import Event, Exceeded
from remit.policy.dogwood.stored import form_of, value_of

Signature = tuple[str, str, str]  # the action's type, its name, the kind of event
Layout = Mapping[Signature, Sequence[Path]]  # which fields of an event are kept

ABSENT: Final = None
_NAMED_BY_NOBODY: Final = -1
_WORTH_COMPACTING: Final = 64


def field_of(fields: Mapping[Path, Any], path: Path) -> Any:
    """The value at a path: a leaf, a field of a record, or the record of all leaves below; `ABSENT` without."""
    if path in fields:
        return fields[path]
    for length in range(len(path) - 1, 0, -1):
        if path[:length] in fields:
            return within(fields[path[:length]], path[length:])
    below = {leaf[len(path) :]: value for leaf, value in fields.items() if leaf[: len(path)] == path}
    return record_of(below) if below else ABSENT


def within(value: Any, path: Path) -> Any:
    """What a path reads in a record; `ABSENT` where there is no such field or no record."""
    for name in path:
        if type(value) is not dict:
            return ABSENT
        value = value.get(name, ABSENT)
    return value


def record_of(leaves: Mapping[Path, Any]) -> dict[str, Any]:
    """The record that has these values at these paths."""
    made: dict[str, Any] = {}
    for path, value in leaves.items():
        record = made
        for name in path[:-1]:
            record = record.setdefault(name, {})
        record[path[-1]] = value
    return made


class Timepoints:
    """What is kept of a history, by number; `reach` is how far back in milliseconds anything looks."""

    def __init__(self, layout: Layout, reach: int, bound: int) -> None:
        self.signatures = {signature: number for number, signature in enumerate(sorted(layout))}
        self._slots = [tuple(layout[signature]) for signature in self.signatures]
        self._reach = reach
        self._bound = bound
        self.first = 0  # the number of the oldest that is kept
        self._base = 0  # the number of the oldest in the lists; those between the two are forgotten
        self._at: list[int] = []
        self._signature: list[int] = []
        self._fields: list[tuple[Any, ...]] = []
        self._of: list[list[int]] = [[] for _ in self.signatures]  # by signature: the numbers of its timepoints

    @property
    def end(self) -> int:
        """The number that the next timepoint gets."""
        return self._base + len(self._at)

    def at(self, number: int) -> int:
        """When this timepoint was."""
        return self._at[number - self._base]

    def signature(self, number: int) -> int:
        """The number of its signature; negative if no condition names it."""
        return self._signature[number - self._base]

    def fields(self, number: int) -> tuple[Any, ...]:
        """Its fields, in the order of the layout."""
        return self._fields[number - self._base]

    def since(self, at: int, until: int) -> int:
        """The number of the first timepoint that is not before `at`; `until` if there is none before that number."""
        low = bisect_left(self._at, at, self.first - self._base, until - self._base)
        return low + self._base

    def named(self, signatures: Iterable[int], first: int, last: int) -> list[int]:
        """The timepoints of these signatures from `first` to `last`, in order."""
        found = []
        for signature in signatures:
            numbers = self._of[signature]
            found.append(numbers[bisect_left(numbers, first) : bisect_right(numbers, last)])
        return found[0] if len(found) == 1 else sorted(number for each in found for number in each)

    def append(self, event: Event) -> None:
        """Takes an event; `Exceeded` and nothing changed if too many were kept, `ValueError` if time went back."""
        if self._at and event.at < self._at[-1]:
            raise ValueError("an event of a history is earlier than the one before it")
        first = self.since(event.at - self._reach, self.end)
        if self.end - first >= self._bound:
            raise Exceeded(f"a history holds more than {self._bound} events within the windows of its policies")
        self.first = first
        self._push(event)
        if self.first - self._base > max(_WORTH_COMPACTING, len(self._at) // 2):
            self._compact()

    def push(self, event: Event) -> int:
        """Adds the event that is being decided, until `pop`; its number."""
        if self._at and event.at < self._at[-1]:
            raise ValueError("an event of a history is earlier than the one before it")
        self._push(event)
        return self.end - 1

    def pop(self) -> None:
        """Takes the last one away again."""
        signature = self._signature.pop()
        if signature != _NAMED_BY_NOBODY:
            self._of[signature].pop()
        self._at.pop()
        self._fields.pop()

    def _push(self, event: Event) -> None:
        signature = self.signatures.get((event.type, event.action, event.kind), _NAMED_BY_NOBODY)
        values: tuple[Any, ...] = ()
        if signature != _NAMED_BY_NOBODY:
            values = tuple(field_of(event.fields, path) for path in self._slots[signature])
            self._of[signature].append(self.end)
        self._at.append(event.at)
        self._signature.append(signature)
        self._fields.append(values)

    def _compact(self) -> None:
        gone = self.first - self._base
        del self._at[:gone], self._signature[:gone], self._fields[:gone]
        self._base = self.first
        for numbers in self._of:
            del numbers[: bisect_left(numbers, self.first)]

    def form(self) -> Any:
        """All of it as JSON."""
        skip = self.first - self._base
        rows = zip(self._at[skip:], self._signature[skip:], self._fields[skip:], strict=True)
        return [self.first, [[at, signature, *map(_form, fields)] for at, signature, fields in rows]]

    def fill(self, form: Any) -> None:
        """Takes what `form` gave, into one that is new; `ValueError` for what it could not have given."""
        match form:
            case [int(first), list(rows)] if type(first) is int and first >= 0:
                self.first = self._base = first
            case _:
                raise ValueError("this is no stored history")
        for row in rows:
            match row:
                case [int(at), int(signature), *fields] if self._could_be(at, signature, fields):
                    if signature != _NAMED_BY_NOBODY:
                        self._of[signature].append(self.end)
                    self._at.append(at)
                    self._signature.append(signature)
                    self._fields.append(tuple(map(_value, fields)))
                case _:
                    raise ValueError("this is no stored history")

    def _could_be(self, at: int, signature: int, fields: Sequence[Any]) -> bool:
        if type(at) is not int or not _NAMED_BY_NOBODY <= signature < len(self._slots):
            return False
        slots = 0 if signature == _NAMED_BY_NOBODY else len(self._slots[signature])
        return len(fields) == slots and (not self._at or at >= self._at[-1])


def _form(value: Any) -> Any:
    return None if value is ABSENT else form_of(value)


def _value(form: Any) -> Any:
    return ABSENT if form is None else value_of(form)
