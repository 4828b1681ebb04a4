"""`temporal`: what three temporal clauses cost at one decision, by the number of events that their windows hold.

The clauses: a `formerly` that is correlated with the request, a `count` over a window, a `since` with a negated left
side. A decision evaluates all three and takes its own event into the history. The history is in its steady state: the
windows hold so many events, and with each new one the oldest leaves. Beside it the reference engine with the same
policy and the same events; its verdicts have to be the same, and it grows too slow to be asked beyond 3,000 events.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from bench.result import Claim, Result, percentile
from remit.policy.compiled.values import Entity
from remit.policy.dogwood import lowering, rules
from remit.policy.dogwood.ast import Leaf
from remit.policy.dogwood.history import Event, Monitor, Request
from remit.policy.dogwood.monitor import plan
from remit.policy.dogwood.monitor.watching import Watch

SIZES: Final = (10, 100, 1_000, 3_000, 10_000, 100_000)
LAST_OF_REFERENCE: Final = 3_000
DECISIONS, QUICK = 4_000, 200
ASKED: Final = 20  # of the reference, at each size
COMPARED: Final = 500  # events, at each of which the verdicts are compared
WINDOW_MS: Final = 3_600_000
USERS: Final = 7
US: Final = 1e-3  # of a nanosecond

_ACTION: Final = "Agent::Action"
_PRINCIPAL: Final = Entity(("Agent::OAuthUser", "agent"))
_RESOURCE: Final = Entity(("Agent::Gateway", "g"))
_ACTIONS: Final = ("Transfer",) * 7 + ("Approve", "Grant", "Revoke")  # seven of ten events are transfers

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
    ours = {size: _measured(size, decisions, result) for size in sizes}
    last = sizes[-1] if quick else LAST_OF_REFERENCE
    theirs = _reference([size for size in sizes if size <= last], result)
    result.rows.append({"what": "verdicts as the reference's", "events": COMPARED, "decisions": _agree()})
    ratio = ours[sizes[-1]] / ours[100]
    result.claims.append(Claim(f"{sizes[-1]} against 100 events, times", round(ratio, 2), "<=", 1.3))
    faster = theirs[last] / ours[last]
    result.claims.append(Claim(f"faster than the reference at {last} events, times", round(faster), ">=", 200))
    return result


def leaves() -> tuple[Leaf, ...]:
    """The three clauses."""
    file = rules.read("bench.dw", POLICY, {})
    return tuple(leaf for rule in file.rules for leaf in lowering.lower(rule, file.macros).leaves)


def _measured(size: int, decisions: int, result: Result) -> float:
    clauses = leaves()
    names = frozenset(leaf.name for leaf in clauses)
    monitor: Monitor = plan(clauses, 2 * size + 100).start()
    events = _events(step=WINDOW_MS // size)
    for event in itertools.islice(events, size + size // 4 + 1):
        monitor.observe(event)
    evaluated, observed = [], []
    for event in itertools.islice(events, decisions):
        if event.action != "Transfer":
            monitor.observe(event)
            continue
        request = _request(event)
        began = time.perf_counter_ns()
        monitor.evaluate(request, event, names)
        between = time.perf_counter_ns()
        monitor.observe(event)
        observed.append(time.perf_counter_ns() - between)
        evaluated.append(between - began)
    both = [sum(each) * US for each in zip(evaluated, observed, strict=True)]
    assert isinstance(monitor, Watch)
    row = {
        "what": "remit: three clauses and the event",
        "events": size,
        "decisions": len(both),
        "p50_us": round(percentile(both, 0.5), 1),
        "p99_us": round(percentile(both, 0.99), 1),
        "evaluate_p50_us": round(percentile(evaluated, 0.5) * US, 1),
        "observe_p50_us": round(percentile(observed, 0.5) * US, 1),
        "rows_held": monitor.size,
        "snapshot_bytes": len(monitor.dump()),
    }
    result.rows.append(row)
    return percentile(both, 0.5)


def _reference(sizes: Sequence[int], result: Result) -> dict[int, float]:
    from dogwood import native  # a development dependency

    engine = native.NativeAuthorizer(POLICY, SCHEMA, None)
    events, there, found = _events(step=1), 0, {}
    for size in sizes:
        for event in itertools.islice(events, size - there):
            _ask(engine, event)
        times = []
        for event in itertools.islice(events, ASKED):
            began = time.perf_counter_ns()
            _ask(engine, event)
            if event.action == "Transfer":
                times.append((time.perf_counter_ns() - began) * US)
        there = size + ASKED
        found[size] = percentile(times, 0.5)
        row = {"what": "reference", "events": size, "decisions": len(times), "p50_us": round(found[size], 1)}
        result.rows.append({**row, "p99_us": round(max(times), 1)})
    return found


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
