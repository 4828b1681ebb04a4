"""Where a program finds tokens from elsewhere, and what it refuses to take for one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from remit.core.errors import RemitError
from remit.sdk.tokens import GithubTokens, TokenFile, TokenText, tokens_of

GITHUB = {
    "ACTIONS_ID_TOKEN_REQUEST_URL": "https://pipelines.example.org/x",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of the job",
}
JWT = "eyJh.eyJp.c2ln"


def test_one_for_this_identity_alone_is_before_one_for_all(tmp_path: Path) -> None:
    environment = {"REMIT_OIDC_TOKEN": "all.a.a", "REMIT_OIDC_TOKEN_STARTER_CI": JWT, **GITHUB}
    own, everybody = tokens_of("starter/ci", "aud", environment), tokens_of("starter/ci-2", "aud", environment)
    assert isinstance(own, TokenText)
    assert isinstance(everybody, TokenText)
    assert asyncio.run(own.token()) == JWT
    assert asyncio.run(everybody.token()) == "all.a.a"
    files = {"REMIT_OIDC_TOKEN_FILE_WORKLOAD_WEB_PROD": str(tmp_path / "t"), "REMIT_OIDC_TOKEN_WORKLOAD_WEB_PROD": "x"}
    assert isinstance(tokens_of("workload/web-prod", "", files), TokenFile)


def test_github_is_asked_where_there_is_nothing_else() -> None:
    assert isinstance(tokens_of("starter/ci", "aud", GITHUB), GithubTokens)
    assert tokens_of("starter/ci", "", GITHUB) is None  # for no audience
    assert tokens_of("starter/ci", "aud", {}) is None
    assert tokens_of("starter/ci", "aud", {"ACTIONS_ID_TOKEN_REQUEST_URL": "https://x.example"}) is None


@pytest.mark.parametrize(
    "url", ["http://pipelines.example.org", "ftp://x", "https://", "https://u:p@x.example", "", "file:///etc/passwd"]
)
def test_the_jobs_own_token_goes_nowhere_but_to_github_over_tls(url: str) -> None:
    with pytest.raises(RemitError) as caught:
        GithubTokens(url, "of the job", "aud")
    assert caught.value.code == "url_invalid"


def test_the_audience_is_one_part_of_the_query_whatever_it_contains() -> None:
    asked = GithubTokens("https://x.example/t?api-version=2.0&audience=old", "b", "a&b=c#d")
    assert asked._url == "https://x.example/t?api-version=2.0&audience=a%26b%3Dc%23d"


@pytest.mark.parametrize("text", ["", " \n", "two words", "a\tb", "ä.ö.ü", "a" * 9000])
def test_what_is_no_token(tmp_path: Path, text: str) -> None:
    (tmp_path / "t").write_text(text)
    for source in (TokenText(text), TokenFile(tmp_path / "t")):
        with pytest.raises(RemitError) as caught:
            asyncio.run(source.token())
        assert caught.value.code == "token_malformed"


def test_a_file_is_read_again_each_time(tmp_path: Path) -> None:
    source = TokenFile(tmp_path / "t")
    with pytest.raises(RemitError) as caught:
        asyncio.run(source.token())
    assert caught.value.code == "token_missing"
    for text in (JWT, "a.b.c"):
        (tmp_path / "t").write_text(f"  {text}\n")
        assert asyncio.run(source.token()) == text


def test_no_token_reaches_a_log_through_a_formatted_value() -> None:
    assert "secret" not in f"{TokenText('secret')!r} {GithubTokens('https://x.example', 'secret', 'a')!r}"
