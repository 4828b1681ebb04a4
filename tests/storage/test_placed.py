"""Where records without a place can be, and what it costs to find them."""

from __future__ import annotations

import random

from remit.storage.postgres_placed import Hole, Search

NOBODY: frozenset[str] = frozenset()


def test_a_gap_is_looked_into_until_everybody_who_was_writing_has_ended() -> None:
    search = Search(0)
    search.take(5, frozenset({"a"}), [1, 2, 5], is_all=True)
    assert search.holes == [Hole(3, 4)]
    assert not search.is_done(5)
    search.take(6, frozenset({"a", "b"}), [6], is_all=True)
    assert search.holes == [Hole(3, 4)]
    search.take(6, frozenset({"b"}), [4], is_all=True)  # a has ended: 4 came up, 3 never will
    assert (search.holes, search.settled) == ([], 5)
    assert search.is_done(6)
    search.take(6, NOBODY, [], is_all=True)
    assert search.settled == 6


def test_whoever_writes_for_long_makes_no_look_expensive() -> None:
    search = Search(0)
    for seq in range(2, 2000, 2):
        search.take(seq, frozenset({"long", str(seq)}), [seq], is_all=True)
    assert search.settled == 0
    assert search.high == 1998  # what is behind is found by the index, what is before in the holes
    assert len(search.holes) == 999
    search.take(1998, NOBODY, [], is_all=True)
    assert (search.holes, search.settled) == ([], 1998)


def test_more_than_a_chunk_settles_nothing_that_was_not_looked_at() -> None:
    search = Search(0)
    search.take(100, NOBODY, [1, 2, 4], is_all=False)
    assert (search.settled, search.high, search.holes) == (4, 4, [])
    search.take(100, NOBODY, [5], is_all=True)
    assert (search.settled, search.high) == (100, 100)


class Writers:
    """Transactions that draw places and end in any order; some of them never wrote."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.drawn = 0
        self.running: dict[str, list[int]] = {}
        self.committed: set[int] = set()
        self._names = 0

    def go_on(self) -> None:
        for _ in range(self.chance.randrange(4)):
            self._names += 1
            self.running[str(self._names)] = []
        for places in self.running.values():
            for _ in range(self.chance.randrange(3)):
                self.drawn += 1
                places.append(self.drawn)
        for name in [name for name in self.running if self.chance.random() < 0.3]:
            self.end(name)

    def end(self, name: str = "") -> None:
        places = self.running.pop(name or self.chance.choice(list(self.running)))
        if self.chance.random() < 0.8:
            self.committed.update(places)


def test_nothing_is_missed_or_found_twice_whatever_ends_when() -> None:
    for seed in range(200):
        writers, search, found = Writers(seed), Search(0), list[int]()

        def look(most: int, writers: Writers = writers, search: Search = search, found: list[int] = found) -> None:
            drawn, running = writers.drawn, frozenset(writers.running)
            if running and writers.chance.random() < 0.5:
                writers.end()  # between the steps of a look
            visible = sorted(writers.committed.difference(found))
            inside = [seq for seq in visible if any(hole.first <= seq <= hole.last for hole in search.holes)]
            behind = [seq for seq in visible if seq > search.high]
            found += [*inside, *behind[:most]]
            search.take(drawn, running, [*inside, *behind[:most]], is_all=len(behind) <= most)
            assert {seq for seq in writers.committed if seq <= search.settled} <= set(found)

        for _ in range(60):
            writers.go_on()
            look(writers.chance.choice((2, 1000)))
        while writers.running:
            writers.end()
        look(1000)
        look(1000)
        assert len(found) == len(set(found))
        assert set(found) == writers.committed
        assert (search.holes, search.settled) == ([], writers.drawn)
