"""Forwarding: can each receiver's files be used, does its cursor fit these records, and is it far behind?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from remit.app.doctor.finding import Finding, Situation
from remit.app.forwarding.cursor import check_continues
from remit.app.forwarding.forwarder import cursor_of
from remit.app.forwarding.senders import sender_of
from remit.app.records import reader_of
from remit.core.errors import RemitError
from remit.core.forward import ForwardSettings
from remit.storage.reader import Reader

FAR: Final = 10_000  # records


def forwarding(situation: Situation) -> Iterator[Finding]:
    """Every `[[forward]]`; nothing is sent."""
    settings = situation.settings
    if settings is None or not settings.forward:
        return
    try:
        with reader_of(situation.folder) as reader:
            for one in settings.forward:
                yield _look_at(situation, one, reader)
    except RemitError:
        return  # another check says what is wrong with the records


def _look_at(situation: Situation, one: ForwardSettings, reader: Reader) -> Finding:
    try:
        sender_of(one, situation.folder.root).close()
        cursor = cursor_of(situation.folder, one.name).read()
        check_continues(cursor, reader)
    except RemitError as error:
        return Finding(
            check="forwarding",
            level="fail",
            message=f"nothing can be forwarded to `{one.name}`: {error.message}",
            next_step=error.next_step,
        )
    waiting = reader.settled() - cursor.place
    if waiting > FAR:
        return Finding(
            check="forwarding",
            level="warn",
            message=f"{waiting} records wait to be forwarded to `{one.name}`",
            next_step=f"see why: `remit forward send {one.name}`, or look at the service's log",
        )
    return Finding(check="forwarding", level="ok", message=f"`{one.name}`: {max(0, waiting)} records wait")
