"""The stand-in accepts, refuses and gives the same as msgspec, in the same words, for every type that is used."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from remit.core import canonical
from remit.ledger import bodies, export, opened, published, receipt, record, streams
from tests.ledger.story import full
from tests.standalone.pair import stand_in, with_stand_in

MODULES: Final = (canonical, bodies, export, opened, published, receipt, record, streams)
OTHER: Final = with_stand_in(*(module.__name__ for module in MODULES))
STAND_IN: Final = stand_in()
LINES: Final = [line for lines in full().streams.values() for line in lines]
HEX: Final = "a" * 64


def twin(module: ModuleType) -> Any:
    """The same module, on the stand-in."""
    return OTHER[MODULES.index(module)]


def told(work: Callable[[], Any], library: Any) -> tuple[str, Any]:
    """What comes of it: the value, or what was refused and why."""
    try:
        value = work()
    except library.ValidationError as error:
        return "refused", str(error)
    except RecursionError:
        return "too deep", ""
    except (ValueError, OverflowError):
        return "no JSON", ""
    return "given", shown(value, library)


def shown(value: Any, library: Any) -> str:
    """A value, so that those of two libraries can be compared; kinds of numbers are told apart."""
    if isinstance(value, library.Struct):
        fields = [(field, shown(getattr(value, field), library)) for field in value.__struct_fields__]
        return f"{type(value).__name__}{fields}"
    if isinstance(value, dict):
        return str([(key, shown(inner, library)) for key, inner in value.items()])
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}{[shown(inner, library) for inner in value]}"
    if isinstance(value, library.Raw):
        return f"raw {bytes(value)!r}"
    return repr(sorted(value)) if isinstance(value, frozenset) else f"{type(value).__name__} {value!r}"


def agree(data: bytes, type_: Any, same: Any) -> str:
    """Both read these bytes in the same way; says how."""
    theirs = told(lambda: msgspec.json.decode(data, type=type_), msgspec)
    ours = told(lambda: STAND_IN.json.decode(data, type=same), STAND_IN)
    if theirs[0] == "refused" and ours[0] == "no JSON":
        return "no JSON"  # both refuse: the stand-in looks at all of the JSON first
    assert ours == theirs, data[:2000]
    return ours[0]


def struct(module: ModuleType, name: str) -> tuple[Any, Any]:
    return getattr(module, name), getattr(twin(module), name)


STRUCTS: Final = {
    "Record": (*struct(record, "Record"), json.loads(LINES[0])),
    "Manifest": (
        *struct(export, "Manifest"),
        {
            "v": 1,
            "td": "x",
            "created": 1,
            "streams": [{"name": "a", "file": "b", "records": 1, "head": HEX}],
            "texts": [HEX],
        },
    ),
    "Opening": (*struct(opened, "Opening"), {"leaf": HEX, "path": "/a", "salt": "00" * 16, "value": {"a": [1.5]}}),
    "Receipt": (
        *struct(receipt, "Receipt"),
        {"v": 1, "id": "d", "entries": [{"entry": "YQ==", "proof": "x"}], "openings": [], "texts": {HEX: "t"}},
    ),
    "_Named": (*struct(published, "_Named"), {"kind": "a", "n": 1, "stream": "s", "td": "t", "body": {"a": [1, "é"]}}),
} | {
    f"{kind}-{n}": (type_, twin(bodies).BODIES[kind], json.loads(line)["body"])
    for kind, type_ in bodies.BODIES.items()
    for n, line in enumerate([each for each in LINES if json.loads(each)["kind"] == kind][:4])
}

SCALARS: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(-(2**70), 2**70),
    st.sampled_from([2**53 - 1, 2**53, 2**31 + 1, 2**64, 101, 0.5, 1.0, -0.0, 1e16, 1e-7]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.sampled_from(["", "open", "permit", "response", HEX, "a" * 63, "a" * 64 + "\n", "0.5", "x" * 257, "é" * 256]),
)
TREES: Final = st.recursive(
    SCALARS, lambda of: st.lists(of, max_size=3) | st.dictionaries(st.text(max_size=3), of, max_size=3), max_leaves=8
)


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """A good value with some part of it replaced, removed or added."""
    if isinstance(value, dict) and value and draw(st.integers(0, 4)):
        made = dict(value)
        key = draw(st.sampled_from(sorted(made)))
        how = draw(st.integers(0, 5))
        if how == 0:
            del made[key]
        elif how == 1:
            made[draw(st.text(max_size=6))] = draw(TREES)
        else:
            made[key] = draw(changed(made[key]))
        return made
    if isinstance(value, list) and value and draw(st.booleans()):
        place = draw(st.integers(0, len(value) - 1))
        inner = draw(changed(value[place]))
        return draw(st.sampled_from([[*value[:place], inner, *value[place + 1 :]], value[:place], value * 40]))
    return draw(TREES)


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_the_honest_ones_are_read_alike(name: str) -> None:
    theirs, ours, example_ = STRUCTS[name]
    assert agree(json.dumps(example_).encode(), theirs, ours) == "given"


@settings(max_examples=1500)
@given(st.data(), st.sampled_from(sorted(STRUCTS)))
def test_changed_ones_are_read_or_refused_alike(data: st.DataObject, name: str) -> None:
    theirs, ours, example_ = STRUCTS[name]
    value = data.draw(changed(example_))
    agree(json.dumps(value, ensure_ascii=data.draw(st.booleans())).encode("utf-8", "surrogatepass"), theirs, ours)
    if "_Named" not in name:
        a = told(lambda: msgspec.convert(value, theirs), msgspec)
        assert told(lambda: STAND_IN.convert(value, ours), STAND_IN) == a


@settings(max_examples=500)
@given(st.sampled_from(LINES), st.data())
def test_bytes_that_were_damaged_are_read_or_refused_alike(line: bytes, data: st.DataObject) -> None:
    damaged = bytearray(line)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        how = data.draw(st.integers(0, 3))
        if how == 0:
            damaged[place] = data.draw(st.integers(0, 255))
        elif how == 1:
            damaged[place:place] = data.draw(
                st.sampled_from([b"\\", b"\\u", b"\\ud800", b'"', b",", b"0", b"\xff", b" "])
            )
        elif how == 2:
            del damaged[place:]
            damaged += b"}"
        else:
            damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    agree(bytes(damaged), *STRUCTS["Record"][:2])
    agree(bytes(damaged), Any, Any)


NUMBERS: Final = ["0", "-0", "01", "1.", ".5", "+1", "1e5", "1E+5", "-1.5e-7", "1e400", "-", "1e", "0x1", "1" * 5000]
NUMBERS_TOO: Final = ["NaN", "Infinity", "-Infinity", "nul", "True", "tru", "12345678901234567890.5", "1" * 4300]
TEXTS: Final = ['"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\u12"', '"\\x"', '"\x01"', '"\x7f"', '"', "'a'"]
SHAPES: Final = [
    "",
    " ",
    "[",
    "[1,]",
    '{"a":1,}',
    '{"a" 1}',
    "{1:2}",
    "[1 2]",
    "1 2",
    "\ufeff1",
    "\x0b1",
    "/**/1",
    "[]]",
]
TWICE: Final = ['{"a":1,"a":"x"}', '{"a":{"b":1,"b":1.5}}', '[{"a":[],"a":[1,1.5]}]']


@pytest.mark.parametrize("text", [*NUMBERS, *NUMBERS_TOO, *TEXTS, *SHAPES, *TWICE])
def test_the_edges_of_json_are_read_alike(text: str) -> None:
    agree(text.encode(), Any, Any)
    agree(
        b'{"value":%s,"leaf":"%s","path":"/","salt":"%s"}' % (text.encode(), HEX.encode(), b"00" * 16),
        *STRUCTS["Opening"][:2],
    )


@pytest.mark.parametrize(
    "data", [b"\xff", b'"\xff"', b'{"\xff":1}', b'"\xed\xa0\x80"', b"\xff\xfe1\x00", b'"\xc0\x80"']
)
def test_what_is_no_unicode_is_no_json(data: bytes) -> None:
    assert agree(data, Any, Any) == "no JSON"


def test_a_key_that_stands_twice_is_checked_each_time() -> None:
    line = LINES[0].replace(b'"v":1', b'"v":"x","v":1')
    assert agree(line, *STRUCTS["Record"][:2]) == "refused"


@given(st.binary(max_size=300))
def test_any_bytes_are_read_alike(data: bytes) -> None:
    agree(data, Any, Any)


@pytest.mark.parametrize("depth", [10, 64, 200, 5000])
def test_nesting_is_read_or_refused_alike(depth: int) -> None:
    for data in (b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth):
        refusals = []
        for module in (record, twin(record)):
            try:
                module.decode_record(LINES[0].replace(b'"body":{', b'"body":{"x":%s,' % data))
                refusals.append("")
            except Exception as error:
                refusals.append(str(error))
        assert refusals[0] == refusals[1]


@given(st.sampled_from(LINES), st.floats(allow_nan=False, allow_infinity=False))
def test_floating_point_numbers_are_refused_in_records_alike(line: bytes, number: float) -> None:
    data = line.replace(b'"body":{', b'"body":{"x":[%s],' % str(number).encode())
    refusals = []
    for module in (record, twin(record)):
        with pytest.raises(Exception, match="not a record: a floating-point number - at") as caught:
            module.decode_record(data)
        refusals.append(str(caught.value))
    assert refusals[0] == refusals[1]


@settings(max_examples=500)
@given(TREES)
@example({"b": 1, "a": 2, "é": 1, "\U0001f600": 1, "\uffff": 2})
@example('\x00\x1f\x7f"\\/\u2028\ud800')
def test_canonical_bytes_are_the_same(value: Any) -> None:
    ours, theirs = told(lambda: twin(canonical).encode(value), STAND_IN), told(lambda: canonical.encode(value), msgspec)
    assert ours == theirs
    ours, theirs = (
        told(lambda: STAND_IN.json.encode(value), STAND_IN),
        told(lambda: msgspec.json.encode(value), msgspec),
    )
    assert ours == theirs


@settings(max_examples=500)
@given(st.floats())
@example(1e-5)
@example(1.5e-5)
@example(-1.2345678901234567e-5)
@example(9.999999999999999e15)
@example(1e16)
@example(5e-324)
@example(math.nan)
def test_floating_point_numbers_are_written_alike(number: float) -> None:
    assert twin(canonical).encode(number) == canonical.encode(number)


def test_records_are_written_and_told_canonical_alike() -> None:
    for line in LINES:
        mine = twin(record).decode_record(line)
        assert twin(canonical).encode(mine) == line
        assert twin(record).is_canonical(mine, line)
        assert not twin(record).is_canonical(mine, line + b" ")
        assert STAND_IN.to_builtins(mine) == msgspec.to_builtins(record.decode_record(line))


@given(
    st.recursive(
        st.text(max_size=3) | st.integers(), lambda of: st.lists(of, max_size=3) | st.dictionaries(st.text(), of)
    )
)
@example([["a", "b"]])
@example([["a"]])
@example({"a": "b"})
def test_indexes_of_texts_are_read_alike(value: Any) -> None:
    data = json.dumps(value).encode()
    assert twin(streams).listed_in(data) == streams.listed_in(data)


def test_structs_behave_as_structs_do() -> None:
    entries = twin(receipt).Entry("YQ==", "x"), twin(receipt).Entry(entry="YQ==", proof="x")
    assert entries[0] == entries[1] != twin(receipt).Entry("Yg==", "x")
    assert hash(entries[0]) == hash(entries[1])
    with pytest.raises(AttributeError):
        entries[0].entry = "changed"
    with pytest.raises(TypeError):
        twin(receipt).Entry("YQ==")
    with pytest.raises(TypeError):
        twin(receipt).Receipt("positional")
    with pytest.raises(TypeError):
        twin(receipt).Entry("YQ==", "x", more=1)
    assert twin(receipt).Receipt(id="a", entries=()).texts is not twin(receipt).Receipt(id="a", entries=()).texts


def test_a_receipt_is_written_alike() -> None:
    made = [
        module.Receipt(id="é\n", entries=(module.Entry("YQ==", "x"),), texts={HEX: "[]{}"}).encode()
        for module in (receipt, twin(receipt))
    ]
    assert made[0] == made[1]
