"""Brings the index up to what the records hold, file by file; who stops in between has lost at most one file.

1. The newest file's last record must still be what it was, or else the records are others than those indexed.
2. A whole block of 65,536 places becomes one file, and before it is full 2,048 places at a time do.
3. When a block is full, its parts are merged into one file.

Only places at which nothing can come up any more are indexed (`Reader.settled`).
"""

from __future__ import annotations

import contextlib
from typing import Final

from remit.ledger.record import leaf_hash
from remit.storage.index_facts import Lookup
from remit.storage.index_folder import IndexFolder, Range
from remit.storage.index_segment import BLOCK, Builder, Damaged, Pause, Segment, merge
from remit.storage.reader import Reader

PART: Final = 1024  # places of the smallest file; fewer are looked through without an index
_SLICE: Final = 16  # records between two pauses
_PAGE: Final = 128


def covered(reader: Reader, folder: IndexFolder) -> tuple[list[Range], bool]:
    """The files that can be believed, in order, and whether others were left out for not belonging to these records."""
    ranges = folder.ranges()
    foreign = False
    while ranges:
        try:
            with Segment(ranges[-1].path) as segment:
                head = segment.head
        except FileNotFoundError:
            ranges = folder.ranges()  # merged meanwhile
            continue
        except Damaged:
            foreign = True
            ranges.pop()
            continue
        # SECURITY: an index of other records would hide those that are here.
        found = reader.at([head.last]) if (head.start, head.end) == ranges[-1][:2] else []
        if found and leaf_hash(found[0].data) == head.leaf:
            break
        foreign = True
        ranges.pop()
    return ranges, foreign


def advance(reader: Reader, folder: IndexFolder, lookup: Lookup, pause: Pause = lambda: None) -> int | None:
    """Makes the next file, under the folder's lock; the place up to which the index reaches now, None: nothing to do.

    `pause` is called every some hundred microseconds. Raises `Unavailable`.
    """
    ranges, foreign = covered(reader, folder)
    start = ranges[-1].end if ranges else 0
    if foreign:
        folder.remove_from(start)
    first = next(iter(reader.after(max(0, start - 1), 1)), None)
    if first is None:
        return None
    settled = reader.settled()
    end = _end(start, first.seq, settled)
    if end is None:
        return None
    folder.write(start, end, _build(reader, lookup, start, end, pause).encode(pause))
    if end % BLOCK == 0:
        _merge(folder, end, pause)
    return end


def _end(start: int, first: int, settled: int) -> int | None:
    """How far the next file goes: to the end of the first record's block, or of its part, or nowhere yet."""
    block = first - first % BLOCK
    for begin, size in ((block, BLOCK), (first - first % PART, PART)):
        if start <= begin and settled >= begin + size - 1:
            return begin + size
    return None


def _build(reader: Reader, lookup: Lookup, start: int, end: int, pause: Pause) -> Builder:
    builder = Builder(start, end)
    after = max(0, start - 1)
    while True:
        page = reader.after(after, _PAGE)
        for number, stored in enumerate(page):
            if stored.seq >= end:
                return builder
            builder.add(stored, lookup.facts(stored))
            if number % _SLICE == 0:
                pause()
        if len(page) < _PAGE:
            return builder
        after = page[-1].seq


def _merge(folder: IndexFolder, end: int, pause: Pause) -> None:
    """Makes one file of the parts of a block that is full."""
    parts = [each for each in folder.ranges() if end - BLOCK < each.end <= end]
    # Where somebody took a file away meanwhile, the gap is filled first.
    if len(parts) < 2 or parts[-1].end != end:
        return
    with contextlib.ExitStack() as stack:
        try:
            opened = [stack.enter_context(Segment(each.path)) for each in parts]
            data = merge(opened, pause)
        except FileNotFoundError:
            return  # taken away just now, or merged by somebody else
        except Damaged as damaged:
            folder.remove([damaged.path])  # it is made again, and the merge comes after it
            return
    folder.write(parts[0].start, end, data)
    folder.remove([each.path for each in parts])
