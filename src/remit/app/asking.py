"""A general question as a command line writes it, and its answer from the files of a folder."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from remit.app.folder import Folder
from remit.app.project import load_project
from remit.core import bounds
from remit.core.decisions import Decision
from remit.core.errors import InvalidInput
from remit.policy import Found, Named, Question
from remit.policy.questions import What

_FORM: Final = "write `remit ask SUBJECT ACTION RESOURCE`, as in `remit ask user/alice view record/101`"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A question, and what it leaves out: what to search for, or None."""

    question: Question
    search: What | None = None


def asked_in(
    words: tuple[str, ...],
    *,
    subject: dict[str, Any],
    action: dict[str, Any],
    resource: dict[str, Any],
    context: dict[str, Any],
) -> Asked:
    """The question in `user/alice view record/101`; without an id, or without the action, that is what is sought.

    The rest are properties of the three, and the context. `InvalidInput` where two things are left out.
    """
    if len(words) not in (2, 3):
        raise InvalidInput("question_invalid", "a question has a subject, an action and a resource", _FORM)
    who, which = _named(words[0], subject), _named(words[-1], resource)
    name = words[1] if len(words) == 3 else ""
    left_out: list[What] = []
    if not who.id:
        left_out.append("subject")
    if not name:
        left_out.append("action")
    if not which.id:
        left_out.append("resource")
    if len(left_out) > 1:
        raise InvalidInput("question_invalid", f"the question leaves out {' and '.join(left_out)}", "leave out one")
    question = Question(subject=who, action=name, action_properties=action, resource=which, context=context)
    return Asked(question=question, search=left_out[0] if left_out else None)


def evaluate(folder: Folder, question: Question) -> tuple[Decision, dict[str, str]]:
    """What the policies and entities of the folder say, as a decision that was not recorded, and all policies by id."""
    _, configuration = load_project(folder)
    found = configuration.policies.general.evaluate(question)
    decision = Decision(
        id="",
        effect="permit" if found.permitted else "deny",
        reason=found.reason,
        action=question.action,
        digest="",
        obligations=found.obligations,
        probe=True,
    )
    policies = configuration.policies.policies()
    return decision, {each.id: each.source.text[each.start : each.end] for each in policies}


def search(folder: Folder, what: What, question: Question, most: int) -> Found:
    """At most `most` of the subjects, resources or actions that are permitted; `next` is empty where these are all."""
    _, configuration = load_project(folder)
    general = configuration.policies.general
    page = general.search(what, question, limit=min(most, bounds.SEARCH_RESULTS))
    results = list(page.results)
    while page.next and len(results) < most:
        limit = min(most - len(results), bounds.SEARCH_RESULTS)
        page = general.search(what, question, after=page.next, limit=limit)
        results += page.results
    return msgspec.structs.replace(page, results=tuple(results))


def _named(word: str, properties: dict[str, Any]) -> Named:
    """`user/alice`; the id may have slashes, the type has none."""
    type_, _, id_ = word.partition("/")
    if not type_:
        raise InvalidInput("question_invalid", f"`{word[:80]}` names no type", _FORM)
    return Named(type_, id_, properties)
