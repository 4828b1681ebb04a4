"""What the HTTP service needs below it; composition passes the real ones in.

`ServicePort` is the governor's operations: every method raises a `RemitError` when it refuses, and a denial of
`authorize` or `probe` is a value. `AuthenticatorPort`, `CertificatesPort` and `AuthorityPort` are the identity room's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from remit.core.decisions import Ask, Decision, Outcome, OutcomeReceipt, OutcomeResult, Reason, TaskHandle
from remit.core.erasing import Erasing, Erasure
from remit.core.identities import Identity, Lifecycle, Registration
from remit.core.reloading import Reloaded
from remit.core.tasks import Forgetting, RiskSignal, TaskEnd, TaskRequest, TaskView
from remit.decide.questions import Answered, Until
from remit.identity.arrival import Arrival
from remit.identity.certificates import ClientCertificates
from remit.policy.general import Found, Question, What


class ServicePort(Protocol):
    """The governor's operations, as the service offers them."""

    async def authorize(self, ask: Ask, /) -> Decision:
        """Decides and records; a permit is durable before it returns."""

    async def probe(self, ask: Ask, /) -> Decision:
        """Decides; nothing is recorded or consumed."""

    async def listing(self, ask: Ask, server: str, tools: Mapping[str, str], /) -> Mapping[str, Reason | None]:
        """For each tool None when it could be permitted, else why not."""

    async def question(
        self, caller: Identity, questions: Sequence[Question], now: int, until: Until = "", /
    ) -> Sequence[Answered]:
        """General questions, answered in order, up to the first that comes out as `until` says."""

    async def search(
        self, caller: Identity, what: What, question: Question, now: int, /, *, after: str = "", limit: int
    ) -> Found:
        """The subjects, resources or actions that a general question is permitted for: one page."""

    async def start_task(self, caller: Identity, request: TaskRequest, person: Identity | None, /) -> TaskView:
        """Starts a task; `person` is the verified identity on whose behalf."""

    async def end_task(self, caller: Identity, task_id: str, state: TaskEnd, reason: str, /) -> TaskView:
        """Moves a task to `state`."""

    async def task(self, caller: Identity, task_id: str, /) -> TaskView:
        """How a task stands."""

    async def report(self, caller: Identity, outcome: Outcome, /, *, durable: bool = True) -> OutcomeReceipt:
        """Takes an outcome; with `durable=False` it is answered once sequenced, before the commit."""

    async def register(self, caller: Identity, registration: Registration, /) -> Registration:
        """Registers an identity, or changes its registration."""

    async def change(self, caller: Identity, id: str, state: Lifecycle, reason: str, /) -> Registration:
        """Moves an identity through its life."""

    async def identities(self, caller: Identity, /) -> Sequence[Registration]:
        """All registrations that the caller may see."""

    async def resolve(self, caller: Identity, decision_id: str, result: OutcomeResult, reason: str, /) -> object:
        """Resolves a permit without an outcome."""

    async def set_risk(self, caller: Identity, signal: RiskSignal, /) -> object:
        """Sets a live risk signal of a workload."""

    async def exchange(self, arrival: Arrival, prove: Callable[[], str], /) -> tuple[Registration, str]:
        """Takes a verified outside token for an identity here, with the key that its holder proves when admitted."""

    async def forget(self, caller: Identity, wanted: Forgetting, /) -> Sequence[str]:
        """Has habits of a workload forgotten; what was known of them."""

    async def erase(self, caller: Identity, wanted: Erasing, /) -> Erasure:
        """Erases personal values: one step."""

    async def reload(self, caller: Identity, /) -> Reloaded:
        """Reads the folder again; what decides afterwards."""

    def registration(self, id: str, /) -> Registration | None:
        """What is known of one identity now."""

    def metrics(self) -> Mapping[str, Any]:
        """Counters for `/metrics`; the shape is in `remit.server.metrics`."""


class AuthenticatorPort(Protocol):
    """Verifies who asks; raises `Unauthenticated` otherwise."""

    def authenticate(self, authorization: str, proof: str, *, method: str, url: str, now: int) -> Identity:
        """The caller, from `Authorization: DPoP <JWT-SVID>` and its proof (RFC 9449)."""

    def prove_key(
        self, proof: str, *, method: str, url: str, now: int, registered: Callable[[str], bool] | None = None
    ) -> str:
        """The thumbprint of the key that made the proof; refused where `registered` is false for it."""

    def subject(self, token: str, proof: str, *, pep: str, task_token: str, now: int) -> Identity:
        """The subject whose proof the enforcement point `pep` forwards."""

    def person(self, token: str, now: int) -> Identity:
        """The person of a verified JWT-SVID."""

    def task_handle(self, token: str, now: int) -> TaskHandle:
        """The task that a verified task token names."""


class CertificatesPort(Protocol):
    """Verifies client certificates; raises `Unauthenticated` otherwise."""

    def identify(self, certificates: ClientCertificates, now: int, /) -> Identity:
        """Whose X.509-SVID the client of a TLS connection gave, now."""


class ElsewherePort(Protocol):
    """Verifies and maps outside tokens; raises `Unauthenticated` otherwise."""

    def arrival(self, token: str, now: int, /) -> Arrival:
        """Who the subject of a token of an outside issuer is here."""


class ClaimsPort(Protocol):
    """Remembers used proofs for all processes that are reached by one name."""

    async def use(self, mark: bytes, now: int) -> None:
        """Claims the proof with this mark, once; `Unauthenticated("proof_replayed")`, or `Unavailable`."""


class AuthorityPort(Protocol):
    """Signs for the trust domain."""

    def issue_svid(self, spiffe_id: str, jkt: str, audience: str, now: int, ttl_s: int) -> str:
        """A JWT-SVID bound to the key with thumbprint `jkt`."""

    def issue_task_token(self, task: str, workload: str, jkt: str, expires: int, now: int) -> str:
        """A task token bound to the same key."""
