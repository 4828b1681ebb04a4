"""The trace that an action belongs to (W3C Trace Context, `traceparent`): told by whoever acts, recorded, exported.

It joins decisions to the agent's own spans and decides nothing: a `traceparent` that is malformed counts as none.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

TRACEPARENT_BYTES: Final = 55
_FORM: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_current: ContextVar[str] = ContextVar("remit_traceparent", default="")


def traceparent(text: object) -> str:
    """The value as it is when it is a `traceparent` of version 00 (W3C Trace Context, 3.2), else ""."""
    return text if isinstance(text, str) and len(text) == TRACEPARENT_BYTES and _FORM.fullmatch(text) else ""


@contextmanager
def within(value: object) -> Iterator[None]:
    """Asks made within belong to this trace, where `value` is one."""
    found = traceparent(value)
    if not found:
        yield
        return
    token = _current.set(found)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> str:
    """The trace that an ask belongs to now: `within`, else OpenTelemetry's span, else `TRACEPARENT`; "" for none."""
    return _current.get() or _from_opentelemetry() or traceparent(os.environ.get("TRACEPARENT"))


def _opentelemetry() -> Callable[[], str]:
    """What asks OpenTelemetry's API for the active span, where that package is installed."""
    if importlib.util.find_spec("opentelemetry") is None or importlib.util.find_spec("opentelemetry.trace") is None:
        return lambda: ""
    api: Any = importlib.import_module("opentelemetry.trace")

    def active() -> str:
        span = api.get_current_span().get_span_context()
        if not span.is_valid:
            return ""
        return f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}"

    return active


_from_opentelemetry: Final = _opentelemetry()
