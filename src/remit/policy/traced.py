"""A policy evaluated with the value of every clause, to show people why; it decides nothing.

The operators are those of compiled policies (`compiled.operators`), so each value is the one that deciding would have.
What a record conceals is `UNKNOWN`, and so is all that depends on it. Whoever shows a trace compares it with what was
decided: `verdict` is the answer that follows from it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import msgspec

from remit.policy.compiled import operators
from remit.policy.compiled.entities import EntityStore
from remit.policy.compiled.extensions import EXTENSIONS, Extension
from remit.policy.compiled.values import Entity, Failed, Set, Unsupported, call, entity_of, equal, value_of
from remit.policy.reads import chain
from remit.policy.written import entity as entity_text
from remit.policy.written import written

State = Literal["value", "failed", "skipped", "unknown"]
Status = Literal["matched", "not matched", "failed", "unknown"]


class _Unknown:
    """The one value that is there and not known."""

    def __repr__(self) -> str:
        return "unknown"


UNKNOWN: Final = _Unknown()
_NAMED: Final = ("principal", "action", "resource")


class Clause(msgspec.Struct, frozen=True, kw_only=True):
    """One expression with its value; `skipped` where Cedar does not look at it."""

    text: str
    state: State
    value: Any = None  # as JSON: entities and extension values as Cedar text
    error: str = ""
    reads: str = ""  # the path of the context that this is, such as `context.input.amount`
    parts: tuple[Clause, ...] = ()

    @property
    def is_true(self) -> bool:
        """Whether it is `true`."""
        return self.state == "value" and self.value is True


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """One policy: whether it matched, and which part of it says so."""

    id: str
    effect: str
    status: Status
    error: str = ""
    scope: tuple[Clause, ...] = ()
    conditions: tuple[Clause, ...] = ()  # `text` begins with `when` or `unless`; the value is that of the condition


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked, as values."""

    principal: Entity
    action: Entity
    resource: Entity
    context: Mapping[str, Any]
    entities: Any  # fulfils `operators.Entities`


def request_of(
    principal: tuple[str, str],
    action: tuple[str, str],
    resource: tuple[str, str],
    context: Mapping[str, Any],
    entities: Iterable[Mapping[str, Any]],
) -> Request:
    """A request from Cedar's JSON forms; what a record conceals (`is_concealed`) becomes `UNKNOWN`."""
    return Request(
        principal=Entity(principal),
        action=Entity(action),
        resource=Entity(resource),
        context={name: known_value(each) for name, each in context.items()},
        entities=EntityStore(entities),
    )


def is_concealed(form: Any) -> bool:
    """Whether this stands for a value that is not known."""
    return isinstance(form, dict) and (
        form.keys() in ({"commitment"}, {"erased"}, {"unreadable"}, {"forged"}) or form.keys() == {"bytes", "sha256"}
    )


def known_value(form: Any) -> Any:
    """The value of a context in Cedar's JSON form, as a record may hold it."""
    if isinstance(form, dict):
        if is_concealed(form):
            return UNKNOWN
        if form.keys() in ({"personal"}, {"literal"}):
            return known_value(next(iter(form.values())))
        if "__entity" not in form and "__extn" not in form:
            return {name: known_value(each) for name, each in form.items()}
    if isinstance(form, list) and any(is_concealed(each) for each in form):
        return UNKNOWN
    return value_of(form)


def shown(value: Any) -> Any:
    """A value as JSON, with entities, decimals, times and addresses as people write them."""
    if isinstance(value, Entity):
        return entity_text(value[0], value[1])
    if isinstance(value, Set):
        return [shown(each) for each in value.items]
    if isinstance(value, dict):
        return {name: shown(each) for name, each in value.items()}
    if isinstance(value, Extension):
        return _extension(value)
    return "unknown" if value is UNKNOWN else value


def trace(id_: str, policy: Mapping[str, Any], request: Request) -> Trace:
    """Evaluates one policy in Cedar's JSON form."""
    scope = [_scope(policy[name], name, request) for name in _NAMED]
    effect = str(policy["effect"])
    if not all(clause.is_true for clause in scope):
        return Trace(id=id_, effect=effect, status="not matched", scope=tuple(scope))
    tracer = _Tracer(request)
    conditions: list[Clause] = []
    status: Status = "matched"
    error = ""
    for condition in policy.get("conditions", ()):
        kind, body = condition["kind"], condition["body"]
        if status != "matched":
            conditions.append(Clause(text=f"{kind} {written(body)}", state="skipped"))
            continue
        value, clause = tracer.boolean(body)
        conditions.append(msgspec.structs.replace(clause, text=f"{kind} {clause.text}"))
        if clause.state == "failed":
            status, error = "failed", clause.error
        elif value is UNKNOWN:
            status = "unknown"
        elif value is (kind != "when"):
            status = "not matched"
    return Trace(id=id_, effect=effect, status=status, error=error, scope=tuple(scope), conditions=tuple(conditions))


def verdict(traces: Iterable[Trace]) -> bool | None:
    """Whether this permits; None where it depends on what is not known. A policy that fails denies."""
    found = list(traces)
    if any(each.status == "failed" for each in found):
        return False
    if any(each.status == "matched" and each.effect == "forbid" for each in found):
        return False
    if any(each.status == "unknown" and each.effect == "forbid" for each in found):
        return None
    if any(each.status == "matched" for each in found):
        return True
    return None if any(each.status == "unknown" for each in found) else False


# --- scope ----------------------------------------------------------------------------------------------------


def _scope(form: Mapping[str, Any], name: str, request: Request) -> Clause:
    of: Entity = getattr(request, name)
    above = request.entities.above(of)
    op = form["op"]
    if op == "All":
        text, holds = name, True
    elif op == "==":
        wanted = entity_of(form["entity"])
        text, holds = f"{name} == {entity_text(*wanted)}", of == wanted
    elif op == "in":
        several = [entity_of(each) for each in form.get("entities", [form["entity"]] if "entity" in form else [])]
        names = ", ".join(entity_text(*each) for each in several)
        text = f"{name} in [{names}]" if "entities" in form else f"{name} in {names}"
        holds = any(each in above for each in several)
    else:
        text, holds = f"{name} is {form['entity_type']}", of[0] == form["entity_type"]
        if "in" in form:
            wanted = entity_of(form["in"]["entity"])
            text, holds = f"{text} in {entity_text(*wanted)}", holds and wanted in above
    return Clause(text=text, state="value", value=holds, reads="" if op == "All" else name)


# --- expressions ----------------------------------------------------------------------------------------------


class _Tracer:
    """Evaluates expressions, each to its value (`UNKNOWN` where it is not known) and its clause."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def boolean(self, form: Mapping[str, Any]) -> tuple[Any, Clause]:
        """An expression that must be a boolean."""
        value, clause = self.expression(form)
        if clause.state == "value" and value is not True and value is not False:
            return None, _failed(clause.text, "a boolean is wanted", clause.parts)
        return value, clause

    def expression(self, form: Mapping[str, Any]) -> tuple[Any, Clause]:
        """Any expression."""
        ((op, of),) = form.items()
        if op in ("&&", "||"):
            return self._logic(op, form)
        if op == "if-then-else":
            return self._if(form, of)
        if op == "!":
            value, clause = self.boolean(of["arg"])
            if clause.state == "value":
                return not value, _clause(written(form), not value, (clause,))
            return value, msgspec.structs.replace(clause, text=written(form), parts=(clause,))
        return self._plain(form)

    def _logic(self, op: str, form: Mapping[str, Any]) -> tuple[Any, Clause]:
        parts: list[Mapping[str, Any]] = []
        left: Mapping[str, Any] = form
        while op in left:
            parts.append(left[op]["right"])
            left = left[op]["left"]
        parts.append(left)
        clauses: list[Clause] = []
        stops = op == "||"  # the value that settles it
        result: Any = not stops
        state: State = "value"
        error = ""
        done = False
        for part in reversed(parts):
            if done:
                clauses.append(Clause(text=written(part), state="skipped"))
                continue
            value, clause = self.boolean(part)
            clauses.append(clause)
            if clause.state == "failed":
                result, state, error, done = None, "failed", clause.error, True
            elif value is UNKNOWN:
                result, state, done = UNKNOWN, "unknown", True
            elif value is stops:
                result, done = stops, True
        value = result if state == "value" else None
        return result, Clause(text=written(form), state=state, value=value, error=error, parts=tuple(clauses))

    def _if(self, form: Mapping[str, Any], of: Mapping[str, Any]) -> tuple[Any, Clause]:
        text = written(form)
        value, test = self.boolean(of["if"])
        if test.state == "failed":
            return None, _failed(text, test.error, (test,))
        if value is UNKNOWN:
            return UNKNOWN, Clause(text=text, state="unknown", parts=(test,))
        taken, other = ("then", "else") if value else ("else", "then")
        value, clause = self.expression(of[taken])
        parts = (test, clause, Clause(text=written(of[other]), state="skipped"))
        return value, Clause(text=text, state=clause.state, value=clause.value, error=clause.error, parts=parts)

    def _plain(self, form: Mapping[str, Any]) -> tuple[Any, Clause]:
        """What has no branches: its parts are the facts that it reads, and what it computes on the way."""
        parts: list[Clause] = []
        text = written(form)
        try:
            value = self._value(form, parts, top=True)
        except _Stopped as stopped:
            return UNKNOWN, Clause(text=text, state="unknown", parts=tuple(parts), reads=stopped.reads)
        except (Failed, Unsupported) as error:
            return None, _failed(text, str(error) or "it can't be evaluated", tuple(parts))
        variable, path = chain(form)
        reads = ".".join(("context", *path)) if variable == "context" and path else ""
        return value, _clause(text, value, tuple(parts), reads)

    def _value(self, form: Mapping[str, Any], parts: list[Clause], *, top: bool = False) -> Any:
        ((op, of),) = form.items()
        variable, path = chain(form)
        if variable is not None and path:
            return self._fact(form, variable, path, parts, top=top)
        if op in _BRANCHES:
            value, clause = self.expression(form)
            parts.append(clause)
            if clause.state == "failed":
                raise Failed(clause.error)
            if value is UNKNOWN:
                raise _Stopped("")
            return value
        value = self._computed(op, of, parts)
        if value is UNKNOWN:
            raise _Stopped("")
        return value

    def _fact(
        self, form: Mapping[str, Any], variable: str, path: Sequence[str], parts: list[Clause], *, top: bool
    ) -> Any:
        text = written(form)
        reads = ".".join((variable, *path))
        value: Any = self._variable(variable)
        try:
            for name in path:
                value = operators.attribute(value, name, self._request.entities)
                if value is UNKNOWN:
                    if not top:
                        parts.append(Clause(text=text, state="unknown", reads=reads))
                    raise _Stopped(reads)
        except Failed as error:
            if not top:
                parts.append(Clause(text=text, state="failed", error=str(error), reads=reads))
            raise
        if not top:
            parts.append(Clause(text=text, state="value", value=shown(value), reads=reads))
        return value

    def _variable(self, name: str) -> Any:
        if name == "context":
            return self._request.context
        if name not in _NAMED:
            raise Unsupported(f"the variable `{name}`")
        return getattr(self._request, name)

    def _computed(self, op: str, of: Any, parts: list[Clause]) -> Any:
        entities = self._request.entities
        if op == "Value":
            return value_of(of)
        if op == "Var":
            return self._variable(of)
        if op == "Set":
            return Set([self._value(each, parts) for each in of])
        if op == "Record":
            return {name: self._value(each, parts) for name, each in of.items()}
        if op in ("has", "."):
            return self._attribute(op, of, parts)
        if op == "is":
            left = self._value(of["left"], parts)
            holds = operators.is_type(left, of["entity_type"])
            return operators.is_in(left, self._value(of["in"], parts), entities) if holds and "in" in of else holds
        if op == "like":
            return operators.like(self._value(of["left"], parts), operators.pattern(of["pattern"]))
        if op == "isEmpty":
            return operators.is_empty(self._value(of["arg"], parts))
        if op == "neg":
            return operators.in_bounds(-operators.long(self._value(of["arg"], parts)))
        if op in _BINARY or op in _WITH_ENTITIES:
            left, right = self._value(of["left"], parts), self._value(of["right"], parts)
            return _BINARY[op](left, right) if op in _BINARY else _WITH_ENTITIES[op](left, right, entities)
        if op in EXTENSIONS and isinstance(of, list):
            return call(op, *(self._value(each, parts) for each in of))
        raise Unsupported(f"`{op}`")

    def _attribute(self, op: str, of: Mapping[str, Any], parts: list[Clause]) -> Any:
        names = [of["attr"]] if isinstance(of["attr"], str) else list(of["attr"])
        if op == ".":
            return operators.attribute(self._value(of["left"], parts), names[0], self._request.entities)
        # A test for a fact is not a look at all that it could stand in.
        above: list[Clause] = []
        try:
            return operators.has_path(self._value(of["left"], above), names, self._request.entities)
        finally:
            parts += [each for each in above if each.state != "value"]


class _Stopped(Exception):
    """Something that is not known was needed."""

    def __init__(self, reads: str) -> None:
        super().__init__(reads)
        self.reads = reads


def _arithmetic(operator: Callable[[int, int], int]) -> Callable[[Any, Any], int]:
    return lambda left, right: operators.in_bounds(operator(operators.long(left), operators.long(right)))


_BRANCHES: Final = frozenset({"&&", "||", "!", "if-then-else"})
_BINARY: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "==": equal,
    "!=": lambda left, right: not equal(left, right),
    "<": operators.less,
    "<=": operators.less_or_equal,
    ">": lambda left, right: not operators.less_or_equal(left, right),
    ">=": lambda left, right: not operators.less(left, right),
    "+": _arithmetic(lambda left, right: left + right),
    "-": _arithmetic(lambda left, right: left - right),
    "*": _arithmetic(lambda left, right: left * right),
    "contains": operators.contains,
    "containsAll": operators.contains_all,
    "containsAny": operators.contains_any,
}
_WITH_ENTITIES: Final[dict[str, Callable[[Any, Any, Any], Any]]] = {
    "in": operators.is_in,
    "getTag": operators.tag,
    "hasTag": operators.has_tag,
}


def _clause(text: str, value: Any, parts: tuple[Clause, ...], reads: str = "") -> Clause:
    return Clause(text=text, state="value", value=shown(value), parts=parts, reads=reads)


def _failed(text: str, error: str, parts: tuple[Clause, ...]) -> Clause:
    return Clause(text=text, state="failed", error=error, parts=parts)


def _extension(value: Any) -> str:
    name, number = value[0], value[1]
    if name == "decimal":
        sign, whole = ("-", -number) if number < 0 else ("", number)
        return f"{sign}{whole // 10_000}.{whole % 10_000:04d}".rstrip("0").ljust(
            len(f"{sign}{whole // 10_000}.") + 1, "0"
        )
    if name == "datetime":
        return _moment(number)
    if name == "duration":
        return f"{number}ms"
    if name == "ipaddr" or hasattr(value, "address"):
        address = ipaddress.ip_address(value.address) if value.version == 4 else ipaddress.IPv6Address(value.address)
        return f"{address}/{value.prefix}"
    return str(value)


def _moment(ms: int) -> str:
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")
    except OverflowError:
        return f"{ms} ms"
