"""The client of a running service, for enforcement points, starters, operators and workloads."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from remit.core import bounds
from remit.core.canonical import request_digest
from remit.core.clock import Clock, system_clock
from remit.core.decisions import Decision, Outcome, OutcomeReceipt, OutcomeResult, Reason
from remit.core.erasing import Erasing, Erasure
from remit.core.errors import RemitError, TooLarge, Unauthenticated, Unavailable
from remit.core.identities import Lifecycle, Registration
from remit.core.obligations import KNOWN
from remit.core.reloading import Reloaded
from remit.core.tasks import Forgetting, RiskSignal, StartedTask, TaskEnd, TaskRequest, TaskView
from remit.core.trace import current
from remit.identity.holder import Holder
from remit.identity.spiffe import parse_spiffe_id
from remit.sdk import wire
from remit.sdk.api import Enforcement
from remit.sdk.arguments import check_arguments
from remit.sdk.asking import ask_for_permit, supported
from remit.sdk.certified import CertifiedHolder, HeldCertificate
from remit.sdk.grant import TaskGrant
from remit.sdk.negotiation import declared
from remit.sdk.notifiers import NO_NOTIFIERS, Notifiers
from remit.sdk.permit import HandedOut, Permit
from remit.sdk.proofs import ReadyProofs
from remit.sdk.renewal import HeldSvid, request_svid
from remit.sdk.tokens import TokenSource
from remit.sdk.transport import INVALID, ConnectionLost, Target, Transport, error_of, open_transport

EVALUATION: Final = "/access/v1/evaluation"
OUTCOMES: Final = "/v1/outcomes"
_GRANTS: Final = 256  # subjects whose proofs are kept ready
_LOOK_SECONDS: Final = 5.0  # how often renewals are looked after

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode
_evaluation = msgspec.json.Decoder(wire.EvaluationAnswer)
_listing = msgspec.json.Decoder(wire.ListingAnswer)
_receipt = msgspec.json.Decoder(OutcomeReceipt)
_started = msgspec.json.Decoder(wire.StartedTaskBody)
_task = msgspec.json.Decoder(wire.TaskBody)
_registration = msgspec.json.Decoder(Registration)
_identities = msgspec.json.Decoder(wire.IdentityList)
_done = msgspec.json.Decoder(wire.Done)
_erasure = msgspec.json.Decoder(Erasure)
_reloaded = msgspec.json.Decoder(Reloaded)
_forgotten = msgspec.json.Decoder(wire.Forgotten)


class Ended(asyncio.Event):
    """Set when the service is gone; `announced`: it said that it stops, so that it did not crash."""

    announced = False


class Client:
    """One identity's connection to the service; fulfils `remit.sdk.api.Remit`.

    Whether its permits and outcomes are believed depends on who it is, which `enforcement` says plainly: inside the
    workload (`self`) nothing keeps the workload from acting without asking, and its outcomes are stored as `claimed`.
    """

    def __init__(
        self,
        transport: Transport,
        holder: Holder,
        clock: Clock = system_clock,
        notifiers: Notifiers = NO_NOTIFIERS,
        tokens: TokenSource | None = None,
    ) -> None:
        """Use `connect`."""
        self._notifiers = notifiers
        self._transport = transport
        self._clock = clock
        self._holder = holder
        self._own = (
            HeldCertificate(holder, clock())
            if isinstance(holder, CertifiedHolder)
            else HeldSvid(holder, clock(), tokens=tokens)
        )
        self._proofs = ReadyProofs(holder, transport.origin, clock, (EVALUATION, OUTCOMES))
        self._subjects: OrderedDict[str, HeldSvid] = OrderedDict()
        self._handed_out = HandedOut()
        self._keeper = asyncio.create_task(self._keep())

    @classmethod
    async def connect(
        cls,
        target: Target,
        holder: Holder,
        clock: Clock = system_clock,
        *,
        notifiers: Notifiers = NO_NOTIFIERS,
        tokens: TokenSource | None = None,
    ) -> Self:
        """Connects to the unix socket at a `Path`, to a URL or to an `Endpoint`; gets an SVID if the holder has none.

        A `CertifiedHolder` proves itself with the certificate of the `Endpoint`, and needs none.
        With `tokens` its SVIDs are exchanged for tokens of an outside issuer, and the holder's key may be any.
        `notifiers` are whom it can tell of an action: without any, what obliges to tell somebody is denied. Raises
        `Unavailable("service_unreachable")` or the service's refusal.
        """
        client = cls(open_transport(target), holder, clock, notifiers, tokens)
        try:
            await client._own.fresh(client._transport, clock)
        except BaseException:
            await client.close()
            raise
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def id(self) -> str:
        """The SPIFFE ID that asks."""
        return self._holder.id

    @property
    def enforcement(self) -> Enforcement:
        """`self` when this runs as a workload, whose outcomes are only claimed; `pep` otherwise."""
        segments = parse_spiffe_id(self._holder.id).segments
        return "self" if segments[:1] == ("workload",) else "pep"

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

        A lost connection is retried once: the idempotency key makes the service answer the same decision again.
        """
        key = idempotency_key or secrets.token_hex(12)
        return await self._evaluate(grant, "", action, input, definition, key, supports, probe=False)

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
        workload = grant.workload if grant else self._holder.id
        await self._notifiers.tell(decision, workload=workload, point=self._holder.id)

    async def probe(
        self, grant: TaskGrant | None, action: str, input: dict[str, Any], *, definition: str = "", subject: str = ""
    ) -> Decision:
        """Decides only. Without a grant the subject is `subject`, or the caller itself."""
        return await self._evaluate(grant, subject, action, input, definition, "", KNOWN, probe=True)

    async def listing(
        self, grant: TaskGrant | None, server: str, tools: Mapping[str, str], *, subject: str = ""
    ) -> dict[str, Reason | None]:
        """For each tool (name to definition digest) None when it could be permitted, else why not. A probe."""
        body = wire.ListingRequest(
            subject=await self._subject(grant, subject),
            server=server,
            tools=dict(tools),
            task=grant.token if grant else "",
        )
        return wire.listing_of(await self._call("POST", "/v1/listing", body, _listing, again=True))

    async def report(self, outcome: Outcome, wait: bool = True) -> OutcomeReceipt:
        """Reports what happened. `wait=False` is answered once it is in order, before it is durable (RFC 7240)."""
        headers = {} if wait else {"Prefer": "respond-async"}
        # The first outcome of a permit counts, so that it may be sent again.
        return await self._call("POST", OUTCOMES, outcome, _receipt, again=True, headers=headers)

    async def start_task(self, request: TaskRequest) -> StartedTask:
        """Starts a task; the caller is its starter."""
        return wire.started_task(await self._call("POST", "/v1/tasks", wire.task_start(request), _started))

    async def end_task(self, task_id: str, state: TaskEnd = "completed", reason: str = "") -> TaskView:
        """Completes, cancels, suspends or resumes a task."""
        body = wire.TaskEndRequest(state=state, reason=reason)
        return wire.task_view(await self._call("POST", f"/v1/tasks/{quote(task_id, safe='')}/end", body, _task))

    async def task(self, task_id: str) -> TaskView:
        """How a task stands."""
        return wire.task_view(await self._call("GET", f"/v1/tasks/{quote(task_id, safe='')}", None, _task, again=True))

    async def register(self, registration: Registration) -> Registration:
        """Registers an identity."""
        return await self._call("POST", "/v1/identities", registration, _registration)

    async def change(self, id: str, state: Lifecycle, reason: str = "") -> Registration:
        """Quarantines, retires or reactivates one."""
        body = wire.IdentityChange(id=id, state=state, reason=reason)
        return await self._call("POST", "/v1/identities/change", body, _registration)

    async def identities(self) -> Sequence[Registration]:
        """All registrations that the caller may see."""
        return (await self._call("GET", "/v1/identities", None, _identities, again=True)).identities

    async def resolve(self, decision_id: str, result: OutcomeResult, reason: str = "") -> None:
        """Resolves a permit that never got an outcome."""
        body = wire.ResolutionRequest(decision=decision_id, result=result, reason=reason)
        await self._call("POST", "/v1/resolutions", body, _done)

    async def set_risk(self, signal: RiskSignal) -> None:
        """Sets a live risk signal of a workload."""
        await self._call("POST", "/v1/risk", signal, _done)

    async def forget(self, wanted: Forgetting) -> Sequence[str]:
        """Has habits of a workload forgotten; answers which there were."""
        return (await self._call("POST", "/v1/habits/forget", wanted, _forgotten)).habits

    async def erase(self, wanted: Erasing) -> Erasure:
        """Erases personal values: one step, which says whether there is more."""
        return await self._call("POST", "/v1/erasures", wanted, _erasure)

    async def reload(self) -> Reloaded:
        """Has the service read its folder again."""
        return await self._call("POST", "/v1/reload", None, _reloaded)

    async def svid(self, bind: str = "") -> wire.Svid:
        """A JWT-SVID of the caller, bound to the key with thumbprint `bind` (only its registered key may bind one)."""
        return await request_svid(self._transport, self._holder, self._clock(), bind=bind, by_key=not self._holder.svid)

    @asynccontextmanager
    async def attached(self) -> AsyncIterator[Ended]:
        """Holds a service open that was started on demand; the event is set when the stream ends."""
        await self._own.fresh(self._transport, self._clock)
        url = f"{self._transport.origin}/v1/attach"
        headers = self._holder.headers("GET", url, self._clock())
        forever = aiohttp.ClientTimeout(total=None)
        ended = Ended()
        try:
            secure = self._transport.ssl_for(headers)
            async with self._transport.session.get(url, headers=headers, timeout=forever, ssl=secure) as response:
                await response.content.readline()
                if response.status != 200:
                    raise Unavailable("attach_refused", f"the service answered {response.status} to `/v1/attach`")
                watch = asyncio.create_task(_until_closed(response, ended))
                try:
                    yield ended
                finally:
                    watch.cancel()
                    response.close()
        except aiohttp.ClientConnectionError:
            raise Unavailable("service_unreachable", "no service answers", "start it with `remit up`") from None

    async def close(self) -> None:
        """Closes the connections."""
        await self._notifiers.close()
        self._keeper.cancel()
        with suppress(asyncio.CancelledError):
            await self._keeper
        await self._transport.close()

    async def _evaluate(
        self,
        grant: TaskGrant | None,
        subject: str,
        action: str,
        input: dict[str, Any],
        definition: str,
        idempotency_key: str,
        supports: frozenset[str],
        *,
        probe: bool,
    ) -> Decision:
        check_arguments(input)
        digest = request_digest(action, input)
        types, actions = declared(supported(supports, self._notifiers.names))
        body = wire.EvaluationRequest(
            subject=await self._subject(grant, subject),
            action=wire.ActionBody(name=action, properties=wire.ActionProperties(definition=definition)),
            resource=wire.ResourceBody(type="server", id=action.partition("/")[0]),
            context=wire.EvaluationContext(
                task=grant.token if grant else "",
                input=input,
                idempotency_key=idempotency_key,
                probe=probe,
                supported_obligations=types,
                remit_obligations=actions,
            ),
        )
        answer = await self._call("POST", EVALUATION, body, _evaluation, again=True)
        decision = wire.decision_of(answer, action)
        # SECURITY: an answer to another question is no answer.
        if decision.digest != digest and decision.permitted:
            raise Unavailable("answer_mismatch", "the service's answer is for other arguments")
        return decision

    async def _subject(self, grant: TaskGrant | None, subject: str) -> wire.SubjectBody:
        """Who will act, with its own proof when that is not the caller."""
        if grant is None or grant.workload == self._holder.id:
            return wire.SubjectBody(type="workload", id=grant.workload if grant else subject or self._holder.id)
        held = self._subjects.get(grant.token)
        if held is None:
            held = self._subjects[grant.token] = HeldSvid(grant.holder(), self._clock(), grant.expires, grant.token)
            if len(self._subjects) > _GRANTS:
                self._subjects.popitem(last=False)
        if self._clock() >= held.expires:
            await held.fresh(self._transport, self._clock)
        proof = held.holder.subject_proof(self._holder.id, grant.token, self._clock())
        return wire.SubjectBody(
            type="workload",
            id=grant.workload,
            properties=wire.SubjectProperties(token=held.holder.svid, proof=proof),
        )

    async def _call(
        self,
        method: str,
        path: str,
        body: Any,
        decoder: msgspec.json.Decoder[T],
        *,
        again: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """One request with fresh proofs. `again`: it may be sent a second time when the connection was lost."""
        data = None if body is None else _encode(body)
        if data is not None and len(data) > bounds.REQUEST_BYTES:
            raise TooLarge("body_too_large", f"the request is larger than {bounds.REQUEST_BYTES} bytes")
        try:
            return await self._call_once(method, path, data, decoder, headers)
        except ConnectionLost:
            if not again:
                raise
        except Unauthenticated as error:
            # A proof from before the service started: a fresh one will do.
            if error.code != "proof_stale":
                await self._replace_svid(error)
            self._proofs.clear()
        return await self._call_once(method, path, data, decoder, headers)

    async def _call_once(
        self,
        method: str,
        path: str,
        data: bytes | None,
        decoder: msgspec.json.Decoder[T],
        headers: Mapping[str, str] | None,
    ) -> T:
        if self._clock() >= self._own.expires:
            await self._own.fresh(self._transport, self._clock)
        sent = self._proofs.take(method, path)
        if trace := current():
            sent["traceparent"] = trace
        if headers:
            sent.update(headers)
        reply = await self._transport.send(method, path, data, sent)
        if reply.status >= 300:
            raise error_of(reply)
        try:
            return decoder.decode(reply.body)
        except INVALID:
            raise Unavailable("answer_invalid", "the service's answer is not what its API says") from None

    async def _replace_svid(self, error: Unauthenticated) -> None:
        """After a refused SVID: another one, by the registered key; the refusal itself when there is none."""
        try:
            await self._own.replace(self._transport, self._clock, self._holder.svid)
        except RemitError:
            raise error from None

    async def _keep(self) -> None:
        """Renews the SVIDs of the caller and of its subjects at half of their lives."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = self._clock()
            for token, held in list(self._subjects.items()):
                if held.until and now >= held.until:
                    self._subjects.pop(token, None)
            for held in (self._own, *self._subjects.values()):
                if now >= held.renew_at:
                    await held.renew(self._transport, self._clock)


async def _until_closed(response: aiohttp.ClientResponse, ended: Ended) -> None:
    with suppress(aiohttp.ClientError, ConnectionError):
        async for line in response.content:
            if b"stopping" in line:
                ended.announced = True
                break
    ended.set()
