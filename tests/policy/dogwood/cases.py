"""The cases of the reference's corpus, and what Remit makes of one: refused, or a verdict for each decision."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cedarpy import _internal as cedar

from remit.policy.compiled.values import Entity, equal
from remit.policy.dogwood import acceptance, checking, events, lowering, rules, traces
from remit.policy.dogwood.ast import Leaf, ScopeTerm
from remit.policy.dogwood.events import Events, Pinned
from remit.policy.dogwood.history import Event, Request
from remit.policy.dogwood.mistakes import Mistake
from remit.policy.dogwood.temporal import Plan
from remit.policy.dogwood.timepoints import within
from remit.policy.dogwood.traces import Point
from remit.policy.entities import syntax
from remit.policy.entities.interpretation import interpret

_FILE = Path(__file__).with_name("corpus") / "cases.toml"
_PLAIN = re.compile(r"-?\d+(\.\d+)?|true|false")
_KINDS = (("request", "decision ", ""), ("response", "", "...outputs(A), "), ("error", "", ""))
DEFAULT_EVENTS = "\n".join(
    f"{decision}event <A>::{kind} {{ ...inputs(A), {outputs}callerPrincipal: principalType(A), "
    "callerResource: resourceType(A), requestId: String, sessionId: String }"
    for kind, decision, outputs in _KINDS
)

MakePlan = Callable[[Iterable[Leaf]], Plan]


@dataclass(frozen=True)
class Case:
    """One case."""

    name: str
    origin: str
    policy: str
    schema: str
    events: str
    log: str
    verdicts: tuple[bool, ...]
    refused: str
    lags: bool
    verdicts_of: str


def cases() -> list[Case]:
    """All cases of the file."""
    data = tomllib.loads(_FILE.read_text("utf-8"))
    return [
        Case(
            name=each["name"],
            origin=each["origin"],
            policy=each["policy"],
            schema=each.get("schema", data["schema"]),
            events=each.get("events", DEFAULT_EVENTS),
            log=each.get("log") or _written_out(each.get("trace", [])),
            verdicts=tuple(each.get("verdicts", ())),
            refused=each.get("refused", ""),
            lags=each.get("lags", False),
            verdicts_of=each.get("verdicts_of", ""),
        )
        for each in data["case"]
    ]


class Loaded:
    """A case's policies, read and checked. Raises `Mistake` where one is refused."""

    def __init__(self, case: Case) -> None:
        json_ = syntax.parse(case.schema)
        self.events: Events = events.derive(
            events.parse(case.events), events.of_declared(interpret(json_, case.schema, "schema.cedarschema"))
        )
        self.leaves: list[Leaf] = []
        texts = []
        checked = []
        file = rules.read("case.dw", case.policy, {})
        for rule in file.rules:
            lowered = lowering.lower(rule, file.macros)
            texts.append(lowered.text)
            checked.append(lowered.checked)
            try:
                (est,) = json.loads(cedar.policies_to_json_str(lowered.text))["staticPolicies"].values()
            except ValueError as error:
                raise Mistake(rule.start, str(error)) from None
            about = checking.covered(est, self.events.names)
            for leaf in lowered.leaves:
                acceptance.check(leaf.condition)
                pinned = Leaf(leaf.name, events.inject(leaf.condition, self.events))
                for mistake in checking.check(pinned, about, self.events):
                    raise mistake
                self.leaves.append(pinned)
        self.policies = cedar.PolicySet.from_str("\n".join(texts))
        # What the reference leaves to Cedar.
        for action in [each for part in json_.values() for each in part["actions"].values()]:
            if "appliesTo" in action:
                context = action["appliesTo"].setdefault("context", {"type": "Record", "attributes": {}})
                context["attributes"]["temporal"] = {
                    "type": "Record",
                    "required": True,
                    "attributes": {lowering.LEAF: {"type": "Boolean", "required": True}},
                }
        schema = cedar.Schema.from_json_str(json.dumps(json_))
        wrong = json.loads(cedar.validate_policies("\n".join(checked), schema, release_gil=False))["errors"]
        if wrong:
            raise Mistake(0, wrong[0]["error"])

    def verdicts(self, case: Case, make_plan: MakePlan) -> tuple[bool, ...]:
        """The verdict of each decision of the trace, with the histories told apart by the schema's key."""
        points = list(traces.read(case.log))
        plan = make_plan(self.leaves)
        names = frozenset(leaf.name for leaf in self.leaves)
        found = []
        for place, point in enumerate(points):
            if point.event.kind not in self.events.decisions:
                continue
            request = point.request
            assert request is not None
            monitor = plan.start()
            for before in points[:place]:
                if all(_agrees(pin, before.event, request) for pin in self.events.key):
                    monitor.observe(before.event)
            if not all(_agrees(pin, point.event, request) for pin in self.events.key):
                found.append(False)
                continue
            found.append(self._permitted(point, monitor.evaluate(request, point.event, names)))
        return tuple(found)

    def _permitted(self, point: Point, values: dict[str, bool]) -> bool:
        context = {**{name: _json(value) for name, value in point.context.items()}, "temporal": values}
        request = {
            "principal": _uid(point.principal),
            "action": f"{point.event.type}::{json.dumps(point.event.action)}",
            "resource": _uid(point.resource),
            "context": context,
        }
        groups = self.events.names.actions[point.event.type, point.event.action].groups
        parents = [{"type": type_, "id": id_} for type_, id_ in groups if id_ != point.event.action]
        entities = [
            {"uid": {"type": point.event.type, "id": point.event.action}, "attrs": {}, "parents": parents},
            *({"uid": each, "attrs": {}, "parents": []} for each in parents),
        ]
        import cedarpy

        answer = cedarpy.is_authorized(request, self.policies, entities)
        return bool(answer.decision.value == "Allow")


def _agrees(pin: Pinned, event: Event, request: Request) -> bool:
    own = event.fields.get(pin.path)
    if isinstance(pin.value, ScopeTerm):
        wanted: Any = request.principal if pin.value.root == "principal" else request.resource
    else:
        wanted = within(request.context, pin.value.path)
    return own is not None and wanted is not None and equal(own, wanted)


def _uid(entity: Entity | None) -> str:
    assert entity is not None
    return f"{entity[0]}::{json.dumps(entity[1], ensure_ascii=False)}"


def _json(value: Any) -> Any:
    if type(value) is Entity:
        return {"__entity": {"type": value[0], "id": value[1]}}
    if type(value) is dict:
        return {name: _json(each) for name, each in value.items()}
    return value if isinstance(value, str | int | bool) else str(value)


def _written_out(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in _lines(lines))


def _lines(lines: Iterable[str]) -> Iterator[str]:
    """The lines of a trace file, from the short form."""
    for number, line in enumerate(lines):
        at, head, *pairs = line.split()
        action, _, kind = head.partition("::")
        given = dict(pair.split("=", 1) for pair in pairs)
        who, where, id_ = given.pop("as", "alice"), given.pop("at", "gw1"), given.pop("id", f"r{number}")
        inputs = ", ".join(f"{name}: {_value(text)}" for name, text in given.items() if not name.startswith("output."))
        outputs = ", ".join(f"{name[7:]}: {_value(text)}" for name, text in given.items() if name.startswith("output."))
        principal = f'Drupe::{"IamEntity" if who == "iam" else "OAuthUser"}::"{who}"'
        resource = f'Drupe::Gateway::"{where}"'
        context = "" if kind not in ("", "request") else f"request_context(input: {{ {inputs} }}) "
        result = f"output: {{ {outputs} }}, " if outputs else ""
        yield (
            f"@{at} scope(principal: {principal}, resource: {resource}) {context}"
            f'Drupe::Action::"{action}"::{kind or "request"}(input: {{ {inputs} }}, {result}'
            f'callerPrincipal: {principal}, callerResource: {resource}, requestId: "{id_}")'
        )


def _value(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
