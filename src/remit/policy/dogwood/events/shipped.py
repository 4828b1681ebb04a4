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
    path, text = shipped_text(scope, chosen)
    return parse(text, path)


def shipped_text(scope: Scope, chosen: str = "") -> tuple[str, str]:
    """The path that decisions quote, and the text, of the same schema."""
    folder = "" if scope == "task" else f"{scope}/"
    name = f"{AGENTCORE}-{scope}" if chosen == AGENTCORE else scope
    file = resources.files("remit.policy.dogwood.events") / f"{name}.dwschema"
    return f"shipped/{folder}{chosen or 'events'}.dwschema", file.read_text(encoding="utf-8")
