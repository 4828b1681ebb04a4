"""What the general PDP is asked, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from remit.core.decisions import Obligation

What = Literal["subject", "resource", "action"]


class Named(msgspec.Struct, frozen=True):
    """A subject or a resource as the caller names it; in a search, the one that is sought has no id."""

    type: str
    id: str = ""
    properties: Mapping[str, Any] = {}


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """May this subject do this to this resource? In a search for actions, `action` is empty."""

    subject: Named
    action: str
    action_properties: Mapping[str, Any] = {}
    resource: Named
    context: Mapping[str, Any] = {}


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a search.

    `results` are subjects or resources (as `Named`, of the type that the caller named) or names of actions;
    `obligations` are what the policies oblige to that permit one of them, by its id or name, where they do.
    `next` says where the next page begins; "" at the end. Where the answer can't be exact, `why` says so.
    """

    results: tuple[Named | str, ...]
    obligations: Mapping[str, tuple[Obligation, ...]] = {}
    next: str = ""
    exact: bool = True
    why: str = ""
