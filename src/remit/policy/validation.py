"""Strict validation of policies against the schema, each once: an unchanged policy is not validated again.

What the engine's validator lets pass and would never fire is refused here too: an attribute that no action has,
an intent or a server that does not exist.
"""

from __future__ import annotations

import difflib
import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from cedarpy import _internal as cedar

from remit.core import canonical
from remit.core.errors import DocumentError
from remit.policy import shapes
from remit.policy.reads import Path, Uid, applies
from remit.policy.schema import NAMESPACE, Known, Vocabulary
from remit.policy.sources import Policy

_CACHED: Final = 50_000  # validated policies that are remembered, by the digest of schema and text
_validated: OrderedDict[str, None] = OrderedDict()
_QUOTED = re.compile(r"`([^`]+)`")
_IDLE: Final = "unable to find an applicable action given the policy scope constraints"
_PLACE = re.compile(r"policy(\d+)")


def validate(policies: Sequence[Policy], vocabulary: Vocabulary) -> str:
    """The digest of the schema under which all `policies` are valid; a `DocumentError` at the first that is not."""
    text = msgspec.json.encode(vocabulary.cedar_json()).decode()
    digest = canonical.sha256(text.encode())
    try:
        handle = cedar.Schema.from_json_str(text)
    except ValueError as error:
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
        result = msgspec.json.decode(cedar.validate_policies(joined, handle))
        # A policy whose scope names no action that the catalogue has yet is idle, not wrong: see `Policies.notices`.
        errors = [error for error in result["errors"] if _IDLE not in error["error"]]
        if errors:
            raise _first_error([policy for policy, _ in changed], errors, vocabulary)
    for _, key in changed:
        _validated[key] = None
    while len(_validated) > _CACHED:
        _validated.popitem(last=False)
    return digest


def groups_of(known: Known) -> frozenset[Uid]:
    """The action and all that it is a member of."""
    type_ = f"{NAMESPACE}::Action"
    return frozenset([(type_, known.name), *((type_, group) for group in known.groups)])


def _check_names(policy: Policy, vocabulary: Vocabulary, groups: dict[str, frozenset[Uid]]) -> None:
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
    scope = policy.scope
    covered = [action for name, action in vocabulary.actions.items() if applies(scope, groups[name], None, None)]
    for path in sorted(policy.reads.paths):
        if path and covered and all(_leads_nowhere(action.context, path) for action in covered):
            names = {name for action in covered for name in _siblings(action.context, path)}
            raise policy.error(
                f"no action that this policy covers has `context.{'.'.join(path)}`{_similar(path[-1], names)}",
                word=path[-1],
            )


def _leads_nowhere(context: shapes.Shape, path: Path) -> bool:
    """Whether the path leaves the record at an attribute that it does not have."""
    for name in path:
        if context.kind != "record":
            return False  # an entity's attribute: the validator's to judge
        field = context.fields.get(name)
        if field is None:
            return True
        context = field.shape
    return False


def _siblings(context: shapes.Shape, path: Path) -> Iterable[str]:
    for name in path:
        field = context.fields.get(name)
        if field is None:
            return context.fields
        context = field.shape
    return ()


def _similar(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(names), n=1)
    return f" (did you mean `{close[0]}`?)" if close else ""


def _first_error(policies: Sequence[Policy], errors: Sequence[dict[str, str]], vocabulary: Vocabulary) -> DocumentError:
    """The error of the first policy that has one; the engine names policies by their place."""
    by_place: dict[int, list[str]] = {}
    for error in errors:
        match = _PLACE.fullmatch(error.get("policy_id", ""))
        by_place.setdefault(int(match[1]) if match else 0, []).append(error["error"])
    place = min(by_place, default=0)
    return _explain(policies[place], by_place.get(place, ["the policy is not valid"]), vocabulary)


def _explain(policy: Policy, errors: list[str], vocabulary: Vocabulary) -> DocumentError:
    message = re.sub(r"^for policy `policy\d+`, ", "", errors[0])
    if "unable to guarantee safety of access to optional attribute" in message:
        path = _QUOTED.findall(message)[0]
        base, _, name = f"context.{path}".rpartition(".")
        return policy.error(f"`context.{path}` may be absent", f"test it first: `{base} has {name} && …`", word=name)
    word, step = "", ""
    for quoted in _QUOTED.findall(message):
        word = quoted.rpartition('::"')[2].rstrip('"') if '::"' in quoted else quoted.rpartition(".")[2]
        break
    if "unrecognized action" in message:
        names = [*vocabulary.actions, *vocabulary.groups]
        message = f"there is no action `{word}`{_similar(word, names)}"
        step = "import the server's tools with `remit catalogue import`, or correct the name"
    elif "expected Long but saw decimal" in message or "Long and decimal" in message:
        step = 'compare decimals with methods: `x.lessThanOrEqual(decimal("10.00"))`'
    elif "not found" in message:
        step = "`remit check --show-schema` prints what there is"
    return policy.error(message, step, word=word)
