"""Identical denials within a time become one record and a count, so that an agent in a loop can't fill the disk.

This is no state that decides: it can be lost (a restart, a failed commit) at the price of one more record, or of
repetitions that are not counted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from remit.decide.session import answer_of

KEPT: Final = 10_000  # denials
KEYS: Final = 100_000  # idempotency keys that were answered with them
BOUND: Final = "bound_reached"  # the reason of every denial of a session that has reached one of its bounds

# Who, for which task, what with which arguments, and why.
Key = tuple[str, ...]


@dataclass(slots=True)
class Denial:
    """A recorded denial that identical ones are folded into."""

    stream: str
    answer: dict[str, Any]
    at: int
    count: int = 0  # repetitions not yet recorded
    total: int = 0
    keys: list[str] = field(default_factory=list)


class Counted(NamedTuple):
    """Repetitions to record."""

    stream: str
    decision: str
    times: int


class Denials:
    """The denials of the last while, the oldest first; every operation costs what it finds, not what is kept."""

    def __init__(self) -> None:
        self._recent: OrderedDict[tuple[str, Key], Denial] = OrderedDict()
        self._keys: dict[tuple[str, str], Denial] = {}
        self._left: list[Counted] = []

    def __len__(self) -> int:
        return len(self._recent)

    def note(self, stream: str, body: Mapping[str, Any], at: int) -> None:
        """Takes a recorded denial; what repeats it is folded into this one from now on."""
        key = (stream, denial_key(body))
        self._drop(key)
        self._recent[key] = Denial(stream, answer_of(body), at)
        if len(self._recent) > KEPT:
            self._drop(next(iter(self._recent)))

    def repeat(self, stream: str, key: Key, now: int, within: int, idempotency: str = "") -> Denial | None:
        """The denial that this one repeats, counted; None when there is none of the last `within` ms."""
        found = self._recent.get((stream, key))
        if found is None or now - found.at >= within:
            return None
        found.count += 1
        found.total += 1
        if idempotency and len(self._keys) < KEYS:
            self._keys[stream, idempotency] = found
            found.keys.append(idempotency)
        return found

    def answered(self, stream: str, idempotency: str) -> dict[str, Any] | None:
        """What was answered to this idempotency key, when that was a repetition."""
        found = self._keys.get((stream, idempotency))
        return found.answer if found else None

    def settle(self, before: int, most: int) -> list[Counted]:
        """At most `most` counts of denials that were recorded until `before`, which nothing is folded into any more."""
        while self._recent and len(self._left) < most:
            key, denial = next(iter(self._recent.items()))
            if denial.at > before:
                break
            self._drop(key)
        found, self._left = self._left[:most], self._left[most:]
        return found

    def forget(self, streams: Iterable[str]) -> None:
        """Drops what is known of these streams: their last records may never have become durable."""
        gone = set(streams)
        for key in [key for key in self._recent if key[0] in gone]:
            del self._recent[key]
        self._keys = {key: denial for key, denial in self._keys.items() if key[0] not in gone}
        self._left = [counted for counted in self._left if counted.stream not in gone]

    def _drop(self, key: tuple[str, Key]) -> None:
        denial = self._recent.pop(key, None)
        if denial is None:
            return
        for idempotency in denial.keys:
            self._keys.pop((denial.stream, idempotency), None)
        if denial.count:
            self._left.append(Counted(denial.stream, denial.answer["id"], denial.count))


def denial_key(body: Mapping[str, Any]) -> Key:
    """What makes two denials identical; `body` is a record's."""
    reason = body["reason"]
    named = (body["subject"], body["pep"], body["action"], body["digest"])
    return key_of(body.get("task", ""), *named, reason["code"], reason["message"])


def is_coarse(task: str, action: str, code: str) -> bool:
    """Whether denials repeat each other also with other arguments, because the arguments played no part in them."""
    return code == BOUND or (not task and "/" in action)


def key_of(task: str, subject: str, pep: str, action: str, digest: str, code: str, message: str) -> Key:
    """The same from its parts."""
    if is_coarse(task, action, code):
        # SECURITY: who changes its arguments with each question must not have each denial recorded.
        action = digest = ""
    if code == "identity_unknown":
        subject = message = ""  # a name that the caller may make up
    return (task, subject, pep, action, digest, code, message)
