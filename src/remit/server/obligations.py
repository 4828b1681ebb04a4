"""Which obligations the caller of a general question can fulfil."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from remit.core.decisions import Obligation
from remit.core.errors import InvalidInput
from remit.sdk.negotiation import ACTIONS_MEMBER, TYPES_MEMBER, supported


def supported_in(context: Mapping[str, Any]) -> frozenset[str]:
    """What the `context` of a request says; `InvalidInput` for a member that is no list of names."""
    said: list[list[str] | None] = []
    for member in (TYPES_MEMBER, ACTIONS_MEMBER):
        names = context.get(member)
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise InvalidInput(
                "supported_obligations_invalid", f"`context.{member}` is no list of names", 'send `["notification"]`'
            )
        said.append(names)
    return supported(said[0], said[1])


def not_supported(obligations: Iterable[Obligation], context: Mapping[str, Any]) -> frozenset[str]:
    """What of these a caller that sends this context did not say it can fulfil."""
    ids = frozenset(each.id for each in obligations)
    return ids - supported_in(context) if ids else ids
