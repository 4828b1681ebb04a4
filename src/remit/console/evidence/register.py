"""Who was registered, how, and in which state at which time: the lives of identities, from their records."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from remit.console.evidence.period import Period

STOPPED: Final = frozenset({"quarantined", "retired"})
_NO_KEY: Final = frozenset({"", "none"})


class Entry(NamedTuple):
    """One registration, from its time on."""

    at: int
    registration: dict[str, Any]
    by: str

    @property
    def state(self) -> str:
        """active, quarantined or retired."""
        return str(self.registration.get("state", "active"))

    @property
    def key(self) -> str:
        """The thumbprint of the registered key; "" where there is none."""
        key = str(self.registration.get("key", ""))
        return "" if key in _NO_KEY else key


@dataclass(slots=True)
class Register:
    """The register of all identities, up to the end of a period."""

    lives: dict[str, list[Entry]] = field(default_factory=dict)  # by SPIFFE ID, in the order of its stream
    _stopped: set[str] = field(default_factory=set)  # who was ever stopped

    def take(self, at: int, body: dict[str, Any]) -> Entry:
        """Takes an `identity` record; returns what it says."""
        registration = body["registration"]
        entry = Entry(at, registration, str(body.get("by", "")))
        self.lives.setdefault(str(registration["id"]), []).append(entry)
        if entry.state in STOPPED:
            self._stopped.add(str(registration["id"]))
        return entry

    def key_of(self, id_: str) -> str:
        """The key that an identity has last; "" where it has none, or is not registered."""
        life = self.lives.get(id_)
        return life[-1].key if life else ""

    def last(self) -> Iterator[tuple[str, Entry]]:
        """Everybody as registered last, by id."""
        for id_ in sorted(self.lives):
            yield id_, self.lives[id_][-1]

    def kind(self, id_: str) -> str:
        """The kind of an identity, "" where it is not registered."""
        life = self.lives.get(id_)
        return str(life[-1].registration.get("kind", "")) if life else ""

    def is_stopped(self, id_: str, at: int) -> bool:
        """Whether it was stopped by a record that is older than that time, and not brought back since."""
        if id_ not in self._stopped:
            return False
        life = self.lives[id_]
        before = bisect_left([entry.at for entry in life], at)
        return before > 0 and life[before - 1].state in STOPPED

    def stopped_in(self, period: Period) -> dict[str, set[str]]:
        """Who was stopped at some time of the period, with the states."""
        found: dict[str, set[str]] = {}
        for id_ in sorted(self._stopped):
            life = self.lives[id_]
            for number, entry in enumerate(life):
                until = life[number + 1].at if number + 1 < len(life) else period.end
                if entry.state in STOPPED and entry.at < period.end and until > period.start:
                    found.setdefault(id_, set()).add(entry.state)
        return found

    def key_since(self, id_: str) -> int:
        """Since when an identity has the key that it has last."""
        life = self.lives[id_]
        since = life[-1].at
        for entry in reversed(life):
            if entry.key != life[-1].key:
                break
            since = entry.at
        return since
