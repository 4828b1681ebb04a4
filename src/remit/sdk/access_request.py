"""What would have to be asked for, on the wire: the members that the AuthZEN access request profile gives a submission.

    {"subject", "action", "resource", "context": {"task", "digest", "selectors"},
     "denial": {"evaluation_id", "evaluated_at", "reason"}, "approvals": [{"policy", "by"}]}

The profile's own signal, `context.access_request`, promises an endpoint that takes the request. Until there is one, it
must not be sent (section "Requestable Denial Context"), and this stands as `context.request`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from remit.core.decisions import AccessRequest, Approval, Decision

WORKLOAD: Final = "workload"
SERVER: Final = "server"
_SHOWN: Final = 120  # characters of one argument, in words


class Entity(msgspec.Struct, frozen=True, kw_only=True):
    """A subject or a resource: its type and its id."""

    type: str
    id: str


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """An action."""

    name: str


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """For which task, and for which arguments exactly: their digest, and those that choose."""

    task: str
    digest: str
    selectors: dict[str, Any] = {}


class Denial(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The denied evaluation; `evaluation_id` only where it was recorded."""

    evaluated_at: str
    reason: str
    evaluation_id: str = ""


class AccessRequestBody(msgspec.Struct, frozen=True, kw_only=True):
    """The request that a requestable denial lacks."""

    subject: Entity
    action: Named
    resource: Entity
    context: Asked
    denial: Denial
    approvals: tuple[Approval, ...]


def request_body(decision: Decision) -> AccessRequestBody | None:
    """What a decision's denial lacks, for the wire; None where it is final, or a permit."""
    request = decision.request
    if request is None:
        return None
    return AccessRequestBody(
        subject=Entity(type=WORKLOAD, id=request.subject),
        action=Named(name=decision.action),
        resource=Entity(type=SERVER, id=decision.action.partition("/")[0]),
        context=Asked(task=decision.task, digest=decision.digest, selectors=request.selectors),
        denial=Denial(
            evaluation_id="" if decision.probe else decision.id,
            evaluated_at=_timestamp(decision.at),
            reason=decision.reason.code,
        ),
        approvals=request.approvals,
    )


def request_of(body: AccessRequestBody | None) -> AccessRequest | None:
    """The same from the wire."""
    if body is None:
        return None
    return AccessRequest(subject=body.subject.id, approvals=body.approvals, selectors=body.context.selectors)


def in_words(decision: Decision) -> str:
    """What would have to be asked for, in one sentence; "" where nobody could approve it."""
    request = decision.request
    if request is None:
        return ""
    chosen = ", ".join(f"{name} {_said(value)}" for name, value in request.selectors.items())
    task = f", in the task {decision.task}" if decision.task else ""
    return f"`{decision.action}`{f' with {chosen}' if chosen else ''}{task}, approved by {approvers(request.approvals)}"


def approvers(approvals: Iterable[Approval]) -> str:
    """Who would have to approve: one of each list."""
    each = dict.fromkeys(" or ".join(_who(name) for name in approval.by) or "any approver" for approval in approvals)
    return ", and by ".join(each)


def _who(name: str) -> str:
    kind, separator, rest = name.partition(":")
    return f"a member of {rest}" if kind == "group" and separator else name


def _said(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _timestamp(ms: int) -> str:
    """RFC 3339 in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
