"""What an engine says of one request."""

from __future__ import annotations

import msgspec

from remit.policy.sources import Policy


class Verdict(msgspec.Struct, frozen=True):
    """What the engine says: the policies that matched for the decision and those that failed, in rank order."""

    permitted: bool
    matched: tuple[Policy, ...]
    failed: tuple[tuple[Policy, str], ...]  # with the engine's message, for the log
    is_broken: bool = False  # the request itself could not be evaluated
    is_disputed: bool = False  # the two engines disagree


BROKEN: Verdict = Verdict(False, (), (), is_broken=True)
