"""General questions, from AuthZEN's words to the policy room's and back."""

from __future__ import annotations

from typing import Final

from remit.core import bounds
from remit.core.errors import InvalidInput, RemitError
from remit.core.obligations import unsupported
from remit.policy.evaluation import Evaluation
from remit.policy.general import Named, Question
from remit.sdk.authzen import EntityBody, ErrorBody, NamedAction, QuestionAnswer, QuestionBody, QuestionContext
from remit.sdk.negotiation import bodies_of
from remit.sdk.wire import reason_body
from remit.server.obligations import not_supported, supported_in

GOVERNED: Final = "workload"  # the type of subjects that tasks are for: a question about one is no general one

PERMIT: Final = QuestionAnswer(decision=True)
DENY: Final = QuestionAnswer(decision=False)


def question_of(body: QuestionBody) -> Question:
    """The question; `InvalidInput` where a name is empty or too long, or the obligations are no list of names."""
    supported_in(body.context)
    return Question(
        subject=subject_of(body.subject),
        action=action_of(body.action),
        action_properties=body.action.properties,
        resource=entity_of(body.resource),
        context=body.context,
    )


def subject_of(body: EntityBody) -> Named:
    """The subject; `InvalidInput` for a workload, about which there are no general questions."""
    check_subject(body.type)
    return entity_of(body)


def entity_of(body: EntityBody) -> Named:
    """A subject or a resource."""
    check_type(body.type)
    _check(body.id, "an id", bounds.ID_BYTES)
    return Named(body.type, body.id, body.properties)


def action_of(body: NamedAction) -> str:
    """The action's name."""
    _check(body.name, "an action's name", bounds.NAME_BYTES)
    return body.name


def check_type(name: str) -> None:
    """`InvalidInput` for the name of a type that is empty or too long."""
    _check(name, "a type", bounds.NAME_BYTES)


def check_subject(type_: str) -> None:
    """`InvalidInput` for a type of subjects that there are no general questions about."""
    if type_ == GOVERNED:
        # SECURITY: what a workload may do is decided under a task that it proves, never because somebody names it.
        raise InvalidInput(
            "subject_governed",
            "there are no general questions about a workload",
            "ask under its task with `POST /access/v1/evaluation`, or `POST /v1/listing` for its tools",
        )


def answer_of(evaluation: Evaluation, question: Question, *, reasons: bool) -> QuestionAnswer:
    """The answer: bare, unless the caller asks for reasons, policies oblige, or one could not be evaluated.

    A permit with an obligation that the caller did not say it can fulfil is a deny, and says so.
    """
    if not (reasons or evaluation.errors or evaluation.obligations):
        return PERMIT if evaluation.permitted else DENY
    reason, error = evaluation.reason, None
    if evaluation.permitted and (lacking := not_supported(evaluation.obligations, question.context)):
        # SECURITY: an obligation is never dropped; a caller that overlooks it would do more than was permitted.
        refused = QuestionContext(reason=reason_body(unsupported(lacking, reason)))
        return QuestionAnswer(decision=False, context=refused)
    if evaluation.errors:
        # A policy that fails denies; nobody shall take that for the policy's word.
        error = ErrorBody(status=500, message=reason.message, code=reason.code, next_step=reason.next_step)
    obligations = bodies_of(
        evaluation.obligations, action=question.action, permitted=evaluation.permitted, reason=reason
    )
    context = QuestionContext(reason=reason_body(reason) if reasons else None, obligations=obligations, error=error)
    return QuestionAnswer(decision=evaluation.permitted, context=context)


def failed(error: RemitError) -> QuestionAnswer:
    """The answer to one question of several that could not be answered (section 7.2.1): closed, with the error."""
    said = ErrorBody(status=error.status, message=error.message, code=error.code, next_step=error.next_step)
    return QuestionAnswer(decision=False, context=QuestionContext(error=said))


def _check(name: str, what: str, most: int) -> None:
    if not name or len(name) > most or len(name.encode()) > most:
        raise InvalidInput("name_invalid", f"{what} is empty or longer than {most} bytes")
