"""What a verifier reads of each kind's body (docs/design/records.md); fields that it does not need are ignored."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from remit.core.decisions import Obligation
from remit.core.errors import InvalidInput

AMOUNT_SCALE: Final = 9  # decimal places that sums are exact to
UNIT: Final = 10**AMOUNT_SCALE

_AMOUNT = re.compile(r"(-?)([0-9]{1,30})(?:\.([0-9]{1,9}))?")
_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_Spiffe = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
_Hex = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
_Time = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
_Result = Literal["response", "error", "not_executed"]


class Limit(msgspec.Struct, frozen=True, rename="camel"):
    """One limit of a task: a number of calls, or a sum."""

    name: str
    calls: Annotated[int, msgspec.Meta(ge=0)] | None = None
    at_most: str | None = None
    actions: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()
    sum: str = ""


class Task(msgspec.Struct, frozen=True, rename="camel"):
    """A task that opens, or changes its state."""

    task: _Id
    state: Literal["open", "completed", "cancelled", "expired", "suspended"]
    root: str = ""
    parent: str = ""
    intent: str = ""
    workload: str = ""
    starter: str = ""
    case_type: str = ""
    expires: _Time = 0
    on_behalf_of: Any = ""
    params: dict[str, Any] = {}
    prompt: Any = ""
    config: str = ""
    limits: tuple[Limit, ...] = ()
    emergency: bool = False
    by: str = ""
    decision: str = ""


class Adds(msgspec.Struct, frozen=True):
    """What a permit adds to its session."""

    labels: tuple[str, ...] = ()
    untrusted: bool = False
    destination: str = ""
    fixed: bool = False


class Reason(msgspec.Struct, frozen=True):
    """Why: a code, and the ids of the policies that decided."""

    code: str = ""
    policies: tuple[str, ...] = ()


class Decision(msgspec.Struct, frozen=True, rename="camel"):
    """A permit or a deny."""

    id: _Id
    effect: Literal["permit", "deny"]
    action: str
    digest: _Hex
    subject: str
    pep: str
    mode: Literal["enforce", "observe"]
    config: _Hex
    task: str = ""
    enforcement: Literal["pep", "self", ""] = ""
    expires: _Time = 0
    deadline: _Time = 0
    would: Literal["permit", "deny", ""] = ""
    idempotency_key: str = ""
    server_effect: str = ""
    usage: dict[str, str] = {}
    reason: Reason = Reason()
    principal: dict[str, Any] = {}
    context: dict[str, Any] = {}
    above: tuple[dict[str, Any], ...] = ()
    above_temporal: tuple[dict[str, bool], ...] = ()
    obligations: tuple[Obligation, ...] = ()
    adds: Adds = Adds()
    requestable: dict[str, Any] | None = None
    trace: Annotated[str, msgspec.Meta(pattern="^(00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})?$")] = ""


class Denials(msgspec.Struct, frozen=True):
    """A count of denials identical to one that is recorded."""

    decision: _Id
    count: Annotated[int, msgspec.Meta(ge=1)]


class Outcome(msgspec.Struct, frozen=True):
    """What became of a permit."""

    decision: _Id
    digest: _Hex
    result: Literal["response", "error", "not_executed", "unknown"]
    standing: Literal["believed", "claimed"]
    by: str
    started: _Time = 0
    late: bool = False
    selected: dict[str, Any] = {}


class Resolution(msgspec.Struct, frozen=True):
    """An operator's word on an unknown outcome."""

    decision: _Id
    result: _Result
    by: _Spiffe


class Registration(msgspec.Struct, frozen=True):
    """Of a registration: who, in which state, and what policies see."""

    id: _Spiffe
    state: Literal["active", "quarantined", "retired"] = "active"
    kind: str = ""
    owner: str = ""
    environment: str = ""
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    mode: str | None = None


class Identity(msgspec.Struct, frozen=True):
    """A registration or its change."""

    registration: Registration
    by: str = ""
    signal: str = ""


class Exchange(msgspec.Struct, frozen=True):
    """An outside token that was taken for the stream's identity, with the key that it is bound to from then on."""

    issuer: _Spiffe
    source: _Id
    rule: Annotated[int, msgspec.Meta(ge=1)]
    token: _Hex
    key: _Id
    until: _Time


class Risk(msgspec.Struct, frozen=True):
    """One risk signal."""

    id: _Spiffe
    signal: _Id
    value: Annotated[int, msgspec.Meta(ge=0, le=100)]
    expires: _Time = 0
    by: str = ""
    decision: str = ""


_Trees = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
_Day = Annotated[int, msgspec.Meta(ge=0, le=2**31)]


class Practice(msgspec.Struct, frozen=True):
    """What a workload completed on one day: in how many task trees, by tool, step and destination."""

    id: _Spiffe
    day: _Day
    tools: dict[str, _Trees]
    steps: dict[str, dict[str, _Trees]]
    destinations: dict[str, _Trees]


class Forgotten(msgspec.Struct, frozen=True):
    """What a person had forgotten of a workload's habits."""

    id: _Spiffe
    everything: bool
    tools: tuple[str, ...]
    destinations: tuple[str, ...]
    by: _Spiffe


class Configuration(msgspec.Struct, frozen=True):
    """What decides from now on: the digest that decisions quote."""

    config: _Hex


class Erasure(msgspec.Struct, frozen=True):
    """Personal values that were erased: which openings, and which keys, with all that was sealed under them."""

    id: _Id
    by: _Spiffe
    reason: str
    what: Literal["subject", "task", "value", "age"]
    count: Annotated[int, msgspec.Meta(ge=0)]
    openings: tuple[list[Any], ...]  # [stream, n, pointer]
    keys: tuple[Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$", max_length=16)], ...] = ()


class Event(msgspec.Struct, frozen=True):
    """What a workload did, in its own stream."""

    action: _Id
    decision: _Id
    kind: Literal["request", "permitted", "response", "error"]
    subject: _Spiffe
    task: _Id
    input: dict[str, Any]
    output: dict[str, Any] = {}


class Events(msgspec.Struct, frozen=True):
    """What a workload did before policies asked; the first such record is in place of all before it."""

    clauses: _Hex
    events: tuple[Event, ...]
    first: bool


class Watch(msgspec.Struct, frozen=True):
    """For which clauses workloads' streams are kept from now on."""

    workloads: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{64})?$", max_length=64)]
    at: _Time


class Mode(msgspec.Struct, frozen=True):
    """A switch of the installation's mode."""

    mode: Literal["enforce", "observe"]


BODIES: Final[dict[str, type[msgspec.Struct]]] = {
    "task": Task,
    "decision": Decision,
    "denials": Denials,
    "outcome": Outcome,
    "resolution": Resolution,
    "identity": Identity,
    "exchange": Exchange,
    "risk": Risk,
    "practice": Practice,
    "forgotten": Forgotten,
    "configuration": Configuration,
    "mode": Mode,
    "erasure": Erasure,
    "event": Event,
    "events": Events,
    "watch": Watch,
}

T = TypeVar("T")


def read_body(body: dict[str, Any], type_: type[T]) -> T:
    """The body of a record as its kind's type; `InvalidInput` where a field is missing or does not fit."""
    try:
        return msgspec.convert(body, type_)
    except (ValueError, OverflowError, RecursionError) as error:
        message = str(error)[:200]
        raise InvalidInput("body_invalid", message[:1].lower() + message[1:]) from None


def scaled(amount: Any) -> int | None:
    """A decimal string or an integer of at most 30 digits in units of 10^-9, exactly; None for anything else."""
    if isinstance(amount, int) and not isinstance(amount, bool):
        return int(amount) * UNIT if abs(amount) < 10**30 else None
    match = _AMOUNT.fullmatch(amount) if isinstance(amount, str) else None
    if match is None:
        return None
    sign, whole, fraction = match.groups()
    value = int(whole) * UNIT + int((fraction or "").ljust(AMOUNT_SCALE, "0"))
    return -value if sign else value


def shown(amount: int) -> str:
    """A scaled amount as a decimal string."""
    whole, fraction = divmod(abs(amount), UNIT)
    text = f"{whole}.{fraction:0{AMOUNT_SCALE}d}".rstrip("0").rstrip(".")
    return f"-{text}" if amount < 0 else text
