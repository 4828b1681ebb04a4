"""Approved purposes: what an intent justifies, and the limits under which it does."""

from __future__ import annotations

from typing import Literal

import msgspec

from remit.core.effects import Effect
from remit.core.identities import Mode

ParameterType = Literal["string", "integer", "decimal", "boolean"]


class Parameter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One typed parameter of an intent; the starter supplies its value."""

    type: ParameterType
    required: bool = True
    description: str = ""
    pattern: str = ""  # string: a full match
    values: tuple[str, ...] = ()  # string: the only ones allowed
    minimum: str = ""  # integer and decimal, inclusive
    maximum: str = ""
    max_length: int = 256
    personal: bool = False  # recorded as a commitment


class Prerequisite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`before` is refused until `done` was completed in this task tree, believed from an enforcement point."""

    name: str
    before: tuple[str, ...]  # actions
    done: str  # an action
    where: dict[str, str] = {}  # {"input.invoice": "params.invoice", "output.status": "'open'"}
    within: int = 0  # seconds; 0: any time in this task


class Limit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most `calls` permits, or at most `at_most` as the sum of one argument, of these actions in one task tree."""

    name: str
    actions: tuple[str, ...] = ()  # one of actions and effects
    effects: tuple[Effect, ...] = ()
    calls: int | None = None
    sum: str = ""  # "input.amount"
    at_most: str = ""  # a decimal number, or "params.amount"


class Binding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One argument of one action must equal, or be at most, a value that the starter or a believed step supplied."""

    action: str
    argument: str  # "input.account"
    equals: str = ""  # "params.account", "done.invoice-read.account", "'a literal'"
    at_most: str = ""  # "params.amount", "done.invoice-read.amount", "100.00"


class Intent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An approved purpose, from `intents/<name>.yaml`."""

    name: str
    description: str
    actions: tuple[str, ...] = ()
    effects: tuple[Effect, ...] = ()
    starters: tuple[str, ...]  # "group:accounts-applications", a SPIFFE ID, or its path ("starter/accounts")
    workloads: tuple[str, ...]  # who may act under it, in the same form
    params: dict[str, Parameter] = {}
    case_types: tuple[str, ...] = ()
    order: tuple[Prerequisite, ...] = ()
    limits: tuple[Limit, ...] = ()
    bindings: tuple[Binding, ...] = ()
    risk_at_most: int = 100
    time_to_live: int = 3600  # seconds
    self_start: bool = False
    children: tuple[str, ...] = ()  # intents that a child task may have; none: no child tasks
    credentials: tuple[str, ...] = ()
    emergency: bool = False  # said in every record of its tasks
    mode: Mode | None = None
    path: str = ""  # where it was declared
    line: int = 0
