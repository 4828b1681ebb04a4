"""Hostile bytes on the connection itself: framing, sizes, time, header injection."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remit.core import bounds
from remit.server import bodies, protocol

from .stage import Stage, ask, parse, raw, run, running

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4, 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nna me: y\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /h\x80ealthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"junk\r\n\r\n",
    ],
)
def test_odd_framing_is_refused_and_the_connection_closed(tmp_path: Path, request_bytes: bytes) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            smuggled = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
            reader, writer = await asyncio.open_unix_connection(str(stage.path))
            writer.write(request_bytes + smuggled)
            answer = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            assert answer.count(b"HTTP/1.1 ") == 1, answer
            first = parse(answer)
            assert first.status == 400, answer
            assert first.headers["content-type"] == "application/problem+json"
            assert stage.service.records == []

    run(main())


def test_oversized_body(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            body = b'"' + b"x" * bounds.REQUEST_BYTES + b'"'
            answer = await ask(stage, "POST", "/access/v1/evaluation", body, holder=stage.holder())
            assert (answer.status, answer.json["code"]) == (413, "body_too_large")
            assert answer.headers["connection"] == "close"
            assert stage.service.asks == []

    run(main())


def test_oversized_chunked_body(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
            holder = stage.holder()
            url = "http://remit.local/access/v1/evaluation"
            import remit.core.clock as clock

            credentials = holder.headers("POST", url, clock.system_clock())
            head = b"POST /access/v1/evaluation HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            head += b"Content-Type: application/json\r\n"
            head += "".join(f"{name}: {value}\r\n" for name, value in credentials.items()).encode() + b"\r\n"
            answer = parse(await raw(stage, head + chunk * 9 + b"0\r\n\r\n"))
            assert (answer.status, answer.json["code"]) == (413, "body_too_large")

    run(main())


def test_a_strangers_body_is_not_read(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            head = b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n"
            answer = parse(await raw(stage, head + b"x" * 1000))
            assert answer.status == 401
            assert answer.headers["connection"] == "close"

    run(main())


def test_oversized_head(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            for filler in (
                b"X: " + b"a" * protocol.HEAD_BYTES + b"\r\n\r\n",
                b"".join(b"X%d: a\r\n" % number for number in range(protocol.HEADERS + 1)) + b"\r\n",
                b"X: " + b"a" * (4 * protocol.HEAD_BYTES),  # never ends
            ):
                answer = parse(await raw(stage, HEALTH + filler))
                assert (answer.status, answer.json["code"]) == (431, "head_too_large")

    run(main())


def test_slowloris_in_the_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)

    async def trickle(stage: Stage, first: bytes, unit: bytes) -> float:
        """How long the service bears a connection on which something comes every 50 ms and never ends."""
        reader, writer = await asyncio.open_unix_connection(str(stage.path))
        began = time.monotonic()
        writer.write(first)
        closed = asyncio.create_task(reader.read())
        while not closed.done() and time.monotonic() - began < 5:
            writer.write(unit)
            await asyncio.wait((closed,), timeout=0.05)
        if not closed.cancel():
            closed.exception()
        writer.close()
        return time.monotonic() - began

    async def main() -> None:
        async with running(tmp_path) as stage:
            for first, unit in ((HEALTH, b"X: a\r\n"), (b"", b"\r\n"), (HEALTH + b"\r\n", b"\r\n"), (b"", b"")):
                assert await trickle(stage, first, unit) < 3, (first, unit)

    run(main())


def test_slowloris_in_the_body(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.3)

    async def main() -> None:
        async with running(tmp_path) as stage:
            began = time.monotonic()
            answer = await ask(
                stage,
                "POST",
                "/access/v1/evaluation",
                b"{",
                holder=stage.holder(),
                headers={"Content-Length": "1000"},
            )
            assert (answer.status, answer.json["code"]) == (400, "body_timeout")
            assert answer.headers["connection"] == "close"
            assert time.monotonic() - began < 3

    run(main())


def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            reader, writer = await asyncio.open_unix_connection(str(stage.path))
            writer.write((HEALTH + b"\r\n") * 20 + HEALTH + b"Connection: close\r\n\r\n")
            answer = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            assert answer.count(b"HTTP/1.1 200 OK") == 21

    run(main())


def test_too_many_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "CONNECTIONS", 2)

    async def main() -> None:
        async with running(tmp_path) as stage:
            open_ones = [await asyncio.open_unix_connection(str(stage.path)) for _ in range(2)]
            await asyncio.sleep(0.05)
            answer = parse(await raw(stage, b""))
            assert (answer.status, answer.json["code"]) == (503, "connections_full")
            for _, writer in open_ones:
                writer.close()

    run(main())


def test_too_many_requests_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from remit.server import authentication

    monkeypatch.setattr(authentication, "IN_FLIGHT", 0)

    async def main() -> None:
        async with running(tmp_path) as stage:
            answer = await ask(stage, "GET", "/v1/identities", holder=stage.holder())
            assert (answer.status, answer.json["code"]) == (503, "busy")
            assert answer.headers["retry-after"] == "1"

    run(main())


@pytest.mark.parametrize(
    "sent",
    ["a\tb", "x" * 257, "é", "é" * 9],
)
def test_header_injection_through_the_request_id(tmp_path: Path, sent: str) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            answer = await ask(stage, "GET", "/healthz", headers={"X-Request-ID": sent})
            assert answer.status == 200
            assert answer.headers["x-request-id"] != sent
            assert len(answer.headers["x-request-id"]) == 16
            assert "set-cookie" not in answer.headers

    run(main())


@pytest.mark.parametrize("sent", ["a\rSet-Cookie: x", "a\nSet-Cookie: x", "a\x00b", "a\x7fb", "a\x1b[31mb"])
def test_control_bytes_in_the_request_id(tmp_path: Path, sent: str) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            answer = await ask(stage, "GET", "/healthz", headers={"X-Request-ID": sent})
            assert "set-cookie" not in answer.headers
            assert answer.headers.get("x-request-id") != sent

    run(main())


def test_a_printable_request_id_is_echoed(tmp_path: Path) -> None:
    """Any short string, as AuthZEN says; what means something in a log or a page is the reader's to escape."""

    async def main() -> None:
        async with running(tmp_path) as stage:
            plain = ("bfe9eb29-ab87-4ca3-be83-a1d5d8305716", "a", "x" * 256)
            for sent in (*plain, "a b", "a,b", '"', "<script>", "%0d%0aSet-Cookie: x", "{urn:x}[1]"):
                answer = await ask(stage, "GET", "/healthz", headers={"X-Request-ID": sent})
                assert answer.headers["x-request-id"] == sent
            refused = await ask(stage, "GET", "/v1/identities", headers={"X-Request-ID": "here"})
            assert (refused.headers["x-request-id"], refused.json["requestId"]) == ("here", "here")

    run(main())


@pytest.mark.parametrize("media", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_a_form_from_a_browser_is_no_request(tmp_path: Path, media: str) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            answer = await ask(stage, "POST", "/v1/risk", {}, holder=stage.holder(), headers={"Content-Type": media})
            assert (answer.status, answer.json["code"]) == (400, "body_media_type")

    run(main())


def test_any_bytes_as_a_body_give_a_problem(tmp_path: Path) -> None:
    paths = [
        "/access/v1/evaluation",
        "/v1/outcomes",
        "/v1/listing",
        "/v1/svids",
        "/v1/tasks",
        "/v1/tasks/t_1/end",
        "/v1/identities",
        "/v1/identities/change",
        "/v1/risk",
        "/v1/resolutions",
    ]

    async def main() -> None:
        async with running(tmp_path) as stage:
            loop = asyncio.get_running_loop()

            @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
            @given(st.sampled_from(paths), st.binary(max_size=200) | st.text(max_size=50).map(str.encode))
            def any_body(path: str, body: bytes) -> None:
                if body.strip() == b"{}" and path in ("/v1/svids", "/v1/tasks/t_1/end"):
                    return  # a whole request
                work = asyncio.run_coroutine_threadsafe(ask(stage, "POST", path, body, holder=stage.holder()), loop)
                answer = work.result(10)
                assert 400 <= answer.status < 500, (path, body, answer)
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.json["code"]

            await asyncio.to_thread(any_body)
            assert stage.service.records == []

    run(main())


def test_any_bytes_on_the_connection_give_one_answer_or_none(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            loop = asyncio.get_running_loop()

            async def send(data: bytes) -> bytes:
                reader, writer = await asyncio.open_unix_connection(str(stage.path))
                writer.write(data)
                writer.write_eof()
                answer = await asyncio.wait_for(reader.read(), 5)
                writer.close()
                return answer

            @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
            @given(st.binary(max_size=300))
            def any_bytes(data: bytes) -> None:
                answer = asyncio.run_coroutine_threadsafe(send(data), loop).result(10)
                assert not answer or answer.startswith(b"HTTP/1.1 4")

            await asyncio.to_thread(any_bytes)
            assert (await ask(stage, "GET", "/healthz")).status == 200

    run(main())
