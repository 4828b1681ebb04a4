"""The event schemas that come with Remit."""

from __future__ import annotations

from importlib import resources
from typing import Final, Literal

from remit.policy.dogwood.events.schema import EventSchema
from remit.policy.dogwood.events.syntax import parse

Scope = Literal["task", "workload"]  # whose history: a session's (a task tree's), or a workload's over all its tasks
AGENTCORE: Final = "agentcore"  # `[policy] events`: the reference's own kinds


def shipped(scope: Scope, chosen: str = "") -> EventSchema:
    """Remit's own schema for histories of this scope, or the reference's kinds where `chosen` says so."""
    name = scope if chosen != AGENTCORE else AGENTCORE if scope == "task" else f"{AGENTCORE}-{scope}"
    file = resources.files("remit.policy.dogwood.events") / f"{name}.dwschema"
    return parse(file.read_text(encoding="utf-8"), f"shipped/{name}.dwschema")
