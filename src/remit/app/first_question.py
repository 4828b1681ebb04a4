"""A first question about the project's own entities, and the command that asks it: for `remit up` and its reader."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any, Final

import msgspec

from remit.app.bearer import secret_file
from remit.app.folder import Folder
from remit.app.identities import spiffe_id
from remit.core.errors import InvalidInput
from remit.core.settings import Settings
from remit.decide.governor import Governor
from remit.policy.general import General, Named, Question

TRIED: Final = 200  # questions, in search of one that is permitted
_NOBODY: Final = "1"  # the id of an entity of a type that has none in `entities/`


def first_command(settings: Settings, folder: Folder, governor: Governor, url: str) -> list[str]:
    """Lines of shell that ask a question with the first bearer key that may ask one; none where there is no such."""
    question = first_question(governor.configuration.policies.general)
    if question is None or not url:
        return []
    for seed in settings.bearer_keys:
        identity = spiffe_id(settings.trust_domain, seed.identity)
        if governor.may_ask(identity, "none") is None:
            file = shlex.quote(_from_here(secret_file(folder, seed)))
            secret = f"$(cat {file})" if not seed.sha256 else "$KEY"
            return [
                f"curl -s {url}/access/v1/evaluation \\",
                f'  -H "Authorization: Bearer {secret}" -H "Content-Type: application/json" \\',
                f"  -d {shlex.quote(msgspec.json.encode(question).decode())}",
            ]
    return []


def silent_keys(settings: Settings, governor: Governor) -> list[str]:
    """One sentence for each identity whose bearer key may ask nothing, so that it does not have to find out."""
    owners = dict.fromkeys(seed.identity for seed in settings.bearer_keys)
    refusals = {owner: governor.may_ask(spiffe_id(settings.trust_domain, owner), "none") for owner in owners}
    return [
        f"the bearer key of {owner} may ask nothing: {refusal.message}; {refusal.next_step}"
        for owner, refusal in refusals.items()
        if refusal is not None
    ]


def first_question(general: General) -> dict[str, Any] | None:
    """A question that is permitted, the first of a few that are not, or None where the schema has no actions."""
    first: dict[str, Any] | None = None
    for question in islice(_questions(general), TRIED):
        asked = {
            "subject": {"type": question.subject.type, "id": question.subject.id},
            "action": {"name": question.action},
            "resource": {"type": question.resource.type, "id": question.resource.id},
        }
        try:
            permitted = general.evaluate(question).permitted
        except InvalidInput:
            continue
        if permitted:
            return asked
        first = first or asked
    return first


def _questions(general: General) -> Iterator[Question]:
    """Each action with the first entities that it applies to, by short names and by full ones."""
    for (kind, name), action in general.declared.actions.items():
        for subject, resource in product(sorted(action.principals), sorted(action.resources)):
            for one, other in product(_ids(general, subject), _ids(general, resource)):
                yield Question(
                    subject=Named(_short(subject), one), action=name, resource=Named(_short(resource), other)
                )
                yield Question(subject=Named(subject, one), action=f'{kind}::"{name}"', resource=Named(resource, other))


def _ids(general: General, type_: str) -> list[str]:
    return general.entities.by_type.get(type_, [])[:4] or [_NOBODY]


def _short(type_: str) -> str:
    """`Todo::User` as most callers write it: `user`."""
    last = type_.rpartition("::")[2]
    return last[:1].lower() + last[1:]


def _from_here(path: Path) -> str:
    """The path from here, where that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)
