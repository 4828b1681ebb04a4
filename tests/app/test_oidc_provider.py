"""Against a real OpenID provider (npm `oidc-provider`): a person who logs in, and a client with nobody logged in."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp

from remit.app.folder import Folder
from remit.core.clock import system_clock
from remit.identity.holder import Holder
from remit.identity.keys import generate_key
from tests.identity.issuers import OURS

from .publisher import until
from .test_exchange import DOMAIN, Place, code_of, serving

ROOT = Path(__file__).parents[2]

SETTINGS = """
[[workloads]]
name = "robot"
kind = "service"
owner = "kim"
key = "none"

[[people]]
name = "ada"
roles = ["starter"]
groups = ["staff"]
key = "none"

[[issuers]]
name = "company"
issuer = "{issuer}"
audience = "desk"
allow_http = true

[[issuers.rules]]
identity = "person/{{preferred_username}}"
claims = {{ groups = "staff" }}

[[issuers.rules]]
identity = "workload/robot"
audience = "{ours}"
claims = {{ client_id = "robot", scope = "api" }}
"""


@asynccontextmanager
async def provider() -> AsyncIterator[str]:
    """The issuer's URL, while it runs."""
    process = await asyncio.create_subprocess_exec(
        "node",
        str(ROOT / "tests/app/oidc_provider.mjs"),
        OURS,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        async with asyncio.timeout(30):
            yield (await process.stdout.readline()).decode().strip()
    finally:
        process.stdin.close()
        await process.wait()


async def log_in(issuer: str, login: str) -> str:
    """The ID token of whoever logs in, as a browser and the client `desk` get it: authorization code flow."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as browser:
        query = {
            "client_id": "desk",
            "response_type": "code",
            "redirect_uri": "https://desk.example.org/callback",
            "scope": "openid staff",
            "state": "s",
            "nonce": "n",
        }
        url = f"{issuer}/auth?{urlencode(query)}"
        form: dict[str, str] | None = None
        for _ in range(12):
            async with browser.request("POST" if form else "GET", url, data=form, allow_redirects=False) as answer:
                page, location = await answer.text(), answer.headers.get("Location", "")
            if location.startswith("https://desk.example.org/"):
                code = parse_qs(urlsplit(location).query)["code"][0]
                break
            if location:
                url, form = location if "://" in location else issuer + location, None
                continue
            found = re.search(r'<form[^>]*action="([^"]+)"', page)
            assert found is not None, page
            prompt = re.search(r'name="prompt" value="(\w+)"', page)
            assert prompt is not None, page
            url = found[1] if "://" in found[1] else issuer + found[1]
            form = {"prompt": prompt[1], "login": login, "password": "any"}
        else:
            raise AssertionError("the login came to no end")
        return str((await _tokens(browser, issuer, "desk", grant_type="authorization_code", code=code))["id_token"])


async def by_itself(issuer: str) -> str:
    """The access token of the client `robot`, a JWT (RFC 9068): nobody is logged in."""
    async with aiohttp.ClientSession() as session:
        answer = await _tokens(session, issuer, "robot", grant_type="client_credentials", scope="api", resource=OURS)
        return str(answer["access_token"])


async def _tokens(session: aiohttp.ClientSession, issuer: str, client: str, **form: str) -> dict[str, Any]:
    secret = f"of the {client}, for a test"
    if client == "desk":
        form["redirect_uri"] = "https://desk.example.org/callback"
    async with session.post(f"{issuer}/token", data={"client_id": client, "client_secret": secret, **form}) as answer:
        found: dict[str, Any] = await answer.json()
        assert answer.status == 200, found
        return found


async def ready(place: Place) -> None:
    await until(lambda: any(Folder(place.folder.root).issuers.glob("[!.]*.json")))


def test_a_person_and_a_client_of_a_real_provider(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            provider() as issuer,
            serving(tmp_path, SETTINGS.format(issuer=issuer, ours=OURS)) as place,
        ):
            await ready(place)
            nobody = Holder(generate_key(), "", "")
            ada, robot = await log_in(issuer, "ada"), await by_itself(issuer)

            answer, _ = await place.exchange(ada, Holder(generate_key(), "", ""))
            assert answer.id == f"spiffe://{DOMAIN}/person/ada"
            assert answer.expires <= system_clock() + 600_000
            assert "ada" not in str(place.records()[0]["subject"])  # what the provider calls a person is personal
            answer, _ = await place.exchange(robot, Holder(generate_key(), "", ""))
            assert answer.id == f"spiffe://{DOMAIN}/workload/robot"

            # somebody who may log in there, and is nobody here
            assert await code_of(place.exchange(await log_in(issuer, "grace"), nobody)) == "identity_unknown"
            # each token is good once, for one key
            assert await code_of(place.exchange(ada, nobody)) == "token_replayed"

            service = place.authenticator
            assert service.person(ada, system_clock()).id == f"spiffe://{DOMAIN}/person/ada"
            for token in (robot, ada + "x"):
                assert (await code_of(_person(service, token))) in ("person_invalid", "token_invalid")

    asyncio.run(main())


async def _person(service: Any, token: str) -> None:
    service.person(token, system_clock())
