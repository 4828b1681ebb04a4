"""Strict validation of policies against the schema, each once: an unchanged policy is not validated again.

What the engine's validator lets pass and would never fire is refused here too: an attribute that no action has,
an intent or a server that does not exist.
"""

from __future__ import annotations

import difflib
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from cedarpy import _internal as cedar

from remit.core import canonical
from remit.core.errors import DocumentError
from remit.policy import shapes
from remit.policy import text as cedar_text
from remit.policy.entities.declared import DeclaredAction
from remit.policy.reads import Path, Uid, applies
from remit.policy.schema import NAMESPACE, Known, Vocabulary
from remit.policy.sources import Policy

_CACHED: Final = 50_000  # validated policies that are remembered, by the digest of schema and text
_validated: OrderedDict[str, None] = OrderedDict()
_QUOTED = re.compile(r"`([^`]+)`")
_IDLE: Final = "unable to find an applicable action given the policy scope constraints"
_PLACE = re.compile(r"policy(\d+)")


def validate(policies: Sequence[Policy], vocabulary: Vocabulary) -> Any:
    """The engine's schema under which all `policies` are valid; a `DocumentError` at the first that is not."""
    text = msgspec.json.encode(vocabulary.cedar_json()).decode()
    digest = canonical.sha256(text.encode())
    try:
        handle = cedar.Schema.from_json_str(text)
    except ValueError as error:
        if vocabulary.declared.json:
            raise _conflict(vocabulary, str(error)) from None
        raise DocumentError(f"the catalogue and the intents make no valid schema: {error}", path="catalogue") from None
    groups = {name: groups_of(known) for name, known in vocabulary.actions.items()}
    changed = [
        (policy, key)
        for policy in policies
        if (key := canonical.sha256(f"{digest} {policy.text}".encode())) not in _validated
    ]
    for policy, _ in changed:
        _check_names(policy, vocabulary, groups)
    if changed:
        joined = "\n".join(policy.text for policy, _ in changed)
        result = msgspec.json.decode(cedar.validate_policies(joined, handle, release_gil=True))
        errors = _by_policy([policy for policy, _ in changed], result["errors"])
        for policy, messages in errors:
            # A policy for actions that the catalogue does not have yet is idle, not wrong: see `Policies.notices`.
            if not (all(_IDLE in message for message in messages) and is_idle(policy, vocabulary, groups)):
                raise _explain(policy, messages, vocabulary)
    for _, key in changed:
        _validated[key] = None
    while len(_validated) > _CACHED:
        _validated.popitem(last=False)
    return handle


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


def _check_names(policy: Policy, vocabulary: Vocabulary, groups: Mapping[str, frozenset[Uid]]) -> None:
    """Refuses what would be valid and never fire."""
    for intent in sorted(policy.reads.intents - vocabulary.intents):
        raise policy.error(f"there is no intent `{intent}`{_similar(intent, vocabulary.intents)}", word=intent)
    known = {
        f"{NAMESPACE}::Intent": vocabulary.intents,
        f"{NAMESPACE}::Server": vocabulary.servers,
        f"{NAMESPACE}::Installation": frozenset([vocabulary.trust_domain]),
    }
    for type_, id_ in sorted(policy.reads.entities):
        if type_ in known and id_ not in known[type_]:
            raise policy.error(
                f"there is no {type_.rpartition(':')[2].lower()} `{id_}`{_similar(id_, known[type_])}", word=id_
            )
    exact = policy.scope.action
    if exact is not None and _is_group(exact, vocabulary):
        # SECURITY: `==` with a group matches no action at all, so the rule would be off without a word.
        raise policy.error(
            f"`{exact[1]}` is a group of actions, which no action equals",
            f"write `action in {exact[0]}::{cedar_text.quote(exact[1])}`",
            word=exact[1],
        )
    covered = [action.context for name, action in vocabulary.actions.items() if covers(policy, name, groups)]
    covered += [action.context for action in _declared(policy, vocabulary)]
    for path in sorted(policy.reads.paths):
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


def _explain(policy: Policy, errors: list[str], vocabulary: Vocabulary) -> DocumentError:
    message = re.sub(r"^for policy `policy\d+`, ", "", errors[0])
    if "unable to guarantee safety of access to optional attribute" in message:
        path = _QUOTED.findall(message)[0]
        base, _, name = f"context.{path}".rpartition(".")
        if "on entity type" in message:
            found = re.search(rf"([\w.]+)\.{re.escape(path)}\b", policy.text)
            base, name = found[1] if found else "…", path
        return policy.error(f"`{base}.{name}` may be absent", f"test it first: `{base} has {name} && …`", word=name)
    word, step = "", ""
    for quoted in _QUOTED.findall(message):
        word = quoted.rpartition('::"')[2].rstrip('"') if '::"' in quoted else quoted.rpartition(".")[2]
        break
    if "unrecognized action" in message:
        names = [*vocabulary.actions, *vocabulary.groups, *(name for _, name in vocabulary.declared.actions)]
        message = f"there is no action `{word}`{_similar(word, names)}"
        step = "import the server's tools with `remit catalogue import`, or correct the name"
        if f"`{NAMESPACE}::" not in errors[0]:
            step = "declare it in the schema in `entities/`, or correct the name"
    elif "expected Long but saw decimal" in message or "Long and decimal" in message:
        step = 'compare decimals with methods: `x.lessThanOrEqual(decimal("10.00"))`'
    elif "not found" in message:
        step = _where_found(policy, message, word, vocabulary)
    return policy.error(message, step, word=word)


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
