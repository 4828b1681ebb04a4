"""Record format version 1: canonical bytes, leaf hash, and a strict, bounded reader (docs/design/records.md)."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Annotated, Any, Final, NoReturn

import msgspec

from remit.core import bounds
from remit.core.errors import InvalidInput, RemitError, TooLarge
from remit.core.malformed import why_malformed

VERSION: Final = 1
KINDS: Final = frozenset(
    {
        *("task", "decision", "denials", "outcome", "resolution"),
        *("identity", "exchange", "risk", "practice", "forgotten"),
        *("configuration", "mode", "erasure"),
        *("event", "events", "watch"),
    }
)
ADMINISTRATION: Final = "administration"
INTEGER_MAX: Final = 2**53 - 1  # RFC 8785, 3.2.2.3: what every JSON reader keeps exactly
RECORD_DEPTH: Final = 2 * bounds.JSON_DEPTH  # arguments of `JSON_DEPTH` levels stand some levels down in a body

_STREAM = re.compile(
    r"administration|session/[A-Za-z0-9_-]{1,128}"
    r"|(?:identity|workload)/spiffe://[a-z0-9._-]{1,255}(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]{1,255}){1,16}"
)

_Hash = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{64})?$", max_length=64)]
_Number = Annotated[int, msgspec.Meta(ge=1, le=INTEGER_MAX)]
_Time = Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of a stream; fields stand in canonical (code point) order, as they do in the bytes."""

    body: dict[str, Any]
    kind: _Name
    n: _Number  # 1 for the first record of its stream, then without a gap
    prev: _Hash  # leaf hash of record n - 1, "" for the first
    stream: Annotated[str, msgspec.Meta(max_length=4400)]
    t: _Time  # ms since 1970, UTC; never goes back within a stream
    td: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]  # trust domain
    v: _Number

    @property
    def understood(self) -> bool:
        """Whether this program knows the version and the kind; a reader keeps others, a verifier refuses them."""
        return self.v == VERSION and self.kind in KINDS


def _refuse_float(_: str) -> NoReturn:
    raise ValueError("a floating-point number")


_encoder = msgspec.json.Encoder(order="deterministic", decimal_format="string")
_decoder = msgspec.json.Decoder(Record, float_hook=_refuse_float)


@lru_cache(maxsize=4096)
def check_stream(name: str) -> str:
    """The name as it is; `InvalidInput` unless `session/<root>`, `administration`, or an identity's or a workload's."""
    if not _STREAM.fullmatch(name):
        raise InvalidInput("stream_invalid", f"`{name[:80]}` is not a stream's name")
    return name


def encode_record(td: str, stream: str, n: int, prev: str, t: int, kind: str, body: dict[str, Any]) -> bytes:
    """The canonical bytes of one record.

    `body` holds JSON types without floating-point numbers; `msgspec.Raw` in it is taken as it is and must be
    canonical already. Raises `TooLarge` over 64 KiB or `RECORD_DEPTH` levels, `InvalidInput` for what JSON can't say.
    """
    check_stream(stream)
    try:
        data = _encoder.encode(Record(body=body, kind=kind, n=n, prev=prev, stream=stream, t=t, td=td, v=VERSION))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInput("record_invalid", "the record's body has a value that JSON can't say") from error
    if len(data) > bounds.RECORD_BYTES:
        raise TooLarge("record_too_large", f"a record of {len(data)} bytes is over {bounds.RECORD_BYTES}")
    if data.count(b"{") + data.count(b"[") > RECORD_DEPTH:
        _check_depth(body)
    return data


def leaf_hash(data: bytes) -> str:
    """The Merkle leaf hash of a record's bytes: SHA-256 of 0x00 and the bytes, in hex (RFC 6962, 2.1)."""
    return hashlib.sha256(b"\x00" + data).hexdigest()


def decode_record(data: bytes) -> Record:
    """The record in `data`; any other bytes raise `InvalidInput` or `TooLarge`.

    Fields, types, bounds and the stream's name are checked. A version or kind that this program does not know is
    returned (see `Record.understood`) as long as its frame is that of version 1. Canonical form is not checked
    here: see `is_canonical`.
    """
    if len(data) > bounds.RECORD_BYTES:
        raise TooLarge("record_too_large", f"a record of {len(data)} bytes is over {bounds.RECORD_BYTES}")
    try:
        record = _decoder.decode(data)
    except (ValueError, OverflowError, RecursionError) as error:
        raise _invalid(why_malformed(error, data)) from None
    check_stream(record.stream)
    if data.count(b"{") + data.count(b"[") > RECORD_DEPTH:
        _check_depth(record.body)
    return record


def is_canonical(record: Record, data: bytes) -> bool:
    """Whether `data`, which decoded to `record`, are its canonical bytes."""
    try:
        return _encoder.encode(record) == data
    except (ValueError, OverflowError, RecursionError):
        return False


def _invalid(detail: str) -> RemitError:
    return InvalidInput("record_invalid", f"not a record: {detail}")


def _check_depth(body: dict[str, Any]) -> None:
    level: list[Any] = [body]
    for _ in range(RECORD_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(v for v in value.values() if isinstance(v, dict | list | tuple))
            else:
                below.extend(v for v in value if isinstance(v, dict | list | tuple))
        if not below:
            return
        level = below
    raise TooLarge("record_too_deep", f"a record nests values more than {RECORD_DEPTH} levels deep")
