"""Calls that the server answered with `input_required` (MCP 2026-07-28, multi round-trip requests).

The client sends such a call again with the answers and the server's opaque state. The state could be another call's:
the server acts on what it finds in the state, while the decision was made on the arguments beside it. So a repeated
call passes only with a state that this server gave, through this gateway, for the same action and arguments.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from remit.core import bounds
from remit.core.canonical import sha256
from remit.core.decisions import Reason
from remit.enforce.refusals import Refusal

_UNKNOWN: Final = Reason(
    code="continuation_unknown",
    message="the server did not ask for this input for a call with these arguments",
    next_step="call again without `inputResponses` and `requestState`",
)


class Continuations:
    """The states that the server gave, by the request that they belong to; the oldest are forgotten first."""

    def __init__(self) -> None:
        self._given: OrderedDict[tuple[str, str], None] = OrderedDict()

    def remember(self, digest: str, state: str) -> None:
        """The server gave `state` ("" for none) for the request with this digest."""
        self._given[digest, sha256(state.encode(errors="surrogatepass"))] = None
        if len(self._given) > bounds.CONTINUATIONS:
            self._given.popitem(last=False)

    def check(self, params: Mapping[str, Any], digest: str, action: str) -> None:
        """A `Refusal` when the call carries answers or a state that do not belong to it."""
        if "inputResponses" not in params and "requestState" not in params:
            return
        state = params.get("requestState", "")
        known = isinstance(state, str) and (digest, sha256(state.encode(errors="surrogatepass"))) in self._given
        # SECURITY: a state given for other arguments would make the server act on those.
        if not known:
            raise Refusal(_UNKNOWN, action)
