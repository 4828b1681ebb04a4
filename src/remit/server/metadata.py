"""What anyone may read: health, readiness, public keys, and the AuthZEN metadata document."""

from __future__ import annotations

import msgspec

from remit.core.errors import Unavailable
from remit.sdk.negotiation import ACTIONS, TYPES
from remit.server.answer import Answer, json_answer
from remit.server.serving import Call, Serving


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The process answers (`ok`), or it can decide and record (`ready`)."""

    status: str


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """AuthZEN 1.0 PDP metadata (section 9); its names are the specification's, in snake case."""

    policy_decision_point: str
    access_evaluation_endpoint: str
    access_evaluations_endpoint: str
    search_subject_endpoint: str
    search_resource_endpoint: str
    search_action_endpoint: str
    capabilities: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET  # URNs; left out when there are none
    supported_obligations: tuple[str, ...] = TYPES  # of the profile for obligations, draft 1
    remit_obligations: tuple[str, ...] = ACTIONS  # what its type `custom` stands for here


async def healthz(_: Serving, __: Call) -> Answer:
    """The process answers."""
    return json_answer(Health(status="ok"))


async def readyz(serving: Serving, _: Call) -> Answer:
    """It can decide and record; 503 with the reason otherwise."""
    if why := serving.not_ready():
        raise Unavailable("not_ready", why)
    return json_answer(Health(status="ready"))


async def keys(serving: Serving, _: Call) -> Answer:
    """The trust domain's public keys as a JWKS in the SPIFFE bundle format."""
    return json_answer(dict(serving.bundle()))


async def metadata(serving: Serving, _: Call) -> Answer:
    """Where the endpoints are."""
    base = serving.base_url
    answer = json_answer(
        Metadata(
            policy_decision_point=base,
            access_evaluation_endpoint=f"{base}/access/v1/evaluation",
            access_evaluations_endpoint=f"{base}/access/v1/evaluations",
            search_subject_endpoint=f"{base}/access/v1/search/subject",
            search_resource_endpoint=f"{base}/access/v1/search/resource",
            search_action_endpoint=f"{base}/access/v1/search/action",
        )
    )
    # Kept for a while, as the specification suggests (section 11.9): nothing of it changes while the service runs.
    return answer._replace(headers=(answer.headers[0], (b"cache-control", b"public, max-age=300")))
