"""Samples are chosen by nobody: one seed gives the same ones, another one others, and each record has a chance."""

from __future__ import annotations

import hashlib
from collections import Counter

from remit.console.evidence.samples import Candidate, Chooser, leaf_of, lowest, seed_of

LEAVES = [Candidate(leaf_of(b"%d" % n)) for n in range(200)]


def test_the_choice_is_what_the_page_says_it_is() -> None:
    seed = seed_of(b"root", "")
    ranked = sorted(LEAVES, key=lambda each: hashlib.sha256(seed + b"denied\x00" + each.leaf).digest())
    assert lowest(seed, "denied", LEAVES, 5) == ranked[:5]


def test_the_order_in_which_records_come_does_not_matter() -> None:
    seed = seed_of(b"root", "")
    assert lowest(seed, "denied", LEAVES, 5) == lowest(seed, "denied", reversed(LEAVES), 5)


def test_root_figure_and_the_auditors_word_each_change_it() -> None:
    chosen = {
        tuple(lowest(seed_of(root, word), figure, LEAVES, 5))
        for root in (b"one", b"two")
        for word in ("", "word")
        for figure in ("denied", "permitted")
    }
    assert len(chosen) == 8


def test_every_record_has_the_same_chance() -> None:
    seen = Counter(each.leaf for n in range(2_000) for each in lowest(seed_of(b"%d" % n, ""), "denied", LEAVES[:20], 2))
    assert len(seen) == 20
    assert max(seen.values()) < 2 * min(seen.values())


def test_a_record_that_is_counted_twice_is_shown_once() -> None:
    chooser = Chooser(seed_of(b"root", ""), 3)
    for each in [*LEAVES[:4], *LEAVES[:4]]:
        chooser.offer("denied", each)
    assert len({each.leaf for each in chooser.chosen("denied")}) == 3
    assert len(lowest(b"", "denied", LEAVES[:1] * 5, 3)) == 1


def test_fewer_than_wanted_and_none() -> None:
    assert len(lowest(b"", "denied", LEAVES[:2], 5)) == 2
    assert lowest(b"", "denied", LEAVES, 0) == []
    assert Chooser(b"", 3).chosen("never") == []
