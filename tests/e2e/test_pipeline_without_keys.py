"""A pipeline that has no key of its own: `remit exec` in a job, with the tokens that the platform gives it.

The job's folder is a fresh checkout of the project; the service runs elsewhere, as far as the job can tell. The
platform is a local one, in the shape of GitHub Actions.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509

from remit.app.exports import verify_folder
from remit.app.folder import Folder
from remit.storage.sqlite_reader import SqliteReader
from tests.app.publisher import LocalAuthority, publishing
from tests.identity.issuers import GITHUB, LocalIssuer, github

from .service import REMIT, decisions, service, told

ROOT = Path(__file__).resolve().parents[2]
HUB = LocalIssuer(GITHUB)
WHO = ("starter/ci", "workload/deployer", "pep/runner")
CLAIMS = '{ repository_id = "74", ref = "refs/heads/main" }'
RULES = "".join(
    f'[[issuers.rules]]\nidentity = "{who}"\naudience = "remit {who}"\nclaims = {CLAIMS}\n\n' for who in WHO
)
ISSUER = f"""
[[issuers]]
name = "github"
issuer = "{GITHUB}"
audience = "https://remit.example.org"
jwks_file = "github.json"

{RULES}"""


def token(audience: str, **more: Any) -> str:
    now = int(time.time())
    return HUB.token(github(aud=audience, iat=now, nbf=now, exp=now + 300, **more))


@pytest.fixture
def server(short_path: Path) -> Folder:
    """The project where the service runs: no identity of the pipeline has a key."""
    folder = Folder(short_path / "server")
    shutil.copytree(ROOT / "examples" / "pipeline", folder.root, ignore=shutil.ignore_patterns(".remit", "__pycache__"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = (folder.root / "remit.toml").read_text()
    settings = settings.replace('listen = "" ', f'listen = "127.0.0.1:{port}" ')
    for name in ("deployer", "ci", "runner"):
        settings = settings.replace(f'name = "{name}"\n', f'name = "{name}"\nkey = "none"\n')
    (folder.root / "remit.toml").write_text(settings + ISSUER)
    (folder.root / "github.json").write_bytes(HUB.jwks())
    (folder.root / "windows" / "production.ics").write_text(open_window())
    return folder


def open_window() -> str:
    """The change window, open now."""
    opens = datetime.now(UTC) - timedelta(minutes=5)
    stamp = "%Y%m%dT%H%M%SZ"
    lines = (
        "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//remit//test//EN", "BEGIN:VEVENT", "UID:1@delivery.example",
        f"DTSTAMP:{opens:{stamp}}", f"DTSTART:{opens:{stamp}}", f"DTEND:{opens + timedelta(hours=1):{stamp}}",
        "END:VEVENT", "END:VCALENDAR",
    )  # fmt: skip
    return "".join(f"{line}\r\n" for line in lines)


@pytest.fixture
def checkout(server: Folder, short_path: Path) -> Folder:
    """What a job checks out."""
    folder = Folder(short_path / "checkout")
    shutil.copytree(server.root, folder.root)
    (folder.root / "web.tar").write_bytes(b"the artifact that CI built\n")
    return folder


def deploy(checkout: Folder, server: Folder, **environment: str) -> subprocess.CompletedProcess[str]:
    listen = (server.root / "remit.toml").read_text().partition('listen = "')[2].partition('"')[0]
    digest = hashlib.sha256((checkout.root / "web.tar").read_bytes()).hexdigest()
    command = [
        *REMIT, "exec", "deploy/release", "--starter", "starter/ci", "--intent", "release",
        "--task-param", "service=web", "--task-param", f"artifact={digest}",
        "--param", "service=web", "--param", "environment=staging", "--file-param", "artifact=web.tar",
        "--", "install", "-D", "{artifact}", str(checkout.root / "deployed"),
    ]  # fmt: skip
    more = {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "REMIT_URL": f"http://{listen}"}
    return subprocess.run(
        command,
        cwd=checkout.root,
        env={**os.environ, **more, **environment},
        capture_output=True,
        text=True,
        timeout=90,
    )


def exchanges(folder: Folder) -> list[tuple[str, int]]:
    """Which identities came, and by which rules."""
    with SqliteReader(folder.database) as reader:
        found = [stored.record for stored in reader.records(kinds=("exchange",))]
    return [(record.stream.rpartition("example/")[2], record.body["rule"]) for record in found]


def test_a_job_deploys_with_three_tokens_and_no_key(server: Folder, checkout: Folder) -> None:
    files = {who: checkout.root / f"{number}.jwt" for number, who in enumerate(WHO)}
    for who, file in files.items():
        file.write_text(token(f"remit {who}"))
    with service(server):
        for _ in range(2):  # a job has one token for each identity, and as many commands as it likes
            done = deploy(
                checkout,
                server,
                REMIT_OIDC_TOKEN_FILE_STARTER_CI=str(files["starter/ci"]),
                REMIT_OIDC_TOKEN_WORKLOAD_DEPLOYER=files["workload/deployer"].read_text(),
                REMIT_OIDC_TOKEN_FILE=str(files["pep/runner"]),
            )
            assert done.returncode == 0, done.stderr
        # another job that got hold of the tokens has other keys
        shutil.rmtree(checkout.state)
        stolen = deploy(checkout, server, REMIT_OIDC_TOKEN_FILE=str(files["pep/runner"]))
        assert stolen.returncode == 1
        assert "used before, with another key" in stolen.stderr
    assert (checkout.root / "deployed").exists()
    assert not checkout.keys.exists()
    assert decisions(server) == [("deploy/release", "permit", "permitted")] * 2
    assert sorted(exchanges(server)) == [("pep/runner", 3), ("starter/ci", 1), ("workload/deployer", 2)]
    assert told(verify_folder(server)) == []


def test_a_job_of_another_branch_gets_nothing(server: Folder, checkout: Folder) -> None:
    with service(server):
        done = deploy(checkout, server, REMIT_OIDC_TOKEN=token("remit pep/runner", ref="refs/pull/7/merge"))
        assert done.returncode == 1
        assert "no rule says who that is here" in done.stderr
        assert not (checkout.root / "deployed").exists()
        # a token of one identity is none of another
        done = deploy(checkout, server, REMIT_OIDC_TOKEN=token("remit starter/ci"))
        assert done.returncode == 1
        assert "another identity's" in done.stderr
    assert exchanges(server) == []
    assert decisions(server) == []


def test_without_any_token_it_says_what_is_missing(server: Folder, checkout: Folder) -> None:
    with service(server):
        done = deploy(checkout, server)
    assert done.returncode == 1
    assert "there is no key of `spiffe://delivery.example/pep/runner` here" in done.stderr
    assert "docs/guides/identities.md" in done.stderr


def test_github_is_asked_for_a_token_for_each_identity(server: Folder, checkout: Folder) -> None:
    with platform(checkout.root) as (url, asked), service(server):
        done = deploy(
            checkout,
            server,
            ACTIONS_ID_TOKEN_REQUEST_URL=f"{url}/token?api-version=2.0",
            ACTIONS_ID_TOKEN_REQUEST_TOKEN="of the job",
            SSL_CERT_FILE=str(checkout.root / "ca.pem"),
        )
        assert done.returncode == 0, done.stderr
        assert {audience for _, audience in asked} == {f"remit {who}" for who in WHO}
        assert {authorization for authorization, _ in asked} == {"bearer of the job"}
        # without the permission `id-token: write` GitHub refuses
        refused = deploy(
            checkout,
            server,
            ACTIONS_ID_TOKEN_REQUEST_URL=f"{url}/forbidden",
            ACTIONS_ID_TOKEN_REQUEST_TOKEN="of the job",
            SSL_CERT_FILE=str(checkout.root / "ca.pem"),
        )
        assert refused.returncode == 1
        assert "GitHub gave no token: it answered 403" in refused.stderr
        assert "of the job" not in refused.stderr
    assert decisions(server) == [("deploy/release", "permit", "permitted")]


@contextmanager
def platform(root: Path) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A local platform that makes tokens as GitHub Actions does: its URL, and who asked it for what."""
    authority = LocalAuthority()
    authority.pem(root / "ca.pem")
    names = (x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1")))
    asked: list[tuple[str, str]] = []
    loop = asyncio.new_event_loop()
    urls: list[str] = []
    started, stop = asyncio.Event(), asyncio.Event()

    def give(request: web.Request) -> web.Response:
        assert request.query["api-version"] == "2.0"
        asked.append((request.headers["Authorization"], request.query["audience"]))
        return web.json_response({"count": 1, "value": token(request.query["audience"], jti=f"j{len(asked)}")})

    async def serve() -> None:
        async with publishing(authority.server(root, *names)) as publisher:
            publisher.answers |= {"/token": give, "/forbidden": 403}
            urls.append(publisher.url)
            started.set()
            await stop.wait()

    thread = Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(started.wait(), loop).result(20)
        yield urls[0], asked
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()


def test_an_explanation_before_anything_is_deployed(server: Folder, checkout: Folder) -> None:
    """An operator holds a token against the rules."""
    file = checkout.root / "token"
    more = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}

    def explain(*options: str) -> subprocess.CompletedProcess[str]:
        command = [*REMIT, "issuers", "explain", str(file), *options]
        return subprocess.run(command, cwd=server.root, env=more, capture_output=True, text=True, timeout=60)

    file.write_text(token("remit starter/ci"))
    found = explain("--json")
    assert found.returncode == 0, found.stderr
    answer = json.loads(found.stdout)
    assert (answer["id"], answer["rule"]) == ("spiffe://delivery.example/starter/ci", "issuers/github rule 1")
    file.write_text(token("remit starter/ci", repository_id="75"))
    refused = explain()
    assert refused.returncode == 77
    assert 'repository_id = "75"' in refused.stdout
    assert "no rule says who that is here" in refused.stdout
