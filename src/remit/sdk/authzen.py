"""AuthZEN 1.0 on the wire: general questions, several questions at once, and searches (sections 6 to 8).

Names are the specification's. Members that a body does not know are ignored, as section 10.1.1 says. The questions
about workloads, which tasks and records belong to, are in `remit.sdk.wire`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from remit.sdk.negotiation import ObligationBody
from remit.sdk.wire import ReasonBody


class EntityBody(msgspec.Struct, frozen=True, kw_only=True):
    """A subject or a resource of a general question, of any type but those of governed ones."""

    type: str
    id: str
    properties: dict[str, Any] = {}


class NamedAction(msgspec.Struct, frozen=True, kw_only=True):
    """The action of a general question."""

    name: str
    properties: dict[str, Any] = {}


class QuestionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a general question is answered: with `reasons`, the answer says which policies decided."""

    reasons: bool = False


class QuestionBody(msgspec.Struct, frozen=True, kw_only=True):
    """AuthZEN 1.0 access evaluation request (section 6.1) about anything but a workload: a general question."""

    subject: EntityBody
    action: NamedAction
    resource: EntityBody
    context: dict[str, Any] = {}
    options: QuestionOptions = QuestionOptions()


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Why one question of several could not be answered, as a problem would say it."""

    status: int
    message: str
    code: str
    next_step: str = ""


class QuestionContext(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an answer to a general question says besides the decision; left out when there is nothing to say."""

    reason: ReasonBody | None = None  # where `options.reasons` asks for it
    obligations: tuple[ObligationBody, ...] = ()
    error: ErrorBody | None = None


class QuestionAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """AuthZEN 1.0 access evaluation response (section 6.2) to a general question."""

    decision: bool
    context: QuestionContext | msgspec.UnsetType = msgspec.UNSET


Semantic = Literal["execute_all", "deny_on_first_deny", "permit_on_first_permit"]


class EvaluationsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How several questions are executed (section 7.1.2.1), and whether the answers to general ones say why."""

    evaluations_semantic: Semantic = "execute_all"
    reasons: bool = False


class EvaluationsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """AuthZEN 1.0 access evaluations request (section 7.1).

    Each question is one that `POST /access/v1/evaluation` takes; a member that it lacks is the one that stands here.
    Without `evaluations` this is such a question itself.
    """

    subject: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    action: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    resource: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    context: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    evaluations: list[dict[str, Any]] = []
    options: EvaluationsOptions = EvaluationsOptions()


class AnyAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to one question of several: what the question alone would be answered, or why it can't be."""

    decision: bool
    context: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class EvaluationsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """AuthZEN 1.0 access evaluations response (section 7.2): one answer for each question that was executed."""

    evaluations: tuple[AnyAnswer, ...]


class SearchedEntity(msgspec.Struct, frozen=True, kw_only=True):
    """What is searched for: entities of a type. An `id` is ignored."""

    type: str
    properties: dict[str, Any] = {}


class PageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of a search's results (section 8.2.1). `limit` may be left out where `token` is sent."""

    token: str = ""
    limit: Annotated[int, msgspec.Meta(ge=0)] | msgspec.UnsetType = msgspec.UNSET


class SubjectSearch(msgspec.Struct, frozen=True, kw_only=True):
    """AuthZEN 1.0 subject search request (section 8.4.1)."""

    subject: SearchedEntity
    action: NamedAction
    resource: EntityBody
    context: dict[str, Any] = {}
    page: PageRequest | msgspec.UnsetType = msgspec.UNSET


class ResourceSearch(msgspec.Struct, frozen=True, kw_only=True):
    """AuthZEN 1.0 resource search request (section 8.5.1)."""

    subject: EntityBody
    action: NamedAction
    resource: SearchedEntity
    context: dict[str, Any] = {}
    page: PageRequest | msgspec.UnsetType = msgspec.UNSET


class ActionSearch(msgspec.Struct, frozen=True, kw_only=True):
    """AuthZEN 1.0 action search request (section 8.6.1)."""

    subject: EntityBody
    resource: EntityBody
    context: dict[str, Any] = {}
    page: PageRequest | msgspec.UnsetType = msgspec.UNSET


class PageAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Where the next results are (section 8.2.2): `next_token` is empty at the end."""

    next_token: str
    count: int


class SearchContext(msgspec.Struct, frozen=True, kw_only=True):
    """Said only where a search can't be answered exactly: there may be more results, and `why`."""

    exact: bool
    why: str


class FoundEntity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A subject or a resource that was found, and what goes with it (profile for obligations)."""

    type: str
    id: str
    obligations: tuple[ObligationBody, ...] = ()


class FoundAction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An action that was found, and what goes with it (profile for obligations)."""

    name: str
    obligations: tuple[ObligationBody, ...] = ()


class EntitiesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """AuthZEN 1.0 search response (section 8.3) with subjects or resources."""

    page: PageAnswer | msgspec.UnsetType = msgspec.UNSET
    context: SearchContext | msgspec.UnsetType = msgspec.UNSET
    results: tuple[FoundEntity, ...]


class ActionsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """AuthZEN 1.0 search response (section 8.3) with actions."""

    page: PageAnswer | msgspec.UnsetType = msgspec.UNSET
    context: SearchContext | msgspec.UnsetType = msgspec.UNSET
    results: tuple[FoundAction, ...]
