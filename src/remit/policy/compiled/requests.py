"""The context of a request, checked against its environment and turned into values in the same pass.

Compiled from the schema: the check is one Python function that names every attribute once. A record that holds nothing
but strings, longs and booleans is not copied: the values share it, so it must not change while they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from remit.policy.compiled.environment import Environment
from remit.policy.compiled.extensions import Datetime, Decimal, Duration, Ip
from remit.policy.compiled.values import LONG_MAX, LONG_MIN, Entity, Failed, Set, Unsupported, value_of
from remit.policy.entities.declared import EntityType
from remit.policy.shapes import RESERVED_PREFIX, Shape

Check = Callable[[Any], Any]


class Misfit(ValueError):
    """A request that is not what its environment says: there is no typed evaluation of it."""


class Checker:
    """The check of requests of one environment; `Unsupported` where the schema declares what JSON can't hold."""

    def __init__(self, environment: Environment, context: Check | None = None) -> None:
        """With `context` where the same context was compiled for another environment."""
        self._kind = (environment.principal, environment.action, environment.resource)
        self._listed = [
            (place, type_.ids)
            for place, name in enumerate((environment.principal, environment.resource))
            if (type_ := environment.types.get(name)) is not None and type_.ids is not None
        ]
        self.context: Check = context or compile_check(environment.context, "context", environment.types)
        """The values of a context in Cedar's JSON form; `Misfit` where it has another shape."""

    def __call__(
        self, principal: Entity, action: Entity, resource: Entity, context: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The values of the context of a request of this environment; `Misfit` where it is none."""
        if (principal[0], action, resource[0]) != self._kind:
            raise Misfit("it is a request of another kind")
        return self.values(principal, resource, context)

    def values(self, principal: Entity, resource: Entity, context: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same, of a request of which the types and the action are known to be those of the environment."""
        for place, ids in self._listed:
            if (principal, resource)[place][1] not in ids:
                raise Misfit("the schema does not list the entity")
        values: Mapping[str, Any] = self.context(context)
        return values


def compile_check(shape: Shape, name: str, types: Mapping[str, EntityType]) -> Check:
    """The check of values of one type, and their conversion from Cedar's JSON form."""
    return _Writer(types).compiled(shape, name)


_EXTENSIONS: Final[Mapping[str, type]] = {
    "decimal": Decimal,
    "datetime": Datetime,
    "duration": Duration,
    "ipaddr": Ip,
}
_SMALL: Final = 2**30
_PYTHON: Final[Mapping[str, str]] = {"string": "str", "bool": "bool", "long": "int"}


class _Writer:
    """Writes the statements of checks, a function for the elements of each set that is not of strings.

    SECURITY: of a schema only its structure becomes source; names are `repr`s of strings.
    """

    def __init__(self, types: Mapping[str, EntityType]) -> None:
        self.types = types
        self.lines: list[str] = []
        self.names: dict[str, Any] = {
            "Misfit": Misfit, "Set": Set, "new": object.__new__, "type": type, "dict": dict, "list": list,
            "str": str, "bool": bool, "int": int, "len": len, "frozenset": frozenset, "joined": "".join,
            "extension": _extension, "entity": _entity, "KeyError": KeyError, "TypeError": TypeError,
            "__builtins__": {},
        }  # fmt: skip
        self.count = 0

    def compiled(self, shape: Shape, name: str) -> Check:
        within, self.lines = self.lines, []
        made = self.value(shape, "value", name, 2)
        body = "\n".join(self.lines)
        self.lines = within
        other = repr(f"`{name}` is not what the schema says")
        source = (
            f"def check(value):\n try:\n{body}\n  return {made}\n except (KeyError, TypeError):\n"
            f"  raise Misfit({other}) from None\n"
        )
        space = dict(self.names)
        try:
            exec(compile(source, "<schema>", "exec"), space)  # noqa: S102 - see SECURITY
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise Unsupported("the schema is nested too deeply") from error
        check: Check = space["check"]
        return check

    def value(self, shape: Shape, source: str, path: str, depth: int) -> str:
        """Writes the check of `source`; what then holds its value, which is `source` itself where JSON is the value."""
        if shape.kind == "record":
            return self.record(shape, source, path, depth)
        refuse = self.refusal(path)
        if shape.kind in _PYTHON:
            self.line(depth, f"if {self.differs(shape, source)}: {refuse}")
            return source
        made = self.fresh()
        if shape.kind == "set" and shape.of is not None:
            self.line(depth, f"if type({source}) is not list: {refuse}")
            if shape.of.kind == "string":
                # Fails for anything but strings.
                self.line(depth, f"joined({source})")
                self.line(depth, f"{made} = new(Set)")
                self.line(depth, f"{made}.keys = {made}.items = frozenset({source})")
            else:
                each = self.constant(self.compiled(shape.of, f"{path}[]"))
                self.line(depth, f"{made} = Set([{each}(each) for each in {source}])")
        elif shape.kind == "entity":
            type_ = self.types.get(shape.entity)
            ids = self.constant(type_.ids if type_ is not None else None)
            self.line(depth, f"{made} = entity({source}, {shape.entity!r}, {ids})")
        else:
            self.line(depth, f"{made} = extension({source}, {self.constant(_EXTENSIONS[shape.kind])})")
        return made

    def record(self, shape: Shape, source: str, path: str, depth: int) -> str:
        for name in shape.fields:
            if name.startswith(RESERVED_PREFIX):
                raise Unsupported(f"an attribute with the name `{name}`")
        refuse = self.refusal(path)
        always = [(name, field.shape) for name, field in shape.fields.items() if field.required]
        maybe = [(name, field.shape) for name, field in shape.fields.items() if not field.required]
        size = str(len(always))
        tests = [f"type({source}) is not dict"]
        if not maybe:
            tests.append(f"len({source}) != {size}")
        tests += [self.differs(inner, f"{source}[{name!r}]") for name, inner in always if inner.kind in _PYTHON]
        self.line(depth, f"if {' or '.join(tests)}: {refuse}")
        if maybe:
            counted = self.fresh()
            self.line(depth, f"{counted} = {size}")
        changed: list[str] = []
        made = self.fresh()
        at = len(self.lines)
        for name, inner in always:
            if inner.kind not in _PYTHON:
                self.line(depth, f"{(part := self.fresh())} = {source}[{name!r}]")
                if (value := self.value(inner, part, f"{path}.{name}", depth)) != part:
                    self.line(depth, f"{made}[{name!r}] = {value}")
                    changed.append(name)
        for name, inner in maybe:
            self.line(depth, f"if {name!r} in {source}:")
            self.line(depth + 1, f"{counted} += 1")
            self.line(depth + 1, f"{(part := self.fresh())} = {source}[{name!r}]")
            if (value := self.value(inner, part, f"{path}.{name}", depth + 1)) != part:
                self.line(depth + 1, f"{made}[{name!r}] = {value}")
                changed.append(name)
        if maybe:
            # SECURITY: nothing that is not declared gets through.
            self.line(depth, f"if len({source}) != {counted}: {refuse}")
        if not changed:
            return source
        self.lines.insert(at, f"{' ' * depth}{made} = {source}.copy()")
        return made

    def differs(self, shape: Shape, source: str) -> str:
        """The test that a string, long or boolean is none."""
        if shape.kind != "long":
            return f"type({source}) is not {_PYTHON[shape.kind]}"
        number = self.fresh()
        # Small ones are compared faster.
        fits = f"(-{_SMALL} < {number} < {_SMALL} or {LONG_MIN} <= {number} <= {LONG_MAX})"
        return f"type({number} := {source}) is not int or not {fits}"

    def refusal(self, path: str) -> str:
        return f"raise Misfit({f'`{path}` is not what the schema says'!r})"

    def line(self, depth: int, text: str) -> None:
        self.lines.append(" " * depth + text)

    def fresh(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def constant(self, value: Any) -> str:
        name = f"c{len(self.names)}"
        self.names[name] = value
        return name


def _entity(form: Any, type_: str, ids: frozenset[str] | None) -> Entity:
    """The entity of this type that `{"__entity": {"type", "id"}}` names."""
    inner = form["__entity"]
    id_ = inner["id"]
    if len(form) != 1 or len(inner) != 2 or inner["type"] != type_ or type(id_) is not str:
        raise Misfit(f"a `{type_}` is wanted")
    if ids is not None and id_ not in ids:
        raise Misfit(f"the schema does not list this `{type_}`")
    return Entity((type_, id_))


def _extension(form: Any, kind: type) -> Any:
    """The extension value of this type that `{"__extn": …}` makes."""
    try:
        value = value_of(form)
    except (Failed, Unsupported):
        raise Misfit("an extension value that can't be made") from None
    if type(value) is not kind:
        raise Misfit("an extension value of another type")
    return value
