"""The seal of a pack: one signed note over the digests of all its files (c2sp.org/signed-note).

The text of the note is

    remit evidence pack v1
    <trust domain>
    <from> <to>
    <SHA-256, hex> <path>        one line a file, by the paths' code points

Its first line is no log's origin, so that no checkpoint is a seal and no seal a checkpoint.
"""

from __future__ import annotations

import io
import os
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import IO, Final, NamedTuple

from remit.core import canonical
from remit.core.errors import Conflict, InvalidInput, NotFound, TooLarge
from remit.ledger.tlog.note import NOTE_BYTES, Signer, VerifierKey, open_note, signed_note

SIGNATURE: Final = "SIGNATURE"
EVIDENCE: Final = "evidence.json"
PAGE: Final = "evidence.html"
CHECKPOINT: Final = "checkpoint"
RECEIPTS: Final = "receipts/"

FIRST_LINE: Final = "remit evidence pack v1"
FILES: Final = 1_000
FILE_BYTES: Final = 1 << 26
PACK_BYTES: Final = 1 << 28
# What reading a damaged zip raises.
_NO_ZIP: Final = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError)
_NAMES: Final = 2 * FILES  # that are looked at in a folder
_PATH: Final = re.compile(r"(?:receipts/)?[a-z0-9]{1,80}(?:\.[a-z]{1,8}){0,2}")
_LINE: Final = re.compile(r"([0-9a-f]{64}) ([!-~]{1,120})")
_MADE: Final = (1980, 1, 1, 0, 0, 0)  # of every file in a zip, so that the same pack has the same bytes


class Sealed(NamedTuple):
    """What a seal says, once its signature verified."""

    trust_domain: str
    start: str
    end: str
    digests: Mapping[str, str]  # by path


def seal(files: Mapping[str, bytes], trust_domain: str, start: str, end: str, signer: Signer) -> bytes:
    """The file `SIGNATURE` of these files."""
    lines = [f"{canonical.sha256(files[path])} {path}\n" for path in sorted(files)]
    text = "".join([f"{FIRST_LINE}\n{trust_domain}\n{start} {end}\n", *lines])
    note = signed_note(text, [signer.sign(text)]).encode()
    if len(note) > NOTE_BYTES or len(files) > FILES:
        raise TooLarge("pack_too_large", f"the pack has {len(files)} files", "ask for fewer samples or frameworks")
    return note


def open_seal(data: bytes, key: VerifierKey) -> Sealed:
    """What `SIGNATURE` says; `InvalidInput` where it is none, or not signed by `key`."""
    lines = open_note(data, [key]).text.split("\n")
    # SECURITY: the same key may have signed other notes; only this text is a seal.
    if len(lines) < 4 or lines[0] != FIRST_LINE or lines[-1]:
        raise _no_seal("its first line is not that of a pack")
    start, parted, end = lines[2].partition(" ")
    digests: dict[str, str] = {}
    for line in lines[3:-1]:
        match = _LINE.fullmatch(line)
        if match is None or not _PATH.fullmatch(match[2]) or match[2] in digests or match[2] == SIGNATURE:
            raise _no_seal("it names a file in a way that no pack does")
        digests[match[2]] = match[1]
    if not parted or len(digests) > FILES or not {EVIDENCE, PAGE} <= digests.keys():
        raise _no_seal("it lacks the period, or the files that every pack has")
    return Sealed(lines[1], start, end, digests)


def write(target: Path, files: Mapping[str, bytes]) -> None:
    """Writes a pack to a new folder, or to a new file where the name ends in `.zip`; nothing is left when it fails.

    `Conflict("pack_exists")` where something is there already.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Conflict(
            "pack_exists", f"`{target}` is there already", "name a new folder, or a new file ending in `.zip`"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix == ".zip":
        _write_file(target, _zipped(files))
        return
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as temporary:
        made = Path(temporary) / "pack"
        for path, data in files.items():
            file = made / path
            file.parent.mkdir(parents=True, exist_ok=True)
            _write_file(file, data)
        if target.exists():
            target.rmdir()
        made.replace(target)


def read(source: Path) -> dict[str, bytes]:
    """All files of a pack by their paths; `InvalidInput` for what is no pack, `TooLarge` over a bound."""
    if not source.exists():
        raise NotFound("pack_missing", f"there is no `{source}`", "name the folder or the `.zip` of a pack")
    try:
        found = dict(islice(_from_folder(source) if source.is_dir() else _from_zip(source), FILES + 2))
    except _NO_ZIP:
        raise _no_pack("it is no folder and no zip file") from None
    if len(found) > FILES + 1:
        raise _too_large(f"it has more than {FILES} files")
    return found


def _write_file(file: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _zipped(files: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(files):
            info = zipfile.ZipInfo(path, _MADE)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            info.create_system = 3
            archive.writestr(info, files[path])
    return made.getvalue()


def _from_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    left = PACK_BYTES
    # SECURITY: whatever folder is named, no more of it is looked at than a pack may have.
    for file in sorted(islice(folder.rglob("*"), _NAMES + 1)):
        # SECURITY: a link, a pipe or a device would let a pack show its reader something that is not in it.
        if file.is_symlink() or not (file.is_file() or file.is_dir()):
            raise _no_pack(f"`{file.name[:80]}` is neither a file nor a folder")
        if file.is_file():
            with file.open("rb") as opened:
                data = _read(opened, file.name, left)
            left -= len(data)
            yield file.relative_to(folder).as_posix(), data


def _from_zip(source: Path) -> Iterator[tuple[str, bytes]]:
    left = PACK_BYTES
    with source.open("rb") as file:
        whole = _read(file, source.name, PACK_BYTES, PACK_BYTES)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        infos = archive.infolist()
        # SECURITY: of two files of one name a reader shows one, and a verifier could take the other.
        if len({info.filename for info in infos}) != len(infos):
            raise _no_pack("it has two files of one name")
        for info in infos:
            if not info.is_dir():
                with archive.open(info) as opened:
                    data = _read(opened, info.filename, left)
                left -= len(data)
                yield info.filename, data


def _read(opened: IO[bytes], name: str, left: int, most: int | None = None) -> bytes:
    """A file, of at most so many bytes; what a zip says of its size is not believed."""
    most = min(FILE_BYTES if most is None else most, left)
    data = opened.read(most + 1)
    if len(data) > most:
        raise _too_large(f"`{name[:80]}` makes it larger than a pack may be")
    return data


def _too_large(why: str) -> TooLarge:
    return TooLarge("pack_too_large", f"this is no pack that Remit wrote: {why}")


def _no_pack(why: str) -> InvalidInput:
    return InvalidInput("pack_invalid", f"this is no pack: {why}", "name the folder or the `.zip` of a pack")


def _no_seal(why: str) -> InvalidInput:
    return InvalidInput("pack_invalid", f"this is no seal of a pack: {why}", "do not rely on it")
