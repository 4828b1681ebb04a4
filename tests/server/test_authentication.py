"""No identity, no answer: who is refused before anything is routed, read or recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from remit.core.clock import system_clock
from remit.identity.holder import Holder
from remit.identity.keys import generate_key, thumbprint
from remit.server.routes import OPERATIONS

from .stage import AUDIENCE, PEP, STARTER, WORKLOAD, Stage, ask, run, running

PUBLIC = ["/healthz", "/readyz", "/metrics", "/.well-known/authzen-configuration", "/v1/keys", "/openapi.json"]
BELOW = ["/log/{file}"]
GOVERNED = [(op.method, op.path.replace("{task}", "t_1")) for op in OPERATIONS if not op.public]


def untouched(stage: Stage) -> bool:
    return not (stage.service.asks or stage.service.records or stage.service.reports)


@pytest.mark.parametrize("path", PUBLIC)
def test_public_paths_need_no_identity(tmp_path: Path, path: str) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            for tcp in (False, True):
                assert (await ask(stage, "GET", path, tcp=tcp)).status == 200
            assert untouched(stage)

    run(main())


def test_nothing_else_is_public() -> None:
    assert sorted(op.path for op in OPERATIONS if op.public) == sorted([*PUBLIC, *BELOW])


def test_no_credentials(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            for method, path in [*GOVERNED, ("POST", "/healthz"), ("GET", "/no/such/path"), ("DELETE", "/v1/tasks")]:
                for tcp in (False, True):
                    answer = await ask(stage, method, path, {} if method == "POST" else None, tcp=tcp)
                    assert answer.status == 401, (method, path)
                    assert answer.headers["content-type"] == "application/problem+json"
                    assert "DPoP" in answer.headers["www-authenticate"]
            assert untouched(stage)

    run(main())


def test_an_unknown_path_is_hidden_from_strangers_and_told_to_callers(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            known = await ask(stage, "GET", "/no/such/path", holder=stage.holder())
            assert (known.status, known.json["code"]) == (404, "path_unknown")
            wrong = await ask(stage, "DELETE", "/v1/identities", holder=stage.holder())
            assert (wrong.status, wrong.json["code"]) == (405, "method_not_allowed")
            assert wrong.headers["content-type"] == "application/problem+json"
            assert wrong.headers["x-request-id"]

    run(main())


@pytest.mark.parametrize("path", ["/healthz/", "//healthz", "/healthz/../v1/identities", "/metrics%2f..%2fv1%2ftasks"])
def test_spellings_of_public_paths_open_nothing(tmp_path: Path, path: str) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            assert (await ask(stage, "GET", path)).status == 401

    run(main())


def test_wrong_key(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            thief = Holder(generate_key(), stage.holder().svid, PEP)
            answer = await ask(stage, "POST", "/access/v1/evaluation", {}, holder=thief)
            assert answer.status == 401
            assert untouched(stage)

    run(main())


def test_an_svid_as_a_bearer_token(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            holder = stage.holder()
            headers = holder.headers("GET", "http://remit.local/v1/identities", system_clock())
            bearer = headers | {"Authorization": f"Bearer {holder.svid}"}
            assert (await ask(stage, "GET", "/v1/identities", credentials=bearer)).status == 401
            without_proof = {"Authorization": headers["Authorization"]}
            assert (await ask(stage, "GET", "/v1/identities", credentials=without_proof)).status == 401

    run(main())


def test_a_proof_used_twice(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            headers = stage.holder().headers("GET", "http://remit.local/v1/identities", system_clock())
            assert (await ask(stage, "GET", "/v1/identities", credentials=headers)).status == 200
            again = await ask(stage, "GET", "/v1/identities", credentials=headers)
            assert (again.status, again.json["code"]) == (401, "proof_replayed")

    run(main())


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/tasks/t_1"), ("POST", "/v1/identities")])
def test_a_proof_for_another_request(tmp_path: Path, method: str, path: str) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            headers = stage.holder().headers("GET", "http://remit.local/v1/identities", system_clock())
            body: Any = {} if method == "POST" else None
            assert (await ask(stage, method, path, body, credentials=headers)).status == 401
            assert untouched(stage)

    run(main())


def test_two_proofs_in_one_request(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            for name in ("DPoP", "Authorization"):
                headers = stage.holder().headers("GET", "http://remit.local/v1/identities", system_clock())
                doubled = headers | {name.lower(): headers[name]}
                answer = await ask(stage, "GET", "/v1/identities", credentials=doubled)
                assert answer.status == 401

    run(main())


def test_dns_rebinding_reads_nothing_that_needs_no_credentials(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            for path in ("/metrics", "/healthz", "/v1/keys"):
                for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "a@127.0.0.1", ""):
                    rebound = await ask(stage, "GET", path, headers={"Host": host}, tcp=True)
                    assert (rebound.status, rebound.json["code"]) == (400, "host_unknown"), (path, host)
                for host in ("127.0.0.1", "localhost:8181", "[::1]:8181"):
                    assert (await ask(stage, "GET", path, headers={"Host": host}, tcp=True)).status == 200
                assert (await ask(stage, "GET", path, headers={"Host": "any.example"})).status == 200  # the unix socket

    run(main())


def test_host_spoofing(tmp_path: Path) -> None:
    """A proof for another site is no proof here, whatever `Host` says; and `Host` breaks no good proof."""

    async def main() -> None:
        async with running(tmp_path) as stage:
            for tcp in (False, True):
                elsewhere = "http://evil.example"
                answer = await ask(
                    stage,
                    "GET",
                    "/v1/identities",
                    holder=stage.holder(),
                    origin=elsewhere,
                    headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil"},
                    tcp=tcp,
                )
                assert answer.status == 401
                good = await ask(
                    stage, "GET", "/v1/identities", holder=stage.holder(), headers={"Host": "evil.example"}, tcp=tcp
                )
                assert good.status == 200

    run(main())


def test_a_proof_for_one_listener_is_none_on_the_other(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            over_tcp = await ask(
                stage, "GET", "/v1/identities", holder=stage.holder(), origin="http://remit.local", tcp=True
            )
            assert over_tcp.status == 401
            over_unix = await ask(stage, "GET", "/v1/identities", holder=stage.holder(), origin=stage.url)
            assert over_unix.status == 401

    run(main())


def test_an_application_without_a_listeners_origin_refuses(tmp_path: Path) -> None:
    async def main() -> None:
        stage = Stage(tmp_path)
        try:
            sent: list[Any] = []
            headers = stage.holder().headers("GET", "http://remit.local/v1/identities", system_clock())
            scope = {
                "type": "http",
                "method": "GET",
                "path": "/v1/identities",
                "raw_path": b"/v1/identities",
                "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            }

            async def receive() -> Any:
                return {"type": "http.request", "body": b"", "more_body": False}

            async def send(message: Any) -> None:
                sent.append(message)

            await stage.app(scope, receive, send)
            assert sent[0]["status"] == 401
        finally:
            stage.unix.close()
            stage.tcp.close()

    run(main())


def test_a_fault_while_proving_who_asks_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:

            def broken(*_: Any, **__: Any) -> None:
                raise RuntimeError("secret")

            monkeypatch.setattr(stage.authenticator, "authenticate", broken)
            answer = await ask(stage, "GET", "/v1/identities", holder=stage.holder())
            assert (answer.status, answer.json["code"]) == (500, "internal_error")
            assert b"secret" not in answer.body

    run(main())


def test_an_svid_by_the_registered_key(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            first = await ask(stage, "POST", "/v1/svids", {"id": PEP}, holder=stage.holder(with_svid=False))
            assert first.status == 201
            holder = Holder(stage.keys[PEP], first.json["svid"], PEP)
            assert (await ask(stage, "GET", "/v1/identities", holder=holder)).status == 200
            again = await ask(stage, "POST", "/v1/svids", {}, holder=holder)
            assert again.status == 201

    run(main())


def test_an_ephemeral_key_is_bound_by_the_registered_one_and_binds_none(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            key, other = generate_key(), generate_key()
            body = {"id": WORKLOAD, "bind": thumbprint(key)}
            bound = await ask(stage, "POST", "/v1/svids", body, holder=stage.holder(WORKLOAD, with_svid=False))
            assert bound.status == 201
            ephemeral = Holder(key, bound.json["svid"], WORKLOAD)
            passed_on = await ask(stage, "POST", "/v1/svids", {"bind": thumbprint(other)}, holder=ephemeral)
            assert (passed_on.status, passed_on.json["code"]) == (403, "bind_refused")
            alone = await ask(stage, "POST", "/v1/svids", {"id": WORKLOAD}, holder=Holder(key, "", WORKLOAD))
            assert alone.status == 401

    run(main())


def test_a_bound_key_does_not_outlive_its_task(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            key = generate_key()
            body = {"id": WORKLOAD, "bind": thumbprint(key)}
            bound = await ask(stage, "POST", "/v1/svids", body, holder=stage.holder(WORKLOAD, with_svid=False))
            ephemeral = Holder(key, bound.json["svid"], WORKLOAD)
            without = await ask(stage, "POST", "/v1/svids", {}, holder=ephemeral)
            assert (without.status, without.json["code"]) == (403, "renewal_refused")
            starter = stage.holder(STARTER)
            request = {"intent": "answer", "workload": WORKLOAD, "key": thumbprint(key)}
            started = await ask(stage, "POST", "/v1/tasks", request, holder=starter)
            assert started.status == 201, started
            token, task = started.json["token"], started.json["task"]["id"]
            renewed = await ask(stage, "POST", "/v1/svids", {"task": token}, holder=ephemeral)
            assert renewed.status == 201
            assert renewed.json["expires"] <= started.json["task"]["expires"]
            view = stage.service.tasks[task]
            stage.service.tasks[task] = msgspec.structs.replace(view, state="completed")
            ended = await ask(stage, "POST", "/v1/svids", {"task": token}, holder=ephemeral)
            assert (ended.status, ended.json["code"]) == (403, "renewal_refused")

    run(main())


def test_an_svid_of_somebody_else(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            by_key = await ask(stage, "POST", "/v1/svids", {"id": PEP}, holder=stage.holder(WORKLOAD, with_svid=False))
            assert by_key.status == 401
            unknown = {"id": "spiffe://example.org/pep/unknown"}
            tried = await ask(stage, "POST", "/v1/svids", unknown, holder=stage.holder(WORKLOAD, with_svid=False))
            assert (tried.status, tried.json["code"]) == (by_key.status, by_key.json["code"])
            by_svid = await ask(stage, "POST", "/v1/svids", {"id": PEP}, holder=stage.holder(WORKLOAD))
            assert by_svid.status == 403

    run(main())


@pytest.mark.parametrize("state", ["quarantined", "retired"])
def test_no_svid_for_a_quarantined_identity(tmp_path: Path, state: Any) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            await stage.service.change((await _person(stage)), PEP, state, "")
            for with_svid in (True, False):
                holder = stage.holder(with_svid=with_svid)
                answer = await ask(stage, "POST", "/v1/svids", {"id": PEP}, holder=holder)
                assert (answer.status, answer.json["code"]) == (403, f"identity_{state}")

    run(main())


async def _person(stage: Stage) -> Any:
    from remit.core.identities import Identity

    return Identity(id="spiffe://example.org/person/kim", key="", expires=0)


def test_an_svid_for_another_audience(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage:
            key = stage.keys[PEP]
            svid = stage.authority.issue_svid(PEP, thumbprint(key), AUDIENCE + "x", system_clock(), 600)
            assert (await ask(stage, "GET", "/v1/identities", holder=Holder(key, svid, PEP))).status == 401

    run(main())
