"""The SDK's API on an installation in this process: no socket, the same checks, the same records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

from remit.app.identities import spiffe_id
from remit.app.installation import UNIX_ORIGIN, Installation, audience_of
from remit.core.decisions import Ask, Decision, Outcome, OutcomeReceipt, OutcomeResult, Reason, TaskHandle
from remit.core.erasing import Erasing, Erasure
from remit.core.errors import NotFound, Unavailable
from remit.core.identities import Identity, Lifecycle, Registration
from remit.core.obligations import KNOWN
from remit.core.reloading import Reloaded
from remit.core.tasks import Forgetting, RiskSignal, StartedTask, TaskEnd, TaskRequest, TaskView
from remit.core.trace import current
from remit.identity.holder import Holder
from remit.identity.keys import load_key
from remit.sdk.api import Enforcement
from remit.sdk.arguments import check_arguments
from remit.sdk.asking import ask_for_permit, supported
from remit.sdk.grant import TaskGrant
from remit.sdk.notifiers import Notifiers
from remit.sdk.permit import HandedOut, Permit

_PATH: Final = "/access/v1/evaluation"
_GRANTS: Final = 256


class Embedded:
    """One identity's view of an installation in this process; fulfils `remit.sdk.api.Remit`.

    The identity proves its key, from `.remit/keys`, when the view is made and whenever its document is renewed;
    grants are proved as they are over the wire.
    """

    def __init__(self, installation: Installation, path: str, *, owns: bool) -> None:
        self._installation: Installation | None = installation
        self._owns = owns
        self.id = spiffe_id(installation.settings.trust_domain, path)
        file = installation.folder.key_file(self.id.split("/", 3)[3])
        if not file.exists():
            raise NotFound("key_missing", f"there is no key of `{self.id}` in this folder", f"expected it at `{file}`")
        self._holder = Holder(load_key(file), "", self.id)
        self._caller = self._prove(installation)
        self._handed_out = HandedOut()
        self._notifiers = Notifiers(installation.settings.notifiers, installation.folder.root)
        self._grants: dict[str, tuple[Identity, TaskHandle, int]] = {}

    def acting_as(self, path: str) -> Embedded:
        """Another identity's view of the same installation (`starter/accounts`); closing it closes nothing."""
        return Embedded(self._open, path, owns=False)

    @property
    def key(self) -> str:
        """The thumbprint of the key that is registered for this identity."""
        return self._holder.key

    @property
    def enforcement(self) -> Enforcement:
        """`self` when this runs as a workload, whose outcomes are only claimed; `pep` otherwise."""
        return "self" if self.id.split("/", 3)[3].startswith("workload/") else "pep"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

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
        """Decides and records. A permit is durable, holds for five seconds, for exactly this, once."""
        check_arguments(input)
        ask = self._ask(grant, "", action, input, definition, idempotency_key, supports)
        return await self._open.governor.authorize(ask)

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
        return await ask_for_permit(self, self._handed_out, grant, action, input, definition, idempotency_key)

    async def tell(self, grant: TaskGrant | None, decision: Decision) -> None:
        """Tells whom the decision obliges to tell, within three seconds; nobody for a probe.

        Raises `Refused("obligation_failed")` when it is a permit and somebody could not be told: it is worth nothing.
        """
        await self._notifiers.tell(decision, workload=grant.workload if grant else self.id, point=self.id)

    async def probe(
        self, grant: TaskGrant | None, action: str, input: dict[str, Any], *, definition: str = "", subject: str = ""
    ) -> Decision:
        """Decides only. Without a grant the subject is `subject`, or the caller itself."""
        check_arguments(input)
        return await self._open.governor.probe(self._ask(grant, subject, action, input, definition, "", KNOWN))

    async def listing(
        self, grant: TaskGrant | None, server: str, tools: Mapping[str, str], *, subject: str = ""
    ) -> dict[str, Reason | None]:
        """For each tool (name to definition digest) None when it could be permitted, else why not. A probe."""
        return await self._open.governor.listing(self._ask(grant, subject, "", {}, "", "", KNOWN), server, tools)

    async def report(self, outcome: Outcome, wait: bool = True) -> OutcomeReceipt:
        """Reports what happened. `wait=False` is answered once it is in order, before it is durable."""
        return await self._open.governor.report(self._identity, outcome, durable=wait)

    async def start_task(self, request: TaskRequest) -> StartedTask:
        """Starts a task; the caller is its starter."""
        installation = self._open
        now = installation.clock()
        person = installation.authenticator.person(request.on_behalf_of, now) if request.on_behalf_of else None
        view = await installation.governor.start_task(self._identity, request, person)
        token = installation.authority.issue_task_token(view.id, view.workload, request.key, view.expires, now)
        return StartedTask(task=view, token=token)

    async def end_task(self, task_id: str, state: TaskEnd = "completed", reason: str = "") -> TaskView:
        """Completes, cancels, suspends or resumes a task."""
        return await self._open.governor.end_task(self._identity, task_id, state, reason)

    async def task(self, task_id: str) -> TaskView:
        """How a task stands."""
        return await self._open.governor.task(self._identity, task_id)

    async def register(self, registration: Registration) -> Registration:
        """Registers an identity."""
        return await self._open.governor.register(self._identity, registration)

    async def change(self, id: str, state: Lifecycle, reason: str = "") -> Registration:
        """Quarantines, retires or reactivates one."""
        return await self._open.governor.change(self._identity, id, state, reason)

    async def identities(self) -> Sequence[Registration]:
        """All registrations that the caller may see."""
        return await self._open.governor.identities(self._identity)

    async def resolve(self, decision_id: str, result: OutcomeResult, reason: str = "") -> None:
        """Resolves a permit that never got an outcome."""
        await self._open.governor.resolve(self._identity, decision_id, result, reason)

    async def set_risk(self, signal: RiskSignal) -> None:
        """Sets a live risk signal of a workload."""
        await self._open.governor.set_risk(self._identity, signal)

    async def forget(self, wanted: Forgetting) -> Sequence[str]:
        """Has habits of a workload forgotten; answers which there were."""
        return await self._open.governor.forget(self._identity, wanted)

    async def reload(self) -> Reloaded:
        """As `Remit.reload`."""
        return await self._open.governor.reload(self._identity)

    async def erase(self, wanted: Erasing) -> Erasure:
        """As `Remit.erase`."""
        return await self._open.governor.erase(self._identity, wanted)

    async def svid(self, bind: str) -> str:
        """An identity document of this identity, bound to the key with thumbprint `bind`."""
        installation = self._open
        return installation.authority.issue_svid(
            self.id,
            bind,
            audience_of(installation.settings.trust_domain),
            installation.clock(),
            installation.settings.identity.svid_seconds,
        )

    async def close(self) -> None:
        """Gives the folder back, if this view opened it; afterwards every method raises `Unavailable`."""
        await self._notifiers.close()
        installation, self._installation = self._installation, None
        if installation is not None and self._owns:
            await installation.close()

    @property
    def _open(self) -> Installation:
        if self._installation is None:
            raise Unavailable("client_closed", "this view of the folder is closed")
        return self._installation

    @property
    def _identity(self) -> Identity:
        """The caller, proved; renewed in the last half of its document's life."""
        installation = self._open
        half = installation.settings.identity.svid_seconds * 500
        if installation.clock() > self._caller.expires - half:
            self._caller = self._prove(installation)
        return self._caller

    def _prove(self, installation: Installation) -> Identity:
        """Proves the key that is registered for this identity, as a client would over the wire."""
        now = installation.clock()
        registration = installation.governor.registration(self.id)
        if registration is None or registration.key != self._holder.key:
            raise NotFound(
                "identity_unknown", f"`{self.id}` is not registered with this key", "register it in `remit.toml`"
            )
        self._holder.svid = installation.authority.issue_svid(
            self.id,
            self._holder.key,
            audience_of(installation.settings.trust_domain),
            now,
            installation.settings.identity.svid_seconds,
        )
        url = UNIX_ORIGIN + _PATH
        headers = self._holder.headers("POST", url, now)
        return installation.authenticator.authenticate(
            headers["Authorization"], headers["DPoP"], method="POST", url=url, now=now
        )

    def _ask(
        self,
        grant: TaskGrant | None,
        subject: str,
        action: str,
        input: dict[str, Any],
        definition: str,
        idempotency_key: str,
        supports: frozenset[str],
    ) -> Ask:
        caller = self._identity
        supports = supported(supports, self._notifiers.names)
        if grant is None:
            return Ask(
                caller=caller,
                subject=subject or self.id,
                action=action,
                input=input,
                definition=definition,
                supports=supports,
            )
        proof, handle = self._proved(grant)
        return Ask(
            caller=caller,
            subject=grant.workload,
            proof=proof,
            task=handle,
            action=action,
            input=input,
            definition=definition,
            idempotency_key=idempotency_key,
            trace=current(),
            supports=supports,
        )

    def _proved(self, grant: TaskGrant) -> tuple[Identity, TaskHandle]:
        """The grant's subject and task, proved with the grant's key; remembered for half a minute."""
        installation = self._open
        now = installation.clock()
        known = self._grants.get(grant.token)
        if known is not None and 0 <= now - known[2] < 30_000:
            return known[0], known[1]
        proof = installation.authenticator.subject(
            grant.svid,
            grant.holder().subject_proof(self.id, grant.token, now),
            pep=self.id,
            task_token=grant.token,
            now=now,
        )
        handle = installation.authenticator.task_handle(grant.token, now)
        if len(self._grants) >= _GRANTS:
            self._grants.clear()
        self._grants[grant.token] = (proof, handle, now)
        return proof, handle
