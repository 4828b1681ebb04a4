"""Openings shown to one reader: personal values beside a record, each checked against the commitment in it.

They come as JSON Lines, `{"leaf", "path", "salt", "value"}` (docs/design/records.md, Commitments), and are no part of
any record: whoever holds them can show that these values, and no others, were decided on.

1. Every line is an opening within its bounds; one place is opened once.
2. SECURITY: a value counts only where the record with that leaf hash commits to it under that salt, at that path.
3. What opens nothing is refused, not passed over: it would be taken for evidence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from remit.core import canonical
from remit.core.errors import InvalidInput, NotFound, TooLarge
from remit.core.malformed import why_malformed
from remit.ledger import commitments
from remit.ledger.commitments import SALT_BYTES

LINE_BYTES: Final = 1 << 20  # of one opening
FILE_BYTES: Final = 1 << 28
OPENINGS: Final = 1_000_000
DIGEST: Final = "/digest"  # the salted request digest, which is its own commitment (records.md, Digests)

_STEP: Final = re.compile(r"(?:[^~/]|~[01])*")
_Hex = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
_Salt = Annotated[str, msgspec.Meta(pattern=f"^([0-9a-f]{{2}}){{{SALT_BYTES},64}}\\Z", max_length=128)]


class Opening(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One value with the salt under which the record commits to it, as it is shown to a reader."""

    leaf: _Hex  # leaf hash of the record
    path: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]  # JSON Pointer from the record's body
    salt: _Salt
    value: Any


class Openings:
    """What was opened to this reader, by the leaf hash of the record."""

    def __init__(self, openings: Iterable[Opening] = ()) -> None:
        """Raises `InvalidInput("opening_repeated")` where one place is opened twice."""
        self._by_leaf: dict[str, dict[str, Opening]] = {}
        self._unused: set[str] = set()
        for opening in openings:
            of = self._by_leaf.setdefault(opening.leaf, {})
            if of.setdefault(opening.path, opening) is not opening:
                raise InvalidInput(
                    "opening_repeated", f"`{opening.path[:200]}` of `{opening.leaf[:16]}…` is opened twice"
                )
            self._unused.add(opening.leaf)

    def __len__(self) -> int:
        return sum(len(of) for of in self._by_leaf.values())

    def __iter__(self) -> Iterator[Opening]:
        for of in self._by_leaf.values():
            yield from of.values()

    def of(self, leaf: str) -> tuple[Opening, ...]:
        """The openings of one record, by path; unchecked."""
        return tuple(self._by_leaf.get(leaf, {}).values())

    def reveal(self, leaf: str, body: dict[str, Any]) -> dict[str, Any]:
        """The body of the record with this leaf hash with what was opened of it in place; `literal` objects unwrapped.

        Commitments that were not opened stay. Nothing is changed in place. Raises `InvalidInput("opening_invalid")`
        where an opening is not of this record.
        """
        self._unused.discard(leaf)
        values = check(self.of(leaf), body)
        digest = values.pop(DIGEST, None)
        revealed = commitments.reveal(body, values.items())
        return revealed if digest is None else revealed | {"digest": digest}

    def unused(self) -> Iterator[str]:
        """The leaf hashes of records that were never asked for: those that the log or export does not hold."""
        yield from sorted(self._unused)


def check(openings: Iterable[Opening], body: Mapping[str, Any]) -> dict[str, Any]:
    """The values by path, each of which opens the commitment that stands there in the record's body.

    `InvalidInput("opening_invalid")` for the first one that does not.
    """
    values: dict[str, Any] = {}
    for opening in openings:
        stand = at(body, opening.path)
        if opening.path == DIGEST:
            stand = {"commitment": stand}
        try:
            opened = commitments.opens(stand, bytes.fromhex(opening.salt), opening.value)
        except (TypeError, ValueError, OverflowError, RecursionError):
            opened = False
        # SECURITY: any other value could be passed off as what was decided on.
        if not opened:
            raise InvalidInput(
                "opening_invalid",
                f"the opening at `{opening.path[:200]}` is not of the record `{opening.leaf[:16]}…`",
                "ask for it again, and trust nothing that came with it",
            )
        values[opening.path] = opening.value
    return values


def at(body: Mapping[str, Any], path: str) -> Any:
    """What stands at a JSON Pointer in a recorded body, where a `literal` object is no step; None for nothing."""
    node: Any = body
    start, *steps = path.split("/")
    if start or not steps:
        return None
    for place, step in enumerate(steps):
        if not _STEP.fullmatch(step):
            return None
        if place and isinstance(node, dict) and node.keys() == {"literal"} and isinstance(node["literal"], dict):
            node = node["literal"]
        if isinstance(node, dict):
            node = node.get(step.replace("~1", "/").replace("~0", "~"))
        elif isinstance(node, list) and step.isascii() and step.isdigit() and (step == "0" or step[0] != "0"):
            node = node[int(step)] if len(step) < 10 and int(step) < len(node) else None
        else:
            return None
    return node


def read_openings(path: Path) -> Openings:
    """The openings in a file of JSON Lines, bounded; none of them is checked against a record yet.

    `NotFound` when it can't be read, `TooLarge` over a bound, `InvalidInput("opening_malformed")` with the line.
    """
    try:
        # SECURITY: a pipe or a device would hold up its reader for ever.
        if path.exists() and not path.is_file():
            raise NotFound("openings_missing", f"`{path.name}` is not a file")
        with path.open("rb") as file:
            return Openings(_lines(iter(lambda: file.readline(LINE_BYTES + 1), b"")))
    except OSError as error:
        why = (error.strerror or "unknown").lower()
        raise NotFound("openings_missing", f"can't read the openings in `{path.name}`: {why}") from None


def decode_opening(line: bytes) -> Opening:
    """One opening from its JSON; `InvalidInput("opening_malformed")` for anything else."""
    try:
        return msgspec.json.decode(line, type=Opening)
    except (ValueError, OverflowError, RecursionError) as error:
        raise InvalidInput("opening_malformed", f"not an opening: {why_malformed(error, line)}") from None


def encode_opening(opening: Opening) -> bytes:
    """Its line, without a line feed."""
    return canonical.encode(opening)


def _lines(lines: Iterable[bytes]) -> Iterator[Opening]:
    read = 0
    for number, line in enumerate(lines, 1):
        read += len(line)
        if len(line) > LINE_BYTES or read > FILE_BYTES or number > OPENINGS:
            most = f"{OPENINGS} openings, {FILE_BYTES} bytes, or {LINE_BYTES} in a line"
            raise TooLarge("openings_too_large", f"the openings are over {most}", "ask for fewer, by task or time")
        if not line.strip():
            continue
        try:
            yield decode_opening(line)
        except InvalidInput as error:
            raise InvalidInput(error.code, f"line {number} is {error.message}") from None
