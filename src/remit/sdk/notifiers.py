"""Telling: what a decision obliges to be told is delivered to the notifiers that `remit.toml` declares.

1. Only declared notifiers are known by name here; an answer can name no address.
2. All notifiers of a decision are told at the same time, within 3 seconds in all, whatever they do.
3. A webhook is signed (`webhook`), tried again within that time when it may help, and follows no redirect.
4. A file gets one line, which is on the disk when this returns.
5. Delivered means a 2xx answer, or the line on the disk; anything else is a failure, with its cause in the log.

A message says what was decided, for whom and by which policies, nothing of the arguments and nothing of a result.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from remit.core.clock import Clock, system_clock
from remit.core.decisions import Decision
from remit.core.errors import RemitError
from remit.core.ids import new_id
from remit.core.notifiers import TELL_SECONDS, NotifierSettings
from remit.core.obligations import NOTIFY
from remit.decide.rates import Rates
from remit.sdk.negotiation import topic
from remit.sdk.permit import Refused
from remit.sdk.webhook import message_id, read_secrets, signed_headers

ATTEMPT_SECONDS: Final = 1.2
PAUSES: Final = (0.0, 0.2, 0.5)  # before each attempt
CONNECTIONS: Final = 16
TEST: Final = "remit.test"  # the type of a message that tells of nothing

_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_POLICIES: Final = 32  # named in one message
_TEXT: Final = 1024
_log = logging.getLogger("remit.sdk")
_encode = msgspec.json.Encoder().encode


class _Failed(Exception):
    """One attempt failed: why, and whether another one may help."""

    def __init__(self, why: str, *, again: bool = False) -> None:
        super().__init__(why)
        self.again = again


class Notifiers:
    """The declared notifiers of one enforcement point. Close it with `close`; safe to use again afterwards."""

    def __init__(
        self, declared: Iterable[NotifierSettings] = (), root: Path = Path(), clock: Clock = system_clock
    ) -> None:
        """`root` is the folder that files are named from."""
        self._declared = {notifier.name: notifier for notifier in declared}
        self._root = root
        self._clock = clock
        self._rates = {name: Rates(each.per_minute / 60, each.per_minute) for name, each in self._declared.items()}
        self._left_out: Counter[str] = Counter()
        self._session: aiohttp.ClientSession | None = None

    @property
    def names(self) -> frozenset[str]:
        """Whom this enforcement point can tell."""
        return frozenset(self._declared)

    async def tell(self, decision: Decision, *, workload: str, point: str) -> None:
        """Tells whom the decision obliges to tell; nobody for a probe.

        Returns within `TELL_SECONDS`. Raises `Refused("obligation_failed")` when it is a permit and somebody could not
        be told: nothing may happen then. A denial stays one, and the failure is logged.
        """
        names = [obligation.to for obligation in decision.obligations if obligation.id == NOTIFY]
        if not names or decision.probe or not decision.id:
            return
        message = _message(topic(decision.permitted), decision.at, _data(decision, workload, point))
        found = await asyncio.gather(*[self._tell(name, decision.id, message) for name in names])
        failed = {name: why for name, why in zip(names, found, strict=True) if why}
        for name, why in failed.items():
            _log.warning("the notifier %s was not told of decision %s: %s", name[:64], decision.id[:64], why)
        if failed and decision.permitted:
            # SECURITY: a permit holds only when what it obliges to was done; the cause is for the log alone.
            raise Refused(
                "obligation_failed",
                f"`{min(failed)[:64]}` must be told before this action, and could not be",
                "try again; an operator finds the cause in the log of the enforcement point",
                decision,
            )

    async def try_out(self, name: str) -> str:
        """Sends a test message to one notifier: "" when it was delivered, else why not."""
        now = self._clock()
        return await self._tell(name, new_id("test", now), _message(TEST, now, {"message": "a test by its operator"}))

    async def close(self) -> None:
        """Closes the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _tell(self, name: str, about: str, message: Mapping[str, Any]) -> str:
        """Delivers one message: "" when that is done, else why not. `about` is the id of what it tells of."""
        notifier = self._declared.get(name)
        if notifier is None:
            return "no notifier of this name is declared here"
        if not self._rates[name].admit(name):
            self._left_out[name] += 1
            return f"it was told {notifier.per_minute} times within a minute"
        left_out = self._left_out.pop(name, 0)
        if left_out:
            message = {**message, "data": {**message["data"], "leftOut": left_out}}
        try:
            async with asyncio.timeout(TELL_SECONDS):
                await self._deliver(notifier, message_id(about, name), message)
        except _Failed as failed:
            why = str(failed)
        except TimeoutError:
            why = f"it did not take it within {TELL_SECONDS:g} seconds"
        except RemitError as error:
            why = error.message
        except (OSError, RuntimeError) as error:
            why = f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"
        else:
            return ""
        self._left_out[name] += left_out
        return why

    async def _deliver(self, notifier: NotifierSettings, id_: str, message: Mapping[str, Any]) -> None:
        if notifier.file:
            await asyncio.to_thread(_append, self._root / notifier.file, _encode({"id": id_, **message}) + b"\n")
            return
        # Read each time, so that a secret can be replaced while this runs.
        secrets = await asyncio.to_thread(read_secrets, self._root / notifier.secret_file)
        body = _encode(message)
        failed = _Failed("nothing was tried")
        for pause in PAUSES:
            await asyncio.sleep(pause)
            try:
                await self._post(notifier.url, body, signed_headers(id_, self._clock() // 1000, body, secrets))
            except _Failed as error:
                failed = error
                if not error.again:
                    break
            else:
                return
        raise failed

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> None:
        session = self._session = self._session or _open_session()
        headers = {**headers, "Content-Type": "application/json", "User-Agent": "remit"}
        try:
            # SECURITY: a redirect leads to where nobody declared.
            async with session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                status = answer.status
        except TimeoutError:
            raise _Failed(f"no answer within {ATTEMPT_SECONDS:g} seconds", again=True) from None
        except aiohttp.ClientSSLError as error:
            raise _Failed(f"its identity can't be verified: {type(error).__name__}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _Failed(f"it can't be reached: {type(error).__name__}", again=True) from None
        if 300 <= status < 400:
            raise _Failed(f"it answered {status}, and redirects are not followed")
        if not 200 <= status < 300:
            raise _Failed(f"it answered {status}", again=status in _AGAIN)


NO_NOTIFIERS: Final = Notifiers()


def _open_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS, use_dns_cache=False),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=ATTEMPT_SECONDS),
        auto_decompress=False,
        trust_env=False,  # SECURITY: no proxy from the environment reads or changes a message
    )


def _append(path: Path, line: bytes) -> None:
    """Appends one line and waits for the disk; refuses what is no plain file."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
    # Not blocking: a named pipe in the file's place must not hang this. Not following: nor send it elsewhere.
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _Failed("it is not a plain file")
        if os.write(descriptor, line) != len(line):
            raise _Failed("the disk is full")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _message(type_: str, at: int, data: Mapping[str, Any]) -> dict[str, Any]:
    moment = datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
    return {"type": type_, "timestamp": moment, "data": data}


def _data(decision: Decision, workload: str, point: str) -> dict[str, Any]:
    """What a message says of a decision: what its record says too, and nothing of the arguments."""
    reason = decision.reason
    return {
        "decision": decision.id,
        "effect": decision.effect,
        "action": decision.action[:_TEXT],
        "workload": workload,
        "task": decision.task,
        "enforcementPoint": point,
        "mode": decision.mode,
        "reason": {
            "code": reason.code,
            "message": reason.message[:_TEXT],
            "policies": [policy.id for policy in reason.policies[:_POLICIES]],
        },
    }
