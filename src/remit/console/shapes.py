"""What a body must look like to be shown; a record that does not is said to be unreadable, never guessed at."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec


class _Shape(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Fields that nobody shows are not looked at."""


class _Reason(_Shape, rename="camel", frozen=True, kw_only=True):
    code: str
    message: str = ""
    next_step: str = ""
    policies: list[str | dict[str, Any]] = []


class _Principal(_Shape, rename="camel", frozen=True, kw_only=True):
    kind: str = ""
    environment: str = ""
    owner: str = ""
    groups: list[str] = []


class _Adds(_Shape, rename="camel", frozen=True, kw_only=True):
    labels: list[str] = []
    untrusted: bool = False
    destination: str = ""


class _Obligation(_Shape, rename="camel", frozen=True, kw_only=True):
    id: str
    fields: list[str] = []
    items: dict[str, int] = {}
    bytes: int = 0
    to: str = ""


class _Approval(_Shape, rename="camel", frozen=True, kw_only=True):
    policy: str
    by: list[str]


class _Requestable(_Shape, rename="camel", frozen=True, kw_only=True):
    approvals: list[_Approval]
    selectors: list[str]


class _Decision(_Shape, rename="camel", frozen=True, kw_only=True):
    id: str
    effect: Literal["permit", "deny"]
    mode: str
    reason: _Reason
    action: str
    subject: str
    pep: str
    enforcement: str
    digest: str
    config: str
    expires: int
    context: dict[str, Any] = {}
    deadline: int = 0
    task: str = ""
    would: str = ""
    server_effect: str = ""
    principal: _Principal = _Principal()
    usage: dict[str, Any] = {}
    adds: _Adds = _Adds()
    obligations: list[_Obligation] = []
    requestable: _Requestable | None = None
    micros: int = 0


class _Limit(_Shape, rename="camel", frozen=True, kw_only=True):
    name: str
    calls: int | None = None
    at_most: Any = None


class _Task(_Shape, rename="camel", frozen=True, kw_only=True):
    task: str
    state: str
    by: str = ""
    reason: str = ""


class _OpenedTask(_Task, rename="camel", frozen=True, kw_only=True):
    intent: str
    workload: str
    starter: str
    expires: int
    config: str = ""
    root: str = ""
    parent: str = ""
    params: dict[str, Any] = {}
    limits: list[_Limit] = []


class _Outcome(_Shape, rename="camel", frozen=True, kw_only=True):
    decision: str
    result: str
    standing: str
    by: str
    late: bool = False
    bytes: int = 0
    selected: dict[str, Any] = {}


class _Resolution(_Shape, rename="camel", frozen=True, kw_only=True):
    decision: str
    result: str
    by: str
    reason: str = ""


class _Denials(_Shape, rename="camel", frozen=True, kw_only=True):
    decision: str
    count: int


_SHAPES: Final[dict[str, type[_Shape]]] = {
    "decision": _Decision,
    "denials": _Denials,
    "outcome": _Outcome,
    "resolution": _Resolution,
    "task": _Task,
}


def check_shape(kind: str, body: dict[str, Any]) -> None:
    """Raises `ValueError` where the body can't be shown as one of its kind; kinds that are not shown pass."""
    shape = _OpenedTask if kind == "task" and "intent" in body else _SHAPES.get(kind)
    if shape is not None:
        msgspec.convert(body, shape)
