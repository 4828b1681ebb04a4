"""Asks the witnesses of `[[ledger.witnesses]]` to cosign a checkpoint before it is published (c2sp.org/tlog-witness).

All are asked at once, on a thread of their own, and nobody is waited for longer than a bound.

1. `check`, before anything is published: what a witness has cosigned is how this log begins. SECURITY: a witness that
   has seen more, or something else, means that the records were restored from an older copy, or that the log was
   forked: going on would sign a second history.
2. `cosign`: each witness is sent the checkpoint, with the proof from what it cosigned last.
3. Lines that a witness's key has made over this checkpoint count, and nothing else that it answers.
4. With a quorum, fewer lines than that are none: the checkpoint is not published.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import ssl
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final, NamedTuple, TypeVar

import aiohttp
from yarl import URL

from remit.app.key_fetching import web_context
from remit.core.errors import Conflict, InvalidInput, RemitError, Unavailable
from remit.core.ledger import LedgerSettings, WitnessSettings
from remit.ledger.tlog.checkpoint import SIZE_MAX, Checkpoint, open_checkpoint
from remit.ledger.tlog.merkle import is_consistent
from remit.ledger.tlog.note import COSIGNATURE, NOTE_BYTES, VerifierKey, open_note, read_key, split_note
from remit.ledger.tlog.witness import request_of

Prove = Callable[[int], list[bytes]]  # the consistency proof from that size to the checkpoint's
RootAt = Callable[[int], bytes | None]  # the root over that many records; None where there are fewer

SECONDS: Final = 5.0  # for one witness, and for a quorum
WAIT_SECONDS: Final = 0.4  # for those whom no quorum needs
REST_SECONDS: Final = (1.0, 60.0)  # before a witness that failed is asked again: at first, and at most
ATTEMPTS: Final = 3  # with one checkpoint: a witness may move on in between

_ANSWER_BYTES: Final = 16 * 1024
_RESTORE: Final = (
    "restore the newest copy of the records; if there is none, begin a log under a new name and key, and tell whoever "
    "verifies the old one"
)

log = logging.getLogger("remit.ledger")
T = TypeVar("T")


class _Refused(Exception):
    """Why a witness gives no cosignature, for the operator."""


class _Contradicts(_Refused):
    """The witness holds that this log is not what it has cosigned before."""


@dataclass
class _Witness:
    """One witness, and what is known of it."""

    key: VerifierKey
    url: str
    tls: ssl.SSLContext
    size: int = 0  # what it cosigned last, as far as is known
    failing: str = ""
    rest: float = 0.0
    rested: float = 0.0  # when it may be asked again
    asked: asyncio.Task[str] | None = None


class _Asking(NamedTuple):
    """One checkpoint that is to be cosigned; `waited` is unset once nobody waits for it any more."""

    note: bytes
    text: str
    size: int
    prove: Prove
    waited: asyncio.Event


@dataclass(frozen=True)
class WitnessState:
    """How one witness stands: its name, the size that it cosigned last, and why it does not cosign now ("")."""

    name: str
    size: int
    failing: str


@dataclass
class Witnesses:
    """Those who cosign one log; for one thread at a time. `close` it."""

    origin: VerifierKey
    quorum: int
    witnesses: list[_Witness]
    alarm: Callable[..., object] = log.critical  # is told, as a logger is, what a person must look at
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _session: aiohttp.ClientSession | None = None
    _whole: bytes = b""  # the last note that all of them have signed

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._loop.run_forever, name="remit-witnesses", daemon=True)
        self._thread.start()

    def check(self, size: int, root: bytes, root_at: RootAt = lambda _: None) -> None:
        """Compares what the witnesses have seen with this log, of `size` entries under `root`.

        `root_at` says the root over the first records of a number, published or not: a witness may have cosigned what
        was not published any more, when the service was killed in between. `Conflict("witness_ahead")` where one has
        seen more, and `Conflict("witness_disagrees")` where it has seen something else; each only with the log's own
        signature on it. Witnesses that do not answer are alarms, no errors.
        """
        here = Checkpoint(self.origin.name, size, root)
        found = self._run(self._latest_of_all())
        for witness, seen in zip(self.witnesses, found, strict=True):
            if isinstance(seen, Checkpoint):
                _compare(witness, seen, here, root_at)
                witness.size = seen.size
        silent = [each.key.name for each, seen in zip(self.witnesses, found, strict=True) if isinstance(seen, str)]
        if len(silent) == len(self.witnesses) and silent:
            said = "records stay pending until they do" if self.quorum else "the log goes on without them"
            self.alarm("ALARM no witness answers, so that a restored backup would not be noticed; %s", said)

    def cosign(self, note: bytes, size: int, prove: Prove) -> list[str]:
        """The signature lines of the witnesses under the checkpoint `note`, each verified.

        `prove(old)` is the consistency proof from `old` to `size`. Raises `Unavailable("witness_quorum_missing")` when
        fewer than the quorum have signed, and `Conflict` as `check` does when a witness shows a checkpoint of this log
        that this one does not continue.
        """
        text, _ = split_note(note)
        return self._run(self._cosign(note, text, size, prove))

    def late(self, note: bytes, size: int, prove: Prove) -> list[str]:
        """The lines under `note`, which is published, of witnesses that have not signed it and can now.

        Cheap where there is nobody to ask. `Conflict` as `cosign`.
        """
        if note == self._whole:
            return []
        text, _ = split_note(note)
        signed = {
            each.key for each in open_note(note, [self.origin, *(each.key for each in self.witnesses)]).signatures
        }
        lacking = [each for each in self.witnesses if each.key not in signed]
        if not lacking:
            self._whole = note
            return []
        ready = _ready(lacking)
        return self._run(self._ask_all(ready, _Asking(note, text, size, prove, asyncio.Event()), 0)) if ready else []

    def state(self) -> list[WitnessState]:
        """How each of them stands."""
        return [WitnessState(each.key.name, each.size, each.failing) for each in self.witnesses]

    def close(self) -> None:
        """Ends what is under way; call it once."""
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _cosign(self, note: bytes, text: str, size: int, prove: Prove) -> list[str]:
        ready = _ready(self.witnesses)
        if len(ready) < self.quorum:
            ready = [each for each in self.witnesses if each.asked is None]
        lines = await self._ask_all(ready, _Asking(note, text, size, prove, asyncio.Event()), self.quorum)
        if len(lines) < self.quorum:
            why = "; ".join(f"`{each.key.name}` {each.failing}" for each in self.witnesses if each.failing)
            raise Unavailable(
                "witness_quorum_missing",
                f"{len(lines)} of the {self.quorum} wanted witnesses have cosigned the log: {why or 'no answer yet'}",
                "see that the witnesses run and can be reached; records stay pending until then",
            )
        return lines

    async def _ask_all(self, ready: list[_Witness], asking: _Asking, quorum: int) -> list[str]:
        asking.waited.set()
        tasks = {asyncio.create_task(self._asked(each, asking)): each for each in ready}
        for task, each in tasks.items():
            each.asked = task
        try:
            return await self._collect(set(tasks), quorum)
        finally:
            # SECURITY: who comes later proves nothing any more: the log may have grown in between.
            asking.waited.clear()

    async def _collect(self, pending: set[asyncio.Task[str]], quorum: int) -> list[str]:
        """The lines that come in time: a quorum is waited for, and the others a moment longer."""
        lines: list[str] = []
        ends = monotonic() + (SECONDS if quorum else WAIT_SECONDS)
        late = False
        while pending and (left := ends - monotonic()) > 0:
            done, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            conflicts = [error for task in done if (error := task.exception()) is not None]
            if conflicts:
                raise conflicts[0]  # whatever the others say
            lines += [line for task in done if (line := task.result())]
            if quorum and len(lines) >= quorum and not late:
                ends, late = min(ends, monotonic() + WAIT_SECONDS), True
        return lines

    async def _asked(self, witness: _Witness, asking: _Asking) -> str:
        """One witness's line, or "" and an alarm."""
        try:
            async with asyncio.timeout(SECONDS):
                line = await self._ask(witness, asking)
        except _Contradicts as error:
            await self._judge(witness, asking)
            self._failed(witness, str(error))
            return ""
        except (_Refused, RemitError) as error:
            self._failed(witness, str(error))
            return ""
        except TimeoutError:
            self._failed(witness, f"did not answer within {SECONDS:.0f} seconds")
            return ""
        finally:
            witness.asked = None
        if witness.failing:
            log.warning("the witness `%s` cosigns again", witness.key.name)
        witness.failing, witness.rest, witness.rested = "", 0.0, 0.0
        return line

    async def _ask(self, witness: _Witness, asking: _Asking) -> str:
        old = min(witness.size, asking.size)
        for _ in range(ATTEMPTS):
            if not asking.waited.is_set():
                raise _Refused("answered too late")
            proof = asking.prove(old) if 0 < old < asking.size else []
            status, body = await self._post(witness, request_of(old, proof, asking.note))
            if status == 200:
                line = _line_of(witness, asking.text, body)
                witness.size = asking.size
                return line
            if status != 409:
                raise _meaning(status)
            # It is at another size than was thought: the proof begins there.
            old = _size_in(body)
            if old > asking.size:
                raise _Contradicts(f"has seen {old} entries of this log, which has {asking.size}")
            witness.size = old
        raise _Refused("is asked by somebody else for the same log at the same time")

    async def _judge(self, witness: _Witness, asking: _Asking) -> None:
        """Raises `Conflict` where the witness can show what contradicts this log, with the log's own signature."""
        if not asking.waited.is_set():
            return  # it will say so again
        try:
            async with asyncio.timeout(SECONDS):
                seen = await self._latest(witness)
        except (_Refused, RemitError, TimeoutError):
            return
        if seen is None:
            return
        new = open_checkpoint(asking.note, self.origin).checkpoint
        if seen.size > new.size:
            raise _ahead(witness, seen, new.size)
        proof = asking.prove(seen.size) if 0 < seen.size < new.size else []
        if seen.size and not is_consistent(seen.size, seen.root, new.size, new.root, proof):
            raise _disagrees(witness, seen)

    async def _latest_of_all(self) -> Sequence[Checkpoint | str | None]:
        return await asyncio.gather(*(self._seen(each) for each in self.witnesses))

    async def _seen(self, witness: _Witness) -> Checkpoint | str | None:
        """What it cosigned last, None where nothing; why that is not known."""
        try:
            async with asyncio.timeout(SECONDS):
                return await self._latest(witness)
        except (_Refused, RemitError) as error:
            why = str(error)
        except TimeoutError:
            why = f"did not answer within {SECONDS:.0f} seconds"
        self._failed(witness, why)
        return why

    async def _latest(self, witness: _Witness) -> Checkpoint | None:
        name = hashlib.sha256(self.origin.name.encode()).hexdigest()
        status, body = await self._request("GET", witness, f"{name}/checkpoint", b"", NOTE_BYTES)
        if status == 404:
            return None
        if status != 200:
            raise _Refused(f"answers {status}")
        # SECURITY: only with the log's own signature is it something that the log has said.
        return open_checkpoint(body, self.origin, [witness.key], quorum=1).checkpoint

    async def _post(self, witness: _Witness, body: bytes) -> tuple[int, bytes]:
        return await self._request("POST", witness, "add-checkpoint", body, _ANSWER_BYTES)

    async def _request(self, method: str, witness: _Witness, path: str, body: bytes, most: int) -> tuple[int, bytes]:
        if self._session is None:
            self._session = _new_session()
        url = URL(f"{witness.url}/{path}", encoded=True)
        try:
            async with self._session.request(
                method, url, data=body or None, ssl=witness.tls, allow_redirects=False
            ) as response:
                return response.status, await _bounded(response, most)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _Refused(f"can't be reached: {_words(error)}") from None

    def _failed(self, witness: _Witness, why: str) -> None:
        first, most = REST_SECONDS
        witness.rest = min(most, witness.rest * 2 or first)
        witness.rested = monotonic() + witness.rest
        if why != witness.failing:
            self.alarm("ALARM the witness %s %s", witness.key.name, why)
        witness.failing = why

    async def _close(self) -> None:
        tasks = [each.asked for each in self.witnesses if each.asked is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()


def open_witnesses(settings: LedgerSettings, origin: VerifierKey, root: Path) -> Witnesses | None:
    """The witnesses that `[ledger]` names for the log with the key `origin`; None where it names none.

    Files are relative to `root`. `InvalidInput("vkey_invalid")` for a key that is no witness's.
    """
    if not settings.witnesses:
        return None
    return Witnesses(origin, settings.quorum, [_opened(each, root) for each in settings.witnesses])


def _opened(given: WitnessSettings, root: Path) -> _Witness:
    key = read_key(given.key)
    if key.type != COSIGNATURE:
        raise InvalidInput(
            "vkey_invalid", f"the key of `{key.name}` is no witness's", "give what `remit witness key` prints"
        )
    return _Witness(key, given.url.rstrip("/"), web_context(root / given.ca_file if given.ca_file else None))


def _ready(witnesses: list[_Witness]) -> list[_Witness]:
    """Those that are not being asked, and need no rest."""
    now = monotonic()
    return [each for each in witnesses if each.asked is None and each.rested <= now]


def _compare(witness: _Witness, seen: Checkpoint, here: Checkpoint, root_at: RootAt) -> None:
    """1 of the module: what was seen is how this log begins."""
    if seen.size == here.size:
        mine: bytes | None = here.root
    else:
        mine = root_at(seen.size)
    if mine is None and seen.size > here.size:
        raise _ahead(witness, seen, here.size)
    if mine is not None and mine != seen.root:
        raise _disagrees(witness, seen)


def _ahead(witness: _Witness, seen: Checkpoint, size: int) -> Conflict:
    return Conflict(
        "witness_ahead",
        f"the witness `{witness.key.name}` has cosigned {seen.size} entries of this log, and there are {size} here: "
        "the records were restored from an older copy",
        _RESTORE,
    )


def _disagrees(witness: _Witness, seen: Checkpoint) -> Conflict:
    return Conflict(
        "witness_disagrees",
        f"the witness `{witness.key.name}` has cosigned other first {seen.size} entries of this log: the records were "
        "changed, or restored from an older copy and gone on with",
        _RESTORE,
    )


def _line_of(witness: _Witness, text: str, body: bytes) -> str:
    """The witness's own line in its answer, verified over the checkpoint's text."""
    try:
        # SECURITY: what it answers is believed for its own key's signature over this very text.
        note = open_note(text.encode() + b"\n" + body, [witness.key])
    except InvalidInput as error:
        raise _Refused(f"answers with no cosignature of its key: {error.message}") from None
    return note.signatures[0].line


def _meaning(status: int) -> _Refused:
    if status == 404:
        return _Refused('does not know this log: give it the log\'s key, `remit witness --log "$(remit log key)"`')
    if status == 403:
        return _Refused("knows this log under another key: give it the one that `remit log key` prints")
    if status == 422:
        return _Contradicts("holds that this log is not what it has cosigned before")
    return _Refused(f"answers {status}")


def _words(error: Exception) -> str:
    """The reason, in words: of a certificate what does not hold, else what the system says."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return (
            f"its certificate does not hold: {getattr(error.certificate_error, 'verify_message', '') or 'not trusted'}"
        )
    if isinstance(error, aiohttp.ClientSSLError):
        return "TLS fails"
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if number else type(error).__name__


def _size_in(body: bytes) -> int:
    text = body.decode("ascii", "replace").removesuffix("\n")
    if not text.isascii() or not text.isdecimal() or len(text) > 19 or int(text) > SIZE_MAX:
        raise _Refused("answers 409 without a size")
    return int(text)


def _new_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=32, keepalive_timeout=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=SECONDS),
        headers={"User-Agent": "remit", "Accept-Encoding": "identity", "Content-Type": "application/octet-stream"},
        trust_env=False,
        auto_decompress=False,  # SECURITY: what was counted is what is read
        max_line_size=8 * 1024,
        max_field_size=8 * 1024,
    )


async def _bounded(response: aiohttp.ClientResponse, most: int) -> bytes:
    data = b""
    async for part in response.content.iter_chunked(16 * 1024):
        data += part
        if len(data) > most:
            raise _Refused(f"answers with more than {most} bytes")
    return data
