"""What monitors keep: for each temporal operator the rows that its body had, with what its window needs of their times.

| store | keeps | for |
|---|---|---|
| `Latest` | each row of the window once, with its latest timepoint | `formerly`, and both sides of `since` |
| `Last` | the rows at the last timepoint | `previous` |
| `Runs` | the rows at the last timepoint, and since when each was there without a break | the left side of `since` |

One row suffices of each: whatever an earlier timepoint in the window makes hold, a later one does too. A body with
`tp(t)` has the timepoint as a column, so that each of its occurrences is a row of its own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import islice
from operator import itemgetter

Row = tuple[Hashable, ...]
Rows = dict[Row, None]
Stamp = tuple[int, int]  # the number of a timepoint, and its time

NO_ROWS: Rows = {}


class Index:
    """Rows by some of their columns; `summed` is the position of the column that is added up, if there is one."""

    def __init__(self, positions: tuple[int, ...], summed: int | None) -> None:
        self.key = key_at(positions)  # what a row is found by
        self.summed = summed
        self.buckets: dict[Row, Bucket] = {}

    def amount(self, row: Row) -> int:
        """What a row adds to the sum; what is no integer adds nothing."""
        if self.summed is None:
            return 0
        value = row[self.summed]
        return value if type(value) is int else 0

    def put(self, row: Row, *, is_new: bool) -> None:
        """Adds a row, or makes it the latest."""
        key = self.key(row)
        bucket = self.buckets.get(key)
        if bucket is None:
            bucket = self.buckets[key] = Bucket()
        bucket.passed = None
        bucket.rows[row] = None
        if is_new:
            bucket.total += self.amount(row)
        else:
            bucket.rows.move_to_end(row)

    def drop(self, row: Row) -> None:
        """Takes a row away."""
        key = self.key(row)
        bucket = self.buckets[key]
        bucket.passed = None
        del bucket.rows[row]
        bucket.total -= self.amount(row)
        if not bucket.rows:
            del self.buckets[key]


def key_at(positions: tuple[int, ...]) -> Callable[[Sequence[Hashable]], Row]:
    """What a row has at these positions."""
    if not positions:
        return lambda row: ()
    if len(positions) == 1:
        only = positions[0]
        return lambda row: (row[only],)
    return itemgetter(*positions)


class Bucket:
    """The rows of one key, the latest last, and their sum."""

    __slots__ = ("passed", "rows", "total")

    def __init__(self) -> None:
        self.rows: OrderedDict[Row, None] = OrderedDict()
        self.total = 0
        self.passed: Passed | None = None


class Passed:
    """How many of a bucket's rows a question found to have left the window: the next one begins there."""

    def __init__(self, bucket: Bucket) -> None:
        self.rows: Iterator[Row] = iter(bucket.rows)
        self.cutoff = 0
        self.next: Row | None = next(self.rows)
        self.number = 0
        self.amount = 0


class Latest:
    """Each row once, with its latest timepoint; those out of the window are dropped as events come."""

    def __init__(self, window: int, indexes: Iterable[tuple[tuple[int, ...], int | None]]) -> None:
        self.window = window
        self.rows: OrderedDict[Row, Stamp] = OrderedDict()
        self.indexes = [Index(*each) for each in indexes]

    @property
    def size(self) -> int:
        """How many rows it holds."""
        return len(self.rows)

    def due(self) -> int | None:
        """Until when nothing leaves the window; `None` if it is empty."""
        for _, at in self.rows.values():
            return at + self.window
        return None

    def leaving(self, now: int, most: int) -> int:
        """How many rows leave the window by then; at least `most` of them are counted if there are so many."""
        gone = 0
        for _, at in islice(self.rows.values(), most):
            if at >= now - self.window:
                break
            gone += 1
        return gone

    def added(self, rows: Rows) -> int:
        """How many of these it does not hold yet."""
        return sum(row not in self.rows for row in rows)

    def expire(self, now: int) -> int:
        """Drops what left the window; how many rows that were."""
        cutoff, gone = now - self.window, 0
        while self.rows:
            row = next(iter(self.rows))
            if self.rows[row][1] >= cutoff:
                break
            del self.rows[row]
            gone += 1
            for index in self.indexes:
                index.drop(row)
        return gone

    def commit(self, rows: Rows, stamp: Stamp) -> None:
        """Takes the rows of a timepoint."""
        for row in rows:
            is_new = row not in self.rows
            self.rows[row] = stamp
            if not is_new:
                self.rows.move_to_end(row)
            for index in self.indexes:
                index.put(row, is_new=is_new)

    def within(self, number: int, key: Row, cutoff: int) -> tuple[int, int]:
        """How many rows of a key are not before `cutoff`, and their sum, by the index of this number."""
        index = self.indexes[number]
        bucket = index.buckets.get(key)
        if bucket is None:
            return 0, 0
        if self.rows[next(iter(bucket.rows))][1] >= cutoff:
            return len(bucket.rows), bucket.total
        passed = bucket.passed
        if passed is None or passed.cutoff > cutoff:
            passed = bucket.passed = Passed(bucket)
        passed.cutoff = cutoff
        while passed.next is not None and self.rows[passed.next][1] < cutoff:
            passed.number += 1
            passed.amount += index.amount(passed.next)
            passed.next = next(passed.rows, None)
        return len(bucket.rows) - passed.number, bucket.total - passed.amount


class Last:
    """The rows at the last timepoint, and its time."""

    def __init__(self, indexes: Iterable[tuple[tuple[int, ...], int | None]]) -> None:
        self.at = 0
        self.rows: Rows = {}
        self.indexes = [Index(*each) for each in indexes]

    @property
    def size(self) -> int:
        """How many rows it holds."""
        return len(self.rows)

    def commit(self, rows: Rows, stamp: Stamp) -> None:
        """Takes the rows of a timepoint."""
        self.at = stamp[1]
        self.rows = rows
        for index in self.indexes:
            index.buckets.clear()
            for row in rows:
                index.put(row, is_new=True)


class Runs:
    """The rows at the last timepoint, each with the number of the timepoint since which it was there at every one."""

    def __init__(self) -> None:
        self.rows: dict[Row, int] = {}

    @property
    def size(self) -> int:
        """How many rows it holds."""
        return len(self.rows)

    def commit(self, rows: Rows, stamp: Stamp) -> None:
        """Takes the rows of a timepoint."""
        self.rows = {row: self.rows.get(row, stamp[0]) for row in rows}


Store = Latest | Last | Runs
