"""How a refusal reads: for the model that must do something else, for the person who looks, and for code.

A refused tools/call is answered as a tool error (`isError`), because models see tool errors and act on them; every
other refused request is a JSON-RPC error with the same text. Both carry the decision as data.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from remit.core.decisions import Decision, Reason
from remit.core.errors import RemitError
from remit.enforce.frames import REFUSED, Id, error_frame, result_frame
from remit.sdk.access_request import in_words, request_body

DECISION_META: Final = "remit/decision"


class Refusal(Exception):
    """A request that does not pass, or whose result does not leave: why, and the decision if there is one."""

    def __init__(
        self, reason: Reason, action: str, decision: Decision | None = None, *, executed: bool = False
    ) -> None:
        super().__init__(reason.code)
        self.reason = reason
        self.action = action
        self.decision = decision
        self.executed = executed  # whether the upstream may have carried the action out

    @classmethod
    def of(cls, error: RemitError, action: str, decision: Decision | None = None, *, executed: bool = False) -> Refusal:
        """The refusal that an error means."""
        reason = Reason(code=error.code, message=error.message, next_step=error.next_step)
        return cls(reason, action, decision, executed=executed)

    def text(self) -> str:
        """What a model can act on and a person can read."""
        decision = self.decision
        lines = [f"{'Result withheld' if self.executed else 'Refused'} by Remit: {self.reason.message.rstrip('.')}."]
        if self.executed:
            lines.append("The action may have been carried out. Do not repeat it.")
        if self.reason.next_step:
            lines.append(f"What would help: {self.reason.next_step.rstrip('.')}.")
        if decision is not None and decision.requestable:
            wanted = in_words(decision)
            lines.append(f"A person could approve this. What would have to be asked for: {wanted or 'this decision'}.")
        about = f"Reason: {self.reason.code}. Action: {self.action}."
        if decision is not None and decision.id:
            about += f" Decision: {decision.id} (`remit log show {decision.id}`)."
        return "\n".join([*lines, about])

    def data(self) -> dict[str, Any]:
        """The same for code, under `_meta["remit/decision"]` or in the error's data."""
        reason = {"code": self.reason.code, "message": self.reason.message, "nextStep": self.reason.next_step}
        decision = self.decision
        return {
            "effect": "deny" if decision is None else decision.effect,
            "id": "" if decision is None else decision.id,
            "action": self.action,
            "reason": {**reason, "policies": [policy.id for policy in self.reason.policies]},
            "requestable": decision is not None and decision.requestable,
            **self._request(),
            "executed": self.executed,
        }

    def _request(self) -> dict[str, Any]:
        request = request_body(self.decision) if self.decision is not None else None
        return {} if request is None else {"request": msgspec.to_builtins(request)}


def tool_refusal(id_: Id, refusal: Refusal, *, modern: bool) -> bytes:
    """The answer to a refused tools/call; `modern`: the request was of MCP 2026-07-28, where results have a type."""
    result: dict[str, Any] = {"resultType": "complete"} if modern else {}
    result["content"] = [{"type": "text", "text": refusal.text()}]
    result["isError"] = True
    result["_meta"] = {DECISION_META: refusal.data()}
    return result_frame(id_, result)


def method_refusal(id_: Id, refusal: Refusal) -> bytes:
    """The answer to any other refused request."""
    return error_frame(id_, REFUSED, refusal.text(), {DECISION_META: refusal.data()})
