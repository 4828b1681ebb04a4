"""`POST /access/v1/evaluations`: several questions in one request (AuthZEN 1.0, section 7).

1. Without `evaluations` it is one question, answered as such.
2. Each question is completed with the members that stand above all of them.
3. They are answered in their order: governed ones one by one, each by the same rule as alone; general ones together.
4. `deny_on_first_deny` and `permit_on_first_permit` end at the first answer that comes out so.

A question that can't be answered is answered with a deny and its error; the others are answered all the same.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from remit.core import bounds
from remit.core.errors import InvalidInput, RemitError
from remit.decide.questions import Until
from remit.policy.general import Question
from remit.sdk.authzen import EvaluationsRequest, QuestionAnswer, QuestionBody
from remit.sdk.wire import EvaluationAnswer, EvaluationRequest
from remit.server.answer import Answer, json_answer
from remit.server.bodies import convert, decode
from remit.server.evaluation import decide, evaluate
from remit.server.general import GOVERNED, answer_of, failed, question_of
from remit.server.serving import Call, Serving

Item = EvaluationRequest | Question | RemitError
ItemAnswer = EvaluationAnswer | QuestionAnswer

UNTIL: Final[Mapping[str, Until]] = {
    "execute_all": "",
    "deny_on_first_deny": "deny",
    "permit_on_first_permit": "permit",
}

_MEMBERS: Final = ("subject", "action", "resource", "context")
_decoder = msgspec.json.Decoder(EvaluationsRequest)


class _Answers(msgspec.Struct, frozen=True):
    evaluations: list[ItemAnswer]


async def evaluations(serving: Serving, call: Call) -> Answer:
    """Answers all questions of the request, up to the one that ends it."""
    body = decode(call.body, _decoder)
    if not body.evaluations:
        return await evaluate(serving, call)
    if len(body.evaluations) > bounds.EVALUATIONS:
        raise InvalidInput(
            "too_many_evaluations",
            f"there are more than {bounds.EVALUATIONS} questions in one request",
            "send them in several",
        )
    began = time.perf_counter()
    defaults = {name: value for name in _MEMBERS if (value := getattr(body, name)) is not msgspec.UNSET}
    items = [_item({**defaults, **each}) for each in body.evaluations]
    until = UNTIL[body.options.evaluations_semantic]
    answers = await _answers(serving, call, items, until, reasons=body.options.reasons)
    serving.latency.observe(time.perf_counter() - began)
    return json_answer(_Answers(answers))


async def _answers(
    serving: Serving, call: Call, items: Sequence[Item], until: Until, *, reasons: bool
) -> list[ItemAnswer]:
    alone = not any(isinstance(item, EvaluationRequest) for item in items)
    answers: list[ItemAnswer] = []
    while len(answers) < len(items):
        item = items[len(answers)]
        if isinstance(item, Question):
            run = _run(items, len(answers))
            answers += await _general(serving, call, run, until, reasons=reasons, alone=alone)
        else:
            answers.append(await _governed(serving, call, item))
        if until and answers[-1].decision is (until == "permit"):
            break
    return answers


def _run(items: Sequence[Item], at: int) -> list[Question]:
    """The general questions that follow one another from `at` on."""
    run: list[Question] = []
    for item in items[at:]:
        if not isinstance(item, Question):
            break
        run.append(item)
    return run


async def _general(
    serving: Serving, call: Call, run: Sequence[Question], until: Until, *, reasons: bool, alone: bool
) -> list[ItemAnswer]:
    try:
        found = await serving.service.question(call.caller, run, call.now, until)
    except RemitError as error:
        # What was decided under a task before is recorded already: its answer must not be lost.
        if alone:
            raise
        return [failed(error) for _ in run]
    answers: list[ItemAnswer] = []
    for answer, question in zip(found, run, strict=False):  # it may have ended early
        answers.append(
            failed(answer) if isinstance(answer, RemitError) else answer_of(answer, question, reasons=reasons)
        )
        if until and answers[-1].decision is (until == "permit"):
            break  # an answer that its obligations turned into a deny
    return answers


async def _governed(serving: Serving, call: Call, item: EvaluationRequest | RemitError) -> ItemAnswer:
    if isinstance(item, RemitError):
        return failed(item)
    try:
        return await decide(serving, call, item)
    except RemitError as error:
        return failed(error)


def _item(members: Mapping[str, Any]) -> Item:
    """One question, or why it is none."""
    try:
        subject = members.get("subject")
        if isinstance(subject, dict) and subject.get("type") == GOVERNED:
            return convert(members, EvaluationRequest)
        return question_of(convert(members, QuestionBody))
    except RemitError as error:
        return error
