"""The HTTP service as one ASGI application: authentication, routing, problems."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from remit.core.clock import Clock, system_clock
from remit.core.errors import NotFound, RemitError
from remit.identity.bearer import BearerKeys
from remit.server.answer import Answer, json_answer
from remit.server.authentication import UNIX_ORIGIN, Authentication
from remit.server.endpoint import Endpoint
from remit.server.log_folder import LogFiles
from remit.server.openapi import openapi
from remit.server.operation import Operation
from remit.server.port import AuthenticatorPort, AuthorityPort, CertificatesPort, ClaimsPort, ElsewherePort, ServicePort
from remit.server.problems import problem
from remit.server.routes import OPERATIONS
from remit.server.serving import Call, Serving
from remit.server.tls import ServerTls

SVID_SECONDS = 3600
NO_BEARER_KEYS = BearerKeys()


class MethodNotAllowed(RemitError):
    """The path exists, with other methods."""

    status = 405


def build_app(
    service: ServicePort,
    authenticator: AuthenticatorPort,
    authority: AuthorityPort,
    *,
    bearer_keys: BearerKeys = NO_BEARER_KEYS,
    bundle: Callable[[], Mapping[str, Any]],
    audience: str,
    base_url: str = UNIX_ORIGIN,
    not_ready: Callable[[], str] = lambda: "",
    svid_seconds: int = SVID_SECONDS,
    clock: Clock = system_clock,
    version: str = "0.1.0",
    certificates: CertificatesPort | None = None,
    elsewhere: ElsewherePort | None = None,
    tls: ServerTls | None = None,
    key_sources: Callable[[], Mapping[str, Mapping[str, float]]] = dict,
    claims: ClaimsPort | None = None,
    log_folder: Path | None = None,
    log_gauges: Callable[[], Mapping[str, float]] = dict,
) -> Starlette:
    """The application. `app.state.attachments` counts who holds the service open.

    `bundle` gives the public keys for `/v1/keys`; `not_ready` says why it can't decide now, or "". The listener must
    put its origins into the scope's state (`remit_origins`); without them no proof is accepted. Without `certificates`
    no client certificate is taken, and without `elsewhere` no outside token. `claims` are for processes that are
    reached by one name. `log_folder` is the published log that is served to anybody; None: none is. `log_gauges` say
    how it stands, where the service publishes one.
    """
    serving = Serving(
        service=service,
        authenticator=authenticator,
        authority=authority,
        bearer_keys=bearer_keys,
        bundle=bundle,
        not_ready=not_ready,
        audience=audience,
        base_url=base_url,
        svid_seconds=svid_seconds,
        clock=clock,
        certificates=certificates,
        elsewhere=elsewhere,
        tls=tls,
        key_sources=key_sources,
        claims=claims,
        log_files=LogFiles(log_folder) if log_folder else None,
        log_gauges=log_gauges,
    )
    described = json_answer(openapi(OPERATIONS, version))
    endpoints = [(op, Endpoint(_with_description(op, described), serving)) for op in OPERATIONS]
    routes = [Route(op.route, endpoint, methods=[op.method], name=op.id) for op, endpoint in endpoints]
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(
                Authentication,
                serving=serving,
                public=frozenset(op.path for op in OPERATIONS if op.public and not op.deep),
                public_below=tuple(op.path.partition("{")[0] for op in OPERATIONS if op.public and op.deep),
                bearer=frozenset(op.path for op in OPERATIONS if op.bearer),
                streams=frozenset(op.path for op in OPERATIONS if op.stream is not None),
                direct={(op.method, op.path): endpoint for op, endpoint in endpoints if "{" not in op.path},
            )
        ],
        exception_handlers={HTTPException: _routing_problem},
    )
    app.router.redirect_slashes = False
    app.state.serving = serving
    app.state.attachments = serving.attachments
    return app


def _with_description(operation: Operation, described: Answer) -> Operation:
    if operation.id != "openapi":
        return operation

    async def show(_: Serving, __: Call) -> Answer:
        return described

    handler: Callable[[Serving, Call], Awaitable[Answer]] = show
    return Operation(
        method=operation.method,
        path=operation.path,
        id=operation.id,
        summary=operation.summary,
        handler=handler,
        public=operation.public,
    )


async def _routing_problem(request: Request, error: Exception) -> Response:
    rid = request.scope["remit.request_id"]
    headers = dict(getattr(error, "headers", None) or {})
    if isinstance(error, HTTPException) and error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        known: RemitError = MethodNotAllowed("method_not_allowed", "the path does not take this method")
    else:
        known = NotFound("path_unknown", "there is nothing at this path", "see /openapi.json")
    answer = problem(known, rid)
    headers |= {name.decode(): value.decode() for name, value in answer.headers}
    headers["x-request-id"] = rid
    return Response(answer.body, status_code=answer.status, headers=headers)
