"""The same API for code without an event loop: a thread runs the loop, each call waits for its answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Any, Self, TypeVar

from remit.core.decisions import Decision, Outcome, OutcomeReceipt, OutcomeResult, Reason
from remit.core.erasing import Erasing, Erasure
from remit.core.errors import Unavailable
from remit.core.identities import Lifecycle, Registration
from remit.core.obligations import KNOWN
from remit.core.reloading import Reloaded
from remit.core.tasks import Forgetting, RiskSignal, StartedTask, TaskEnd, TaskRequest, TaskView
from remit.identity.holder import Holder
from remit.sdk.api import Enforcement, Remit
from remit.sdk.client import Client
from remit.sdk.grant import TaskGrant
from remit.sdk.notifiers import NO_NOTIFIERS, Notifiers
from remit.sdk.permit import Permit
from remit.sdk.tokens import TokenSource
from remit.sdk.transport import Target

T = TypeVar("T")


class Blocking:
    """A `Remit` whose methods return instead of being awaited. Safe to share between threads.

    What it says of `enforcement` is what the wrapped one says: inside the workload, outcomes are only claimed.
    """

    def __init__(self, open_remit: Callable[[], Awaitable[Remit]]) -> None:
        """Starts the thread and opens the client in it; raises what opening raises."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="remit", daemon=True)
        self._thread.start()
        self._closed = False
        try:
            self._remit: Remit = self._wait(_awaited(open_remit))
        except BaseException:
            self._stop()
            raise

    @classmethod
    def connect(
        cls,
        target: Target,
        holder: Holder,
        *,
        notifiers: Notifiers = NO_NOTIFIERS,
        tokens: TokenSource | None = None,
    ) -> Self:
        """A blocking client of the service; the arguments are those of `Client.connect`."""
        return cls(lambda: Client.connect(target, holder, notifiers=notifiers, tokens=tokens))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def enforcement(self) -> Enforcement:
        """`self` when this runs as a workload, whose outcomes are only claimed; `pep` otherwise."""
        return self._remit.enforcement

    @property
    def id(self) -> str:
        """The SPIFFE ID that asks."""
        return self._remit.id

    def authorize(
        self,
        grant: TaskGrant | None,
        action: str,
        input: dict[str, Any],
        *,
        definition: str = "",
        idempotency_key: str = "",
        supports: frozenset[str] = KNOWN,
    ) -> Decision:
        """See `Remit.authorize`."""
        return self._wait(
            self._remit.authorize(
                grant, action, input, definition=definition, idempotency_key=idempotency_key, supports=supports
            )
        )

    def permit(
        self,
        grant: TaskGrant | None,
        action: str,
        input: dict[str, Any],
        *,
        definition: str = "",
        idempotency_key: str = "",
    ) -> Permit:
        """See `Remit.permit`."""
        return self._wait(
            self._remit.permit(grant, action, input, definition=definition, idempotency_key=idempotency_key)
        )

    def tell(self, grant: TaskGrant | None, decision: Decision) -> None:
        """See `Remit.tell`."""
        self._wait(self._remit.tell(grant, decision))

    def probe(
        self, grant: TaskGrant | None, action: str, input: dict[str, Any], *, definition: str = "", subject: str = ""
    ) -> Decision:
        """See `Remit.probe`."""
        return self._wait(self._remit.probe(grant, action, input, definition=definition, subject=subject))

    def listing(
        self, grant: TaskGrant | None, server: str, tools: Mapping[str, str], *, subject: str = ""
    ) -> dict[str, Reason | None]:
        """See `Remit.listing`."""
        return self._wait(self._remit.listing(grant, server, tools, subject=subject))

    def report(self, outcome: Outcome, wait: bool = True) -> OutcomeReceipt:
        """See `Remit.report`."""
        return self._wait(self._remit.report(outcome, wait))

    def start_task(self, request: TaskRequest) -> StartedTask:
        """See `Remit.start_task`."""
        return self._wait(self._remit.start_task(request))

    def end_task(self, task_id: str, state: TaskEnd = "completed", reason: str = "") -> TaskView:
        """See `Remit.end_task`."""
        return self._wait(self._remit.end_task(task_id, state, reason))

    def task(self, task_id: str) -> TaskView:
        """See `Remit.task`."""
        return self._wait(self._remit.task(task_id))

    def register(self, registration: Registration) -> Registration:
        """See `Remit.register`."""
        return self._wait(self._remit.register(registration))

    def change(self, id: str, state: Lifecycle, reason: str = "") -> Registration:
        """See `Remit.change`."""
        return self._wait(self._remit.change(id, state, reason))

    def identities(self) -> Sequence[Registration]:
        """See `Remit.identities`."""
        return self._wait(self._remit.identities())

    def resolve(self, decision_id: str, result: OutcomeResult, reason: str = "") -> None:
        """See `Remit.resolve`."""
        self._wait(self._remit.resolve(decision_id, result, reason))

    def set_risk(self, signal: RiskSignal) -> None:
        """See `Remit.set_risk`."""
        self._wait(self._remit.set_risk(signal))

    def forget(self, wanted: Forgetting) -> Sequence[str]:
        """See `Remit.forget`."""
        return self._wait(self._remit.forget(wanted))

    def erase(self, wanted: Erasing) -> Erasure:
        """See `Remit.erase`."""
        return self._wait(self._remit.erase(wanted))

    def reload(self) -> Reloaded:
        """See `Remit.reload`."""
        return self._wait(self._remit.reload())

    def close(self) -> None:
        """Closes the client and ends the thread; afterwards every method raises `Unavailable`."""
        if not self._closed:
            try:
                self._wait(self._remit.close())
            finally:
                self._stop()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        if self._closed or threading.current_thread() is self._thread:
            work.close()
            raise Unavailable("client_closed", "the client is closed, or was called from its own thread")
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except CancelledError:
            raise Unavailable("client_closed", "the client was closed while it waited") from None

    def _stop(self) -> None:
        self._closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _awaited(make: Callable[[], Awaitable[T]]) -> T:
    return await make()
