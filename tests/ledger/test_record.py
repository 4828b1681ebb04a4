"""The record: golden bytes, bounds, and any bytes that are given to its reader."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.core import bounds
from remit.core.errors import InvalidInput, RemitError, TooLarge
from remit.ledger.record import (
    RECORD_DEPTH,
    Record,
    check_stream,
    decode_record,
    encode_record,
    is_canonical,
    leaf_hash,
)

GOLDEN = (
    b'{"body":{"a":[1,true,null],"b":"\xc3\xa9\\u0001\\n\\"","\xc3\xa9":-7},"kind":"mode","n":1,"prev":"",'
    b'"stream":"administration","t":1800000000000,"td":"acme.example","v":1}'
)


def encode(body: dict[str, Any], stream: str = "administration", kind: str = "mode") -> bytes:
    return encode_record("acme.example", stream, 1, "", 1_800_000_000_000, kind, body)


def test_golden_bytes() -> None:
    assert encode({"é": -7, "b": 'é\x01\n"', "a": [1, True, None]}) == GOLDEN


def test_leaf_hash_is_that_of_rfc_6962() -> None:
    assert leaf_hash(GOLDEN) == "fd2c1f9adf16e2196d90dcca158369979488de894cd44fb9b228fc2b8f6bc2f9"
    assert leaf_hash(GOLDEN) == hashlib.sha256(b"\x00" + GOLDEN).hexdigest()
    # RFC 6962, 2.1: the leaf hash of the empty entry, as in the vectors of certificate-transparency-go.
    assert leaf_hash(b"") == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


def test_a_record_comes_back() -> None:
    record = decode_record(GOLDEN)
    assert (record.n, record.prev, record.kind, record.t, record.v) == (1, "", "mode", 1_800_000_000_000, 1)
    assert record.body == {"é": -7, "b": 'é\x01\n"', "a": [1, True, None]}
    assert record.understood
    assert is_canonical(record, GOLDEN)


def test_bytes_are_those_of_an_independent_encoder() -> None:
    text = json.dumps(json.loads(GOLDEN), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert text.encode() == GOLDEN


def test_raw_canonical_json_is_taken_as_it_is() -> None:
    assert encode({"a": msgspec.Raw(b'{"b":1}')}) == encode({"a": {"b": 1}})


def test_integers_of_64_bits_are_exact() -> None:
    data = encode({"a": 2**63 - 1, "b": -(2**63)})
    assert decode_record(data).body == {"a": 2**63 - 1, "b": -(2**63)}


def test_a_record_over_64_kib_is_refused() -> None:
    fits = bounds.RECORD_BYTES - len(encode({"a": ""}))
    assert len(encode({"a": "x" * fits})) == bounds.RECORD_BYTES
    with pytest.raises(TooLarge):
        encode({"a": "x" * (fits + 1)})
    with pytest.raises(TooLarge):
        decode_record(b" " * (bounds.RECORD_BYTES + 1))


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def test_a_record_that_nests_too_deeply_is_refused() -> None:
    data = encode(nested(RECORD_DEPTH))
    decode_record(data)
    with pytest.raises(TooLarge):
        encode(nested(RECORD_DEPTH + 1))
    with pytest.raises(TooLarge):
        decode_record(data.replace(b"{}", b'{"a":{}}'))
    with pytest.raises(RemitError):
        decode_record(data.replace(b"{}", b"[" * 30_000 + b"]" * 30_000))


@pytest.mark.parametrize("value", ["\ud800", object(), {1: {"a": object()}}])
def test_what_json_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput):
        encode({"a": value})


@pytest.mark.parametrize(
    "change",
    [
        (b'"n":1', b'"n":0'),
        (b'"n":1', b'"n":9007199254740992'),
        (b'"n":1', b'"n":true'),
        (b'"t":1800000000000', b'"t":-1'),
        (b'"t":1800000000000', b'"t":1.8e12'),
        (b"-7", b"-7.5"),
        (b"-7", b"1e999"),
        (b'"prev":""', b'"prev":"AB"'),
        (b'"prev":""', b'"prev":"' + b"A" * 64 + b'"'),
        (b'"td":"acme.example",', b""),
        (b'"v":1', b'"v":1,"w":1'),
        (b'"v":1', b'"v":0'),
        (b'"kind":"mode"', b'"kind":""'),
        (b'"kind":"mode"', b'"kind":"' + b"k" * 65 + b'"'),
        (b"administration", b"administration/x"),
        (b"administration", b"session/"),
        (b"administration", b"session/../../x"),
        (b"administration", b"identity/acme"),
        (b"administration", b"identity/spiffe://acme.example/workload/../x"),
        (b"\xc3\xa9", b"\xff"),
    ],
)
def test_malformed_records_are_refused(change: tuple[bytes, bytes]) -> None:
    with pytest.raises(RemitError):
        decode_record(GOLDEN.replace(*change))


def test_unknown_versions_and_kinds_are_kept_by_readers() -> None:
    assert not decode_record(GOLDEN.replace(b'"v":1', b'"v":2')).understood
    assert not decode_record(GOLDEN.replace(b'"mode"', b'"lease"')).understood


@pytest.mark.parametrize(
    "other",
    [
        GOLDEN.replace(b",", b", ", 1),
        GOLDEN.replace(b'"n":1', b'"n":1,"n":1'),
        GOLDEN.replace(b"\\u0001", b"\\u0001\\u0041"),
        GOLDEN.replace(b"\xc3\xa9", b"\\u00e9"),
        GOLDEN.replace(b'"v":1}', b"}").replace(b'{"body"', b'{"v":1,"body"').replace(b",}", b"}"),
        GOLDEN + b"\n",
    ],
)
def test_other_bytes_of_the_same_record_are_not_canonical(other: bytes) -> None:
    assert not is_canonical(decode_record(other), other)


@pytest.mark.parametrize(
    "name",
    [
        "administration",
        "session/t_019a2b3c4d5e0123456789abcdef",
        "identity/spiffe://acme.example/workload/agent-1",
        "identity/spiffe://acme.example/a/.../b",
    ],
)
def test_streams(name: str) -> None:
    assert check_stream(name) == name


@pytest.mark.parametrize("name", ["", "session/a.b", "session/a\n", "administration\n", "identity/spiffe://A/b", "x/y"])
def test_other_streams_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        check_stream(name)


scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20)
trees = st.recursive(scalars, lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(max_size=8), v, max_size=4))


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=8), trees, max_size=4))
def test_any_body_comes_back_or_is_refused(body: dict[str, Any]) -> None:
    data = encode(body)
    record = decode_record(data)
    assert record.body == body
    assert is_canonical(record, data)
    text = json.dumps(json.loads(data), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert text.encode() == data


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_give_a_record_or_an_error(data: bytes) -> None:
    with contextlib.suppress(RemitError):
        assert isinstance(decode_record(data), Record)


@settings(deadline=None)
@given(st.data())
def test_any_changed_bytes_give_a_record_or_an_error(data: st.DataObject) -> None:
    changed = bytearray(GOLDEN)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed)))
        changed[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    with contextlib.suppress(RemitError):
        assert isinstance(decode_record(bytes(changed)), Record)
