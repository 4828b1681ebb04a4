"""The question and the answer of the hot path."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from remit.core.identities import Identity, Mode

# The reason codes of a permit.
PERMITTED: Final = "permitted"
OBSERVED: Final = "observed"


class TaskHandle(msgspec.Struct, frozen=True, kw_only=True):
    """A verified task token: names a task and the key that must be proved with it. It carries no authority."""

    task: str
    workload: str
    key: str
    expires: int


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One question: may this subject, under this task, do this now?"""

    caller: Identity  # who asks, proved
    subject: str  # SPIFFE ID of who will act
    proof: Identity | None = None  # the subject's own proof, when the caller is not the subject
    task: TaskHandle | None = None
    action: str  # "<server>/<tool>"
    input: dict[str, Any]
    definition: str = ""  # digest of the tool's definition as the enforcement point sees it
    idempotency_key: str = ""
    request_id: str = ""
    trace: str = ""  # the caller's `traceparent`, "" without one
    supports: frozenset[str] = frozenset()  # the obligations that the caller said it can fulfil


class PolicyRef(msgspec.Struct, frozen=True, kw_only=True):
    """A policy that decided, and where it stands."""

    id: str
    path: str = ""
    line: int = 0


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why: a stable code, a sentence for a person or a model, and what would help."""

    code: str
    message: str
    next_step: str = ""
    policies: tuple[PolicyRef, ...] = ()


class Obligation(msgspec.Struct, frozen=True, kw_only=True):
    """What the enforcement point must do beside the decision; one that it does not know means deny."""

    id: str  # what: `remit.core.obligations` lists them
    fields: tuple[str, ...] = ()  # redact, select: dotted paths of result fields
    items: dict[str, int] = {}  # limit: the most elements of a list, by its path; "" is the result itself
    bytes: int = 0  # limit: the most bytes of the result; 0: any number
    to: str = ""  # notify: the name of a notifier


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """A policy whose denial a person could overcome, and who."""

    policy: str
    by: tuple[str, ...] = ()  # "group:security", "person/ada"; none: any approver


class AccessRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What would have to be asked for, so that what was denied may happen; the decision says the rest."""

    subject: str  # SPIFFE ID of who would act
    approvals: tuple[Approval, ...]  # all of them are needed
    selectors: dict[str, Any] = {}  # the arguments that choose who, where, what and how much


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. A permit holds for this action, this digest, this enforcement point, until `expires`, once."""

    id: str
    effect: Literal["permit", "deny"]
    reason: Reason
    action: str
    digest: str  # request digest: canonical.request_digest(action, input)
    task: str = ""
    at: int = 0  # ms
    expires: int = 0  # ms; 0 on a deny
    requestable: bool = False  # a deny that a person could overcome
    request: AccessRequest | None = None  # then: what would have to be asked for
    obligations: tuple[Obligation, ...] = ()
    mode: Mode = "enforce"
    would: Literal["permit", "deny", ""] = ""  # in observe: what enforcing would have answered
    probe: bool = False
    repeated: int = 0  # identical denials folded into this one so far

    @property
    def permitted(self) -> bool:
        return self.effect == "permit"


Standing = Literal["believed", "claimed"]
OutcomeResult = Literal["response", "error", "not_executed"]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What happened after a permit, as an enforcement point reports it."""

    decision: str
    digest: str
    result: OutcomeResult
    started: int = 0  # ms, when the enforcement point began the action
    output: dict[str, Any] = {}  # the result fields that the catalogue selects, by path
    bytes: int = 0  # size of the result


class OutcomeReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """How an outcome was taken: believed (from the registered enforcement point) or claimed."""

    decision: str
    standing: Standing
    late: bool = False
