"""`GET /openapi.json`: OpenAPI 3.1, generated from the route table and the wire structs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

import msgspec

from remit.sdk.wire import Problem
from remit.server.operation import Operation

_EVERY_REFUSAL: Final = (400, 401, 413, 503)
_TEMPLATE: Final = "#/components/schemas/{name}"


def openapi(operations: Iterable[Operation], version: str) -> dict[str, Any]:
    """The document; every operation of the table is in it."""
    operations = tuple(operations)
    types: list[type[Any]] = [
        Problem,
        *(part for op in operations for part in _bodies(op) if part is not None),
    ]
    unique: list[type[Any]] = list(dict.fromkeys(types))
    refs, components = msgspec.json.schema_components(unique, ref_template=_TEMPLATE)
    schemas: dict[type[Any], dict[str, Any]] = dict(zip(unique, refs, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Remit",
            "version": version,
            "description": "Decides whether an action lies within the actor's remit.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "svid": {
                    "type": "http",
                    "scheme": "DPoP",
                    "description": "`Authorization: DPoP <JWT-SVID>` with a `DPoP` proof (RFC 9449)",
                },
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A bearer key of `remit.toml`, where a policy lets it ask; general questions only",
                },
                "key": {"type": "apiKey", "in": "header", "name": "DPoP", "description": "A proof by the key alone"},
            },
        },
    }


def _operation(operation: Operation, schemas: dict[type[Any], dict[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {"operationId": operation.id, "summary": operation.summary}
    if parameters := re.findall(r"\{(\w+)\}", operation.path):
        result["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in parameters
        ]
    if operation.takes is not None:
        content = {"application/json": {"schema": _either(schemas, operation.takes, operation.or_takes)}}
        result["requestBody"] = {"required": True, "content": content}
    result["responses"] = _responses(operation, schemas)
    if operation.public:
        result["security"] = []
    elif operation.id == "issueSvid":
        result["security"] = [{"svid": []}, {"key": []}]
    else:
        result["security"] = [{"svid": []}, *([{"bearer": []}] if operation.bearer else [])]
    return result


def _bodies(operation: Operation) -> tuple[type[Any] | None, ...]:
    return operation.takes, operation.or_takes, operation.gives, operation.or_gives


def _either(schemas: dict[type[Any], dict[str, Any]], one: type[Any], other: type[Any] | None) -> dict[str, Any]:
    return schemas[one] if other is None else {"anyOf": [schemas[one], schemas[other]]}


def _responses(operation: Operation, schemas: dict[type[Any], dict[str, Any]]) -> dict[str, Any]:
    gives = operation.gives
    body: dict[str, Any] = {} if gives is None else _either(schemas, gives, operation.or_gives)
    responses: dict[str, Any] = {}
    for status in (operation.status, *operation.also):
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {operation.media: {"schema": body}},
        }
    refusals = (
        sorted({503, *operation.refusals}) if operation.public else sorted({*_EVERY_REFUSAL, *operation.refusals})
    )
    for status in refusals:
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {"application/problem+json": {"schema": schemas[Problem]}},
        }
    return responses
