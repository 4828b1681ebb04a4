"""What would have to be asked for, so that a denial could be overcome: the action, exactly as it was asked about.

Nothing is asked for here, and nobody can approve yet: it is told, so that people and programs know what they lack.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from remit.core import bounds, canonical
from remit.core.actions import Action
from remit.core.decisions import AccessRequest, Approval, Ask


def selecting(action: Action, input: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the given arguments that choose who, where, what and how much: all that are known and no content."""
    known = {*action.selectors, *action.input_schema.get("properties", ())} - set(action.content)
    return tuple(sorted(known & input.keys()))


def access_request(ask: Ask, approvals: tuple[Approval, ...], names: Iterable[str]) -> AccessRequest:
    """The request that a question's denial lacks; a long argument is named by its digest."""
    selectors = {name: _shown(ask.input[name]) for name in names if name in ask.input}
    return AccessRequest(subject=ask.subject, approvals=approvals, selectors=selectors)


def body_of(request: AccessRequest) -> dict[str, Any]:
    """A request as the record of its decision keeps it: the arguments themselves stand among the facts there."""
    return {
        "approvals": [{"by": list(each.by), "policy": each.policy} for each in request.approvals],
        "selectors": sorted(request.selectors),
    }


def from_body(body: Mapping[str, Any], ask: Ask) -> AccessRequest:
    """The request of a recorded denial, for the same question asked again."""
    approvals = tuple(Approval(policy=each["policy"], by=tuple(each["by"])) for each in body["approvals"])
    return access_request(ask, approvals, body["selectors"])


def _shown(value: Any) -> Any:
    data = canonical.encode(value)
    if len(data) <= bounds.STRING_IN_RECORD:
        return value
    return {"bytes": len(data), "sha256": canonical.sha256(data)}
