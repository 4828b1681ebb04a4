"""The port to the service: what an enforcement point asks and reports. `remit.sdk` clients fulfil it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from remit.core.decisions import Decision, Outcome, Reason
from remit.core.obligations import KNOWN
from remit.sdk.grant import TaskGrant


class Decider(Protocol):
    """Decides and records. Every method raises `RemitError` when it can't; the caller treats that as a refusal."""

    async def authorize(
        self,
        grant: TaskGrant,
        action: str,
        input: dict[str, Any],
        *,
        definition: str = "",
        idempotency_key: str = "",
        supports: frozenset[str] = KNOWN,
    ) -> Decision:
        """The decision for exactly this action and input; a permit's record is durable when this returns.

        `supports` are the obligations that will be fulfilled: a permit that would oblige to another is denied.
        """

    async def tell(self, grant: TaskGrant, decision: Decision) -> None:
        """Tells whom the decision obliges to tell; `Refused` when it is a permit and somebody could not be told."""

    async def listing(
        self, grant: TaskGrant | None, server: str, tools: Mapping[str, str]
    ) -> Mapping[str, Reason | None]:
        """For each tool (name to definition digest) None where the task could be permitted to call it, else why not."""

    async def report(self, outcome: Outcome, wait: bool = True) -> object:
        """Takes a permit's outcome; with `wait=False` it returns once the outcome is in order, before it is durable."""
