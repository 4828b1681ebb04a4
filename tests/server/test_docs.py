"""`docs/reference/http.md` is kept true: operations, codes, bounds and examples."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import msgspec

from remit.core import bounds
from remit.identity import x509_svid
from remit.sdk.wire import EvaluationAnswer, EvaluationRequest, Problem
from remit.server import attachments, authentication, bodies, handshake, listener, protocol
from remit.server.routes import OPERATIONS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/http.md").read_text()

# Raised while the service starts, and told by `remit up`; they never reach an HTTP caller.
STARTING = {
    "listen_invalid",
    "listen_not_loopback",
    "service_running",
    "socket_failed",
    "socket_path_taken",
    "socket_path_too_long",
    "start_failed",
}
ERRORS = {"InvalidInput", "Unauthenticated", "Forbidden", "NotFound", "Conflict", "TooLarge", "Unavailable"}


def test_every_operation_is_in_the_table() -> None:
    rows = re.findall(r"^\| `(\w+ /\S*)` \| (.+?) \| (a caller|anyone) \| ([\d, ]+) \|$", PAGE, re.MULTILINE)
    assert rows == [
        (
            f"{op.method} {op.path}",
            op.summary,
            "anyone" if op.public else "a caller",
            ", ".join(str(status) for status in (op.status, *op.also)),
        )
        for op in OPERATIONS
    ]


def test_every_code_is_in_the_table() -> None:
    table = PAGE.partition("| code | status |")[2].partition("\n\n")[0]
    listed = {code for row in table.splitlines() for code in re.findall(r"`(\w+)`", row.partition(" | ")[0])}
    assert listed - {"identity_quarantined", "identity_retired"} == codes() - STARTING


def codes() -> set[str]:
    """The codes that the server room raises itself."""
    found: set[str] = set()
    for path in (ROOT / "src/remit/server").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            at = 1 if name == "refuse" else 0
            if name in ERRORS | {"RemitError", "MethodNotAllowed", "refuse"} and len(node.args) > at:
                code = node.args[at]
                if isinstance(code, ast.Constant) and isinstance(code.value, str):
                    found.add(code.value)
    return found


def test_the_examples_are_what_the_service_takes_and_gives() -> None:
    asked, answered, requestable, problem = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    request = msgspec.json.decode(asked, type=EvaluationRequest)
    assert request.context.idempotency_key == "call-42"
    for example in (answered, requestable):
        answer = msgspec.json.decode(example, type=EvaluationAnswer)
        assert json.loads(msgspec.json.encode(answer)) == json.loads(example)
    refused = msgspec.json.decode(problem, type=Problem)
    assert json.loads(msgspec.json.encode(refused)) == json.loads(problem)


def test_the_bounds_are_those_of_the_code() -> None:
    rows = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|$", PAGE.partition("## Bounds")[2], re.MULTILINE))
    assert rows["request line and headers"] == (
        f"{protocol.HEAD_BYTES // 1024} KiB, {protocol.HEADERS} headers, "
        f"{protocol.HEAD_SECONDS:.0f} seconds from the first byte"
    )
    svids = next(op.limit for op in OPERATIONS if op.id == "issueSvid") // 1024
    assert rows["body"] == (
        f"{bounds.REQUEST_BYTES // 1024} KiB ({svids} KiB for `/v1/svids`), {bodies.BODY_SECONDS} seconds, "
        f"{bounds.JSON_DEPTH} levels, {bounds.JSON_NODES:,} values"
    )
    assert rows["a name"] == f"{bounds.NAME_BYTES} bytes"
    assert rows["the id of a subject or resource of a general question"] == f"{bounds.ID_BYTES:,} bytes"
    assert rows["questions in one request"] == str(bounds.EVALUATIONS)
    assert rows["results on one page of a search"] == f"{bounds.SEARCH_RESULTS:,}"
    assert rows["a token or proof"] == f"{bounds.TOKEN_BYTES // 1024} KiB"
    assert rows["connections"] == f"{protocol.CONNECTIONS:,}"
    assert rows["requests at once"] == str(authentication.IN_FLIGHT)
    assert rows["attached callers"] == str(attachments.ATTACHED)
    assert rows["TLS handshakes"] == (
        f"{handshake.HANDSHAKES} under way, {handshake.HANDSHAKE_SECONDS:.0f} seconds each"
    )
    assert rows["a client's certificates"] == f"{x509_svid.CHAIN}, of {x509_svid.CERTIFICATE_BYTES // 1024} KiB each"
    assert rows["idle connection"] == f"{listener.KEEP_ALIVE_SECONDS} seconds"
    assert rows["open requests when it stops"] == f"{listener.GRACE_SECONDS} seconds"
