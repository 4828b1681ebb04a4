"""Keeps the index of the records up to date, beside the decisions and never in their way, and asks it.

A thread of the service adds what is recorded, file by file, a little at a time; a command that finds the index behind
does so itself. Nothing rests on the index but how long an answer takes: it is derived from the records, belongs to no
backup, and can be deleted at any time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from remit.app.folder import Folder
from remit.app.records import reader_of
from remit.core.errors import RemitError, Unavailable
from remit.storage.index_building import advance, covered
from remit.storage.index_facts import Lookup
from remit.storage.index_folder import IndexFolder
from remit.storage.index_segment import BLOCK, Damaged, Segment
from remit.storage.reader import Reader

log = logging.getLogger("remit.index")

EVERY_SECONDS: Final = 0.5
AGAIN_SECONDS: Final = 5.0  # after the records could not be read
SLOW: Final = 20_000  # records that a command does not index without showing progress
_STINT: Final = 0.0005  # seconds of work, after which the service's own thread goes first
_TRIES: Final = 5
_SETTLING_SECONDS: Final = 0.02
_SETTLING_TRIES: Final = 10

T = TypeVar("T")
Progress = Callable[[str, int, int], None]


class Indexer:
    """The thread of a service that keeps the index up to date."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._index = index_of(folder)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="remit-indexer", daemon=True)
        self._failing = ""
        self._since = 0.0

    def start(self) -> None:
        """Begins to index."""
        self._thread.start()

    def stop(self) -> None:
        """Ends at once; what is not indexed yet will be."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with reader_of(self._folder) as reader:
                    self._follow(reader)
            except _Stopped:
                return
            except RemitError as error:
                self._say(error.code, error.message)
            except Exception:
                log.warning("the index is not kept up to date: a fault in Remit", exc_info=True)
            self._stopping.wait(AGAIN_SECONDS)

    def _follow(self, reader: Reader) -> None:
        lookup = Lookup(reader)
        while not self._stopping.is_set():
            with self._index.locked(wait=False) as alone:
                self._since = time.perf_counter()
                busy = alone and advance(reader, self._index, lookup, self._step_aside) is not None
            if self._failing:
                log.warning("the index is kept up to date again")
                self._failing = ""
            if not busy:
                self._stopping.wait(EVERY_SECONDS)

    def _step_aside(self) -> None:
        """Lets decisions go first: of the time in which there is something to do, two thirds are theirs."""
        worked = time.perf_counter() - self._since
        if worked >= _STINT:
            if self._stopping.wait(min(2 * worked, 0.01)):
                raise _Stopped
            self._since = time.perf_counter()

    def _say(self, code: str, message: str) -> None:
        if code != self._failing:
            log.warning("the index is not kept up to date, `remit log` may take longer: %s", message)
        self._failing = code


class _Stopped(Exception):
    pass


def index_of(folder: Folder) -> IndexFolder:
    """Where the index of a project's records stands."""
    return IndexFolder(folder.index)


def ask(
    folder: Folder,
    reader: Reader,
    question: Callable[[IndexFolder | None], T],
    progress: Progress = lambda *_: None,
    warn: Callable[[str], None] = lambda _: None,
) -> T:
    """The answer to a question by the index, brought up to date before; None stands for answering without one.

    A damaged file is removed and made again. Raises what the question raises, and `Unavailable` for the records.
    """
    index = index_of(folder)
    for _ in range(_TRIES):
        try:
            catch_up(reader, index, progress)
        except Unavailable as error:
            if error.code != "index_unwritable":
                raise
            warn(error.message)
        try:
            return question(index)
        except Damaged as damaged:
            warn(f"{damaged}, and made again")
            try:
                index.remove([damaged.path])
            except Unavailable:
                break
    return question(None)


def catch_up(reader: Reader, index: IndexFolder, progress: Progress = lambda *_: None) -> None:
    """Indexes what is not yet; does not wait for who does so now, unless much is missing.

    Raises `Unavailable`, with `index_unwritable` where the folder can't be written.
    """
    lookup = Lookup(reader)
    _settle(reader)
    missing, total = behind(reader, index), reader.settled()
    shown = missing > SLOW
    reached: int | None = total - missing
    while reached is not None:
        if shown:
            progress("indexing", min(reached, total), total)
        with index.locked(wait=behind(reader, index) > BLOCK) as alone:
            reached = advance(reader, index, lookup) if alone else None
    if shown:
        index.tidy()


def _settle(reader: Reader) -> None:
    """Waits a moment where nothing is known to be settled: those who write just now will have ended."""
    for _ in range(_SETTLING_TRIES):
        if reader.settled() or not reader.after(0, 1):
            return
        time.sleep(_SETTLING_SECONDS)


def rebuild(reader: Reader, index: IndexFolder, progress: Progress = lambda *_: None) -> None:
    """Deletes the index and makes it anew; `Unavailable("index_unwritable")`."""
    with index.locked(wait=True):
        index.clear()
    catch_up(reader, index, progress)


def behind(reader: Reader, index: IndexFolder) -> int:
    """How many places are settled and not indexed yet."""
    ranges, _ = covered(reader, index)
    return max(0, reader.settled() - (ranges[-1].end - 1 if ranges else 0))


def damage(index: IndexFolder) -> list[str]:
    """The names of files that are not what was written."""
    found = []
    for each in index.ranges():
        try:
            with Segment(each.path) as segment:
                segment.check()
        except Damaged:
            found.append(each.path.name)
        except FileNotFoundError:
            continue  # merged meanwhile
    return found
