"""Policies from recorded texts alone, evaluated as they were written: for whoever checks decisions afterwards.

Nothing here is shared with what made the decisions but the engine, the reading of annotations, and finding out what a
policy names: no slices, no schema, no rewriting but of Dogwood as Cedar. Of the policies of a request only those are
left out whose head names other actions, which Cedar itself never evaluates further
(https://docs.cedarpolicy.com/policies/syntax-policy.html); of its context only attributes, as wholes, that none of them
names.

1. SECURITY: texts are bounded before the engine sees them; they may come from anybody.
2. A policy that reads what is concealed is left out, and said to be unknown.
3. Requests of the same policies and the same identities go to the engine together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from cedarpy import _internal as cedar

from remit.core.errors import InvalidInput
from remit.core.evaluations import Asked, Path, RecordedPolicy, Said
from remit.policy import text as cedar_text
from remit.policy.dogwood import rules
from remit.policy.dogwood.lowering import lower
from remit.policy.dogwood.macros import Macros
from remit.policy.dogwood.mistakes import Mistake as DogwoodMistake
from remit.policy.obligations import Mistake
from remit.policy.obligations import read as read_obligations
from remit.policy.reads import Reads, reads_of

_NAMESPACE: Final = "Remit"
_ACTION: Final = f"{_NAMESPACE}::Action"
_FORBIDS: Final = "policy_forbids"
_EVENT_SCHEMA: Final = ".dwschema"
_SETS: Final = 4_096  # parsed policy sets that are kept, by action and what is concealed
_HANDLES: Final = 4_096  # entities that are kept, by identity
_encode: Final = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode
_FAILED: Final = re.compile(r"error while evaluating policy `policy(\d+)`")


class _Policy:
    """One policy: as it is told of, its text, and what it reads."""

    __slots__ = ("head", "reads", "told", "written")

    def __init__(self, told: RecordedPolicy, written: str, head: Mapping[str, Any], reads: Reads) -> None:
        self.told = told
        self.written = written
        self.head = head  # its scope's action, in Cedar's JSON form
        self.reads = reads


class _Set:
    """The policies that one kind of request is put to."""

    __slots__ = ("handle", "ids", "mentioned", "unknown")

    def __init__(self, policies: Sequence[_Policy], unknown: tuple[str, ...]) -> None:
        # The engine numbers policies by their place in the text.
        self.handle = cedar.PolicySet.from_str("\n".join(policy.written for policy in policies))
        self.ids = tuple(policy.told.id for policy in policies)
        self.unknown = unknown
        paths = {path for policy in policies for path in policy.reads.paths}
        # The attributes of the context that any of them names; None where one takes it as a whole.
        self.mentioned = None if () in paths else frozenset(path[0] for path in paths)

    def context(self, whole: Mapping[str, Any]) -> str:
        """A context as text, without the attributes that no policy names, which cost and change nothing."""
        if self.mentioned is None:
            return _encode(whole)
        return _encode({name: value for name, value in whole.items() if name in self.mentioned})


class RecordedPolicies:
    """The policies of one recorded configuration; fulfils `remit.core.evaluations.Policies`."""

    def __init__(
        self,
        sources: Sequence[tuple[str, str]],
        actions: Mapping[str, Sequence[str]],
        intents: Mapping[str, Mapping[str, bool]],
    ) -> None:
        """Raises `InvalidInput("policies_unreadable")` where a text is not policies within their bounds."""
        try:
            macros = rules.library(sources)
        except DogwoodMistake as mistake:
            raise _unreadable(f"{mistake.path}: {mistake}") from None
        self._policies = [policy for path, text in sources for policy in _read(path, text, macros)]
        if len(self._policies) > cedar_text.MAX_POLICIES:
            raise _unreadable(f"there are more than {cedar_text.MAX_POLICIES} policies")
        self._by_id = {policy.told.id: policy.told for policy in self._policies}
        if len(self._by_id) < len(self._policies):
            raise _unreadable("two policies have one id")
        self._actions = actions
        try:
            self._fixed = cedar.Entities.from_json_str(json.dumps([*_actions(actions), *_intents(intents)]))
        except ValueError as error:
            raise _unreadable(str(error)) from None
        self._sets: dict[tuple[str, frozenset[Path]], _Set] = {}
        self._handles: dict[str, Any] = {}

    def policy(self, id_: str) -> RecordedPolicy | None:
        """As `Policies.policy`."""
        return self._by_id.get(id_)

    def evaluate(self, asked: Sequence[Asked]) -> list[Said]:
        """As `Policies.evaluate`."""
        said: list[Said] = [Said(False, broken="it was not evaluated")] * len(asked)
        together: dict[tuple[str, frozenset[Path], str], list[tuple[int, dict[str, Any]]]] = {}
        for place, each in enumerate(asked):
            if each.action not in self._actions:
                # As the service says: what the catalogue does not have is not permitted, whatever policies say.
                said[place] = Said(False)
                continue
            try:
                request = _request(each, self._set(each.action, each.concealed))
                identities = _encode([_entity(who) for who in (each.related, each.principal) if who])
            except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
                said[place] = Said(False, broken="the recorded facts are not what a request consists of")
                continue
            together.setdefault((each.action, each.concealed, identities), []).append((place, request))
        for (action, concealed, identities), several in together.items():
            for (place, _), one in zip(several, self._several(action, concealed, identities, several), strict=True):
                said[place] = one
        return said

    def _several(
        self, action: str, concealed: frozenset[Path], identities: str, several: list[tuple[int, dict[str, Any]]]
    ) -> list[Said]:
        try:
            chosen, entities = self._set(action, concealed), self._with(identities)
        except ValueError as error:
            return [Said(False, broken=str(error)[:200])] * len(several)
        requests = [request for _, request in several]
        try:
            answers = cedar.is_authorized_batch(requests, chosen.handle, entities, None, False)
        except (ValueError, TypeError, KeyError, OverflowError, RuntimeError) as error:
            if len(several) == 1:
                return [Said(False, broken=str(error)[:200])]
            return [said for one in several for said in self._several(action, concealed, identities, [one])]
        return [_said(answer, chosen) for answer in answers]

    def _set(self, action: str, concealed: frozenset[Path]) -> _Set:
        found = self._sets.get((action, concealed))
        if found is None:
            groups = frozenset([action, *self._actions[action]])
            policies = [policy for policy in self._policies if _covers(policy.head, action, groups)]
            unknown = [policy for policy in policies if _reads_any(policy.reads, concealed)]
            known = [policy for policy in policies if policy not in unknown] if unknown else policies
            if len(self._sets) >= _SETS:
                self._sets = {}
            found = _Set(known, tuple(policy.told.id for policy in unknown))
            self._sets[action, concealed] = found
        return found

    def _with(self, identities: str) -> Any:
        found = self._handles.get(identities)
        if found is None:
            if len(self._handles) >= _HANDLES:
                self._handles = {}
            found = self._handles[identities] = self._fixed.with_added_json_str(identities)
        return found


def _read(path: str, text: str, macros: Macros) -> Iterator[_Policy]:
    for number, (start, written) in enumerate(_written(path, text, macros)):
        yield _policy(path, cedar_text.position(text, start)[0], number, written)


def _written(path: str, text: str, macros: Macros) -> Iterator[tuple[int, str]]:
    """Where each policy begins, and its Cedar text: for Dogwood, lowered again. An event schema has none."""
    if path.endswith(_EVENT_SCHEMA):
        return
    if not path.endswith(rules.ENDING):
        for piece in cedar_text.pieces(text):
            yield piece[0].start, text[piece[0].start : piece[-1].end]
        return
    try:
        file = rules.read(path, text, macros)
        for rule in file.rules:
            yield rule.start, lower(rule, file.macros).text
    except DogwoodMistake as mistake:
        raise _unreadable(f"{path}:{cedar_text.position(text, mistake.at)[0]}: {mistake}") from None


def _policy(path: str, line: int, number: int, written: str) -> _Policy:
    over = cedar_text.excess(list(cedar_text.tokens(written)))
    if over is not None:
        raise _unreadable(f"{path}:{line}: {over[1]}")
    try:
        parsed = json.loads(cedar.policies_to_json_str(written))
        (est,) = parsed["staticPolicies"].values()
        annotations = {name: value or "" for name, value in est.get("annotations", {}).items()}
        told = RecordedPolicy(
            id=annotations.get("id") or f"{PurePosixPath(path).stem}#{number}",
            effect=est["effect"],
            path=path,
            line=line,
            reason=annotations.get("reason") or _FORBIDS,
            obligations=read_obligations(est["effect"], annotations),
        )
        return _Policy(told, written, est["action"], reads_of(est))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, Mistake) as error:
        raise _unreadable(f"{path}:{line}: {str(error)[:200]}") from None


def _covers(head: Mapping[str, Any], action: str, groups: frozenset[str]) -> bool:
    """Whether the head of a policy lets this action through; Cedar evaluates nothing else of one that does not."""
    if head["op"] == "==":
        return _is(head["entity"], frozenset([action]))
    if head["op"] == "in":
        entities = head["entities"] if "entities" in head else [head["entity"]]
        return any(_is(entity, groups) for entity in entities)
    return True


def _is(entity: Mapping[str, Any], names: frozenset[str]) -> bool:
    uid = entity.get("__entity", entity)
    return uid["type"] == _ACTION and uid["id"] in names


def _reads_any(reads: Reads, concealed: frozenset[Path]) -> bool:
    """Whether the outcome may depend on a concealed value; that there is one is known, so a test for it is not."""
    for hidden in concealed:
        for path in reads.values:
            shorter = min(len(path), len(hidden))
            if path[:shorter] == hidden[:shorter]:
                return True
        if any(len(path) > len(hidden) and path[: len(hidden)] == hidden for path in reads.tests):
            return True
    return False


def _request(asked: Asked, chosen: _Set) -> dict[str, Any]:
    type_, id_ = asked.resource
    return {
        "principal": {"type": _type_of(asked.principal), "id": asked.principal["id"]},
        "action": {"type": _ACTION, "id": asked.action},
        "resource": {"type": f"{_NAMESPACE}::{type_}", "id": id_},
        "context": chosen.context(asked.context),
    }


def _type_of(identity: Mapping[str, Any]) -> str:
    return f"{_NAMESPACE}::Person" if identity["kind"] == "person" else f"{_NAMESPACE}::Workload"


def _entity(identity: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "uid": {"type": _type_of(identity), "id": identity["id"]},
        "attrs": {name: identity[name] for name in ("kind", "owner", "environment", "roles")},
        "parents": [{"type": f"{_NAMESPACE}::Group", "id": group} for group in identity["groups"]],
    }


def _actions(actions: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Any]]:
    for name, groups in actions.items():
        parents = [{"type": _ACTION, "id": group} for group in groups]
        yield {"uid": {"type": _ACTION, "id": name}, "attrs": {}, "parents": parents}


def _intents(intents: Mapping[str, Mapping[str, bool]]) -> Iterator[dict[str, Any]]:
    for name, attributes in intents.items():
        yield {"uid": {"type": f"{_NAMESPACE}::Intent", "id": name}, "attrs": dict(attributes), "parents": []}


def _said(answer: str, chosen: _Set) -> Said:
    found = json.loads(answer)
    diagnostics = found["diagnostics"]
    failed: set[int] = set()
    for error in diagnostics["errors"]:
        match = _FAILED.match(error)
        if match is None or int(match[1]) >= len(chosen.ids):
            return Said(False, unknown=chosen.unknown, broken=error[:200])
        failed.add(int(match[1]))
    if found["decision"] not in ("Allow", "Deny"):
        return Said(False, unknown=chosen.unknown, broken="the engine gave no answer")
    matched = sorted(int(name.removeprefix("policy")) for name in diagnostics["reason"])
    return Said(
        # SECURITY: Cedar skips a policy that fails, so a forbid that fails would let the action through.
        permitted=found["decision"] == "Allow" and not failed,
        matched=tuple(chosen.ids[place] for place in matched),
        failed=tuple(chosen.ids[place] for place in sorted(failed)),
        unknown=chosen.unknown,
    )


def _unreadable(why: str) -> InvalidInput:
    return InvalidInput("policies_unreadable", f"the recorded policies can't be read: {why}")
