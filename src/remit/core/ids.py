"""Identifiers that sort by time: a prefix, 48 bits of milliseconds and 64 random bits."""

from __future__ import annotations

import secrets


def new_id(prefix: str, now: int) -> str:
    """A fresh id such as `d_019a2b3c4d5e0123456789abcdef`; `now` is milliseconds since 1970, UTC."""
    return f"{prefix}_{now:012x}{secrets.token_hex(8)}"


def root_of(task_id: str) -> str:
    """The root task of a task: a child's id is its parent's id, a dot and a number."""
    return task_id.partition(".")[0]
