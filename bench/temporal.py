"""`temporal`: what three temporal clauses cost at one decision, by the number of events that their windows hold.

The clauses: a `formerly` that is correlated with the request, a `count` over a window, a `since` with a negated left
side. A decision evaluates all three and takes its own event into the history. The history is in its steady state: the
windows hold so many events, and with each new one the oldest leaves. Beside it the reference engine with the same
policy and the same events; its verdicts have to be the same, and it grows too slow to be asked beyond 3,000 events.
Of the reference the time of the processor is taken: its decisions are long enough to be interrupted by other programs.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from typing import Any, Final

from bench.result import Claim, Result, percentile
from remit.policy.compiled.values import Entity
from remit.policy.dogwood import lowering, rules
from remit.policy.dogwood.ast import Leaf
from remit.policy.dogwood.history import Event, Request
from remit.policy.dogwood.monitor import plan
from remit.policy.dogwood.monitor.watching import Watch

SIZES: Final = (10, 100, 1_000, 3_000, 10_000, 100_000)
LAST_OF_REFERENCE: Final = 3_000
DECISIONS, QUICK = 4_000, 200
TURNS: Final = 5
ASKED: Final = 6  # decisions of the reference in one turn; the first finds everything cold, and is left out
COMPARED: Final = 500  # events, at each of which the verdicts are compared
WINDOW_MS: Final = 3_600_000
USERS: Final = 7
US: Final = 1e-3  # of a nanosecond

_ACTION: Final = "Agent::Action"
_PRINCIPAL: Final = Entity(("Agent::OAuthUser", "agent"))
_RESOURCE: Final = Entity(("Agent::Gateway", "g"))
_ACTIONS: Final = ("Transfer",) * 12 + ("Approve", "Grant", "Revoke")  # four of five events are transfers

POLICY: Final = """
@id("transfers")
permit (principal, action == Agent::Action::"Transfer", resource)
when temporal {
    formerly within 1h Agent::Action::"Approve"::request{ input.user: context.input.user }
}
when temporal {
    exists (n: Long). ((count for (t: Timepoint). where (
        formerly within 1h (Agent::Action::"Transfer"::request{ input.user: context.input.user } && tp(t))
    )) == n && n < 1000000)
}
when temporal {
    !Agent::Action::"Revoke"::request{ input.user: context.input.user }
    since within 1h Agent::Action::"Grant"::request{ input.user: context.input.user }
};
"""
SCHEMA: Final = """
namespace Agent {
  type Input = { amount: Long, user: String };
  entity Gateway; entity OAuthUser;
  action "Transfer", "Approve", "Grant", "Revoke"
    appliesTo { principal: [OAuthUser], resource: [Gateway], context: { input: Input } };
}
"""


def run(*, quick: bool = False) -> Result:
    """Measures and returns rows and claims."""
    result = Result()
    decisions = QUICK if quick else DECISIONS
    sizes = tuple(size for size in SIZES if size <= 1_000) if quick else SIZES
    last = sizes[-1] if quick else LAST_OF_REFERENCE
    theirs = _Reference()
    ours: dict[int, float] = {}
    peers: dict[int, float] = {}
    for size in sizes:
        mine = _Remit(size)
        if size <= last:
            theirs.grow(size)
        # In turns, so that what else the machine does slows both alike.
        for _ in range(TURNS):
            mine.decide(decisions // TURNS)
            if size <= last:
                theirs.ask(ASKED)
        result.rows.append(mine.row())
        ours[size] = percentile(mine.both, 0.5)
        if size <= last:
            result.rows.append(theirs.row(size))
            peers[size] = percentile(theirs.times, 0.5)
    result.rows.append({"what": "verdicts as the reference's", "events": COMPARED, "decisions": _agree()})
    ratio = ours[sizes[-1]] / ours[100]
    result.claims.append(Claim(f"{sizes[-1]} against 100 events, times", round(ratio, 2), "<=", 1.3))
    faster = peers[last] / ours[last]
    result.claims.append(Claim(f"faster than the reference at {last} events, times", round(faster), ">=", 200))
    return result


def leaves() -> tuple[Leaf, ...]:
    """The three clauses."""
    file = rules.read("bench.dw", POLICY, {})
    return tuple(leaf for rule in file.rules for leaf in lowering.lower(rule, file.macros).leaves)


class _Remit:
    """A monitor in its steady state, and what its decisions took in microseconds."""

    def __init__(self, size: int) -> None:
        clauses = leaves()
        self.size = size
        self.evaluated: list[float] = []
        self.observed: list[float] = []
        self._names = frozenset(leaf.name for leaf in clauses)
        self._monitor = plan(clauses, 2 * size + 100).start()
        self._events = _events(step=WINDOW_MS // size)
        for event in itertools.islice(self._events, size + size // 4 + 1):
            self._monitor.observe(event)

    @property
    def both(self) -> list[float]:
        """Of each decision: its clauses, and its event."""
        return [sum(each) for each in zip(self.evaluated, self.observed, strict=True)]

    def decide(self, count: int) -> None:
        for event in itertools.islice(self._events, count):
            if event.action != "Transfer":
                self._monitor.observe(event)
                continue
            request = _request(event)
            began = time.perf_counter_ns()
            self._monitor.evaluate(request, event, self._names)
            between = time.perf_counter_ns()
            self._monitor.observe(event)
            self.observed.append((time.perf_counter_ns() - between) * US)
            self.evaluated.append((between - began) * US)

    def row(self) -> dict[str, Any]:
        began = time.thread_time_ns()
        snapshot = self._monitor.dump()
        took = (time.thread_time_ns() - began) * US / 1000
        assert isinstance(self._monitor, Watch)
        return {
            "what": "remit",
            "events": self.size,
            "decisions": len(self.both),
            "p50_us": round(percentile(self.both, 0.5), 1),
            "p99_us": round(percentile(self.both, 0.99), 1),
            "evaluate_p50_us": round(percentile(self.evaluated, 0.5), 1),
            "observe_p50_us": round(percentile(self.observed, 0.5), 1),
            "rows_held": self._monitor.size,
            "snapshot_bytes": len(snapshot),
            "snapshot_ms": round(took, 1),
        }


class _Reference:
    """The reference engine, whose history only grows."""

    def __init__(self) -> None:
        from dogwood import native  # a development dependency

        self.times: list[float] = []
        self._engine = native.NativeAuthorizer(POLICY, SCHEMA, None)
        self._events = _events(step=1)
        self._there = 0

    def grow(self, size: int) -> None:
        """Until its history has so many events; the times begin anew."""
        for event in itertools.islice(self._events, size - self._there):
            _ask(self._engine, event)
        self._there = size
        self.times = []

    def ask(self, count: int) -> None:
        """So many decisions on transfers."""
        times: list[float] = []
        while len(times) < count:
            event = next(self._events)
            self._there += 1
            began = time.thread_time_ns()
            _ask(self._engine, event)
            if event.action == "Transfer":
                times.append((time.thread_time_ns() - began) * US)
        self.times += times[1:]

    def row(self, size: int) -> dict[str, Any]:
        row = {"what": "reference", "events": size, "decisions": len(self.times)}
        return row | {f"p{share}_us": round(percentile(self.times, share / 100), 1) for share in (50, 99)}


def _agree() -> int:
    """How many decisions were compared, each with the verdict of the reference; fails at another verdict."""
    from dogwood import native

    engine = native.NativeAuthorizer(POLICY, SCHEMA, None)
    clauses = leaves()
    names = frozenset(leaf.name for leaf in clauses)
    monitor = plan(clauses).start()
    compared = 0
    for event in itertools.islice(_events(step=1), COMPARED):
        verdict = _ask(engine, event)
        holds = all(monitor.evaluate(_request(event), event, names).values())
        monitor.observe(event)
        if event.action == "Transfer":
            compared += 1
            if (verdict == "Allow") is not holds:
                raise RuntimeError(f"the reference says {verdict} of {event}, the monitor {holds}")
    return compared


def _events(step: int) -> Iterator[Event]:
    chance = random.Random(17)
    for number in itertools.count():
        fields: dict[tuple[str, ...], Any] = {
            ("input", "user"): f"u{chance.randrange(USERS)}",
            ("input", "amount"): number,
            ("callerPrincipal",): _PRINCIPAL,
            ("callerResource",): _RESOURCE,
            ("requestId",): str(number),
        }
        yield Event(_ACTION, chance.choice(_ACTIONS), "request", 1_780_000_000_000 + number * step, fields)


def _request(event: Event) -> Request:
    given = {path[1]: value for path, value in event.fields.items() if path[0] == "input"}
    return Request(_PRINCIPAL, _RESOURCE, {"input": given})


def _ask(engine: Any, event: Event) -> str:
    given = {path[1]: value for path, value in event.fields.items() if path[0] == "input"}
    action, (of, name), (to, gateway) = f"{_ACTION}::{event.action}", _PRINCIPAL, _RESOURCE
    verdict: str = engine.authorize_request(action, f'{of}::"{name}"', f'{to}::"{gateway}"', given)
    return verdict
