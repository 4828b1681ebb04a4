"""Change windows: which of `windows/*.ics` are open at a moment.

A window is one iCalendar file (RFC 5545) and is named by the file's stem. It is open from the start of each of its
confirmed events until that event's end (exclusive).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from remit.core import canonical
from remit.core.documents import read_text
from remit.core.errors import DocumentError
from remit.decide.calendars.events import Allowance, Series, parse_calendars

FILES: Final = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DAY_MS: Final = 86_400_000
_BEHIND: Final = 2 * _DAY_MS  # how much of the past is at hand
_AHEAD: Final = 400 * _DAY_MS
_REFRESH: Final = 31 * _DAY_MS  # after this, the future is worked out anew
_LATEST: Final = 7_258_118_400_000  # the year 2200; nothing is open later

_Spans = tuple[list[int], list[int]]  # starts and ends, ascending, apart from each other
_Slice = tuple[int, int, frozenset[str]]  # from, until, and the windows open between


class _Horizon(NamedTuple):
    """The intervals of all windows, good for questions from `since` to `until` (ms)."""

    since: int
    until: int
    spans: Mapping[str, _Spans]


class Windows:
    """The change windows of a project: fixed once loaded; answers from intervals worked out around the asked time.

    Answers never fail: outside of the years 1970 to 2199 every window is closed.
    """

    def __init__(self, series: Mapping[str, Sequence[Series]], sources: Mapping[str, str]) -> None:
        """`series` and `sources` (the file's text) by window name."""
        self._series = dict(series)
        index = {name: canonical.sha256(text.encode()) for name, text in sorted(sources.items())}
        text = canonical.encode(index).decode()
        self.digest = canonical.sha256(text.encode())
        self.texts: Mapping[str, str] = {self.digest: text, **{index[name]: sources[name] for name in index}}
        self._horizon = _Horizon(0, 0, {})
        self._slice: _Slice = (0, 0, frozenset())

    @classmethod
    def load(cls, folder: Path) -> Windows:
        """Reads `folder`; a missing one has no windows. Raises `DocumentError` with file, line and fix."""
        if not folder.is_dir():
            return cls({}, {})
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".ics" and path.name[0] != ".")
        if len(files) > FILES:
            raise DocumentError(f"there are more than {FILES} calendars", path=folder, next_step="merge some")
        allowance = Allowance()
        series: dict[str, list[Series]] = {}
        sources: dict[str, str] = {}
        for path in files:
            name = path.stem
            if not _NAME.fullmatch(name) or path.suffix != ".ics":
                fix = "use letters, digits and `.`, `_`, `-`, and the ending `.ics`"
                raise DocumentError(f"`{path.name}` can't name a window", path=path, next_step=fix)
            sources[name] = read_text(path)
            series[name] = parse_calendars(sources[name], path, allowance)
        return cls(series, sources)

    @property
    def names(self) -> frozenset[str]:
        """All windows, open or not."""
        return frozenset(self._series)

    def open_at(self, now_ms: int) -> frozenset[str]:
        """The names of the windows open at `now_ms`."""
        since, until, names = self._slice
        if since <= now_ms < until:
            return names
        return self._look(now_ms)

    def next_open(self, name: str, now_ms: int) -> int | None:
        """When the window is open again, from `now_ms` on: `now_ms` itself when it is open.

        None when there is no such window, or when it does not open within a year.
        """
        horizon = self._around(now_ms)
        if horizon is None or name not in horizon.spans:
            return None
        starts, ends = horizon.spans[name]
        at = bisect_right(ends, now_ms)
        return max(starts[at], now_ms) if at < len(starts) else None

    def _look(self, now_ms: int) -> frozenset[str]:
        """Works out who is open, and for how long that stays so."""
        horizon = self._around(now_ms)
        if horizon is None:
            return frozenset()
        since, until = horizon.since, horizon.until
        names: set[str] = set()
        for name, (starts, ends) in horizon.spans.items():
            at = bisect_right(starts, now_ms)
            if at and now_ms < ends[at - 1]:
                names.add(name)
                since, until = max(since, starts[at - 1]), min(until, ends[at - 1])
            else:
                since = max(since, ends[at - 1]) if at else since
                until = min(until, starts[at]) if at < len(starts) else until
        answer = frozenset(names)
        self._slice = (since, until, answer)  # one store, so that another thread sees all of it or nothing
        return answer

    def _around(self, now_ms: int) -> _Horizon | None:
        """The intervals of all windows around a moment: those at hand, or worked out anew."""
        if not 0 <= now_ms < _LATEST:
            return None
        horizon = self._horizon
        if not horizon.since <= now_ms < horizon.until:
            since = now_ms - _BEHIND
            spans = {name: _merged(series, since, now_ms + _AHEAD) for name, series in self._series.items()}
            self._horizon = horizon = _Horizon(since, now_ms + _REFRESH, spans)
        return horizon


def _merged(series: Sequence[Series], low: int, high: int) -> _Spans:
    """Openings that touch `low` to `high`, joined where they overlap or meet."""
    starts: list[int] = []
    ends: list[int] = []
    found = [span for one in series for span in one.openings(low, high)]
    for start, end in sorted(found):
        if end <= low or start >= high:
            continue
        if ends and start <= ends[-1]:
            ends[-1] = max(ends[-1], end)
        else:
            starts.append(start)
            ends.append(end)
    return starts, ends
