"""Finds records by what a filter says, the newest first: in the index as far as it reaches, then by looking through.

Every file that the answer needs is opened once; where the newest ones have enough, the others are not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from pyroaring import BitMap

from remit.ledger.record import KINDS
from remit.storage.index_building import covered
from remit.storage.index_choice import IDENTITIES, Choice, Matches, Predicate, is_glob, matcher
from remit.storage.index_facts import Lookup
from remit.storage.index_folder import IndexFolder, Range
from remit.storage.index_segment import BLOCK, Damaged, Piece, Segment
from remit.storage.reader import Reader, Stored

_FETCHED: Final = 32  # records at once
_ROW: Final = 512  # records that are looked at together
_OF_TASKS: Final = frozenset({"intent", "person"})


class Query:
    """One choice from one database; for one thread at a time. Its methods raise `Damaged` for the index's files."""

    def __init__(self, reader: Reader, folder: IndexFolder | None, choice: Choice) -> None:
        """Without a folder everything is looked through."""
        self._reader = reader
        self._folder = folder
        self._choice = choice
        self._lookup = Lookup(reader, tasks=not _OF_TASKS.isdisjoint(choice.fields))
        self._fits = Predicate(choice)
        self._matchers = {
            field: _Remembering(matcher(field, patterns))
            for field, patterns in choice.fields.items()
            if any(map(is_glob, patterns))
        }

    def newest(self) -> Iterator[Stored]:
        """The records that fit, the last one first."""
        if self._choice.task:
            root = self._choice.task.partition(".")[0]
            yield from self._fitting_of(reversed(list(self._reader.stream(f"session/{root}"))))
            return
        ranges = self._ranges()
        yield from self._fitting_of(self._rest(ranges))
        places = self._places(ranges)
        while wanted := list(islice(places, _FETCHED)):
            # SECURITY: read again and looked at: the index says where, the record says what.
            yield from self._fitting(self._reader.at(wanted))

    def count(self) -> int:
        """How many records fit."""
        if self._choice.task:
            return sum(1 for _ in self.newest())
        ranges = self._ranges()
        number = sum(1 for _ in self._fitting_of(self._rest(ranges)))
        for segment, below in self._segments(ranges):
            certain, open_ = self._rows(segment, below)
            number += len(certain)
            places = (segment.base + row for row in open_)
            while wanted := list(islice(places, _FETCHED)):
                number += sum(1 for _ in self._fitting(self._reader.at(wanted)))
        return number

    def values(self, field: str) -> set[str]:
        """Every value of a field that any record has."""
        ranges = self._ranges()
        lookup = Lookup(self._reader)
        facts = (lookup.facts(stored) for stored in self._rest(ranges, tuple(sorted(KINDS))))
        found = {value for each in facts for name, value in each.terms if name == field}
        for segment, _ in self._segments(ranges):
            found.update(segment.values(field))
        return found

    def _fitting(self, stored: Iterable[Stored]) -> Iterator[Stored]:
        return (each for each in stored if self._fits.fits(self._lookup.facts(each)))

    def _fitting_of(self, stored: Iterable[Stored]) -> Iterator[Stored]:
        """The same for many in a row: the older ones are looked at first, because the younger refer to them."""
        going = iter(stored)
        while some := list(islice(going, _ROW)):
            yield from list(self._fitting(reversed(some)))[::-1]

    def _ranges(self) -> list[Range]:
        return covered(self._reader, self._folder)[0] if self._folder is not None else []

    def _rest(self, ranges: list[Range], kinds: tuple[str, ...] = ()) -> Iterator[Stored]:
        """The records that no file covers yet, the last one first."""
        start = ranges[-1].end if ranges else 0
        backwards = self._reader.backwards(kinds or self._choice.kinds)
        return itertools.takewhile(lambda each: each.seq >= start, backwards)

    def _places(self, ranges: list[Range]) -> Iterator[int]:
        for segment, below in self._segments(ranges):
            certain, open_ = self._rows(segment, below)
            yield from (segment.base + row for row in reversed((certain | open_).to_array()))

    def _segments(self, ranges: list[Range]) -> Iterator[tuple[Segment, int]]:
        """The files, the newest first, and the place below which each is wanted: parts may be merged meanwhile."""
        ranges = list(ranges)
        below = ranges[-1].end if ranges else 0
        while ranges:
            last = ranges.pop()
            try:
                segment = Segment(last.path)
            except FileNotFoundError:
                # The file that has taken its place covers some of what was looked at already.
                ranges = [each for each in self._folder.ranges() if each.start < below] if self._folder else []
                if not ranges or ranges[-1].end < below:
                    raise Damaged(last.path) from None
                continue
            with segment:
                if (segment.head.start, segment.head.end) != last[:2]:
                    raise Damaged(last.path)
                if self._is_of_that_time(segment):
                    yield segment, below
            below = last.start

    def _is_of_that_time(self, segment: Segment) -> bool:
        since, until = self._choice.since, self._choice.until
        return segment.head.newest >= since and (until is None or segment.head.oldest < until)

    def _rows(self, segment: Segment, below: int) -> tuple[BitMap, BitMap]:
        """The rows that fit, and those of which only their time is open."""
        every: list[list[Piece]] = []
        for field, patterns in self._choice.fields.items():
            pieces = self._pieces(segment, field, patterns)
            if not pieces:
                return BitMap(), BitMap()
            every.append(pieces)
        # The rare ones first: their bitmaps are short.
        every.sort(key=lambda pieces: sum(length for _, length, _ in pieces))
        rows = segment.rows(every[0])
        for pieces in every[1:]:
            if not rows:
                break
            rows &= segment.rows(pieces)
        if below < segment.head.end:
            rows.remove_range(max(0, below - segment.base), BLOCK)
        since, until = self._choice.since, self._choice.until
        if segment.head.oldest >= since and (until is None or segment.head.newest < until):
            return rows, BitMap()
        certain, open_ = segment.within(since, until)
        return rows & certain, rows & open_

    def _pieces(self, segment: Segment, field: str, patterns: tuple[str, ...]) -> list[Piece]:
        remembering = self._matchers.get(field)
        if remembering is not None:
            return [piece for value, piece in segment.values(field).items() if remembering(value)]
        ends = field in IDENTITIES
        return list(dict.fromkeys(piece for name in patterns for piece in segment.named(field, name, ends=ends)))


class _Remembering:
    """A matcher that is asked about the same values again and again."""

    def __init__(self, matches: Matches) -> None:
        self._matches = matches
        self._known: dict[str, bool] = {}

    def __call__(self, value: str) -> bool:
        found = self._known.get(value)
        if found is None:
            found = self._known[value] = self._matches(value)
        return found
