"""One run of a workload under an intent: how it is asked for, and how it stands."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

TaskState = Literal["open", "completed", "cancelled", "expired", "suspended"]
TaskEnd = Literal["completed", "cancelled", "suspended", "open"]  # what a person or starter may move it to


class TaskRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a starter asks for. `key` is the thumbprint of the key that the task token is bound to."""

    intent: str
    workload: str  # SPIFFE ID
    key: str
    params: dict[str, Any] = {}
    prompt: str = ""  # the user's own words
    case_type: str = ""
    on_behalf_of: str = ""  # a token of that person (its JWT-SVID), never a name
    parent: str = ""  # a task id: this becomes its child


class TaskView(msgspec.Struct, frozen=True, kw_only=True):
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


class StartedTask(msgspec.Struct, frozen=True, kw_only=True):
    """A new task and its token: a handle bound to the holder's key, not authority."""

    task: TaskView
    token: str


class Forgetting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Habits of a workload that are to be forgotten: these, or everything. What is left is as it was."""

    id: str  # the workload
    tools: tuple[str, ...] = ()  # actions, with the steps from and to them
    destinations: tuple[str, ...] = ()  # hosts
    everything: bool = False
    reason: str = ""


class RiskSignal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One live risk signal of a workload: 0 to 100, with a source and an expiry."""

    id: str  # the workload
    signal: str
    value: int
    source: str
    expires: int  # ms
