"""`engine`: one decision of the policy engine, at 10, 1,000 and 10,000 policies, beside cedarpy and a peer.

All but the peer start from the same request in Python, a context of 32 attributes, and end in the decision with the
policies that decided; all answers are compared before anything is measured. cedarpy has its policies and entities
parsed once, and is asked twice: with the whole set, and with the right slice, which costs it nothing to find.
`typed` includes the check of the request against the schema, which cedarpy is spared.

They are asked in turn, a few hundred calls each, several times over; figures are medians of single calls, by the wall
clock.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import cedarpy
import msgspec
from cedarpy import _internal as cedar

from bench import agt
from bench.result import Claim, Result, percentile
from bench.workload import Rule, Workload, text_of
from remit.policy.compiled.bundle import Entry, Outcome
from remit.policy.compiled.entities import EntityStore
from remit.policy.compiled.environment import of_declared
from remit.policy.compiled.index import Index
from remit.policy.compiled.typed_index import TypedIndex, answer
from remit.policy.compiled.values import Entity, entity_of, value_of
from remit.policy.entities.interpretation import interpret
from remit.policy.entities.syntax import parse

SIZES: Final = (10, 1_000, 10_000)
QUICK_SIZES: Final = (10, 200)
TURNS, QUICK_TURNS = 8, 1
CALLS: Final = 1_024  # of one contender in one turn: all requests, twice
SECONDS: Final = 2.0  # at most, for one contender in one turn
US: Final = 1e6

Decided = tuple[bool, frozenset[str]]
Item = tuple[Entity, Entity, Entity, Mapping[str, Any]]
_encode: Final = msgspec.json.Encoder().encode


def run(*, quick: bool = False) -> Result:
    """Measures and returns rows and claims."""
    result = Result()
    p50: dict[tuple[str, int], float] = {}
    for count in QUICK_SIZES if quick else SIZES:
        for scoped in (True, False):
            for what, row in _measured(Workload(count, scoped=scoped), scoped, quick).items():
                result.rows.append({"what": what, "policies": count, **row})
                p50[what, count] = row["p50_us"]
        row = agt.measured(count, 20 if quick else max(100, 20_000 // count))
        result.rows.append({"what": "agent-governance-toolkit", "policies": count, **row})
    if not quick:
        result.claims += _claims(p50)
    return result


def _claims(p50: Mapping[tuple[str, int], float]) -> Iterable[Claim]:
    last, first = SIZES[-1], SIZES[0]

    def times(slower: str, faster: str) -> float:
        return round(p50[slower, last] / p50[faster, last], 1)

    yield Claim("dynamic, times faster than cedarpy on the slice, 10,000", times(_SLICE, _DYNAMIC), ">=", 10)
    yield Claim("dynamic, times faster than cedarpy on the whole set, 10,000", times(_WHOLE, _DYNAMIC), ">=", 1_000)
    yield Claim("typed, times faster than cedarpy on the slice, 10,000", times(_SLICE, _TYPED), ">=", 30)
    for what in (_DYNAMIC, _TYPED):
        growth = round(p50[what, last] / p50[what, first], 2)
        yield Claim(f"{what}: 10,000 policies against 10", growth, "<=", 1.7)
        unscoped = round(p50[f"{what}{_UNSCOPED}", last] / p50[what, last], 2)
        yield Claim(f"{what}: without scope constraints against scoped, 10,000", unscoped, "<=", 5)


_TYPED: Final = "typed, request checked"
_DYNAMIC: Final = "dynamic"
_SLICE: Final = "cedarpy, right slice"
_WHOLE: Final = "cedarpy, whole set"
_UNSCOPED: Final = ", no scopes"


def _measured(workload: Workload, scoped: bool, quick: bool) -> dict[str, dict[str, Any]]:
    """The figures of each contender."""
    requests = workload.requests()
    policies = _policies(workload.rules)
    entries = [Entry(id_, place, policy) for place, (id_, policy) in enumerate(policies.items())]
    store = EntityStore(workload.entities())
    items: list[Item] = [
        (entity_of(each["principal"]), entity_of(each["action"]), entity_of(each["resource"]), each["context"])
        for each in requests
    ]
    schema = workload.schema()
    typed = TypedIndex(entries, of_declared(interpret(parse(schema), schema, "schema")))
    contenders = {
        _TYPED: Contender(_typed(typed, store), items, lambda outcome: answer(outcome)[:2]),
        _DYNAMIC: Contender(_dynamic(Index(entries), store), items, lambda found: found[:2]),
    }
    if scoped:
        decide = _cedarpy(cedar.Entities.from_json_str(json.dumps(workload.entities())))
        slices = _Slices(workload, policies)
        whole = _set(policies, policies)
        contenders[_SLICE] = Contender(decide, [(each, slices.of(each)) for each in requests], _of_cedarpy)
        contenders[_WHOLE] = Contender(decide, [(each, whole) for each in requests], _of_cedarpy)
    _compare(contenders.values(), 32 if quick or len(entries) > 1_000 else len(items))
    found = _timed(contenders, QUICK_TURNS if quick else TURNS, 64 if quick else CALLS)
    return {what if scoped else f"{what}{_UNSCOPED}": row for what, row in found.items()}


class Contender(NamedTuple):
    """One engine: how it decides an item, its items, and what its answers are in common terms."""

    decide: Callable[[Any], Any]
    items: Sequence[Any]
    decided: Callable[[Any], Decided]


def _compare(contenders: Iterable[Contender], count: int) -> None:
    """Ends the program where two of them decide a request differently."""
    told = [[each.decided(each.decide(item)) for item in each.items[:count]] for each in contenders]
    for first, *others in zip(*told, strict=True):
        if any(other != first for other in others):
            raise SystemExit(f"the engines do not agree: {first}, {others}")
    for each in list(contenders)[:2]:
        for item in each.items:  # whatever is made when it is first needed
            each.decide(item)


def _timed(contenders: Mapping[str, Contender], turns: int, calls: int) -> dict[str, dict[str, Any]]:
    """The median of single calls, of each."""
    times: dict[str, list[float]] = {what: [] for what in contenders}
    gc.collect()
    gc.freeze()
    clock = time.perf_counter
    for _ in range(turns):
        for what, (decide, items, _) in contenders.items():
            into, ends = times[what], clock() + SECONDS
            for number in range(calls):
                item = items[number % len(items)]
                started = clock()
                decide(item)
                ended = clock()
                into.append(ended - started)
                if ended > ends:
                    break
    gc.unfreeze()
    return {
        what: {
            "p50_us": round(percentile(each, 0.5) * US, 2),
            "p99_us": round(percentile(each, 0.99) * US, 2),
            "n": len(each),
        }
        for what, each in times.items()
    }


def _typed(index: TypedIndex, store: EntityStore) -> Callable[[Item], Outcome | None]:
    decide = index.decide
    return lambda item: decide(*item, store)


def _dynamic(index: Index, store: EntityStore) -> Callable[[Item], Any]:
    def decide(item: Item) -> Any:
        principal, action, resource, context = item
        return index.decide(principal, action, resource, value_of(context), store)

    return decide


def _cedarpy(entities: Any) -> Callable[[Any], Any]:
    ask, decode = cedar.is_authorized_batch, msgspec.json.decode

    def decide(item: Any) -> Any:
        request, policies = item
        asked = {**request, "context": _encode(request["context"]).decode()}
        return decode(ask([asked], policies, entities, None, False)[0])

    return decide


def _of_cedarpy(told: Any) -> Decided:
    return told["decision"] == "Allow", frozenset(told["diagnostics"]["reason"])


class _Slices:
    """The policies whose action and principal allow a request, parsed once: the least that has to be evaluated."""

    def __init__(self, workload: Workload, policies: Mapping[str, Any]) -> None:
        self._workload = workload
        self._policies = policies
        self._made: dict[tuple[str, ...], Any] = {}

    def of(self, request: Mapping[str, Any]) -> Any:
        rules = self._workload.slice(request["principal"]["id"], request["action"]["id"])
        names = tuple(rule.id for rule in rules)
        if names not in self._made:
            self._made[names] = _set(names, self._policies)
        return self._made[names]


def _policies(rules: Sequence[Rule]) -> dict[str, Any]:
    """The policies in Cedar's JSON form, by their ids."""
    found = json.loads(cedarpy.policies_to_json_str(text_of(rules)))["staticPolicies"].values()
    return {policy["annotations"]["id"]: policy for policy in found}


def _set(names: Iterable[str], policies: Mapping[str, Any]) -> Any:
    """The engine's handle of these policies, which it calls by their ids."""
    found = {"staticPolicies": {name: policies[name] for name in names}, "templates": {}, "templateLinks": []}
    return cedar.PolicySet.from_json_str(json.dumps(found))
