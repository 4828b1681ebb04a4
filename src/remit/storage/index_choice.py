"""Which records are wanted: what a filter says, and whether a record's facts fit it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from remit.storage.index_facts import EVENTS, Facts

# Fields whose values are SPIFFE IDs, also named by their ends: `finance-agent`, `workload/finance-agent`.
IDENTITIES: Final = frozenset({"workload", "pep", "person"})
# Fields that only records have that are events.
_OF_EVENTS: Final = frozenset({"action", "decision", "denied", "effect", "intent", "policy", "reason"})
_GLOB: Final = re.compile(r"[*?]")


class Choice(NamedTuple):
    """What is wanted: of each field one of the patterns (`*` and `?` stand for anything), and all fields together."""

    task: str = ""  # an id, with all tasks below it
    wanted: Mapping[str, tuple[str, ...]] = {}  # by field of `index_facts.FIELDS`
    since: int = 0  # ms, inclusive
    until: int | None = None  # ms, exclusive

    @property
    def fields(self) -> Mapping[str, tuple[str, ...]]:
        """`wanted`, with the kinds that are meant where none is named."""
        if "kind" in self.wanted or _OF_EVENTS & self.wanted.keys():
            return self.wanted
        return {**self.wanted, "kind": EVENTS}

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that are meant."""
        return self.wanted.get("kind", EVENTS)

    @property
    def is_open(self) -> bool:
        """Whether it lets every event through."""
        return not self.task and not self.since and self.until is None and not self.wanted


Matches = Callable[[str], bool]


def matcher(field: str, patterns: tuple[str, ...]) -> Matches:
    """Whether a value of the field is meant by one of the patterns."""
    exact = frozenset(pattern for pattern in patterns if not is_glob(pattern))
    if len(exact) == len(patterns) and field not in IDENTITIES:
        return exact.__contains__
    prefix = "(?:.*/)?" if field in IDENTITIES else ""
    found = re.compile(prefix + "(?:" + "|".join(map(_expression, patterns)) + ")", re.DOTALL)
    return lambda value: found.fullmatch(value) is not None


def is_glob(pattern: str) -> bool:
    """Whether the pattern stands for more than itself."""
    return _GLOB.search(pattern) is not None


class Predicate:
    """Says of one record's facts whether the choice lets it through."""

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        self._matches = {field: matcher(field, patterns) for field, patterns in choice.fields.items()}

    def fits(self, facts: Facts) -> bool:
        """Whether it does."""
        choice = self._choice
        if facts.at < choice.since or (choice.until is not None and facts.at >= choice.until):
            return False
        if choice.task and facts.task != choice.task and not facts.task.startswith(choice.task + "."):
            return False
        fitting = {field for field, value in facts.terms if field in self._matches and self._matches[field](value)}
        return len(fitting) == len(self._matches)


def _expression(pattern: str) -> str:
    return re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
