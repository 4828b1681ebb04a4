"""Strict validation of policies against the schema, each once: an unchanged policy is not validated again.

What the engine's validator lets pass and would never fire is refused here too: an attribute that no action has,
an intent or a server that does not exist.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec
from cedarpy import _internal as cedar

from remit.core.errors import DocumentError
from remit.policy import shapes
from remit.policy import text as cedar_text
from remit.policy.cache import Cache
from remit.policy.entities.declared import DeclaredAction
from remit.policy.placing import clause_at
from remit.policy.reads import Path, Scope, Uid, applies
from remit.policy.schema import NAMESPACE, TOOLS, Known, Vocabulary
from remit.policy.sources import Policy

_BATCH: Final = 1_000  # policies that the engine validates at once
_THREADS: Final = 4  # it does so without holding up Python
_QUOTED = re.compile(r"`([^`]+)`")
_IDLE: Final = "unable to find an applicable action given the policy scope constraints"
_NUMBERED = re.compile(r"(?<=^for policy )`policy\d+`")
_PLACE = re.compile(r"policy(\d+)")


def validate(policies: Sequence[Policy], vocabulary: Vocabulary, cache: Cache) -> Any:
    """The engine's schema under which all `policies` are valid; a `DocumentError` at the first that is not."""
    text = msgspec.json.encode(vocabulary.cedar_json()).decode()
    try:
        handle = cedar.Schema.from_json_str(text, release_gil=True)
    except ValueError as error:
        if vocabulary.declared.json:
            raise _conflict(vocabulary, str(error)) from None
        raise DocumentError(f"the catalogue and the intents make no valid schema: {error}", path="catalogue") from None
    # SECURITY: all that validity depends on: the engine's schema, and the names that only Remit knows.
    names = [sorted(vocabulary.intents), sorted(vocabulary.servers), vocabulary.trust_domain]
    under = hashlib.sha256(text.encode() + msgspec.json.encode(names)).digest()
    changed = {
        mark: policy
        for policy in policies
        if not cache.is_valid(mark := hashlib.sha256(under + (policy.checked or policy.text).encode()).digest())
    }
    if changed:
        _check(list(changed.values()), vocabulary, handle)
        cache.keep_valid(changed)
    return handle


def _check(policies: Sequence[Policy], vocabulary: Vocabulary, handle: Any) -> None:
    names = Names(vocabulary)
    for policy in policies:
        names.check(policy)
    batches = [policies[start : start + _BATCH] for start in range(0, len(policies), _BATCH)]
    with ThreadPoolExecutor(min(_THREADS, len(batches))) as threads:
        found = threads.map(lambda batch: _mistakes(batch, handle), batches)
        for policy, messages in itertools.chain.from_iterable(found):
            # A policy for actions that the catalogue does not have yet is idle, not wrong: see `Policies.notices`.
            if not (all(_IDLE in message for message in messages) and is_idle(policy, vocabulary, names.groups)):
                within = clause_at(policy.text, _NUMBERED.sub("`policy0`", messages[0]), handle)
                raise _explain(policy, messages, vocabulary, within)


def _mistakes(policies: Sequence[Policy], handle: Any) -> list[tuple[Policy, list[str]]]:
    """What the engine finds wrong, by policy."""
    joined = "\n".join(policy.checked or policy.text for policy in policies)
    result = msgspec.json.decode(cedar.validate_policies(joined, handle, release_gil=True))
    return _by_policy(policies, result["errors"])


def _conflict(vocabulary: Vocabulary, message: str) -> DocumentError:
    """Why the project's schema does not go with Remit's own: both name one thing, and only one has a namespace."""
    names = _QUOTED.findall(message)
    word = re.split(r'::"?', names[-1])[-1].rstrip('"') if names else ""
    return vocabulary.declared.error(
        f"the schema does not go with Remit's own: {message}",
        word,
        "put your declarations in a namespace: `namespace App { … }`",
    )


def schema_text(vocabulary: Vocabulary) -> str:
    """The schema in Cedar's own syntax."""
    return str(cedar.Schema.from_json_str(msgspec.json.encode(vocabulary.cedar_json()).decode()))


def groups_of(known: Known) -> frozenset[Uid]:
    """The action and all that it is a member of."""
    type_ = f"{NAMESPACE}::Action"
    return frozenset([(type_, known.name), *((type_, group) for group in known.groups)])


def is_idle(policy: Policy, vocabulary: Vocabulary, groups: Mapping[str, frozenset[Uid]]) -> bool:
    """Whether the policy covers no action that there is."""
    return not any(covers(policy, name, groups) for name in vocabulary.actions) and not _declared(policy, vocabulary)


def covers(policy: Policy, name: str, groups: Mapping[str, frozenset[Uid]]) -> bool:
    """Whether the scope of the policy reaches the action, with whatever principal and resource."""
    return applies(policy.scope, (f"{NAMESPACE}::Action", name), groups[name], None, None)


def _declared(policy: Policy, vocabulary: Vocabulary) -> list[DeclaredAction]:
    """The actions of the project's own schema that the policy covers."""
    return [
        action
        for uid, action in vocabulary.declared.actions.items()
        if action.principals and applies(policy.scope, uid, action.groups, None, None)
    ]


class Names:
    """Refuses what would be valid and never fire; what holds for all policies of one scope is looked up once."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.groups = {name: groups_of(known) for name, known in vocabulary.actions.items()}
        self._vocabulary = vocabulary
        self._known = {
            f"{NAMESPACE}::Intent": vocabulary.intents,
            f"{NAMESPACE}::Server": vocabulary.servers,
            f"{NAMESPACE}::Installation": frozenset([vocabulary.trust_domain]),
        }
        self._covered: dict[Scope, list[shapes.Shape]] = {}
        self._there: set[tuple[Scope, Path]] = set()

    def check(self, policy: Policy) -> None:
        """A `DocumentError` for an intent, a server, an action or an attribute that there is not."""
        vocabulary = self._vocabulary
        for intent in sorted(policy.reads.intents - vocabulary.intents):
            raise policy.error(f"there is no intent `{intent}`{_similar(intent, vocabulary.intents)}", word=intent)
        for type_, id_ in sorted(policy.reads.entities):
            if id_ not in self._known.get(type_, (id_,)):
                known = self._known[type_]
                raise policy.error(
                    f"there is no {type_.rpartition(':')[2].lower()} `{id_}`{_similar(id_, known)}", word=id_
                )
        exact = policy.scope.action
        if exact is not None and _is_group(exact, vocabulary):
            # SECURITY: `==` with a group matches no action at all, so the rule would be off without a word.
            raise policy.error(
                f"`{exact[1]}` is a group of actions, which no action equals",
                f"write `action in {exact[0]}::{cedar_text.quote(exact[1])}`",
                word=exact[1],
            )
        given = {("temporal", leaf.name) for leaf in policy.leaves}
        given |= {("providers", invocation.name) for invocation in policy.providers}
        for path in sorted(policy.reads.paths):
            if path[:2] in given:
                continue
            if (policy.scope, path) not in self._there:
                self._check_path(policy, path)
                self._there.add((policy.scope, path))

    def _check_path(self, policy: Policy, path: Path) -> None:
        covered = self._contexts(policy)
        missing = [_missing(context, path) for context in covered]
        steps = [step for step, _ in missing if step is not None]
        if covered and len(steps) == len(missing):
            wrong = max(steps)
            names = {name for step, names in missing if step == wrong for name in names}
            raise policy.error(
                f"no action that this policy covers has `context.{'.'.join(path[: wrong + 1])}`"
                f"{_similar(path[wrong], names)}",
                word=path[wrong],
            )

    def _contexts(self, policy: Policy) -> list[shapes.Shape]:
        found = self._covered.get(policy.scope)
        if found is None:
            actions = self._vocabulary.actions.items()
            found = [action.context for name, action in actions if covers(policy, name, self.groups)]
            found += [action.context for action in _declared(policy, self._vocabulary)]
            self._covered[policy.scope] = found
        return found


def _is_group(uid: Uid, vocabulary: Vocabulary) -> bool:
    declared = vocabulary.declared.actions.get(uid)
    if declared is not None:
        return not declared.principals
    return uid[0] == f"{NAMESPACE}::Action" and uid[1] in vocabulary.groups


def _missing(context: shapes.Shape, path: Path) -> tuple[int | None, Iterable[str]]:
    """The first step of the path that its record does not have, and the names that it has; None: all are there."""
    for step, name in enumerate(path):
        if context.kind != "record":
            break  # an entity's attribute: the validator's to judge
        field = context.fields.get(name)
        if field is None:
            return step, context.fields
        context = field.shape
    return None, ()


def _similar(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(names), n=1)
    return f" (did you mean `{close[0]}`?)" if close else ""


def _by_policy(policies: Sequence[Policy], errors: Sequence[Mapping[str, str]]) -> list[tuple[Policy, list[str]]]:
    """The messages of each policy that has any; the engine names policies by their place."""
    by_place: dict[int, list[str]] = {}
    for error in errors:
        match = _PLACE.fullmatch(error.get("policy_id", ""))
        by_place.setdefault(int(match[1]) if match else 0, []).append(error["error"])
    return [(policies[place], messages) for place, messages in sorted(by_place.items())]


def _explain(
    policy: Policy, errors: list[str], vocabulary: Vocabulary, within: tuple[int, int] | None
) -> DocumentError:
    message = re.sub(r"^for policy `policy\d+`, ", "", errors[0])
    message = re.sub(r"__cedar::internal::(True|False)", lambda found: found[1].lower(), message)
    if "unable to guarantee safety of access to optional attribute" in message:
        path = _QUOTED.findall(message)[0]
        base, _, name = f"context.{path}".rpartition(".")
        if "on entity type" in message:
            found = re.search(rf"([\w.]+)\.{re.escape(path)}\b", policy.text)
            base, name = found[1] if found else "…", path
        step = f"test it first: `{base} has {name} && …`"
        return policy.error(f"`{base}.{name}` may be absent", step, word=name, within=within)
    word, step = "", ""
    for quoted in _QUOTED.findall(message):
        word = quoted.rpartition('::"')[2].rstrip('"') if '::"' in quoted else re.split(r"::|\.", quoted)[-1]
        break
    if "unrecognized action" in message:
        names = [*vocabulary.actions, *vocabulary.groups, *(name for _, name in vocabulary.declared.actions)]
        message = f"there is no action `{word}`{_similar(word, names)}"
        step = "import the server's tools with `remit catalogue import`, or correct the name"
        if f"`{NAMESPACE}::" not in errors[0]:
            step = "declare it in the schema in `entities/`, or correct the name"
    elif "expected Long but saw decimal" in message or "Long and decimal" in message:
        step = 'compare decimals with methods: `x.lessThanOrEqual(decimal("10.00"))`'
    elif "not found" in message and word in vocabulary.given:
        what = "a past" if word == "temporal" else "information providers"
        message = f"only calls of tools have {what}, and this policy covers other actions too"
        step = f'say which ones it is about: `action in {NAMESPACE}::Action::"{TOOLS}"`'
    elif "not found" in message:
        step = _where_found(policy, message, word, vocabulary)
    return policy.error(message, step, word=word, within=within)


def _where_found(policy: Policy, message: str, attribute: str, vocabulary: Vocabulary) -> str:
    """What to do about an attribute that is not there for all that the policy covers."""
    if "on entity type" in message:
        having = [type_.name for type_ in vocabulary.declared.types.values() if attribute in type_.attributes]
        read = re.search(rf"\b(principal|resource)\.{re.escape(attribute)}\b", policy.text)
        if having and read:
            return (
                f"say what the policy is about, such as `{read[1]} is {having[0]}`; or test `{read[1]} has {attribute}`"
            )
        if f"`{NAMESPACE}::" not in message:
            return "declare it in the schema in `entities/`, or correct the name"
    elif f'{NAMESPACE}::Action::"' not in message:
        return "declare it in the schema in `entities/`, or say which action the policy is about: `action == …`"
    return "docs/design/policy.md lists the attributes of the context"
