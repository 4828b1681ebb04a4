"""The export folder: streams as JSON Lines of stored bytes, texts, and `export.json` (docs/design/records.md)."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, BinaryIO, Final, Literal

import msgspec

from remit.core import bounds, canonical
from remit.core.errors import Conflict, InvalidInput, NotFound, TooLarge, Unavailable
from remit.core.malformed import why_malformed
from remit.ledger.record import INTEGER_MAX, leaf_hash

MANIFEST: Final = "export.json"
MANIFEST_BYTES: Final = 1 << 30
STREAMS: Final = "streams"
TEXTS: Final = "texts"

DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_Hex = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)]


class StreamEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stream of an export: how many records it has, and the leaf hash of the last."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=4400)]
    file: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    records: Annotated[int, msgspec.Meta(ge=1, le=INTEGER_MAX)]
    head: _Hex


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `export.json` says."""

    v: Literal[1] = 1
    td: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    created: _Count  # ms
    streams: tuple[StreamEntry, ...]
    texts: frozenset[_Hex] = frozenset()


class Line(msgspec.Struct, frozen=True):
    """One line of a stream's file: the record's bytes, and whether the line ends as it must."""

    data: bytes
    complete: bool


class Export:
    """A readable export: its manifest, and the files below `folder`."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    def lines(self, entry: StreamEntry) -> Iterator[Line]:
        """The stream's records in the order of the file, one at a time.

        A line longer than a record may be comes back cut, incomplete, as the last one. Raises `NotFound` when there
        is no such file.
        """
        longest = bounds.RECORD_BYTES + 1
        with _open(self.folder / STREAMS / stream_file(entry.name)) as file:
            while data := file.readline(longest):
                if not data.endswith(b"\n"):
                    yield Line(data, False)
                    return
                yield Line(data[:-1], True)

    def text(self, digest: str) -> bytes:
        """A kept text; `NotFound` when it is not there, `TooLarge` over `DOCUMENT_BYTES` times 16."""
        with _open(self.folder / TEXTS / _checked(digest)) as file:
            data = file.read(16 * bounds.DOCUMENT_BYTES + 1)
        if len(data) > 16 * bounds.DOCUMENT_BYTES:
            raise TooLarge("text_too_large", f"the text `{digest}` is over {16 * bounds.DOCUMENT_BYTES} bytes")
        return data

    def present(self, kind: str) -> set[str]:
        """The names of what really stands in `streams` or `texts`."""
        try:
            with os.scandir(self.folder / kind) as entries:
                return {entry.name for entry in entries}
        except OSError:
            return set()


def stream_file(name: str) -> str:
    """The file of a stream: the SHA-256 of its name, so that no name can lead out of the folder."""
    return canonical.sha256(name.encode("utf-8", "surrogatepass")) + ".jsonl"


def open_export(folder: Path) -> Export:
    """Opens an export; `NotFound` without an `export.json`, `InvalidInput` when that can't be read."""
    with _open(folder / MANIFEST) as file:
        data = file.read(MANIFEST_BYTES + 1)
    return Export(folder, decode_manifest(data))


def decode_manifest(data: bytes) -> Manifest:
    """The manifest in the bytes of an `export.json`; any other bytes raise `InvalidInput` or `TooLarge`."""
    if len(data) > MANIFEST_BYTES:
        raise TooLarge("export_invalid", f"`{MANIFEST}` is over {MANIFEST_BYTES} bytes")
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (ValueError, OverflowError, RecursionError) as error:
        raise InvalidInput("export_invalid", f"`{MANIFEST}` is not an export's: {why_malformed(error, data)}") from None
    for entry in manifest.streams:
        # SECURITY: a file is only ever looked for under the digest of its stream's name.
        if entry.file != stream_file(entry.name):
            raise InvalidInput("export_invalid", f"the file of stream `{entry.name[:80]}` is not `{entry.file}`")
    return manifest


def export(
    records: Iterable[tuple[str, int, bytes]],
    texts: Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes]],
    folder: Path,
    *,
    td: str,
    created: int,
) -> Manifest:
    """Writes an export to `folder`, which appears whole or not at all; memory does not grow with the records.

    `records` are (stream, n, bytes), all of one stream together, by number. The bytes are written as they are stored;
    nothing is checked here, so that the verifier sees what is there. `created` is ms. Raises `Conflict` when the
    folder exists and is not empty, `InvalidInput` when a stream comes twice, `Unavailable` when writing fails.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict("export_exists", f"`{folder.name}` exists already", "name a new folder")
    partial = folder.parent / f".{folder.name}.{secrets.token_hex(4)}.partial"
    try:
        partial.mkdir(mode=0o700)
        manifest = _write(records, texts, partial, td, created)
        os.replace(partial, folder)
    except OSError as error:
        raise Unavailable("export_failed", f"can't write the export: {_lower(error.strerror or 'unknown')}") from error
    finally:
        if partial.exists():
            shutil.rmtree(partial, ignore_errors=True)
    return manifest


def _write(
    records: Iterable[tuple[str, int, bytes]],
    texts: Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes]],
    folder: Path,
    td: str,
    created: int,
) -> Manifest:
    (folder / STREAMS).mkdir()
    (folder / TEXTS).mkdir()
    streams = _write_streams(records, folder / STREAMS)
    names: list[str] = []
    for digest, text in texts.items() if isinstance(texts, Mapping) else texts:
        (folder / TEXTS / _checked(digest)).write_bytes(text.encode() if isinstance(text, str) else text)
        names.append(digest)
    manifest = Manifest(td=td, created=created, streams=tuple(streams), texts=frozenset(names))
    (folder / MANIFEST).write_bytes(msgspec.json.format(canonical.encode(manifest), indent=1) + b"\n")
    return manifest


def _write_streams(records: Iterable[tuple[str, int, bytes]], folder: Path) -> list[StreamEntry]:
    entries: dict[str, StreamEntry] = {}
    current, file, count, last = "", None, 0, b""

    def finish(file: BinaryIO) -> None:
        file.close()
        name = stream_file(current)
        entries[current] = StreamEntry(name=current, file=name, records=count, head=leaf_hash(last))

    try:
        for stream, _, data in records:
            if file is None or stream != current:
                if file is not None:
                    finish(file)
                if stream in entries:
                    raise InvalidInput("export_unordered", f"the records of `{stream[:80]}` do not come together")
                current, count = stream, 0
                file = (folder / stream_file(stream)).open("xb", buffering=1 << 16)
            file.write(data)
            file.write(b"\n")
            count, last = count + 1, data
        if file is not None:
            finish(file)
    finally:
        if file is not None:
            file.close()
    return list(entries.values())


def _open(path: Path) -> BinaryIO:
    try:
        # SECURITY: a pipe or a device in an export would hold up its reader for ever.
        if path.exists() and not path.is_file():
            raise NotFound("export_file_missing", f"`{path.parent.name}/{path.name}` is not a file")
        return path.open("rb", buffering=1 << 17)
    except OSError as error:
        why = _lower(error.strerror or "unknown")
        raise NotFound("export_file_missing", f"can't read `{path.parent.name}/{path.name}`: {why}") from None


def _checked(digest: str) -> str:
    # SECURITY: a digest becomes a file's name; anything else could lead out of the folder.
    if not DIGEST.fullmatch(digest):
        raise InvalidInput("digest_invalid", f"`{digest[:80]}` is not a SHA-256 in hex")
    return digest


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
