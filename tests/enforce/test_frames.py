"""Frames: any bytes give frames or a `FrameError`; what could be read in two ways is refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core import bounds
from remit.enforce.frames import (
    FrameError,
    FrameReader,
    Oversized,
    error_frame,
    id_in_head,
    read_message,
    read_params,
)

REQUEST = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","x-new":[1,2.50,{"a":null}]}}'


@given(st.binary())
def test_any_bytes_are_a_message_or_a_frame_error(data: bytes) -> None:
    try:
        message = read_message(data)
    except FrameError:
        return
    json.loads(message.frame())


@given(st.binary())
def test_any_bytes_are_params_or_a_frame_error(data: bytes) -> None:
    try:
        params = read_params(data)
    except FrameError:
        return
    msgspec.json.encode(params)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(_json)
def test_any_json_value_is_params_or_a_frame_error(value: Any) -> None:
    try:
        params = read_params(json.dumps(value).encode())
    except FrameError:
        return
    assert params == value


@given(st.lists(st.binary(max_size=40).filter(lambda b: b"\n" not in b), max_size=8), st.integers(1, 7))
def test_frames_do_not_depend_on_how_the_bytes_arrive(lines: list[bytes], step: int) -> None:
    data = b"".join(line + b"\n" for line in lines)
    whole = FrameReader().feed(data)
    reader, pieces = FrameReader(), []
    for start in range(0, len(data), step):
        pieces += reader.feed(data[start : start + step])
    assert pieces == whole == [line.strip(b" \t\r") for line in lines if line.strip(b" \t\r")]
    assert not reader.partial


@given(st.lists(st.binary(max_size=64), max_size=10))
def test_a_frame_reader_holds_no_more_than_its_bound(chunks: list[bytes]) -> None:
    reader = FrameReader(limit=16)
    for chunk in chunks:
        for frame in reader.feed(chunk):
            assert isinstance(frame, Oversized) or len(frame) <= 16 + len(chunk)
        assert sum(map(len, reader._parts)) <= 16 + 64


def test_an_oversized_frame_is_named_once_and_the_next_one_is_read() -> None:
    reader = FrameReader(limit=10)
    frames = reader.feed(b'{"id":7,"xxxxxxxxx') + reader.feed(b"yyyy" * 100) + reader.feed(b'\n{"b":1}\n')
    assert [type(frame) for frame in frames] == [Oversized, bytes]
    assert frames[1] == b'{"b":1}'


def test_a_frame_leaves_as_it_came() -> None:
    assert read_message(REQUEST).frame() == REQUEST + b"\n"


def test_unknown_members_are_kept() -> None:
    frame = b'{"jsonrpc":"2.0","method":"ping","id":"a","trace":{"x":1e2},"params":{ "spaced" : 1.0 }}'
    assert read_message(frame).frame() == frame + b"\n"


@pytest.mark.parametrize("id_", [1, 0, -3, 2**70, "a", "", "7"])
def test_ids_are_strings_or_integers(id_: Any) -> None:
    assert read_message(json.dumps({"jsonrpc": "2.0", "id": id_, "method": "m"}).encode()).id == id_


@pytest.mark.parametrize("id_", [None, 1.5, 1.0, True, [1], {"a": 1}, "x" * 300])
def test_other_ids_are_refused(id_: Any) -> None:
    with pytest.raises(FrameError):
        read_message(json.dumps({"jsonrpc": "2.0", "id": id_, "method": "m"}).encode())


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"null",
        b"[]",
        b'[{"jsonrpc":"2.0","id":1,"method":"tools/call"}]',
        b"{}",
        b'{"jsonrpc":"1.0","id":1,"method":"m"}',
        b'{"id":1,"method":"m"}',
        b'{"jsonrpc":"2.0","id":1}',
        b'{"jsonrpc":"2.0","result":{}}',
        b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","result":{}}',
        b'{"jsonrpc":"2.0","id":1,"method":""}',
        b'{"jsonrpc":"2.0","id":1,"method":5}',
        b'{"jsonrpc":"2.0","id":1,"method":"\xff"}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"\xff\xfe"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":NaN}}',
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"m"}',
    ],
)
def test_what_is_no_message_is_refused(frame: bytes) -> None:
    with pytest.raises(FrameError):
        read_message(frame)


def test_attack_second_member_behind_the_decision() -> None:
    """Two `method`s: what is sent on has only the one that was read."""
    message = read_message(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","method":"ping","params":{}}')
    assert message.method == "ping"
    assert message.frame() == b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{}}\n'


@pytest.mark.parametrize("name", ["Method", "METHOD", "Params", "ID", "JSONRPC", "re\u017fult"])
def test_attack_lookalike_member(name: str) -> None:
    """A reader that ignores case takes `Method` for `method`; folding is Unicode's."""
    with pytest.raises(FrameError, match="case"):
        read_message(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping", name: "tools/call"}).encode())


def test_attack_frame_inside_a_frame() -> None:
    """A reader of lines that splits at a carriage return would see a second message."""
    inner = b'{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"pay"}}'
    with pytest.raises(FrameError, match="carriage return"):
        read_message(b'{"jsonrpc":"2.0","method":"notifications/progress","x":\r' + inner + b"\r}")


def test_windows_line_ends_are_fine() -> None:
    (frame,) = FrameReader().feed(REQUEST + b"\r\n")
    assert frame == REQUEST


@pytest.mark.parametrize(
    ("params", "code"),
    [
        (b'{"name":"read","name":"pay"}', "params_ambiguous"),
        (b'{"name":"read","arguments":{"amount":1,"amount":900}}', "params_ambiguous"),
        (b'{"name":"read","arguments":{"amount":1,"Amount":900}}', "params_ambiguous"),
        (b'{"name":"read","Arguments":{"amount":900}}', "frame_ambiguous"),
        (b'{"name":"read","arguments":{"amount":100.00000000000000000001}}', "number_inexact"),
        (b'{"name":"read","arguments":{"amount":1e-400}}', "number_inexact"),
        (b'{"name":"read","arguments":{"amount":1e400}}', "number_out_of_range"),
        (b'{"name":"read","arguments":{"amount":9223372036854775808}}', "number_out_of_range"),
        (b'{"name":"read","arguments":{"amount":' + b"9" * 5000 + b"}}", "number_out_of_range"),
        (b'{"name":"read","arguments":{"amount":Infinity}}', "params_malformed"),
        (b'{"name":"read","arguments":{"text":"\\ud800"}}', "params_malformed"),
        (b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", "params_too_deep"),
        (b"[1]", "params_invalid"),
    ],
)
def test_attack_params_that_two_readers_take_differently(params: bytes, code: str) -> None:
    with pytest.raises(FrameError) as error:
        read_params(params)
    assert error.value.code == code


@pytest.mark.parametrize("text", ["0.1", "100.00", "-0.0", "1e2", "123456789.123456", "9223372036854775807"])
def test_ordinary_numbers_pass(text: str) -> None:
    assert read_params(f'{{"n":{text}}}'.encode()) == {"n": json.loads(text)}


def test_the_bound_on_depth_is_the_documented_one() -> None:
    deepest = b"[" * (bounds.JSON_DEPTH - 1) + b"]" * (bounds.JSON_DEPTH - 1)
    read_params(b'{"a":' + deepest + b"}")


def test_an_id_at_the_head_of_a_broken_frame() -> None:
    assert id_in_head(b'{"jsonrpc": "2.0", "id": 12, "result": {"x": "') == 12
    assert id_in_head(b'{"id":"a-1","result"') == "a-1"
    assert id_in_head(b'{"result":{"id":3}}') is None
    assert id_in_head(b"garbage") is None


def test_an_error_frame_without_an_id() -> None:
    message = read_message(error_frame(None, -32700, "no").strip())
    assert message.id is None
    assert not message.method
