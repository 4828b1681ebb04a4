"""The evaluation of one request: the one place that calls the Cedar engine, and that another engine replaces.

A slice holds every policy that could match or fail for one action, resource and intent; the context is cut to
the paths that the slice reads. Both change neither decision nor reasons nor errors, and a test compares them with
the engine on the whole.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from cedarpy import _internal as cedar

from remit.core.errors import Unavailable
from remit.core.identities import Registration
from remit.policy.reads import Path, Uid, reads_of
from remit.policy.schema import NAMESPACE
from remit.policy.sources import Policy
from remit.policy.specialised import Unknown, as_integers, specialise

_log = logging.getLogger("remit.policy")

Project = Callable[[Mapping[str, Any]], dict[str, Any]]

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


class Verdict(msgspec.Struct, frozen=True):
    """What the engine says: the policies that matched for the decision and those that failed, in rank order."""

    permitted: bool
    matched: tuple[Policy, ...]
    failed: tuple[tuple[Policy, str], ...]  # with the engine's message, for the log
    is_broken: bool = False  # the request itself could not be evaluated


class Slice:
    """The policies that can matter to one kind of request, rewritten for it and parsed once."""

    def __init__(
        self,
        policies: Sequence[Policy],
        groups: frozenset[Uid],
        principals: tuple[str, ...],
        intent: str,
        *,
        as_written: bool = False,
    ) -> None:
        """With `as_written`, nothing is rewritten: for entities whose attributes are not Remit's own."""
        self.policies = tuple(policies)
        rewritten = None if as_written else _rewritten(policies, groups, principals, intent)
        if rewritten is None:
            reads = [policy.reads for policy in policies]
            # The engine numbers policies by their place in the text.
            self._set = cedar.PolicySet.from_str("\n".join(policy.text for policy in policies))
        else:
            reads = [reads_of(policy) for policy in rewritten[0]]
            self._set = rewritten[1]
        self.project = projection(
            {path for read in reads for path in read.values},
            {path for read in reads for path in read.tests},
            as_integers if rewritten is not None else None,
        )

    def decide(self, request: dict[str, Any], entities: Any, context: Mapping[str, Any]) -> Verdict:
        """Evaluates one request; `request` has principal, action and resource, and is not changed."""
        try:
            asked = {**request, "context": self.encoded(context)}
        except ValueError as error:
            _log.error("the context of a request has a malformed value: %s", error)
            return Verdict(False, (), (), True)
        return self.decide_many([asked], entities)[0]

    def encoded(self, context: Mapping[str, Any]) -> str:
        """What the slice reads of a context, as text."""
        return _encode(self.project(context)).decode()

    def decide_many(self, asked: list[dict[str, Any]], entities: Any) -> list[Verdict]:
        """Evaluates requests over the same entities; each has principal, action, resource and `encoded` context."""
        answers = cedar.is_authorized_batch(asked, self._set, entities, None, False)
        return [self._verdict(_decode(answer)) for answer in answers]

    def _verdict(self, answer: _Answer) -> Verdict:
        diagnostics = answer.diagnostics
        if not diagnostics.errors and answer.decision in ("Allow", "Deny"):
            return Verdict(answer.decision == "Allow", self._named(diagnostics.reason), ())
        return self._broken(answer)

    def _broken(self, answer: _Answer) -> Verdict:
        """SECURITY: Cedar skips a policy that fails, so a forbid that fails would let the action through: deny."""
        messages: dict[int, str] = {}
        is_broken = answer.decision not in ("Allow", "Deny")
        for error in answer.diagnostics.errors:
            match = _FAILED.match(error)
            if match is None or int(match[1]) >= len(self.policies):
                is_broken = True
                _log.error("the policy engine refused a request: %s", error)
            else:
                messages.setdefault(int(match[1]), error[match.end() :].lstrip(": "))
        failed = tuple((self.policies[place], messages[place]) for place in sorted(messages))
        return Verdict(False, self._named(answer.diagnostics.reason), failed, is_broken or not failed)

    def _named(self, names: list[str]) -> tuple[Policy, ...]:
        if len(names) == 1:
            return (self.policies[int(names[0][_PREFIX:])],)
        return tuple(self.policies[place] for place in sorted(int(name[_PREFIX:]) for name in names))


def parsed(entities: bytes) -> Any:
    """The engine's handle of entities in Cedar's JSON form, for `decide`; they must fit their schema."""
    return cedar.Entities.from_json_str(entities.decode())


def projection(values: Iterable[Path], tests: Iterable[Path], convert: Callable[[Any], Any] | None = None) -> Project:
    """A function that copies from a context what is read, with the records on the way.

    `values` are read, through `convert`; of `tests` only the presence matters, so a value that is never read
    becomes `true`.
    """
    tree: dict[str, Any] = {}
    for path in sorted(values):
        if not path:
            return convert or dict
        _grow(tree, path, _WHOLE)
    for path in sorted(tests, key=len, reverse=True):
        _grow(tree, path, _PRESENT)
    return _projector(tree, convert)


_WHOLE: Final = "whole"
_PRESENT: Final = "present"
_ABSENT: Final = object()


def _grow(tree: dict[str, Any], path: Path, leaf: str) -> None:
    for name in path[:-1]:
        below = tree.setdefault(name, {})
        if below is _WHOLE:
            return
        if below is _PRESENT:
            below = tree[name] = {}
        tree = below
    if leaf is _WHOLE or path[-1] not in tree:
        tree[path[-1]] = leaf


def _projector(tree: Mapping[str, Any], convert: Callable[[Any], Any] | None) -> Project:
    steps = [(name, how if isinstance(how, str) else _projector(how, convert)) for name, how in tree.items()]

    def project(record: Mapping[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name, how in steps:
            item = record.get(name, _ABSENT)
            if item is _ABSENT:
                continue
            kind = type(item)
            if how is _PRESENT:
                result[name] = True
            elif kind is not dict and kind is not list:
                result[name] = item
            elif how is _WHOLE or kind is list or "__entity" in item:
                result[name] = item if convert is None else convert(item)
            else:
                result[name] = how(item)  # type: ignore[operator]  # a leaf was handled above
        return result

    return project


def _rewritten(
    policies: Sequence[Policy], groups: frozenset[Uid], principals: tuple[str, ...], intent: str
) -> tuple[list[dict[str, Any]], Any] | None:
    """The policies for this kind of request and their set; None when one of them must stay as it was written."""
    try:
        rewritten = [specialise(policy.json, groups, principals, intent) for policy in policies]
        named = {f"policy{place}": policy for place, policy in enumerate(rewritten)}
        text = msgspec.json.encode({"staticPolicies": named, "templates": {}, "templateLinks": []}).decode()
        return rewritten, cedar.PolicySet.from_json_str(text)
    except (Unknown, ValueError) as error:
        _log.debug("policies are evaluated as they were written: %s", error)
        return None


class EntityStore:
    """Entities in the engine's form: actions and intents once, each registration on its first request.

    Handles are immutable and shared between threads; at most `KEPT` principals are kept.
    """

    KEPT: Final = 10_000

    def __init__(self, fixed: Sequence[dict[str, Any]]) -> None:
        self._fixed = parsed(msgspec.json.encode(fixed))
        self._kept: dict[str, tuple[Registration, tuple[Registration, ...], Any]] = {}

    def with_(self, principal: Registration, related: tuple[Registration, ...]) -> Any:
        """The entities for requests of `principal` whose context names `related`."""
        kept = self._kept.get(principal.id)
        if kept is not None and (kept[0] is principal or kept[0] == principal) and kept[1] == related:
            return kept[2]
        named = {registration.id: registration for registration in (*related, principal)}
        added = msgspec.json.encode([entity_of(registration) for registration in named.values()]).decode()
        try:
            handle = self._fixed.with_added_json_str(added)
        except ValueError as error:
            _log.error("the policy engine refused the registration %s: %s", principal.id, error)
            raise Unavailable("policy_unavailable", "the registration can't be evaluated") from None
        if len(self._kept) >= self.KEPT:
            self._kept = {}
        self._kept[principal.id] = (principal, related, handle)
        return handle


def type_of(registration: Registration) -> str:
    """The entity type of an identity, with its namespace."""
    return f"{NAMESPACE}::Person" if registration.kind == "person" else f"{NAMESPACE}::Workload"


def entity_of(registration: Registration) -> dict[str, Any]:
    """An identity as an entity in Cedar's JSON form."""
    return {
        "uid": {"type": type_of(registration), "id": registration.id},
        "attrs": {
            "kind": registration.kind,
            "owner": registration.owner,
            "environment": registration.environment,
            "roles": list(registration.roles),
        },
        "parents": [{"type": f"{NAMESPACE}::Group", "id": group} for group in registration.groups],
    }
