"""JSON on the wire, camelCase: the bodies that the client sends and the service answers, and their core values.

Core values whose fields are single words (`Registration`, `Outcome`, `OutcomeReceipt`, `RiskSignal`, `Forgetting`)
travel as they are; a test keeps it so. The others have a struct here and a pair of plain functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from remit.core.decisions import Decision, PolicyRef, Reason
from remit.core.identities import Mode, Registration
from remit.core.tasks import StartedTask, TaskEnd, TaskRequest, TaskState, TaskView
from remit.sdk.access_request import AccessRequestBody, request_body, request_of
from remit.sdk.negotiation import ACTIONS_MEMBER, TYPES_MEMBER, ObligationBody, bodies_of, obligations_of


class ReasonBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Why: a stable code, a sentence for a person or a model, and what would help."""

    code: str
    message: str
    next_step: str = ""
    policies: tuple[PolicyRef, ...] = ()


class SubjectProperties(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The subject's own proof, forwarded by an enforcement point; empty when the caller is the subject."""

    token: str = ""  # its JWT-SVID
    proof: str = ""  # by its key, for this enforcement point


class SubjectBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who will act."""

    type: str
    id: str
    properties: SubjectProperties = SubjectProperties()


class ActionProperties(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the enforcement point sees of the action: the digest of the tool's definition."""

    definition: str = ""


class ActionBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is about to happen, `<server>/<tool>`."""

    name: str
    properties: ActionProperties = ActionProperties()


class ResourceBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The server on which it would happen."""

    type: str
    id: str


class EvaluationContext(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The task token, the arguments, which obligations the caller can fulfil, and whether this only asks.

    `probe` left out: an authorization with a task and from the enforcement point of that server, else a probe.
    `false`: an authorization, refused when it can't be one. `true`: a probe.
    """

    task: str = ""
    input: dict[str, Any] = {}
    idempotency_key: str = ""
    probe: bool | None = None
    supported_obligations: tuple[str, ...] | None = msgspec.field(default=None, name=TYPES_MEMBER)
    remit_obligations: tuple[str, ...] | None = msgspec.field(default=None, name=ACTIONS_MEMBER)


class EvaluationRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """AuthZEN 1.0 access evaluation request (section 6.1); members that it does not know are ignored."""

    subject: SubjectBody
    action: ActionBody
    resource: ResourceBody
    context: EvaluationContext = EvaluationContext()


class DecisionContext(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The rest of a decision; `id` and `expires` only where a permit was recorded, never for a probe."""

    reason: ReasonBody
    digest: str
    id: str = ""
    task: str = ""
    at: int = 0  # ms
    expires: int = 0  # ms
    requestable: bool = False
    request: AccessRequestBody | None = None
    obligations: tuple[ObligationBody, ...] = ()
    mode: Mode = "enforce"
    would: Literal["permit", "deny", ""] = ""
    probe: bool = False
    repeated: int = 0


class EvaluationAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """AuthZEN 1.0 access evaluation response (section 6.2)."""

    decision: bool
    context: DecisionContext


class TaskStart(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`POST /v1/tasks`: what a starter asks for."""

    intent: str
    workload: str
    key: str
    params: dict[str, Any] = {}
    prompt: str = ""
    case_type: str = ""
    on_behalf_of: str = ""
    parent: str = ""


class TaskBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How a task stands."""

    id: str
    root: str
    parent: str
    intent: str
    workload: str
    starter: str
    state: TaskState
    created: int  # ms
    expires: int  # ms
    depth: int = 0
    params: dict[str, Any] = {}
    case_type: str = ""
    on_behalf_of: str = ""
    emergency: bool = False
    calls: int = 0


class StartedTaskBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A new task and its token: a handle bound to the holder's key, not authority."""

    task: TaskBody
    token: str


class TaskEndRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`POST /v1/tasks/{task}/end`: the state to move it to."""

    state: TaskEnd = "completed"
    reason: str = ""


class IdentityChange(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`POST /v1/identities/change`: quarantine, retire or reactivate."""

    id: str
    state: Literal["active", "quarantined", "retired"]
    reason: str = ""


class IdentityList(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """All registrations that the caller may see."""

    identities: tuple[Registration, ...]


class SvidRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`POST /v1/svids`: `bind` is the RFC 7638 thumbprint of the key to bind; empty means the key that was proved."""

    id: str = ""  # the SPIFFE ID; may be left out by a holder of a live SVID
    bind: str = ""
    task: str = ""  # the token of the open task that a bound key was made for; its renewals need it
    token: str = ""  # of an OIDC issuer or of another trust domain, to be exchanged


class Svid(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A JWT-SVID and its expiry."""

    svid: str
    expires: int  # ms
    id: str


class ListingRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`POST /v1/listing`: which of these tools could be permitted under this task. A probe."""

    subject: SubjectBody
    server: str
    tools: dict[str, str]  # tool name -> digest of its definition
    task: str = ""


class ListingAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """For each tool null when it could be permitted, else why not."""

    tools: dict[str, ReasonBody | None]


class ResolutionRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`POST /v1/resolutions`: what an operator found out about a permit without an outcome."""

    decision: str
    result: Literal["response", "error", "not_executed"]
    reason: str = ""


class Forgotten(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The tools and destinations whose habits were forgotten."""

    habits: tuple[str, ...]


class Done(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """It is recorded."""

    done: bool = True


class Problem(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """RFC 9457 problem details; `type` is left out and therefore `about:blank`. `code` never changes."""

    title: str
    status: int
    detail: str
    code: str
    next_step: str = ""
    decision: str = ""  # the id of the recorded denial, where there is one
    request_id: str = ""
    path: str = ""  # of a file of the project folder that is wrong: which, where in it, and the line there
    line: int = 0
    column: int = 0
    shown: str = ""
    width: int = 0  # how many characters of it are meant


def reason_body(reason: Reason) -> ReasonBody:
    """A core reason for the wire."""
    return ReasonBody(
        code=reason.code, message=reason.message, next_step=reason.next_step, policies=tuple(reason.policies)
    )


def reason_of(body: ReasonBody) -> Reason:
    """A reason from the wire."""
    return Reason(code=body.code, message=body.message, next_step=body.next_step, policies=body.policies)


def decision_body(decision: Decision) -> EvaluationAnswer:
    """A core decision as an AuthZEN answer; a probe's carries neither id nor expiry."""
    probe = decision.probe
    return EvaluationAnswer(
        decision=decision.permitted,
        context=DecisionContext(
            reason=reason_body(decision.reason),
            digest=decision.digest,
            id="" if probe else decision.id,
            task=decision.task,
            at=decision.at,
            expires=0 if probe else decision.expires,
            requestable=decision.requestable,
            request=request_body(decision),
            obligations=bodies_of(
                decision.obligations,
                action=decision.action,
                permitted=decision.permitted,
                reason=decision.reason,
                decision="" if probe else decision.id,
            )
            if decision.obligations
            else (),
            mode=decision.mode,
            would=decision.would,
            probe=probe,
            repeated=decision.repeated,
        ),
    )


def decision_of(body: EvaluationAnswer, action: str) -> Decision:
    """A decision about `action` from the wire."""
    context = body.context
    return Decision(
        id=context.id,
        effect="permit" if body.decision else "deny",
        reason=reason_of(context.reason),
        action=action,
        digest=context.digest,
        task=context.task,
        at=context.at,
        expires=context.expires,
        requestable=context.requestable,
        request=request_of(context.request),
        obligations=obligations_of(context.obligations),
        mode=context.mode,
        would=context.would,
        probe=context.probe,
        repeated=context.repeated,
    )


def task_request(body: TaskStart) -> TaskRequest:
    """A task request from the wire."""
    return msgspec.convert(body, TaskRequest, from_attributes=True)


def task_start(request: TaskRequest) -> TaskStart:
    """A task request for the wire."""
    return msgspec.convert(request, TaskStart, from_attributes=True)


def task_body(view: TaskView) -> TaskBody:
    """A task for the wire."""
    return msgspec.convert(view, TaskBody, from_attributes=True)


def task_view(body: TaskBody) -> TaskView:
    """A task from the wire."""
    return msgspec.convert(body, TaskView, from_attributes=True)


def started_task(body: StartedTaskBody) -> StartedTask:
    """A started task from the wire."""
    return StartedTask(task=task_view(body.task), token=body.token)


def listing_body(tools: Mapping[str, Reason | None]) -> ListingAnswer:
    """A listing for the wire."""
    return ListingAnswer(
        tools={name: None if reason is None else reason_body(reason) for name, reason in tools.items()}
    )


def listing_of(body: ListingAnswer) -> dict[str, Reason | None]:
    """A listing from the wire."""
    return {name: None if reason is None else reason_of(reason) for name, reason in body.tools.items()}
