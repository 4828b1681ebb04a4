"""`POST /access/v1/evaluation`: AuthZEN 1.0, a thin translation of the question and its answer.

A question about a workload is governed: it goes through the pipeline, under a task. Any other is a general one.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec

from remit.core.decisions import Ask, TaskHandle
from remit.core.errors import Forbidden, InvalidInput, RemitError, Unauthenticated
from remit.core.identities import Identity
from remit.sdk.authzen import QuestionBody
from remit.sdk.negotiation import supported
from remit.sdk.wire import EvaluationAnswer, EvaluationRequest, SubjectBody, decision_body
from remit.server.answer import Answer, json_answer
from remit.server.bodies import check_names, check_shape, decode
from remit.server.general import DENY, GOVERNED, PERMIT, answer_of, question_of
from remit.server.port import ServicePort
from remit.server.serving import Call, Serving


class _Subject(msgspec.Struct, frozen=True):
    type: str = ""


class _Peek(msgspec.Struct, frozen=True):
    subject: _Subject = _Subject()


_peek = msgspec.json.Decoder(_Peek)
_governed = msgspec.json.Decoder(EvaluationRequest)
_general = msgspec.json.Decoder(QuestionBody)
_PERMIT: Final = json_answer(PERMIT)
_DENY: Final = json_answer(DENY)


async def evaluate(serving: Serving, call: Call) -> Answer:
    """Answers one question."""
    began = time.perf_counter()
    if _is_governed(call.body):
        answer = json_answer(await decide(serving, call, decode(call.body, _governed)))
    else:
        answer = await _general_answer(serving, call, decode(call.body, _general))
    serving.latency.observe(time.perf_counter() - began)
    return answer


async def decide(serving: Serving, call: Call, body: EvaluationRequest) -> EvaluationAnswer:
    """Answers a governed question.

    An authorization (recorded, consuming) when the body says `probe: false`, or says nothing, has a task, and the
    caller is a registered enforcement point of the server; a probe otherwise.
    """
    if call.caller.possession == "none":
        # SECURITY: who only sent a secret has proved no key; what happens under a task is not for such callers.
        raise Forbidden(
            "bearer_refused",
            "a bearer key asks general questions only, and none about workloads",
            "prove a registered key: `Authorization: DPoP <JWT-SVID>` and a proof in `DPoP`",
        )
    context = body.context
    server = _server_of(body)
    check_names(context.idempotency_key, body.action.properties.definition, empty=True)
    ask = Ask(
        caller=call.caller,
        subject=body.subject.id,
        proof=subject_proof(serving, call, body.subject, context.task),
        task=task_handle(serving, call, context.task),
        action=body.action.name,
        input=context.input,
        definition=body.action.properties.definition,
        idempotency_key=context.idempotency_key,
        request_id=call.request_id,
        trace=call.trace,
        supports=supported(context.supported_obligations, context.remit_obligations),
    )
    probe = context.probe
    if probe is None:
        probe = not context.task or not is_enforcement_point(serving.service, call.caller, server)
    return decision_body(await (serving.service.probe(ask) if probe else serving.service.authorize(ask)))


async def _general_answer(serving: Serving, call: Call, body: QuestionBody) -> Answer:
    question = question_of(body)
    [found] = await serving.service.question(call.caller, (question,), call.now)
    if isinstance(found, RemitError):
        raise found
    answer = answer_of(found, question, reasons=body.options.reasons)
    if answer is PERMIT:
        return _PERMIT
    return _DENY if answer is DENY else json_answer(answer)


def _is_governed(body: bytes) -> bool:
    """Whether the subject is a workload; false also for a body that is no question, which is then refused as such."""
    check_shape(body)
    try:
        return _peek.decode(body).subject.type == GOVERNED
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False


def subject_proof(serving: Serving, call: Call, subject: SubjectBody, task: str) -> Identity | None:
    """The subject's own identity when an enforcement point forwards it, None when the caller asks about itself.

    `Forbidden` when it is forwarded and does not hold; a missing one is for the pipeline to refuse.
    """
    if subject.type != GOVERNED:
        raise InvalidInput("subject_type", "the subject's type is not `workload`", "ask about a workload")
    check_names(subject.id)
    token, proof = subject.properties.token, subject.properties.proof
    if subject.id == call.caller.id or not (token or proof):
        return None
    try:
        identity = serving.authenticator.subject(token, proof, pep=call.caller.id, task_token=task, now=call.now)
    except Unauthenticated as error:
        # The caller is known: it is the subject that did not prove itself (403, so that the caller keeps its SVID).
        raise Forbidden(error.code, error.message, error.next_step) from None
    # SECURITY: the proof is of who is named, not of somebody.
    if identity.id != subject.id:
        raise Forbidden("subject_mismatch", "the forwarded proof is of another workload than the subject")
    return identity


def task_handle(serving: Serving, call: Call, token: str) -> TaskHandle | None:
    """The verified handle of the task, None without a token; `Forbidden` when it does not hold."""
    if not token:
        return None
    try:
        return serving.authenticator.task_handle(token, call.now)
    except Unauthenticated as error:
        raise Forbidden(error.code, error.message, error.next_step) from None


def is_enforcement_point(service: ServicePort, caller: Identity, server: str) -> bool:
    """Whether the caller is a registered enforcement point of this server now."""
    registration = service.registration(caller.id)
    return registration is not None and "pep" in registration.roles and server in registration.servers


def _server_of(body: EvaluationRequest) -> str:
    name, resource = body.action.name, body.resource
    check_names(name, resource.id)
    server, slash, tool = name.partition("/")
    if not (server and slash and tool):
        raise InvalidInput("action_malformed", "the action's name is not `<server>/<tool>`")
    if resource.type != "server" or resource.id != server:
        raise InvalidInput(
            "resource_mismatch",
            "the resource is not the action's server",
            'send `"resource": {"type": "server", "id": "<server>"}`',
        )
    return server
