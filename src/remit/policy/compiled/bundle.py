"""Policies that are asked together: which of them match a request and which fail, without evaluating each.

1. By the principal and what it is in: those whose scope names no other.
2. By families of facts (`facts`): those of which no leading condition is false.
3. What a family could not tell, and what has conditions behind the leading ones, is evaluated, one after the other.

Small bundles go without the second step, which costs as much as evaluating a few policies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from remit.policy.compiled.compiler import Matches, compile_policy
from remit.policy.compiled.facts import UNCERTAIN, Condition, Fact, Family, Request, conditions_of
from remit.policy.compiled.values import Entity, Failed, Unsupported, entity_of

_KEPT: Final = 1_024  # sets of policies whose members are kept, of one bundle
_MANY: Final = 8  # members of a set that is worth keeping


Slot = tuple[Fact, int]  # a family: its fact, and how many conditions of a policy before have the same


class Sizes(NamedTuple):
    """From which size on something is looked up rather than evaluated."""

    few: int = 4  # policies that are evaluated rather than looked up
    shared: int = 3  # policies that a family is worth
    own: int = 64  # policies that a slice takes for itself; larger bundles are shared


SIZES: Final = Sizes()
LOOKED_UP: Final = Sizes(few=0, shared=1, own=0)  # for comparing: everything is looked up, however little it is


class Entry:
    """One policy of a set: what it is called, its place among those that are named, and its JSON form."""

    __slots__ = ("forbids", "guard", "id", "json", "matches", "place", "slots")

    def __init__(
        self,
        id_: str,
        place: int,
        json: Mapping[str, Any],
        slots: Mapping[str, Entity] | None = None,
        guard: str | None = None,
    ) -> None:
        """`guard` is the value that the pivot of its index must have; None for any."""
        self.id = id_
        self.place = place
        self.json = json
        self.slots = slots
        self.guard = guard
        self.forbids = json["effect"] == "forbid"
        self.matches: Matches | None = None  # once it was evaluated

    def compiled(self) -> Matches:
        """The policy as a function, compiled when it is first evaluated; `Unsupported` where it can't be."""
        if self.matches is None:
            self.matches = compile_policy(self.id, self.json, self.slots).matches
        return self.matches


class Outcome:
    """What the policies of some bundles say: of those that matched and failed, each perhaps several times."""

    __slots__ = ("failed", "forbids", "permits")

    def __init__(self) -> None:
        self.permits: list[Entry] = []
        self.forbids: list[Entry] = []
        self.failed: list[tuple[Entry, str]] = []


class Bundle:
    """Some policies, as bits by their place here. Immutable but for what it works out when it is first asked."""

    def __init__(self, entries: Sequence[Entry], *, any_resource: bool = False, sizes: Sizes = SIZES) -> None:
        """Of requests of an action that all their scopes allow; and of a resource likewise, unless `any_resource`."""
        self.entries = tuple(entries)
        self._any_resource = any_resource
        self._sizes = sizes
        self._open = 0
        self._exact: dict[Entity, int] = {}
        self._within: dict[Entity, int] = {}
        self._forbids = 0
        for place, entry in enumerate(self.entries):
            bit = 1 << place
            if entry.forbids:
                self._forbids |= bit
            where, named = principals(entry)
            if where is None:
                self._open |= bit
            for each in named:
                by_name = self._exact if where == "==" else self._within
                by_name[each] = by_name.get(each, 0) | bit
        self._families: tuple[Family, ...] | None = None
        self._ordered: tuple[Family, ...] = ()  # each behind all that have conditions before its own
        self._others: tuple[Family, ...] = ()
        self._whole = 0  # those whose conditions are all in families
        self._kept: dict[int, tuple[Entry, ...]] = {}

    def ask(self, request: Request, outcome: Outcome) -> None:
        """Adds what these policies say to `outcome`; `Unsupported` where one of them can't be compiled."""
        start = self._open | self._exact.get(request.principal, 0)
        if within := self._within:
            for each in request.above_principal:
                start |= within.get(each, 0)
        if not start:
            return
        alive, matched, left = start, 0, start
        if start.bit_count() > self._sizes.few:
            if self._families is None:
                self.prepare()
            uncertain = 0
            # Where a policy is out here, a condition before its one in this family was false: whether that fails is
            # not asked.
            for family in self._ordered:
                if members := alive & family.members:
                    possible = family.possible(request)
                    if possible == UNCERTAIN:
                        uncertain |= members
                    else:
                        alive &= possible
            for family in self._others:
                if members := start & family.members:
                    possible = family.possible(request)
                    if possible == UNCERTAIN:
                        # SECURITY: it may come before what was false: such a policy is evaluated.
                        uncertain |= members
                    else:
                        alive &= possible
            matched = alive & self._whole & ~uncertain
            left = (alive & ~self._whole) | uncertain
        while left:
            bit = left & -left
            left ^= bit
            entry = self.entries[bit.bit_length() - 1]
            try:
                if (entry.matches or entry.compiled())(*request):
                    matched |= bit
            except Failed as failure:
                outcome.failed.append((entry, str(failure)))
        if matched:
            if forbids := matched & self._forbids:
                outcome.forbids += self._members(forbids)
            elif not outcome.forbids:
                outcome.permits += self._members(matched)

    def prepare(self) -> tuple[Family, ...]:
        """Finds the families, which the first question would else do."""
        conditions = [
            list(conditions_of(entry.json, any_resource=self._any_resource)) if entry.slots is None else None
            for entry in self.entries
        ]
        worth = _worth([each for each in conditions if each is not None], self._sizes.shared)
        members: dict[Slot, list[tuple[int, Condition]]] = {}
        before: dict[Slot, set[Slot]] = {}
        whole = 0
        for place, several in enumerate(conditions):
            if several is None:
                continue
            leading = list(_leading(several, worth))
            for slot, condition in leading:
                members.setdefault(slot, []).append((place, condition))
            for (earlier, _), (slot, _) in pairwise(leading):
                before.setdefault(slot, set()).add(earlier)
            if len(leading) == len(several):
                whole |= 1 << place
        everything = (1 << len(self.entries)) - 1
        families = {slot: Family(slot[0], each, everything) for slot, each in members.items()}
        ordered = _in_order(families, before)
        self._ordered = tuple(families[slot] for slot in ordered)
        self._others = tuple(family for slot, family in families.items() if slot not in ordered)
        self._whole, self._families = whole, tuple(families.values())
        return self._families

    def _members(self, bits: int) -> tuple[Entry, ...]:
        """The entries of a set, in their order."""
        count = bits.bit_count()
        if count <= _MANY:
            found = []
            while bits:
                bit = bits & -bits
                bits ^= bit
                found.append(self.entries[bit.bit_length() - 1])
            return tuple(found)
        kept = self._kept.get(bits)
        if kept is None:
            if len(self._kept) >= _KEPT:
                self._kept = {}
            kept = self._kept[bits] = tuple(self.entries[place] for place in _places(bits))
        return kept


def principals(entry: Entry) -> tuple[str | None, tuple[Entity, ...]]:
    """How the scope names principals (`==`, `in`, None: not at all), and which."""
    return named(entry.json["principal"], entry.slots)


def named(form: Mapping[str, Any], slots: Mapping[str, Entity] | None) -> tuple[str | None, tuple[Entity, ...]]:
    """How a part of a scope names entities (`==`, `in`, None: not at all), and which; `Unsupported` for a slot."""
    op = form["op"]
    if op == "is":
        return named({"op": "in", **form["in"]}, slots) if "in" in form else (None, ())
    if op == "All":
        return None, ()
    if op not in ("==", "in"):
        raise Unsupported(f"the scope `{op}`")
    if "entities" in form:
        return op, tuple(map(entity_of, form["entities"]))
    if "slot" not in form:
        return op, (entity_of(form["entity"]),)
    if slots is None or form["slot"] not in slots:
        raise Unsupported("a template that is not linked")
    return op, (slots[form["slot"]],)


def _in_order(slots: Iterable[Slot], before: Mapping[Slot, set[Slot]]) -> dict[Slot, None]:
    """The families, each behind all that have conditions before its own; without those for which there is no order."""
    left = dict.fromkeys(slots)
    ordered: dict[Slot, None] = {}
    while found := [slot for slot in left if before.get(slot, set()) <= ordered.keys()]:
        for slot in found:
            ordered[slot] = left.pop(slot)
    return ordered


def _slots(conditions: Iterable[Condition]) -> Iterator[tuple[Slot, Condition]]:
    """Each condition with its family: its fact, and how many conditions before it have the same."""
    seen: Counter[Fact] = Counter()
    for condition in conditions:
        yield (condition.fact, seen[condition.fact]), condition
        seen[condition.fact] += 1


def _worth(several: Sequence[Sequence[Condition]], least: int) -> frozenset[Slot]:
    """The families that enough policies share."""
    counted = Counter(slot for conditions in several for slot, _ in _slots(conditions))
    return frozenset(slot for slot, count in counted.items() if count >= least)


def _leading(conditions: Sequence[Condition], worth: frozenset[Slot]) -> Iterator[tuple[Slot, Condition]]:
    """The conditions before the first that no family takes: what comes after one that may fail settles nothing."""
    for slot, condition in _slots(conditions):
        if slot not in worth:
            return
        yield slot, condition


def _places(bits: int) -> Iterator[int]:
    """The places of the bits that are set."""
    for at, byte in enumerate(bits.to_bytes((bits.bit_length() + 7) // 8, "little")):
        if byte:
            at *= 8
            for each in _BITS[byte]:
                yield at + each


_BITS: Final = tuple(tuple(bit for bit in range(8) if byte >> bit & 1) for byte in range(256))
