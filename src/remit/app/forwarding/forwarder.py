"""Forwards records to receivers, each in a thread of its own: at least once, in order, never in a decision's way.

1. The cursor: everything up to it was received. It must be of these records.
2. A batch of what comes after it, as far as nothing can come up in between any more.
3. Sent; only when the receiver has it all, the cursor moves, durably.
4. When the receiver can't be reached: again, after a while that grows to a minute; records wait in the database.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from remit.app.folder import Folder
from remit.app.forwarding.cursor import Cursor, CursorFile, check_continues, cursor_at
from remit.app.forwarding.events import Events
from remit.app.forwarding.senders import Sender, sender_of
from remit.app.records import reader_of
from remit.core.clock import Clock, system_clock
from remit.core.errors import InvalidInput, NotFound, RemitError
from remit.core.forward import ForwardSettings
from remit.core.settings import Settings
from remit.storage.reader import Reader

log = logging.getLogger("remit.forward")

BATCH: Final = 64
EVERY_SECONDS: Final = 0.5
AGAIN_SECONDS: Final = (1.0, 2.0, 5.0, 15.0, 60.0)  # after failures; the last one from then on
_STEP_ASIDE: Final = 0.002  # between batches, for decisions

Progress = Callable[[int, int], None]


def cursor_of(folder: Folder, name: str) -> CursorFile:
    """The cursor of one receiver."""
    return CursorFile(folder.forward / f"{name}.json")


def chosen(settings: Settings, name: str) -> ForwardSettings:
    """The receiver of that name; `NotFound` says which there are."""
    for one in settings.forward:
        if one.name == name:
            return one
    known = ", ".join(one.name for one in settings.forward) or "none"
    raise NotFound(
        "forward_unknown", f"there is no `[[forward]]` named `{name[:64]}`", f"declared in remit.toml: {known}"
    )


class Forwarding:
    """One receiver, and what is sent to it; for one thread."""

    def __init__(self, folder: Folder, settings: ForwardSettings, clock: Clock = system_clock) -> None:
        """`DocumentError` for a file that the settings name and that can't be used."""
        self.settings = settings
        self._cursor = cursor_of(folder, settings.name)
        self._sender: Sender = sender_of(settings, folder.root)
        self._clock = clock

    def send(
        self, reader: Reader, stopped: Callable[[], bool] = lambda: False, progress: Progress | None = None
    ) -> int:
        """Sends what is there now; how many. Raises `RemitError` where it can't go on."""
        cursor = self._cursor.read()
        check_continues(cursor, reader)
        events, sent = Events(reader), 0
        settled = reader.settled()
        whole = max(0, settled - cursor.place)
        while not stopped():
            batch = [each for each in reader.after(cursor.place, BATCH) if each.seq <= settled]
            if not batch:
                break
            now = self._clock()
            self._sender.send([events.of(stored) for stored in batch], now)
            cursor = cursor_at(batch[-1], now)
            self._cursor.write(cursor)
            sent += len(batch)
            if progress is not None:
                progress(min(sent, whole), whole)
        return sent

    def close(self) -> None:
        """Lets go of the receiver."""
        self._sender.close()


class Forwarder:
    """The thread of a service that forwards to one receiver."""

    def __init__(self, folder: Folder, settings: ForwardSettings, clock: Clock = system_clock) -> None:
        """`DocumentError` for a file that the settings name and that can't be used."""
        self.name = settings.name
        self.failing = ""  # why nothing can be sent now
        self._folder = folder
        self._forwarding = Forwarding(folder, settings, clock)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"remit-forward-{self.name}", daemon=True)

    def start(self) -> None:
        """Begins to forward."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after what is being sent; what is left waits for the next start."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._forwarding.close()

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                with cursor_of(self._folder, self.name).alone(), reader_of(self._folder) as reader:
                    while not self._stopping.is_set():
                        sent = self._forwarding.send(reader, self._wait_a_moment)
                        self._works()
                        failures = 0
                        if not sent:
                            self._stopping.wait(EVERY_SECONDS)
                return
            except RemitError as error:
                self._fails(error.code, error.message)
            except Exception:
                self._fails("internal_fault", "a fault in Remit")
                log.exception("forwarding to `%s` failed", self.name)
            self._stopping.wait(AGAIN_SECONDS[min(failures, len(AGAIN_SECONDS) - 1)])
            failures += 1

    def _wait_a_moment(self) -> bool:
        return self._stopping.wait(_STEP_ASIDE)

    def _works(self) -> None:
        if self.failing:
            log.warning("records are forwarded to `%s` again", self.name)
            self.failing = ""

    def _fails(self, code: str, message: str) -> None:
        if code != self.failing:
            log.critical("ALARM nothing is forwarded to %s, records wait: %s", self.name, message)
        self.failing = code


def forwarders_of(folder: Folder, settings: Settings, clock: Clock = system_clock) -> list[Forwarder]:
    """One for each `[[forward]]`, not started yet."""
    return [Forwarder(folder, one, clock) for one in settings.forward]


def rewind(folder: Folder, name: str, to: str, reader: Reader, clock: Clock = system_clock) -> Cursor:
    """Puts a cursor to the `start`, or behind what is there `now`; while nothing is being sent."""
    if to not in ("start", "now"):
        raise InvalidInput("rewind_invalid", f"`{to[:64]}` is not where to rewind to", "`--to start`, or `--to now`")
    file = cursor_of(folder, name)
    with file.alone():
        cursor = Cursor()
        if to == "now":
            last = reader.at([reader.settled()])
            cursor = cursor_at(last[0], clock()) if last else Cursor()
        file.write(cursor)
    return cursor
