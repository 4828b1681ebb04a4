"""What is asked of recorded policies when a decision is evaluated again, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from remit.core.decisions import Obligation

Path = tuple[str, ...]  # below `context`
Text = Callable[[str], bytes]  # a kept text by its digest; raises `RemitError` where it is not there


class Asked(NamedTuple):
    """One request, from what a record says: identities have id, kind, owner, environment, roles and groups."""

    principal: Mapping[str, Any]
    action: str
    resource: tuple[str, str]  # type without namespace, id
    context: Mapping[str, Any]  # in Cedar's JSON form; something stands at the concealed paths too
    concealed: frozenset[Path] = frozenset()  # what is there and not known
    related: Mapping[str, Any] | None = None  # the identity that the context names


class Said(NamedTuple):
    """What recorded policies say to one request; ids stand in the order of the texts.

    `matched` are the policies that decided among those that could be evaluated, `unknown` those that read what is
    concealed. `broken` says why the request itself could not be evaluated: that is a deny.
    """

    permitted: bool
    matched: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    broken: str = ""


class RecordedPolicy(NamedTuple):
    """One policy as it was recorded."""

    id: str
    effect: str  # permit, forbid
    path: str
    line: int
    reason: str  # the code that its forbid gives
    obligations: tuple[Obligation, ...]

    @property
    def place(self) -> str:
        """The policy with its file and line, for people."""
        return f"`{self.id}` ({self.path}:{self.line})"


class Policies(Protocol):
    """The policies of one configuration."""

    def evaluate(self, asked: Sequence[Asked]) -> list[Said]:
        """What they say, request by request; never raises for what a record may hold."""

    def policy(self, id_: str) -> RecordedPolicy | None:
        """A policy by its id."""


class Evaluator(Protocol):
    """What evaluates recorded policies; an engine is behind it."""

    def policies(
        self,
        sources: Sequence[tuple[str, str]],
        actions: Mapping[str, Sequence[str]],
        intents: Mapping[str, Mapping[str, bool]],
    ) -> Policies:
        """Reads policies from (path, text); `actions` have their groups, `intents` their attributes.

        Raises `InvalidInput` where a text can't be read.
        """
