"""Events as syslog messages (RFC 5424), framed by their length (RFC 5425, 4.3; RFC 6587, 3.4.1)."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from typing import Final

from remit.app.forwarding.events import Event

FACILITY: Final = 13  # log audit (RFC 5424, 6.2.1)
ENTERPRISE: Final = "32473"  # the number for examples (RFC 5612); Remit has none registered
MESSAGE_BYTES: Final = 8_192  # what a receiver over TLS should take (RFC 5425, 4.3.1)

_SEVERITY: Final = {"info": 6, "warning": 4, "error": 3}
_BOM: Final = "\ufeff"
_DATA: Final = 1_800  # characters of structured data, of up to four bytes


def message_of(event: Event, host: str) -> bytes:
    """One message: header, structured data `remit@…`, and the event's line."""
    priority = FACILITY * 8 + _SEVERITY[event.level]
    at = datetime.fromtimestamp(event.at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    header = f"<{priority}>1 {at} {_name(host, 255)} remit - {_name(event.kind, 32)} "
    given = {
        "uid": event.uid, "stream": event.stored.stream, "n": str(event.stored.n), "decision": event.decision,
        "effect": event.effect, "code": event.code, "policies": " ".join(event.policies), "action": event.action,
        "subject": event.subject, "pep": event.pep, "by": event.by, "task": event.task, "root": event.root,
        "intent": event.intent, "state": event.state, "result": event.result, "mode": event.mode,
        "traceparent": event.trace, "count": str(event.count) if event.count > 1 else "",
    }  # fmt: skip
    data = ""
    for name, value in given.items():
        more = f' {name}="{_value(value)}"' if value else ""
        if len(data) + len(more) <= _DATA:  # a value that does not fit is left out, never cut
            data += more
    whole = f"{header}[remit@{ENTERPRISE}{data}] {_BOM}{event.text}".encode()
    # What is cut is the end of the line for people: the structured data always fits.
    return whole if len(whole) <= MESSAGE_BYTES else whole[:MESSAGE_BYTES].decode(errors="ignore").encode()


def framed(message: bytes) -> bytes:
    """The message behind its length."""
    return b"%d %s" % (len(message), message)


def host_name() -> str:
    """What this host is called in messages."""
    return socket.gethostname() or "-"


def _name(text: str, most: int) -> str:
    """A header field: printable ASCII without spaces, "-" for nothing (RFC 5424, 6)."""
    kept = "".join(c if "!" <= c <= "~" else "_" for c in text)[:most]
    return kept or "-"


def _value(text: str) -> str:
    """A parameter's value, escaped (RFC 5424, 6.3.3), on one line and of bounded length."""
    # SECURITY: a name that a caller chose can't end the element, the message or the line.
    kept = "".join(c if c.isprintable() else "\ufffd" for c in text[:512])
    return kept.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")
