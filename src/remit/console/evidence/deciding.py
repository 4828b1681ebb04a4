"""What decided, from the kept texts: which privileges intents gave, and what a change of configuration changed."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any, Final, NamedTuple

import msgspec

from remit.console.evidence.register import Register
from remit.ledger.streams import listed_in

Text = Callable[[str], str | None]  # a kept text by its digest, None where it is not kept

_NAMES: Final = 50  # that a change lists of each part; the others are counted
_INDEXED: Final = frozenset({"policies", "intents", "windows", "entities"})


class Privilege(NamedTuple):
    """What an intent allows a workload: one action."""

    workload: str
    intent: str
    action: str


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change of what decides: when, from and to which digest, and the names of what changed, by part."""

    at: int  # ms
    stream: str
    n: int
    config: str
    before: str  # "" for the first configuration
    parts: dict[str, dict[str, list[str]]]  # {"policies": {"added": [...], "changed": [...], "removed": [...]}}
    digests: dict[str, list[str]]  # by part: before, after


class Held(NamedTuple):
    """What one intent allows: to whom, and which actions."""

    intent: str
    workloads: tuple[str, ...]
    actions: frozenset[str]

    @property
    def size(self) -> int:
        """How many privileges that are."""
        return len(self.workloads) * len(self.actions)


def held(body: Mapping[str, Any], register: Register, text: Text) -> list[Held] | None:
    """What a configuration's intents allow those who are registered; None where its texts are not kept.

    Tools only (methods of MCP are decided, and are no privileges), and only those that would not be refused because
    nobody reviewed them.
    """
    catalogue, index = text(str(body.get("catalogue", ""))), text(str(body.get("intents", "")))
    if catalogue is None or index is None:
        return None
    actions = list(_actions(catalogue))
    names = {
        id_: {id_, id_.split("/", 3)[-1], *(f"group:{group}" for group in entry.registration.get("groups", ()))}
        for id_, entry in register.last()
        if entry.state != "retired" and "workload" in entry.registration.get("roles", ())
    }
    found = []
    for name, digest in listed_in(index.encode()):
        written = text(digest)
        if written is None:
            return None
        intent = msgspec.json.decode(written)
        listed, effects, wanted = (set(intent.get(key, ())) for key in ("actions", "effects", "workloads"))
        allowed = frozenset(action for action, effect in actions if action in listed or effect in effects)
        workloads = tuple(id_ for id_, known in names.items() if not wanted.isdisjoint(known))
        found.append(Held(name, workloads, allowed))
    return found


def unused(every: Sequence[Held], used: Set[Privilege]) -> Iterator[Privilege]:
    """The privileges that were not used, in order; never all of them at once in memory."""
    taken: dict[tuple[str, str], set[str]] = {}
    for each in used:
        taken.setdefault((each.workload, each.intent), set()).add(each.action)
    of: dict[str, list[Held]] = {}
    for each_held in every:
        for workload in each_held.workloads:
            of.setdefault(workload, []).append(each_held)
    for workload in sorted(of):
        for allowed in sorted(of[workload], key=lambda given: given.intent):
            for action in sorted(allowed.actions - taken.get((workload, allowed.intent), set())):
                yield Privilege(workload, allowed.intent, action)


def _actions(catalogue: str) -> Iterator[tuple[str, str]]:
    for server in msgspec.json.decode(catalogue, type=dict[str, Any]).values():
        for action in server.get("actions", ()):
            usable = action.get("reviewed") or server.get("covers_unreviewed")
            if usable and not str(action["tool"]).startswith("mcp:"):
                yield str(action["name"]), str(action["effect"])


def changed(before: Mapping[str, Any] | None, after: Mapping[str, Any], text: Text) -> dict[str, dict[str, list[str]]]:
    """The parts that differ, each with the names of what was added, changed and removed in it, as far as texts tell."""
    found: dict[str, dict[str, list[str]]] = {}
    for part in sorted({*(before or {}), *after} - {"config"}):
        old, new = str((before or {}).get(part, "")), str(after.get(part, ""))
        if old != new:
            found[part] = _difference(_names(part, old, text), _names(part, new, text))
    return found


def _names(part: str, digest: str, text: Text) -> dict[str, str]:
    """What a part consists of: names, and something that differs where they do."""
    written = text(digest) if digest else None
    if written is None:
        return {}
    try:
        if part in _INDEXED:
            return dict(listed_in(written.encode()))
        if part == "catalogue":
            servers = msgspec.json.decode(written, type=dict[str, Any]).values()
            every = (action for server in servers for action in server.get("actions", ()))
            return {str(action["name"]): repr(action) for action in every if not str(action["tool"]).startswith("mcp:")}
        if part == "settings":
            return dict(_settings(tomllib.loads(written), ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    return {}


def _settings(table: Mapping[str, Any], at: str) -> Iterator[tuple[str, str]]:
    """Names of settings; values are compared, and not told."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _settings(value, f"{at}{name}.")
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            for number, item in enumerate(value):
                said = next(
                    (item[key] for key in ("name", "issuer", "identity", "trust_domain") if key in item), number
                )
                yield f"{at}{name}[{said}]", repr(item)
        else:
            yield at + name, repr(value)


def _difference(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, list[str]]:
    both = old.keys() & new.keys()
    found = {
        "added": sorted(new.keys() - old.keys()),
        "changed": sorted(name for name in both if old[name] != new[name]),
        "removed": sorted(old.keys() - new.keys()),
    }
    return {
        how: [*names[:_NAMES], f"and {len(names) - _NAMES} more"] if len(names) > _NAMES else names
        for how, names in found.items()
        if names
    }
