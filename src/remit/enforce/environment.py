"""What a started process gets of the environment: what its caller configured, and nothing of Remit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PREFIX: Final = "REMIT_"


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` without Remit's own variables, the name of the task's grant among them."""
    # SECURITY: whoever has the grant can act as the workload; a server that the agent calls is not the agent.
    return {name: value for name, value in environment.items() if not name.upper().startswith(PREFIX)}
