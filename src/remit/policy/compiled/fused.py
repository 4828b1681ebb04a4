"""Several policies as one Python function for one kind of request: they are asked together, without a call for each.

1. What is read of the context by several of them is read once, first: only what is always there, so nothing can fail.
2. Policies that say the same are evaluated once.
3. Those that could fail are evaluated each on its own: a failure is its own, and named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any, Final, Protocol

from remit.policy.compiled.compiler import ARGUMENTS, NAMES
from remit.policy.compiled.environment import Environment
from remit.policy.compiled.typed import Path, Table, Writer
from remit.policy.compiled.values import Entity, Failed, Unsupported

_WORTH: Final = 2  # reads that are worth a variable


class Asked(Protocol):
    """A policy that can be asked with others."""

    id: str
    forbids: bool
    json: Mapping[str, Any]
    slots: Mapping[str, Entity] | None


# The arguments of `Matches`, and three lists: of policies that match, permits and forbids, and of failures.
Fused = Callable[..., None]


# SECURITY: an entity that lacks what the schema requires of it must fail its policies, not the question.
_FAILURES: Final = (Failed, KeyError)


class Functions:
    """The functions of one policy set: the same policies are one function for all environments that type them alike.

    All of them share one table of names, so that little memory is touched by a question.
    """

    def __init__(self) -> None:
        self._space: dict[str, Any] = {**NAMES, "failures": _FAILURES, "str": str}
        self._table = Table(self._space, {})
        self._named: dict[int, str] = {}
        self._made: dict[str, Fused] = {}
        self._lock = Lock()

    def fuse(self, policies: Sequence[Asked], environment: Environment) -> Fused | None:
        """The policies as one function for requests of this environment; None where one of them can't be."""
        with self._lock:
            named = {self._name(policy): policy for policy in policies}
            try:
                first = _Body(named, Writer({}, environment, {}, self._table))
                hoisted = {path: f"h{place}" for place, path in enumerate(sorted(_worth(first.writer), key=repr))}
                source = _Body(named, Writer({}, environment, hoisted, self._table)).source()
                made = self._made.get(source)
                if made is None:
                    exec(compile(source, "<policies>", "exec"), self._space)  # noqa: S102 - structure: see `compiler`
                    made = self._made[source] = self._space.pop("fused")
            except (Unsupported, Failed, SyntaxError, RecursionError, MemoryError):
                return None
            return made

    def _name(self, policy: Asked) -> str:
        name = self._named.get(id(policy))
        if name is None:
            name = self._named[id(policy)] = f"p{len(self._named)}"
            self._space[name] = policy
        return name


class _Body:
    """The function's statements; policies stand in them by their names."""

    def __init__(self, named: Mapping[str, Asked], writer: Writer) -> None:
        self.writer = writer
        self._tests: dict[str, tuple[bool, list[tuple[str, Asked]]]] = {}
        for name, policy in named.items():
            writer.slots = policy.slots or {}
            written = writer.tests(policy.json)
            if written.source != "False":
                self._tests.setdefault(written.source, (written.fails, []))[1].append((name, policy))

    def source(self) -> str:
        lines = [f"def fused({ARGUMENTS}, permits, forbids, failed):"]
        lines += [f" {name} = {_read(path)}" for path, name in self.writer.hoisted.items()]
        for test, (fails, found) in self._tests.items():
            indent = "  " if fails else " "
            lines += [" try:"] if fails else []
            if test != "True":
                lines.append(f"{indent}if {test}:")
                indent += " "
            for effect in ("permits", "forbids"):
                names = [name for name, policy in found if policy.forbids is (effect == "forbids")]
                if names:
                    lines.append(
                        f"{indent}{effect}.append({names[0]})"
                        if len(names) == 1
                        else f"{indent}{effect} += ({', '.join(names)})"
                    )
            if fails:
                lines.append(" except failures as failure:")
                lines += [f"  failed.append(({name}, str(failure)))" for name, _ in found]
        return "\n".join([*lines, " return None", ""])


def _worth(writer: Writer) -> list[Path]:
    """What of the context is read often enough, as it stands: not as a step on the way to something else."""
    own = writer.reads.copy()
    for path, count in writer.reads.items():
        if len(path) > 1:
            own[path[:-1]] -= count
    return [path for path, count in own.items() if count >= _WORTH]


def _read(path: Path) -> str:
    return "context" + "".join(".keys" if name is None else f"[{name!r}]" for name in path)
