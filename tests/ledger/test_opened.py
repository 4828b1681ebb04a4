"""Openings that are shown to one reader: what they prove, and what is refused."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core import canonical
from remit.core.errors import InvalidInput, NotFound, TooLarge
from remit.ledger import opened
from remit.ledger.commitments import conceal
from remit.ledger.opened import Opening, Openings, decode_opening, encode_opening, read_openings

LEAF = "a" * 64


def salts() -> bytes:
    return secrets.token_bytes(16)


def recorded(tree: dict[str, Any], *personal: str) -> tuple[dict[str, Any], list[Opening]]:
    """A body and the openings of what is concealed in it."""
    body, kept = conceal(tree, personal, salts)
    return body, [Opening(LEAF, path, salt.hex(), value) for path, salt, value in kept]


def test_what_was_opened_stands_in_the_body_again() -> None:
    tree = {"input": {"to": [{"email": "ann"}, {"email": "ben"}], "n": 1}, "a/b~c": "x"}
    body, openings = recorded(tree, "input.to.email", "a/b~c")
    assert len(openings) == 3
    assert Openings(openings).reveal(LEAF, body) == tree
    assert Openings(openings[:1]).reveal(LEAF, body)["input"]["to"][1] == body["input"]["to"][1]
    assert Openings().reveal(LEAF, body) == body


def test_a_salted_request_digest_is_opened_as_one() -> None:
    digest, salt = "b" * 64, salts()
    body = {"digest": canonical.commitment(salt, digest), "n": 1}
    assert Openings([Opening(LEAF, "/digest", salt.hex(), digest)]).reveal(LEAF, body) == {"digest": digest, "n": 1}
    with pytest.raises(InvalidInput, match="not of the record"):
        Openings([Opening(LEAF, "/digest", salt.hex(), "c" * 64)]).reveal(LEAF, body)


def test_an_opening_of_another_record_value_salt_or_place_is_refused() -> None:
    body, [opening] = recorded({"input": {"email": "ann", "other": "x"}}, "input.email")
    other, _ = recorded({"input": {"email": "ann", "other": "x"}}, "input.email")
    path, salt = opening.path, opening.salt
    wrong = [
        (body, Opening(LEAF, path, salt, "ben")),
        (body, Opening(LEAF, path, salts().hex(), "ann")),
        (body, Opening(LEAF, "/input/other", salt, "ann")),
        (body, Opening(LEAF, "/input/missing", salt, "ann")),
        (body, Opening(LEAF, "/input/email/commitment", salt, "ann")),
        (body, Opening(LEAF, "input/email", salt, "ann")),
        (body, Opening(LEAF, "/input/email~", salt, "ann")),
        (other, opening),
    ]
    for of, forged in wrong:
        with pytest.raises(InvalidInput) as caught:
            Openings([forged]).reveal(LEAF, of)
        assert caught.value.code == "opening_invalid"


def test_a_callers_look_alike_is_not_opened() -> None:
    salt = salts()
    sent = {"commitment": canonical.commitment(salt, "invented")}
    body, _ = conceal({"input": {"email": sent}}, [], salts)
    for path in ("/input/email", "/input/email/literal", "/input/email/commitment"):
        with pytest.raises(InvalidInput):
            Openings([Opening(LEAF, path, salt.hex(), "invented")]).reveal(LEAF, body)


def test_what_is_concealed_below_a_literal_object_is_opened_without_a_step_for_it() -> None:
    body, openings = recorded({"input": {"x": {"literal": {"email": "ann"}}}}, "input.x.literal.email")
    assert openings
    assert Openings(openings).reveal(LEAF, body) == {"input": {"x": {"literal": {"email": "ann"}}}}


def test_one_place_is_opened_once() -> None:
    _, [opening] = recorded({"a": "x"}, "a")
    with pytest.raises(InvalidInput, match="opened twice"):
        Openings([opening, Opening(LEAF, opening.path, opening.salt, "y")])


def test_openings_of_records_that_are_not_there_can_be_told() -> None:
    body, [opening] = recorded({"a": "x"}, "a")
    stray = Opening("c" * 64, "/a", salts().hex(), 1)
    openings = Openings([opening, stray])
    openings.reveal(LEAF, body)
    assert list(openings.unused()) == ["c" * 64]


def test_a_file_of_openings_is_read_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body, several = recorded({"a": "x", "b": {"c": [1, 2.5, None, "é"]}}, "a", "b")
    file = tmp_path / "openings.jsonl"
    file.write_bytes(b"\n".join(encode_opening(opening) for opening in several) + b"\n\n")
    assert len(read_openings(file)) == 2
    assert read_openings(file).reveal(LEAF, body) == {"a": "x", "b": {"c": [1, 2.5, None, "é"]}}
    for name, most in (("LINE_BYTES", 40), ("FILE_BYTES", 60), ("OPENINGS", 1)):
        with monkeypatch.context() as bounded:
            bounded.setattr(opened, name, most)
            with pytest.raises(TooLarge):
                read_openings(file)
    file.write_bytes(b"{}\n")
    with pytest.raises(InvalidInput, match="line 1 is not an opening: object missing required field `leaf`"):
        read_openings(file)
    with pytest.raises(NotFound):
        read_openings(tmp_path / "none")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotFound, match="not a file"):
        read_openings(tmp_path / "pipe")


@pytest.mark.parametrize(
    "change",
    [
        {"leaf": "A" * 64},
        {"leaf": "a" * 63},
        {"leaf": "a" * 64 + "\n"},
        {"path": ""},
        {"path": "/" + "x" * 4096},
        {"salt": "00" * 15},
        {"salt": "00" * 65},
        {"salt": "0" * 33},
        {"salt": "00" * 16 + "\n"},
        {"salt": None},
        {"more": 1},
    ],
)
def test_a_line_that_is_no_opening_is_refused(change: dict[str, Any]) -> None:
    line = {"leaf": LEAF, "path": "/a", "salt": "00" * 16, "value": 1} | change
    with pytest.raises(InvalidInput) as caught:
        decode_opening(json.dumps(line).encode())
    assert caught.value.code == "opening_malformed"


def test_nesting_without_end_is_refused() -> None:
    line = b'{"leaf":"%s","path":"/a","salt":"%s","value":' % (LEAF.encode(), b"00" * 16)
    with pytest.raises(InvalidInput):
        decode_opening(line + b"[" * 100_000 + b"]" * 100_000 + b"}")


@given(st.binary(max_size=200))
def test_any_bytes_are_an_opening_or_refused(data: bytes) -> None:
    with contextlib.suppress(InvalidInput):
        assert len(decode_opening(data).leaf) == 64


@given(
    st.text(max_size=40), st.recursive(st.none() | st.text(), lambda of: st.lists(of) | st.dictionaries(st.text(), of))
)
def test_any_pointer_leads_somewhere_or_nowhere(path: str, body: Any) -> None:
    opened.at({"": body, "a": body}, path)
    opened.at({"": body, "a": body}, f"/a/{path}")
