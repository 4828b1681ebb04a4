from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.identity.target import Target, parse_target


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://remit.local", Target("http://remit.local", "/")),
        ("http://remit.local/", Target("http://remit.local", "/")),
        ("HTTP://Remit.Local/v1/Tasks", Target("http://remit.local", "/v1/Tasks")),
        ("http://127.0.0.1:8080/v1/tasks?x=1#y", Target("http://127.0.0.1:8080", "/v1/tasks")),
        ("http://h:80/", Target("http://h", "/")),
        ("https://h:443/", Target("https://h", "/")),
        ("https://h:80/", Target("https://h:80", "/")),
        ("http://[::1]:8080/a", Target("http://[::1]:8080", "/a")),
        ("http://h/%7euser/%e4", Target("http://h", "/~user/%E4")),
        ("http://h/a%2fb", Target("http://h", "/a%2Fb")),
        ("http://h//a/", Target("http://h", "//a/")),
        ("http://h/spiffe%3A%2F%2Fexample.org", Target("http://h", "/spiffe%3A%2F%2Fexample.org")),
    ],
)
def test_urls_in_one_spelling(url: str, target: Target) -> None:
    assert parse_target(url) == target


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h",
        "/v1/tasks",
        "//h/v1",
        "ftp://h/",
        "spiffe://example.org/pep/a",
        "http://",
        "http:///path",
        "http://user@h/",
        "http://user:password@h/",
        "http://@h/",
        "http://h:/",
        "http://h:port/",
        "http://h:99999/",
        "http://h:-1/",
        "http://[::1/",
        "http://[::1%25eth0]/",
        "http://h/a/../b",
        "http://h/./a",
        "http://h/%2e%2e/b",
        "http://h/.%2E",
        "http://h/%zz",
        "http://h/%2",
        "http://h/a b",
        "http://h/a\\b",
        "http://h/\t",
        "http://h/a\n",
        " http://h/",
        "http://hé/",
        "http://h/é",
        "http://h" + "/a" * 2048,
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    assert parse_target(url) is None


@given(st.text(max_size=80) | st.text(alphabet="htp:/.%2eE@[]?#a1", max_size=40).map(lambda text: "http://h" + text))
def test_any_text_gives_a_target_or_nothing_and_a_target_is_its_own_spelling(text: str) -> None:
    target = parse_target(text)
    if target is not None:
        assert parse_target(target.origin + target.path) == target
