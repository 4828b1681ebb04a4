"""Decision cases for general questions: a case whose `when` names a subject and a resource, not a task's action.

They stand in the same files as other cases. Nothing goes before them: an answer depends on policies, entities and
the question alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import msgspec

from remit.core import bounds
from remit.core.documents import Document, Path_
from remit.core.errors import DocumentError
from remit.core.obligations import terms
from remit.policy import Evaluation, Found, General, Named, Question

PAGES: Final = 100  # of one search

Compared = tuple[str, Any, Any]  # what, expected, got


class Entity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A subject or a resource; what a search seeks has no id."""

    type: str
    id: str = ""
    properties: dict[str, Any] = {}


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The question: may `subject` do `action` to `resource`; or, with `search`, who or what may."""

    subject: Entity
    resource: Entity
    action: str = ""
    action_properties: dict[str, Any] = {}
    context: dict[str, Any] = {}
    search: Literal["subject", "resource", "action"] | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must be answered; what is left out is not compared."""

    effect: Literal["permit", "deny"] | None = None
    reason: str | None = None
    message: str | None = None  # a part of it
    policies: tuple[str, ...] = ()  # ids, some of those that decided
    obligations: dict[str, tuple[str, ...]] | None = None  # what each demands; none: it does not oblige to this
    results: tuple[str, ...] | None = None  # of a search: all ids, or names of actions, in order
    exact: bool | None = None  # of a search


class QuestionCase(msgspec.Struct, frozen=True, kw_only=True):
    """One case and where it stands."""

    name: str
    path: str
    line: int
    when: Asked
    expect: Answer


class _Raw(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    when: Asked
    expect: Answer


def is_question(item: Any) -> bool:
    """Whether a case asks a general question."""
    when = item.get("when") if isinstance(item, Mapping) else None
    return isinstance(when, Mapping) and not {"subject", "resource", "search"}.isdisjoint(when)


def question_case(document: Document, item: Any, at: Path_) -> QuestionCase:
    """One case of a file; a `DocumentError` at the line that is wrong."""
    raw = document.convert_part(item, _Raw, at)
    if not raw.name.strip() or len(raw.name) > bounds.NAME_BYTES:
        raise document.error("a case needs a name of at most 256 characters", (*at, "name"))
    _check(document, raw.when, raw.expect, at)
    return QuestionCase(
        name=raw.name.strip(),
        path=str(document.path),
        line=document.position(at)[0],
        when=raw.when,
        expect=raw.expect,
    )


def answer(case: QuestionCase, general: General) -> tuple[list[Compared], str, tuple[str, ...]]:
    """What differs from what is expected, what was answered, and by which policies."""
    when = case.when
    question = Question(
        subject=Named(when.subject.type, when.subject.id, when.subject.properties),
        action=when.action,
        action_properties=when.action_properties,
        resource=Named(when.resource.type, when.resource.id, when.resource.properties),
        context=when.context,
    )
    if when.search is not None:
        found = _all_pages(general, when.search, question)
        return list(_compare_found(case.expect, found)), found.why, ()
    evaluation = general.evaluate(question)
    refs = tuple(f"{ref.id} ({ref.path}:{ref.line})" for ref in evaluation.policies)
    return list(_compare(case.expect, evaluation)), evaluation.reason.message, refs


def _compare(expect: Answer, got: Evaluation) -> Iterator[Compared]:
    effect = "permit" if got.permitted else "deny"
    if expect.effect not in (None, effect):
        yield "effect", expect.effect, effect
    if expect.reason not in (None, got.reason.code):
        yield "reason", expect.reason, got.reason.code
    if expect.message is not None and expect.message not in got.reason.message:
        yield "message", expect.message, got.reason.message
    decided = [ref.id for ref in got.policies]
    if missing := [id_ for id_ in expect.policies if id_ not in decided]:
        yield "policies", missing, decided
    if expect.obligations is not None:
        wanted = {id_: sorted(demands) for id_, demands in expect.obligations.items()}
        obliged: dict[str, list[str]] = {id_: [] for id_ in wanted}
        for each in got.obligations:
            if each.id in obliged:
                obliged[each.id] = sorted([*obliged[each.id], *terms(each)])
        if wanted != obliged:
            yield "obligations", wanted, obliged


def _compare_found(expect: Answer, found: Found) -> Iterator[Compared]:
    results = [each.id if isinstance(each, Named) else each for each in found.results]
    if expect.results is not None and list(expect.results) != results:
        yield "results", list(expect.results), results
    if expect.exact not in (None, found.exact):
        yield "exact", expect.exact, found.exact


def _all_pages(general: General, what: Literal["subject", "resource", "action"], question: Question) -> Found:
    page = general.search(what, question)
    results = list(page.results)
    for _ in range(PAGES):
        if not page.next:
            break
        page = general.search(what, question, after=page.next)
        results += page.results
    return msgspec.structs.replace(page, results=tuple(results))


def _check(document: Document, when: Asked, expect: Answer, at: Path_) -> None:
    for name in ("subject", "resource"):
        if bool(getattr(when, name).id) is (when.search == name):
            raise _asked(document, at, name, "what is sought has no id" if when.search == name else "it has no `id`")
    if bool(when.action) is (when.search == "action"):
        raise _asked(document, at, "action", "what is sought is not named" if when.action else "it is not said")
    of_search = expect.results is not None or expect.exact is not None
    of_answer = any(
        value is not None and value != ()
        for value in (expect.effect, expect.reason, expect.message, expect.policies, expect.obligations)
    )
    is_search = when.search is not None
    if (of_answer if is_search else of_search) or not (of_answer or of_search):
        fix = "`results` or `exact`" if is_search else "`effect`, `reason`, `message`, `policies` or `obligations`"
        raise document.error("this is not what the case can be answered with", (*at, "expect"), f"expect {fix}")


def _asked(document: Document, at: Path_, name: str, message: str) -> DocumentError:
    fix = "a question names a subject, an action and a resource; a search leaves out what it seeks"
    return document.error(f"`{name}`: {message}", (*at, "when", name), fix)
