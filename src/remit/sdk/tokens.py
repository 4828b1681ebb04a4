"""Where a program gets tokens of an outside issuer: a file, the environment, or the platform that runs it.

They are bearer tokens: they are read when an SVID is due, sent to the service once, and never kept or logged.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import aiohttp
import msgspec

from remit.core import bounds
from remit.core.errors import InvalidInput, NotFound, Unavailable

FILE: Final = "REMIT_OIDC_TOKEN_FILE"  # the file of a token, read again each time
TOKEN: Final = "REMIT_OIDC_TOKEN"  # noqa: S105 - the name of a variable that has one
GITHUB_URL: Final = "ACTIONS_ID_TOKEN_REQUEST_URL"
GITHUB_TOKEN: Final = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"  # noqa: S105 - the name of a variable that has one
ANSWER_BYTES: Final = 64 * 1024
SECONDS: Final = 20.0


class TokenSource(Protocol):
    """Gives a token that is good now."""

    async def token(self) -> str:
        """A token. Raises `NotFound("token_missing")`, `InvalidInput` or `Unavailable` where there is none."""
        ...


class TokenFile:
    """A file that somebody else keeps fresh, such as a projected service account token."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def token(self) -> str:
        """What stands in it now."""
        try:
            data = await asyncio.to_thread(self._read)
        except OSError as error:
            raise NotFound(
                "token_missing", f"can't read the token file `{self._path.name}`: {error.strerror}", f"see `{FILE}`"
            ) from None
        return _checked(data)

    def _read(self) -> bytes:
        with self._path.open("rb") as file:
            return file.read(bounds.TOKEN_BYTES + 2)


class TokenText:
    """A token in a variable of the environment, as GitLab gives it to a job."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        # SECURITY: the token never reaches a log through a formatted value.
        return "TokenText()"

    async def token(self) -> str:
        """That token."""
        return _checked(self._text.encode("utf-8", "surrogateescape"))


class GithubTokens:
    """GitHub Actions makes a token for each request of a job that has the permission `id-token: write`."""

    def __init__(self, url: str, bearer: str, audience: str, context: ssl.SSLContext | None = None) -> None:
        """`context` is for TLS by other authorities than the system's."""
        self._url = _with_audience(url, audience)
        self._bearer = bearer
        self._context = context

    def __repr__(self) -> str:
        # SECURITY: the job's own token never reaches a log through a formatted value.
        return "GithubTokens()"

    async def token(self) -> str:
        """A fresh one for the audience."""
        try:
            async with (
                aiohttp.ClientSession(
                    timeout=aiohttp.ClientTimeout(total=SECONDS),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    trust_env=False,  # SECURITY: no proxy from the environment ever sees a token
                ) as session,
                session.get(
                    self._url,
                    ssl=self._context or True,
                    headers={"Authorization": f"bearer {self._bearer}", "Accept": "application/json"},
                    allow_redirects=False,
                ) as response,
            ):
                if response.status != 200:
                    raise Unavailable("token_unavailable", f"GitHub gave no token: it answered {response.status}")
                data = b""
                async for part in response.content.iter_chunked(16 * 1024):
                    data += part
                    if len(data) > ANSWER_BYTES:
                        raise Unavailable("token_unavailable", "GitHub gave no token, but a large answer")
                value = msgspec.json.decode(data, type=_GithubAnswer).value
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable("token_unavailable", f"GitHub gave no token: {type(error).__name__}") from None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise Unavailable("token_unavailable", "GitHub gave no token that can be read") from None
        return _checked(value.encode())


class _GithubAnswer(msgspec.Struct):
    value: str


def tokens_of(path: str, audience: str, environment: Mapping[str, str]) -> TokenSource | None:
    """Where the identity `path` (`starter/ci`) gets its tokens in this environment; None where nowhere.

    A variable for it alone (`REMIT_OIDC_TOKEN_FILE_STARTER_CI`, `REMIT_OIDC_TOKEN_STARTER_CI`) is before one for all;
    a file is before a text; GitHub Actions is asked, for `audience`, when there is neither.
    """
    own = "_" + "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in path).upper()
    for suffix in (own, ""):
        if file := environment.get(FILE + suffix):
            return TokenFile(Path(file))
        if text := environment.get(TOKEN + suffix):
            return TokenText(text)
    url, bearer = environment.get(GITHUB_URL, ""), environment.get(GITHUB_TOKEN, "")
    return GithubTokens(url, bearer, audience) if url and bearer and audience else None


def _with_audience(url: str, audience: str) -> str:
    parts = urlsplit(url)
    # SECURITY: the job's own token goes to GitHub, and encrypted.
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc:
        raise InvalidInput("url_invalid", f"`{GITHUB_URL}` is not an https URL", "run this in a job of GitHub Actions")
    query = [(name, value) for name, value in parse_qsl(parts.query) if name != "audience"]
    return urlunsplit(parts._replace(query=urlencode([*query, ("audience", audience)])))


def _checked(data: bytes) -> str:
    text = data.strip()
    if not text or len(text) > bounds.TOKEN_BYTES or not text.isascii() or len(text.split()) != 1:
        raise InvalidInput("token_malformed", "this is not one token", "put the token alone into the file or variable")
    return text.decode("ascii")
