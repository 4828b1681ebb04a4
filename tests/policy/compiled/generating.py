"""Schemas, entities, policies and requests made at random, to compare engines on.

Most of what is made is well-typed, so that it means something; some is not, in every place where a policy, a request or
an entity could be wrong. Each part is text or JSON as the reference engine reads it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

# A type: a name of a primitive or extension type, or one of the pairs below.
Type = Any  # "Long" | ("Set", Type) | ("Record", {name: (Type, required)}) | ("Entity", name)

PRIMITIVES = ("Long", "String", "Bool")
EXTENSIONS = {"decimal": "decimal", "ipaddr": "ip", "datetime": "datetime", "duration": "duration"}
ENTITIES = ("User", "Group", "Doc", "Folder", "Colour")
PARENTS = {"User": ("Group", "User"), "Group": ("Group",), "Doc": ("Folder",), "Folder": ("Folder",), "Colour": ()}
NAMES = ("a", "b", "c", "x y")
IDS = ("1", "2", "3")
COLOURS = ("red", "blue")
ACTIONS = {"read": ("reading", "all"), "write": ("all",), "list": ("reading",)}
GROUPS = {"reading": ("any",), "all": (), "any": ()}
LONGS = (0, 1, -1, 2, 7, 1000, 2**31, 2**62, 2**63 - 1, -(2**63))
STRINGS = ("", "a", "b", "ab", "abc", "text", "1", "true", "x*y", 'q"uote', "\\", "é", "context['a']")
TEXTS = {
    "decimal": ("0.0", "1.0", "1.00", "-1.5", "922337203685477.5807", "-922337203685477.5808", "1.2345"),
    "ipaddr": ("10.0.0.1", "10.0.0.0/8", "127.0.0.1", "224.0.0.1", "::1", "ff00::2", "10.1.2.3/32", "2001:db8::/32"),
    "datetime": ("1970-01-01", "2024-02-29", "2024-10-15T11:35:00Z", "9999-12-31T23:59:59.999Z", "0000-01-01"),
    "duration": ("0ms", "1h", "-1d", "1d2h3m4s5ms", "-9223372036854775808ms", "9223372036854775807ms"),
}
WRONG = ("1", "1.23456", "nonsense", "", "2024-13-01", "1x")
PATTERNS = ("*", "", "a*", "*b", "a*c", "*t*", "**", r"x\*y", "*1*2*", "ab")
CALLS = {
    "Bool": (
        *((name, "decimal", "decimal") for name in ("lessThan", "lessThanOrEqual", "greaterThan")),
        ("greaterThanOrEqual", "decimal", "decimal"),
        *((name, "ipaddr", None) for name in ("isIpv4", "isIpv6", "isLoopback", "isMulticast")),
        ("isInRange", "ipaddr", "ipaddr"),
    ),
    "Long": tuple(
        (name, "duration", None) for name in ("toMilliseconds", "toSeconds", "toMinutes", "toHours", "toDays")
    ),
    "datetime": (("offset", "datetime", "duration"), ("toDate", "datetime", None)),
    "duration": (("durationSince", "datetime", "datetime"), ("toTime", "datetime", None)),
}


class Generator:
    """Makes one project after another; the same seed makes the same."""

    def __init__(self, seed: int, depth: int) -> None:
        self.random = Random(seed)
        self.depth = depth
        self.types: dict[str, dict[str, tuple[Type, bool]]] = {
            name: self.fields(2) if name != "Colour" else {} for name in ENTITIES
        }
        self.tags: dict[str, Type | None] = {
            name: self.type(1) if name != "Colour" and self.chance(0.5) else None for name in ENTITIES
        }
        self.actions = {
            name: (self.some(ENTITIES), self.some(ENTITIES), ("Record", self.fields(3))) for name in ACTIONS
        }

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def some(self, of: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self.random.sample(of, self.random.randint(1, 2)))

    # --- types and schemas ------------------------------------------------------------------------------------

    def type(self, depth: int) -> Type:
        kind = self.random.randrange(10 if depth > 0 else 7)
        if kind < 4:
            return self.random.choice(PRIMITIVES)
        if kind < 6:
            return self.random.choice(tuple(EXTENSIONS))
        if kind == 6:
            return ("Entity", self.random.choice(ENTITIES))
        if kind < 9:
            return ("Set", self.type(depth - 1))
        return ("Record", self.fields(depth - 1))

    def fields(self, depth: int) -> dict[str, tuple[Type, bool]]:
        names = self.random.sample(NAMES, self.random.randint(1, len(NAMES)))
        return {name: (self.type(depth), self.chance(0.6)) for name in names}

    def schema(self) -> str:
        lines = []
        for name, fields in self.types.items():
            if name == "Colour":
                lines.append(f"entity Colour enum {json.dumps(COLOURS)};")
                continue
            within = f" in [{', '.join(PARENTS[name])}]"
            tags = f" tags {type_text(self.tags[name])}" if self.tags[name] is not None else ""
            lines.append(f"entity {name}{within} {type_text(('Record', fields))}{tags};")
        for name, above in GROUPS.items():
            lines.append(f"action {name}{_in(above)};")
        for name, (principals, resources, context) in self.actions.items():
            lines.append(
                f"action {name}{_in(ACTIONS[name])} appliesTo {{ principal: [{', '.join(principals)}], "
                f"resource: [{', '.join(resources)}], context: {type_text(context)} }};"
            )
        return "\n".join(lines)

    # --- values -----------------------------------------------------------------------------------------------

    def value(self, of: Type) -> Any:
        """A value in Cedar's JSON form."""
        if of == "Long":
            return self.random.choice(LONGS)
        if of == "String":
            return self.random.choice(STRINGS)
        if of == "Bool":
            return self.chance(0.5)
        if isinstance(of, str) and of in EXTENSIONS:
            return {"__extn": {"fn": EXTENSIONS[of], "arg": self.random.choice(TEXTS[of])}}
        kind, inner = of
        if kind == "Set":
            return [self.value(inner) for _ in range(self.random.randint(0, 3))]
        if kind == "Entity":
            return {"__entity": {"type": inner, "id": self.id(inner)}}
        return {name: self.value(field) for name, (field, required) in inner.items() if required or self.chance(0.5)}

    def id(self, type_: str) -> str:
        return self.random.choice(COLOURS if type_ == "Colour" else (*IDS, "nobody"))

    def entities(self) -> list[dict[str, Any]]:
        found = []
        for type_, fields in self.types.items():
            for place, id_ in enumerate(IDS if type_ != "Colour" else ()):
                if self.chance(0.15):
                    continue
                entity: dict[str, Any] = {
                    "uid": {"type": type_, "id": id_},
                    "attrs": self.value(("Record", fields)),
                    "parents": [
                        {"type": parent, "id": above}
                        for parent in PARENTS[type_]
                        for above in (IDS if parent != type_ else IDS[place + 1 :])
                        if self.chance(0.3)
                    ],
                }
                if self.tags[type_] is not None:
                    entity["tags"] = {name: self.value(self.tags[type_]) for name in ("a", "b") if self.chance(0.5)}
                found.append(entity)
        return found

    # --- requests ---------------------------------------------------------------------------------------------

    def request(self) -> dict[str, Any]:
        name = self.random.choice(tuple(ACTIONS))
        principals, resources, context = self.actions[name]
        if self.chance(0.05):
            principals = ENTITIES
        principal, resource = self.random.choice(principals), self.random.choice(resources)
        value = self.value(context)
        if self.chance(0.15):
            value = self.spoilt(value) if value else {"more": 1}
        return {
            "principal": {"type": principal, "id": self.id(principal)},
            "action": {"type": "Action", "id": name},
            "resource": {"type": resource, "id": self.id(resource)},
            "context": value,
        }

    def spoilt(self, value: Any) -> Any:
        """The value with one thing in it that is perhaps wrong."""
        if isinstance(value, dict) and value and "__entity" not in value and "__extn" not in value:
            name = self.random.choice(list(value))
            how = self.random.randrange(4)
            if how == 0:
                return {other: each for other, each in value.items() if other != name}
            if how == 1:
                return {**value, "more": 1}
            return {**value, name: self.spoilt(value[name])}
        if isinstance(value, list) and value:
            return [*value[:-1], self.spoilt(value[-1])]
        return self.value(self.type(1))

    # --- policies ---------------------------------------------------------------------------------------------

    def policy(self) -> str:
        """A policy or a template, in Cedar's syntax."""
        self.action = self.random.choice(tuple(ACTIONS))
        principals, resources, context = self.actions[self.action]
        self.variables: dict[str, Type] = {
            "principal": ("Entity", self.random.choice(principals)),
            "resource": ("Entity", self.random.choice(resources)),
            "context": context,
        }
        scope = ", ".join((self.scope("principal"), self.action_scope(), self.scope("resource")))
        conditions = [
            f"{self.random.choice(('when', 'unless'))} {{ {self.expression('Bool', self.depth)} }}"
            for _ in range(self.random.choice((0, 1, 1, 1, 2)))
        ]
        return f"{self.random.choice(('permit', 'permit', 'forbid'))} ({scope}) {' '.join(conditions)};"

    def scope(self, name: str) -> str:
        type_ = self.variables[name][1]
        named = f"?{name}" if self.chance(0.2) else self.entity(self.random.choice((type_, *PARENTS[type_])))
        form = self.random.choice(("", "", "", f"== {named}", f"in {named}", f"is {type_}", f"is {type_} in {named}"))
        return f"{name} {form}"

    def action_scope(self) -> str:
        every = (*ACTIONS, *GROUPS)
        other = self.random.choice(every)
        exact = f'== Action::"{self.action}"'
        several = ", ".join(f'Action::"{each}"' for each in self.random.sample(every, 2))
        return "action " + self.random.choice(("", exact, exact, f'in Action::"{other}"', f"in [{several}]"))

    def entity(self, type_: str) -> str:
        return f"{type_}::{json.dumps(self.id(type_))}"

    def expression(self, of: Type, depth: int) -> str:
        """An expression of this type, or, seldom, of another."""
        if self.chance(0.03):
            of = self.type(1)
        ways = [self.literal, self.path, self.path]
        if depth > 0:
            ways += [self.operation] * 4 + [self.choice]
        return self.random.choice(ways)(of, depth)

    def literal(self, of: Type, depth: int) -> str:
        if of == "Long":
            return str(self.random.choice(LONGS))
        if of == "String":
            return text_of(self.random.choice(STRINGS))
        if of == "Bool":
            return self.random.choice(("true", "false"))
        if isinstance(of, str) and of in EXTENSIONS:
            texts = WRONG if self.chance(0.05) else TEXTS[of]
            return f"{EXTENSIONS[of]}({text_of(self.random.choice(texts))})"
        kind, inner = of
        if kind == "Entity":
            return self.entity(inner)
        if kind == "Set":
            return f"[{', '.join(self.expression(inner, depth - 1) for _ in range(self.random.randint(0, 3)))}]"
        given = {name: field for name, (field, required) in inner.items() if required or self.chance(0.5)}
        return "{" + ", ".join(f"{text_of(n)}: {self.expression(t, depth - 1)}" for n, t in given.items()) + "}"

    def path(self, of: Type, depth: int) -> str:
        """What can be read of this type, behind the tests that it needs, or seldom without them."""
        found = [each for name, type_ in self.variables.items() for each in self.paths(name, type_, 3) if each[1] == of]
        if not found:
            return self.literal(of, depth)
        source, _, tests = self.random.choice(found)
        if not tests or self.chance(0.1):
            return source
        if of == "Bool" and self.chance(0.5):
            return f"({' && '.join((*tests, source))})"
        return f"(if {' && '.join(tests)} then {source} else {self.literal(of, depth)})"

    def paths(
        self, source: str, type_: Type, depth: int, tests: tuple[str, ...] = ()
    ) -> Iterator[tuple[str, Type, tuple[str, ...]]]:
        yield source, type_, tests
        if depth == 0 or isinstance(type_, str) or type_[0] == "Set":
            return
        fields = self.types[type_[1]] if type_[0] == "Entity" else type_[1]
        for name, (field, required) in fields.items():
            test = f"{source} has {name if name.isalnum() else text_of(name)}"
            read = f"{source}.{name}" if name.isalnum() else f"{source}[{text_of(name)}]"
            yield from self.paths(read, field, depth - 1, tests if required else (*tests, test))
        if type_[0] == "Entity" and (tag := self.tags[type_[1]]) is not None:
            for name in ("a", "b"):
                yield f'{source}.getTag("{name}")', tag, (*tests, f'{source}.hasTag("{name}")')

    def choice(self, of: Type, depth: int) -> str:
        test = self.expression("Bool", depth - 1)
        return f"(if {test} then {self.expression(of, depth - 1)} else {self.expression(of, depth - 1)})"

    def operation(self, of: Type, depth: int) -> str:
        def more(type_: Type) -> str:
            return self.expression(type_, depth - 1)

        if isinstance(of, str) and of in CALLS and self.chance(0.3 if of != "datetime" else 1):
            name, on, argument = self.random.choice(CALLS[of])
            return f"({more(on)}).{name}({more(argument) if argument else ''})"
        if of == "duration":
            return f"({more('datetime')}).durationSince({more('datetime')})"
        if of == "Long":
            op = self.random.choice("+-*n")
            return f"(-({more('Long')}))" if op == "n" else f"({more('Long')} {op} {more('Long')})"
        return self.claim(more) if of == "Bool" else self.literal(of, depth)

    def claim(self, more: Any) -> str:
        """An operation that gives a boolean."""
        entity, other = ("Entity", self.random.choice(ENTITIES)), ("Entity", self.random.choice(ENTITIES))
        some = self.type(1)
        ordered = self.random.choice(("Long", "Long", "datetime", "duration"))
        infix = self.random.choice
        name = self.random.choice(NAMES)
        test = name if name.isalnum() else text_of(name)
        record = self.random.choice(tuple(self.variables))
        return self.random.choice(
            (
                lambda: f"({more('Bool')} && {more('Bool')})",
                lambda: f"({more('Bool')} || {more('Bool')})",
                lambda: f"(!({more('Bool')}))",
                lambda: f"({more(some)} {infix(('==', '!='))} {more(some)})",
                lambda: f"({more(some)} {infix(('==', '!='))} {more(self.type(1))})",
                lambda: f"({more(ordered)} {infix(('<', '<=', '>', '>='))} {more(ordered)})",
                lambda: f"({more(entity)} in {more(other)})",
                lambda: f"({more(entity)} in {more(('Set', other))})",
                lambda: f"({more(entity)} is {other[1]})",
                lambda: f"({more(entity)} is {entity[1]} in {more(other)})",
                lambda: f"(action in Action::{text_of(infix((*ACTIONS, *GROUPS)))})",
                lambda: f"(action == Action::{text_of(infix(tuple(ACTIONS)))})",
                lambda: f"({more('String')} like {pattern_of(infix(PATTERNS))})",
                lambda: f"({record} has {test})",
                lambda: f"({more(entity)} has {test})",
                lambda: f"({more(('Set', some))}).contains({more(some)})",
                lambda: f"({more(('Set', some))}).{infix(('containsAll', 'containsAny'))}({more(('Set', some))})",
                lambda: f"({more(('Set', some))}).isEmpty()",
                lambda: f"({more(entity)}).hasTag({more('String')})",
            )
        )()


def type_text(of: Type) -> str:
    """The type in Cedar's schema syntax."""
    if isinstance(of, str):
        return of
    kind, inner = of
    if kind == "Entity":
        return str(inner)
    if kind == "Set":
        return f"Set<{type_text(inner)}>"
    fields = (f'"{name}"{"" if required else "?"}: {type_text(field)}' for name, (field, required) in inner.items())
    return "{ " + ", ".join(fields) + " }"


def text_of(text: str) -> str:
    """A literal of a string."""
    return json.dumps(text, ensure_ascii=False)


def pattern_of(pattern: str) -> str:
    return f'"{pattern}"'


def links_of(policy_set: Mapping[str, Any], random: Random) -> list[dict[str, Any]]:
    """A link or two of every template."""
    links = []
    for id_, template in policy_set["templates"].items():
        slots = [name for name in ("principal", "resource") if f"?{name}" in json.dumps(template[name])]
        for number in range(random.randint(1, 2)):
            values = {f"?{name}": {"type": random.choice(ENTITIES[:4]), "id": random.choice(IDS)} for name in slots}
            links.append({"templateId": id_, "newId": f"{id_}-{number}", "values": values})
    return links


def _in(above: tuple[str, ...]) -> str:
    return f" in [{', '.join(above)}]" if above else ""
