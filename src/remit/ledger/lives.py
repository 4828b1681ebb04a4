"""What `administration` and the identities' streams say, for the checks of sessions against them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from remit.ledger import bodies
from remit.ledger.deeds import Deeds
from remit.ledger.erasures import Erasures
from remit.ledger.findings import Report
from remit.ledger.practice import Practised

Level = tuple[int, int, int]  # from when a signal has which value, and until when

_NO_RISK: Final = frozenset({0})
_AT_ONCE: Final = 8  # changes of one signal within a millisecond


@dataclass(slots=True)
class Life:
    """The states of one identity and the times (ms) from which each held."""

    times: list[int] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    registrations: list[bodies.Registration] = field(default_factory=list)
    tokens: dict[str, tuple[str, int]] = field(default_factory=dict)  # outside ones: digest -> key, until


@dataclass(slots=True)
class Lives:
    """Configurations by digest with the time they were recorded, and the life of every identity."""

    configurations: dict[str, int] = field(default_factory=dict)
    parts: dict[str, dict[str, object]] = field(default_factory=dict)  # the digests behind each configuration
    identities: dict[str, Life] = field(default_factory=dict)
    risks: dict[str, dict[str, list[Level]]] = field(default_factory=dict)  # by identity and signal
    practised: Practised = field(default_factory=Practised)
    erasures: Erasures = field(default_factory=Erasures)
    deeds: Deeds = field(default_factory=Deeds)

    def enter(self, owner: str, body: bodies.Identity, at: int, n: int, report: Report) -> None:
        """Takes an `identity` record of the stream of `owner`."""
        registration = body.registration
        report.made("identities")
        stream = f"identity/{owner}"
        if registration.id != owner:
            report.find("identities", stream, n, f"it registers `{registration.id}`, whose stream this is not")
            return
        life = self.identities.setdefault(owner, Life())
        if life.states and life.states[-1] == "retired" and registration.state != "retired":
            report.find("identities", stream, n, f"it makes a retired identity {registration.state}")
        life.times.append(max(at, life.times[-1]) if life.times else at)
        life.states.append(registration.state)
        life.registrations.append(registration)

    def exchange(self, owner: str, body: bodies.Exchange, at: int, n: int, report: Report) -> None:
        """Takes an `exchange` record of the stream of `owner`."""
        report.made("identities")
        stream = f"identity/{owner}"
        if refusal := self.refusal(owner, at):
            report.find("identities", stream, n, f"an outside token is taken, and {refusal}")
            return
        tokens = self.identities[owner].tokens
        key, until = tokens.get(body.token, (body.key, 0))
        if key != body.key and at < until:
            report.find("identities", stream, n, f"the token `{body.token[:16]}…` is taken with a second key")
        tokens[body.token] = (body.key, body.until)

    def refusal(self, spiffe_id: str, at: int) -> str:
        """Why nothing may be permitted to this identity at `at`, or "".

        Streams share a clock of milliseconds but no order within one: at the millisecond of a change both the state
        before and the state after are taken to hold.
        """
        life = self.identities.get(spiffe_id)
        if life is None:
            return f"`{spiffe_id}` is not registered in this export"
        index = bisect_right(life.times, at) - 1
        if index < 0:
            return f"`{spiffe_id}` was registered only later"
        state = life.states[index]
        while state != "active" and index > 0 and life.times[index] == at:
            index -= 1
            if life.states[index] == "active":
                return ""
        return "" if state == "active" else f"`{spiffe_id}` was {state}"

    def registrations(self, spiffe_id: str, at: int) -> tuple[bodies.Registration, ...]:
        """The registrations of an identity that may have held at `at`: one, or more where it changed right then."""
        life = self.identities.get(spiffe_id)
        if life is None:
            return ()
        last = bisect_right(life.times, at)
        first = last - 1
        while first > 0 and life.times[first] == at:
            first -= 1
        return tuple(life.registrations[max(0, first) : last])

    def risk(self, owner: str, body: bodies.Risk, at: int) -> None:
        """Takes a `risk` record of the stream of `owner`."""
        levels = self.risks.setdefault(owner, {}).setdefault(body.signal, [])
        levels.append((max(at, levels[-1][0]) if levels else at, body.value, body.expires))

    def risk_at(self, spiffe_id: str, at: int, signals: Iterable[str]) -> frozenset[int] | None:
        """What the risk of an identity may have been at `at`, by these signals; None where too much happened then."""
        risks = self.risks.get(spiffe_id)
        if risks is None:
            return _NO_RISK
        possible = {0}
        for signal in signals:
            records = risks.get(signal, [])
            last = bisect_right(records, at, key=lambda record: record[0])
            first = last
            while first > 0 and records[first - 1][0] == at:
                first -= 1
            if last - first > _AT_ONCE:
                return None
            candidates = records[max(0, first - 1) : last] or [(0, 0, 0)]
            values = {value if expires > at else 0 for _, value, expires in candidates}
            if first == 0:
                values.add(0)
            possible = {max(one, other) for one in possible for other in values}
        return frozenset(possible)

    def unconfigured(self, config: str, at: int) -> str:
        """Why a decision at `at` can't quote this configuration, or ""."""
        recorded = self.configurations.get(config)
        if recorded is None:
            return f"the configuration `{config[:16]}…` was never recorded"
        return f"the configuration `{config[:16]}…` was recorded only later" if recorded > at else ""
