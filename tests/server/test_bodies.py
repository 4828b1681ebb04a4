from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.core import bounds
from remit.core.errors import InvalidInput, RemitError
from remit.sdk.wire import EvaluationRequest
from remit.server.bodies import check_shape, decode

EVALUATION = msgspec.json.Decoder(EvaluationRequest)
ANYTHING: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Any)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=4), children, max_size=4),
    max_leaves=20,
)


def code(body: bytes, decoder: msgspec.json.Decoder[Any] = ANYTHING) -> str:
    with pytest.raises(RemitError) as caught:
        decode(body, decoder)
    return caught.value.code


@given(st.binary(max_size=400))
def test_any_bytes_give_a_value_or_an_error(body: bytes) -> None:
    for decoder in (ANYTHING, EVALUATION):
        with suppress(InvalidInput):
            decode(body, decoder)


@given(json_values)
def test_what_json_holds_is_what_is_read(value: Any) -> None:
    assert decode(json.dumps(value).encode(), ANYTHING) == value


def test_deep_json() -> None:
    for depth in (bounds.JSON_DEPTH + 1, 1000, 100_000):
        assert code(b"[" * depth + b"]" * depth) in ("body_too_deep", "body_too_complex")
        assert code(b'{"a":' * depth + b"1" + b"}" * depth) in ("body_too_deep", "body_too_complex")
    decode(b"[" * bounds.JSON_DEPTH + b"]" * bounds.JSON_DEPTH, ANYTHING)


def test_brackets_in_strings_are_not_depth() -> None:
    assert decode(json.dumps(["[" * 5000, '"' + "{" * 50]).encode(), ANYTHING)


def test_too_many_values() -> None:
    assert code(b"[" + b"1," * bounds.JSON_NODES + b"1]") == "body_too_complex"
    assert code(b"[" + b"{}," * bounds.JSON_NODES + b"1]") == "body_too_complex"
    decode(b"[" + b"1," * (bounds.JSON_NODES - 3) + b"1]", ANYTHING)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":2}',
        b'{"a":1,"\\u0061":2}',
        b'{"x":{"probe":true,"probe":false}}',
        b'[{"a":{},"b":1,"a":{}}]',
    ],
)
def test_duplicate_keys(body: bytes) -> None:
    assert code(body) == "body_duplicate_key"


def test_duplicate_keys_in_ignored_members() -> None:
    body = (
        b'{"subject":{"type":"workload","id":"x"},"action":{"name":"a/b"},"resource":{"type":"server","id":"a"},'
        b'"future":{"a":1,"a":2}}'
    )
    assert code(body, EVALUATION) == "body_duplicate_key"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nul",
        b"NaN",
        b"[Infinity]",
        b"1e999",
        b'"\\ud800"',
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"{} {}",
        b"\x00",
        b"9" * 9000,
    ],
)
def test_what_is_not_json(body: bytes) -> None:
    assert code(body) in ("body_malformed", "body_invalid")


def test_quotes_that_never_end_take_no_quadratic_time() -> None:
    for unit in (b'"\\', b'\\"', b'"', b'[",\\"', b"[" * 40 + b'"\\\n'):
        body = b"[" * 40 + unit * (bounds.REQUEST_BYTES // len(unit))
        began = time.perf_counter()
        with pytest.raises(InvalidInput):
            decode(body, ANYTHING)
        assert time.perf_counter() - began < 1


@settings(max_examples=50)
@given(json_values)
def test_the_cheap_count_never_passes_what_the_exact_one_refuses(value: Any) -> None:
    check_shape(json.dumps(value).encode())
