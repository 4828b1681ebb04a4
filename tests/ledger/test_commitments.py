"""Concealing: personal values, long strings, look-alikes; and putting values back."""

from __future__ import annotations

import json
import secrets
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.core import bounds, canonical
from remit.core.errors import InvalidInput, Unavailable
from remit.ledger.commitments import conceal, opens, reveal
from remit.ledger.record import decode_record, encode_record


def salts() -> bytes:
    return secrets.token_bytes(16)


def test_a_tree_without_anything_to_conceal_comes_back_as_it_is() -> None:
    tree = {"input": {"amount": "12.50", "lines": [{"n": 1}]}, "risk": 0, "none": None}
    concealed, openings = conceal(tree, ["input.email"], salts)
    assert concealed is tree
    assert openings == []


def test_golden_commitment() -> None:
    tree = {"input": {"email": "ann@acme.example", "n": 1}}
    concealed, openings = conceal(tree, ["input.email"], lambda: bytes(16), at="/context")
    # SHA-256 of sixteen zero bytes and "ann@acme.example" in quotes, as sha256sum computes it.
    golden = "416e03457fa7c3cf2086e10a1f45531c57837fa7260ea003718a3bc5cf9704b2"
    assert concealed == {"input": {"email": {"commitment": golden}, "n": 1}}
    assert openings == [("/context/input/email", bytes(16), "ann@acme.example")]
    assert tree == {"input": {"email": "ann@acme.example", "n": 1}}


def test_each_value_has_its_own_salt() -> None:
    numbers = count()
    tree = {"a": "same", "b": "same"}
    concealed, openings = conceal(tree, ["a", "b"], lambda: next(numbers).to_bytes(16))
    assert concealed["a"] != concealed["b"]
    assert len({salt for _, salt, _ in openings}) == 2


def test_an_opening_shows_the_value_and_no_other() -> None:
    concealed, [(_, salt, value)] = conceal({"a": "x"}, ["a"], salts)
    assert opens(concealed["a"], salt, value)
    assert not opens(concealed["a"], salt, "y")
    assert not opens(concealed["a"], salts(), value)
    assert not opens("x", salt, value)


def test_paths_reach_into_lists_objects_and_dotted_keys() -> None:
    tree = {
        "to": [{"email": "a"}, {"email": "b"}, "c"],
        "x.y": {"z": 1},
        "x": {"y.z": 2, "y": {"z": 3}},
        "who": {"n": 1},
    }
    concealed, openings = conceal(tree, ["to.email", "x.y.z", "who"], salts)
    found = {path: value for path, _, value in openings}
    assert found == {
        "/to/0/email": "a",
        "/to/1/email": "b",
        "/x.y/z": 1,
        "/x/y.z": 2,
        "/x/y/z": 3,
        "/who": {"n": 1},
    }
    assert b'"z":1' not in canonical.encode(concealed)
    assert reveal(concealed, [(path, value) for path, _, value in openings]) == tree


def test_a_path_below_another_is_concealed_with_it() -> None:
    concealed, openings = conceal({"a": {"b": 1, "commitment": 2}}, ["a.b", "a", "a.commitment"], salts)
    assert openings[0][0] == "/a"
    assert len(openings) == 1
    assert concealed.keys() == {"a"}


def test_a_key_with_a_slash_or_a_tilde_is_escaped() -> None:
    _, openings = conceal({"a/b": {"~c": 1}}, ["a/b.~c"], salts)
    assert openings[0][0] == "/a~1b/~0c"


def test_a_short_salt_is_refused() -> None:
    with pytest.raises(Unavailable):
        conceal({"a": 1}, ["a"], lambda: b"short")


@pytest.mark.parametrize("text", ["x" * 1025, "é" * 513, "\U0001f600" * 257])
def test_long_strings_become_their_digest(text: str) -> None:
    concealed, openings = conceal({"a": [text]}, [], salts)
    data = text.encode()
    assert concealed == {"a": [{"sha256": canonical.sha256(data), "bytes": len(data)}]}
    assert openings == []


@pytest.mark.parametrize("text", ["x" * 1024, "é" * 512, "\U0001f600" * 256])
def test_strings_of_1_kib_stay(text: str) -> None:
    tree = {"a": text}
    assert conceal(tree, [], salts)[0] is tree


def test_a_long_personal_string_is_committed_to_and_not_hashed_without_salt() -> None:
    text = "x" * 2000
    concealed, openings = conceal({"a": text}, ["a"], salts)
    assert concealed["a"].keys() == {"commitment"}
    assert openings[0][2] == text


@pytest.mark.parametrize(
    "forged",
    [
        {"commitment": "ab" * 32},
        {"commitment": 1},
        {"sha256": "ab" * 32, "bytes": 7},
        {"literal": {"commitment": "x"}},
        {"literal": 1},
    ],
)
def test_forged_commitment_in_arguments(forged: dict[str, Any]) -> None:
    tree = {"input": {"a": forged, "b": [forged]}}
    concealed, _ = conceal(tree, [], salts)
    assert concealed["input"]["a"].keys() == {"literal"}
    assert concealed["input"]["b"][0].keys() == {"literal"}
    assert reveal(concealed, []) == tree


def test_floating_point_numbers_become_strings() -> None:
    concealed, _ = conceal({"a": 1.5, "b": [0.1]}, [], salts)
    assert concealed == {"a": "1.5", "b": ["0.1"]}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800" * 300])
def test_what_no_record_can_hold_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput):
        conceal({"a": {"b": value}}, [], salts)


def test_a_tree_without_end_is_refused() -> None:
    tree: dict[str, Any] = {}
    tree["a"] = tree
    with pytest.raises(InvalidInput):
        conceal(tree, [], salts)


def test_opening_of_another_record() -> None:
    concealed, _ = conceal({"a": "x", "b": "y"}, ["a"], salts)
    for path in ("/b", "/c", "", "/a/commitment"):
        with pytest.raises(InvalidInput):
            reveal(concealed, [(path, "z")])


def test_an_erased_value_stays_a_commitment() -> None:
    concealed, openings = conceal({"a": "x", "b": "y"}, ["a", "b"], salts)
    kept = [(path, value) for path, _, value in openings if path == "/a"]
    assert reveal(concealed, kept) == {"a": "x", "b": concealed["b"]}


keys = st.sampled_from(["a", "b", "commitment", "literal", "sha256", "bytes", "a.b", "x/y"])
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=4) | st.just("z" * 2000)
values = st.recursive(scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(keys, v, max_size=3), max_leaves=12)
paths = st.lists(st.lists(keys, min_size=1, max_size=3).map(".".join), max_size=4)


@settings(deadline=None)
@given(st.dictionaries(keys, values, max_size=3), paths)
def test_conceal_hides_what_it_must_and_changes_nothing_else(tree: dict[str, Any], personal: list[str]) -> None:
    before = json.dumps(tree)
    concealed, openings = conceal(tree, personal, salts)
    assert json.dumps(tree) == before
    data = encode_record("acme.example", "administration", 1, "", 0, "mode", concealed)
    recorded = decode_record(data).body
    for path, salt, value in openings:
        assert opens(_at(recorded, path), salt, value)
    back = reveal(recorded, [(path, value) for path, _, value in openings])
    assert back == _shortened(tree, {path for path, _, _ in openings}, "")
    assert len(data) <= bounds.RECORD_BYTES


def _at(tree: Any, path: str) -> Any:
    """What a record has at a pointer, which does not count `literal` objects as a step."""
    for number, step in enumerate(path.split("/")[1:]):
        if number and isinstance(tree, dict) and tree.keys() == {"literal"}:
            tree = tree["literal"]
        key = step.replace("~1", "/").replace("~0", "~")
        tree = tree[int(key)] if isinstance(tree, list) else tree[key]
    return tree


def _shortened(value: Any, whole: set[str], at: str) -> Any:
    """What comes back: everything but long strings, which stay digests unless they were concealed."""
    if at in whole:
        return value
    if isinstance(value, dict):
        return {k: _shortened(v, whole, f"{at}/{k.replace('~', '~0').replace('/', '~1')}") for k, v in value.items()}
    if isinstance(value, list):
        return [_shortened(v, whole, f"{at}/{i}") for i, v in enumerate(value)]
    if isinstance(value, str) and len(value) > bounds.STRING_IN_RECORD:
        return {"sha256": canonical.sha256(value.encode()), "bytes": len(value)}
    return value
