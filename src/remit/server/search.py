"""`POST /access/v1/search/…`: for which subjects, resources or actions a general question is permitted (section 8)."""

from __future__ import annotations

import time
from typing import Final

import msgspec

from remit.core.decisions import PERMITTED, Reason
from remit.policy.general import Found, Named, Question, What
from remit.sdk.authzen import (
    ActionsAnswer,
    ActionSearch,
    EntitiesAnswer,
    FoundAction,
    FoundEntity,
    PageAnswer,
    PageRequest,
    ResourceSearch,
    SearchContext,
    SearchedEntity,
    SubjectSearch,
)
from remit.sdk.negotiation import ObligationBody, bodies_of
from remit.server.answer import Answer, json_answer
from remit.server.bodies import decode
from remit.server.general import action_of, check_subject, check_type, entity_of, subject_of
from remit.server.obligations import not_supported
from remit.server.pages import next_token, page_of
from remit.server.serving import Call, Serving

_FOUND: Final = Reason(code=PERMITTED, message="it was found by a search")
_subjects = msgspec.json.Decoder(SubjectSearch)
_resources = msgspec.json.Decoder(ResourceSearch)
_actions = msgspec.json.Decoder(ActionSearch)


async def search_subjects(serving: Serving, call: Call) -> Answer:
    """Who may do this to this resource."""
    body = decode(call.body, _subjects)
    check_subject(body.subject.type)
    question = Question(
        subject=_sought(body.subject),
        action=action_of(body.action),
        action_properties=body.action.properties,
        resource=entity_of(body.resource),
        context=body.context,
    )
    return await _search(serving, call, "subject", question, body.page)


async def search_resources(serving: Serving, call: Call) -> Answer:
    """To which resources this subject may do this."""
    body = decode(call.body, _resources)
    question = Question(
        subject=subject_of(body.subject),
        action=action_of(body.action),
        action_properties=body.action.properties,
        resource=_sought(body.resource),
        context=body.context,
    )
    return await _search(serving, call, "resource", question, body.page)


async def search_actions(serving: Serving, call: Call) -> Answer:
    """What this subject may do to this resource."""
    body = decode(call.body, _actions)
    question = Question(
        subject=subject_of(body.subject), action="", resource=entity_of(body.resource), context=body.context
    )
    return await _search(serving, call, "action", question, body.page)


async def _search(
    serving: Serving, call: Call, what: What, question: Question, asked: PageRequest | msgspec.UnsetType
) -> Answer:
    began = time.perf_counter()
    page = page_of(asked, what, question)
    # A page of no results still says whether there are any.
    limit = max(page.limit, 1)
    found = await serving.service.search(call.caller, what, question, call.now, after=page.after, limit=limit)
    token = next_token(what, question, page.limit, found.next) if found.next else ""
    # SECURITY: what goes with an obligation that the caller can't fulfil is not found (profile, section 4.3).
    obliged = found.obligations
    results = tuple(each for each in found.results if not not_supported(obliged.get(_name(each), ()), question.context))
    if page.limit == 0:
        token = next_token(what, question, 0, page.after) if results or token else ""
        results = ()
    shown = PageAnswer(next_token=token, count=len(results)) if token or asked is not msgspec.UNSET else msgspec.UNSET
    context = msgspec.UNSET if found.exact else SearchContext(exact=False, why=found.why)
    serving.searching.observe(time.perf_counter() - began)
    if what == "action":
        names = tuple(FoundAction(name=str(name), obligations=_bodies(found, question, name)) for name in results)
        return json_answer(ActionsAnswer(page=shown, context=context, results=names))
    entities = tuple(
        FoundEntity(type=each.type, id=each.id, obligations=_bodies(found, question, each))
        for each in results
        if isinstance(each, Named)
    )
    return json_answer(EntitiesAnswer(page=shown, context=context, results=entities))


def _name(result: Named | str) -> str:
    return result.id if isinstance(result, Named) else result


def _bodies(found: Found, question: Question, result: Named | str) -> tuple[ObligationBody, ...]:
    """What goes with one result."""
    obligations = found.obligations.get(_name(result), ())
    action = result if isinstance(result, str) else question.action
    return bodies_of(obligations, action=action, permitted=True, reason=_FOUND)


def _sought(body: SearchedEntity) -> Named:
    check_type(body.type)
    return Named(body.type, "", body.properties)
