"""The API that the client of a service and the embedded variant both fulfil."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, Self

from remit.core.decisions import Decision, Outcome, OutcomeReceipt, OutcomeResult, Reason
from remit.core.erasing import Erasing, Erasure
from remit.core.identities import Lifecycle, Registration
from remit.core.obligations import KNOWN
from remit.core.reloading import Reloaded
from remit.core.tasks import Forgetting, RiskSignal, StartedTask, TaskEnd, TaskRequest, TaskView
from remit.sdk.grant import TaskGrant
from remit.sdk.permit import Permit

Enforcement = Literal["pep", "self"]


class Remit(Protocol):
    """Asking, reporting and administering. Every method raises a `RemitError`; a denial is a value or `Refused`.

    `Unavailable` from any of them means that nothing was permitted.
    """

    @property
    def enforcement(self) -> Enforcement:
        """Who asks: `pep` is an enforcement point apart from the workload, whose outcomes are believed.

        `self` means that this runs inside the workload: its permits are its own word to keep, its outcomes are stored
        as `claimed`, satisfy no prerequisite and add no trust.
        """

    @property
    def id(self) -> str:
        """The SPIFFE ID that asks."""

    async def authorize(
        self,
        grant: TaskGrant | None,
        action: str,
        input: dict[str, Any],
        *,
        definition: str = "",
        idempotency_key: str = "",
        supports: frozenset[str] = KNOWN,
    ) -> Decision:
        """Decides and records. A permit is durable, holds for five seconds, for exactly this, once.

        `supports` are the obligations that the caller will fulfil (`remit.core.obligations`): a permit that would
        oblige to another is denied. Telling is left out by itself where no notifier is declared.
        """

    async def permit(
        self,
        grant: TaskGrant | None,
        action: str,
        input: dict[str, Any],
        *,
        definition: str = "",
        idempotency_key: str = "",
    ) -> Permit:
        """`authorize` and `tell`, with the permit as an object that can be used once; `Refused` on a deny."""

    async def tell(self, grant: TaskGrant | None, decision: Decision) -> None:
        """Tells whom the decision obliges to tell, within three seconds; nobody for a probe.

        Raises `Refused("obligation_failed")` when it is a permit and somebody could not be told: it is worth nothing.
        """

    async def probe(
        self, grant: TaskGrant | None, action: str, input: dict[str, Any], *, definition: str = "", subject: str = ""
    ) -> Decision:
        """Decides only. Without a grant the subject is `subject`, or the caller itself."""

    async def listing(
        self, grant: TaskGrant | None, server: str, tools: Mapping[str, str], *, subject: str = ""
    ) -> dict[str, Reason | None]:
        """For each tool (name to definition digest) None when it could be permitted, else why not. A probe."""

    async def report(self, outcome: Outcome, wait: bool = True) -> OutcomeReceipt:
        """Reports what happened. `wait=False` is answered once it is in order, before it is durable."""

    async def start_task(self, request: TaskRequest) -> StartedTask:
        """Starts a task; the caller is its starter."""

    async def end_task(self, task_id: str, state: TaskEnd = "completed", reason: str = "") -> TaskView:
        """Completes, cancels, suspends or resumes a task."""

    async def task(self, task_id: str) -> TaskView:
        """How a task stands."""

    async def register(self, registration: Registration) -> Registration:
        """Registers an identity."""

    async def change(self, id: str, state: Lifecycle, reason: str = "") -> Registration:
        """Quarantines, retires or reactivates one."""

    async def identities(self) -> Sequence[Registration]:
        """All registrations that the caller may see."""

    async def resolve(self, decision_id: str, result: OutcomeResult, reason: str = "") -> None:
        """Resolves a permit that never got an outcome."""

    async def set_risk(self, signal: RiskSignal) -> None:
        """Sets a live risk signal of a workload."""

    async def forget(self, wanted: Forgetting) -> Sequence[str]:
        """Has habits of a workload forgotten; answers which there were."""

    async def erase(self, wanted: Erasing) -> Erasure:
        """Erases personal values: one step, which says whether there is more."""

    async def reload(self) -> Reloaded:
        """Has the folder read again. A mistake in it is an `InvalidInput` that names its place, and changes nothing."""

    async def close(self) -> None:
        """Gives back what it holds; afterwards every method raises `Unavailable`."""

    async def __aenter__(self) -> Self:
        """Itself."""

    async def __aexit__(self, *_: object) -> None:
        """Closes."""
