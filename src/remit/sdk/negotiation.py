"""Obligations on the wire: the AuthZEN profile for obligations, draft 1, and how a caller says which it can fulfil.

The profile registers `notification`; what else Remit obliges to is of its type `custom`, with the vendor `remit` and
the action in `properties`:

    {"id": "limit", "type": "custom", "properties": {"vendor": "remit", "action": "limit", "items": {"rows": 100}}}
    {"id": "notify:audit", "type": "notification", "properties": {"to": "audit", "topic": "…", "body": "…"}}

A caller names the types in `context.supported_obligations` and may say which of Remit's own actions it knows in
`context.remit_obligations`, since `custom` alone says little. Whoever says nothing is taken to support nothing: the
profile leaves that to the PDP, and a permit whose condition is overlooked would be worth more than was meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from remit.core.decisions import Obligation, Reason
from remit.core.obligations import KNOWN, LIMIT, NOTIFY, REDACT, REPORT_FIRST, SELECT

CUSTOM: Final = "custom"
NOTIFICATION: Final = "notification"
TYPES: Final = (NOTIFICATION, CUSTOM)  # `supported_obligations` of the metadata
ACTIONS: Final = tuple(sorted(KNOWN - {NOTIFY}))  # `remit_obligations` of the metadata
VENDOR: Final = "remit"

TYPES_MEMBER: Final = "supported_obligations"
ACTIONS_MEMBER: Final = "remit_obligations"

_LABEL: Final = 64
_Positive = Annotated[int, Meta(ge=1)]


class ObligationBody(msgspec.Struct, frozen=True, kw_only=True):
    """One obligation of an answer; its `id` is unique within it."""

    id: str
    type: str
    properties: dict[str, Any]


class _Own(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """SECURITY: a property that is not known may change what an obligation means, so it is not understood."""

    vendor: str
    action: str


class _Fields(_Own, frozen=True, forbid_unknown_fields=True):
    fields: Annotated[tuple[str, ...], Meta(min_length=1)]


class _Limit(_Own, frozen=True, forbid_unknown_fields=True):
    items: dict[str, _Positive] = {}
    bytes: Annotated[int, Meta(ge=0)] = 0


class _Notification(msgspec.Struct, frozen=True):
    to: str
    body: str
    topic: str = ""


_SHAPES: Final[Mapping[str, type[_Own]]] = {REDACT: _Fields, SELECT: _Fields, LIMIT: _Limit, REPORT_FIRST: _Own}


def supported(types: Iterable[str] | None, actions: Iterable[str] | None = None) -> frozenset[str]:
    """The obligations that a caller said it can fulfil; what is not advertised is ignored, as the profile says.

    `custom` without `actions` stands for all of Remit's own: one that the caller does not know it has to refuse.
    """
    said = frozenset(types or ())  # SECURITY: silence is no support
    found = {NOTIFY} if NOTIFICATION in said else set()
    if CUSTOM in said:
        found |= set(ACTIONS) if actions is None else set(ACTIONS) & set(actions)
    return frozenset(found)


def declared(ids: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The types and the actions in which a caller says that it supports the obligations `ids`."""
    actions = tuple(id_ for id_ in ACTIONS if id_ in set(ids))
    types = ((NOTIFICATION,) if NOTIFY in set(ids) else ()) + ((CUSTOM,) if actions else ())
    return types, actions


def bodies_of(
    obligations: Iterable[Obligation], *, action: str, permitted: bool, reason: Reason, decision: str = ""
) -> tuple[ObligationBody, ...]:
    """The obligations of an answer in the profile's form; the rest is what a notification says."""
    return tuple(_body_of(each, action, permitted, reason, decision) for each in obligations)


def sentence(action: str, permitted: bool, reason: Reason, decision: str = "") -> str:
    """What a notification says, for a person; nothing of the arguments."""
    where = f" (decision {decision})" if decision else ""
    return f"{action} was {'permitted' if permitted else 'denied'}: {reason.message.rstrip('.')}{where}."


def topic(permitted: bool) -> str:
    """What a notification is about, for programs."""
    return "remit.action.permitted" if permitted else "remit.action.denied"


def obligations_of(bodies: Iterable[ObligationBody]) -> tuple[Obligation, ...]:
    """The obligations of an answer. What is not understood becomes one whose id nobody knows, and is so refused."""
    return tuple(_obligation_of(body) for body in bodies)


def _body_of(each: Obligation, action: str, permitted: bool, reason: Reason, decision: str) -> ObligationBody:
    if each.id == NOTIFY:
        said = {"to": each.to, "topic": topic(permitted), "body": sentence(action, permitted, reason, decision)}
        return ObligationBody(id=f"{NOTIFY}:{each.to}", type=NOTIFICATION, properties=said)
    properties: dict[str, Any] = {"vendor": VENDOR, "action": each.id}
    if each.fields:
        properties["fields"] = list(each.fields)
    if each.items:
        properties["items"] = dict(each.items)
    if each.bytes:
        properties["bytes"] = each.bytes
    return ObligationBody(id=each.id, type=CUSTOM, properties=properties)


def _obligation_of(body: ObligationBody) -> Obligation:
    properties = body.properties
    if body.type == NOTIFICATION:
        try:
            return Obligation(id=NOTIFY, to=msgspec.convert(properties, _Notification).to)
        except msgspec.ValidationError:
            return _unknown("malformed", body.type)
    if body.type != CUSTOM:
        return _unknown("type", body.type)
    vendor, action = properties.get("vendor"), properties.get("action")
    shape = _SHAPES.get(action) if vendor == VENDOR and isinstance(action, str) else None
    if shape is None:
        return _unknown(str(vendor), str(action))
    try:
        read = msgspec.convert(properties, shape)
    except msgspec.ValidationError:
        return _unknown("malformed", str(action))
    if isinstance(read, _Fields):
        return Obligation(id=str(action), fields=read.fields)
    if isinstance(read, _Limit):
        return Obligation(id=LIMIT, items=read.items, bytes=read.bytes)
    return Obligation(id=str(action))


def _unknown(*parts: str) -> Obligation:
    # SECURITY: a colon stands in no known id, so that no type of another vendor passes for one of these.
    return Obligation(id=":".join(part[:_LABEL] for part in parts))
