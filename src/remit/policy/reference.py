"""The reference engine: `cedarpy`, Cedar's own, on policies as they were written.

It decides where `[policy] engine` says so and where a policy is not compiled; and a sample of what compiled policies
decide. Nothing of these is used here but what a policy reads.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from cedarpy import _internal as cedar

from remit.policy.reads import Path
from remit.policy.sources import Policy
from remit.policy.verdict import BROKEN, Verdict

_log = logging.getLogger("remit.policy")

Project = Callable[[Mapping[str, Any]], dict[str, Any]]
Put = tuple[dict[str, Any], Mapping[str, Any]]  # principal, action and resource; and the context

_FAILED = re.compile(r"error while evaluating policy `policy(\d+)`")
_PREFIX: Final = len("policy")
_encode = msgspec.json.Encoder().encode


class _Diagnostics(msgspec.Struct):
    reason: list[str] = []
    errors: list[str] = []


class _Answer(msgspec.Struct):
    decision: str
    diagnostics: _Diagnostics


_decode = msgspec.json.Decoder(_Answer).decode


class Reference:
    """Some policies, parsed by the reference engine when it is first asked."""

    def __init__(self, policies: Callable[[], Sequence[Policy]]) -> None:
        self._given = policies
        self._parsed: tuple[tuple[Policy, ...], Any, Project] | None = None

    def decide_many(self, asked: Sequence[Put], entities: Any) -> list[Verdict]:
        """The verdicts on requests over the same entities (a handle of the engine); contexts in Cedar's JSON form."""
        policies, handle, project = self._parsed or self._parse()
        requests = []
        for request, context in asked:
            try:
                requests.append({**request, "context": _encode(project(context)).decode()})
            except (ValueError, TypeError, AttributeError) as error:
                _log.error("the context of a request has a malformed value: %s", error)
        answers = cedar.is_authorized_batch(requests, handle, entities, None, False)
        if len(requests) < len(asked):
            return [BROKEN] * len(asked)
        return [_verdict(policies, _decode(answer)) for answer in answers]

    def _parse(self) -> tuple[tuple[Policy, ...], Any, Project]:
        policies = tuple(self._given())
        # The engine numbers policies by their place in the text.
        handle = cedar.PolicySet.from_str("\n".join(policy.text for policy in policies))
        project = projection(
            {path for policy in policies for path in policy.reads.values},
            {path for policy in policies for path in policy.reads.tests},
        )
        self._parsed = policies, handle, project
        return self._parsed


def _verdict(policies: Sequence[Policy], answer: _Answer) -> Verdict:
    diagnostics = answer.diagnostics
    matched = tuple(policies[place] for place in sorted(int(name[_PREFIX:]) for name in diagnostics.reason))
    if not diagnostics.errors and answer.decision in ("Allow", "Deny"):
        return Verdict(answer.decision == "Allow", matched, ())
    # SECURITY: Cedar skips a policy that fails, so a forbid that fails would let the action through: deny.
    messages: dict[int, str] = {}
    is_broken = answer.decision not in ("Allow", "Deny")
    for error in diagnostics.errors:
        match = _FAILED.match(error)
        if match is None or int(match[1]) >= len(policies):
            is_broken = True
            _log.error("the policy engine refused a request: %s", error)
        else:
            messages.setdefault(int(match[1]), error[match.end() :].lstrip(": "))
    failed = tuple((policies[place], messages[place]) for place in sorted(messages))
    return Verdict(False, matched, failed, is_broken or not failed)


def parsed(entities: bytes) -> Any:
    """The engine's handle of entities in Cedar's JSON form; they must fit their schema."""
    return cedar.Entities.from_json_str(entities.decode())


def projection(values: Iterable[Path], tests: Iterable[Path]) -> Project:
    """A function that copies from a context what is read, with the records on the way.

    `values` are read; of `tests` only the presence matters, so a value that is never read becomes `true`.
    """
    tree = tree_of(values, tests)
    return dict if tree is None else _projector(tree)


def tree_of(values: Iterable[Path], tests: Iterable[Path]) -> dict[str, Any] | None:
    """What is read, by name: `WHOLE`, `PRESENT` or the same for what is below; None where all of it is read."""
    tree: dict[str, Any] = {}
    for path in sorted(values):
        if not path:
            return None
        _grow(tree, path, WHOLE)
    for path in sorted(tests, key=len, reverse=True):
        _grow(tree, path, PRESENT)
    return tree


WHOLE: Final = "whole"
PRESENT: Final = "present"
_ABSENT: Final = object()


def _grow(tree: dict[str, Any], path: Path, leaf: str) -> None:
    for name in path[:-1]:
        below = tree.setdefault(name, {})
        if below is WHOLE:
            return
        if below is PRESENT:
            below = tree[name] = {}
        tree = below
    if leaf is WHOLE or path[-1] not in tree:
        tree[path[-1]] = leaf


def _projector(tree: Mapping[str, Any]) -> Project:
    steps = [(name, how if isinstance(how, str) else _projector(how)) for name, how in tree.items()]

    def project(record: Mapping[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name, how in steps:
            item = record.get(name, _ABSENT)
            if item is _ABSENT:
                continue
            if how is PRESENT:
                result[name] = True
            elif how is WHOLE or type(item) is not dict or "__entity" in item:
                result[name] = item
            else:
                result[name] = how(item)  # type: ignore[operator]  # a leaf was handled above
        return result

    return project
