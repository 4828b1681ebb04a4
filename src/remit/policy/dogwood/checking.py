"""Temporal conditions against the schema: names, fields, windows and types (Dogwood guide, chapter 08, 5.5 and 5.7).

Cedar's validator sees a condition as a boolean, so what is wrong in one is found here or never: a name that no event
has, or two values that are never equal, would switch a rule off without a word.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from remit.policy.dogwood.ast import (
    TIMEPOINT,
    ArrayTerm,
    Binder,
    Comparison,
    Condition,
    Constant,
    ContextTerm,
    Count,
    DecimalTerm,
    EntityTerm,
    Exists,
    Formerly,
    Leaf,
    Path,
    Predicate,
    Previous,
    ScopeTerm,
    Since,
    Sum,
    Term,
    Tp,
    Var,
)
from remit.policy.dogwood.events.derivation import Events, Signature
from remit.policy.dogwood.events.names import ActionName, Names
from remit.policy.dogwood.mistakes import Mistake
from remit.policy.dogwood.variables import aggregates, parts, terms, walk
from remit.policy.reads import Uid
from remit.policy.shapes import Shape, name_of

Types = frozenset[str]  # the names of the types that a value may have

_ORDERINGS: Final = frozenset({"<", "<=", ">", ">="})
_LONG: Final = frozenset({"Long"})
_STRING: Final = frozenset({"String"})
_EMPTY_SET: Final = "Set<>"
_PROJECTIONS: Final = frozenset({("id",), ("type",)})  # of an entity


@dataclass(frozen=True, slots=True)
class Covered:
    """An action that a rule is about, with the types that its scope leaves for principal and resource."""

    action: ActionName
    principals: tuple[str, ...]
    resources: tuple[str, ...]


def covered(scope: Mapping[str, Any], names: Names) -> list[Covered]:
    """The actions that a rule is about, from its JSON form (Cedar's EST)."""
    found = []
    for action in names.actions.values():
        if not action.principals or not _covers(scope["action"], action.groups | {action.uid}, action.uid):
            continue
        principals = tuple(type_ for type_ in action.principals if _admits(scope["principal"], type_, names))
        resources = tuple(type_ for type_ in action.resources if _admits(scope["resource"], type_, names))
        if principals and resources:
            found.append(Covered(action, principals, resources))
    return found


def check(leaf: Leaf, about: Sequence[Covered], events: Events) -> list[Mistake]:
    """What is wrong with a leaf whose rule is about these actions, in the order of the text; pins may be in it."""
    checker = _Checker(about, events)
    checker.condition(leaf.condition, {})
    return sorted(checker.mistakes.values(), key=lambda mistake: mistake.at)


def limits_on_requests(leaf: Leaf, events: Events, *, permits: bool) -> list[Mistake]:
    """The limits of a leaf that denied calls use up, because they count decisions rather than permits.

    `permits` says whether the rule lets more through while the leaf holds: `permit … when`, `forbid … unless`.
    """
    counted = events.decisions
    if "permitted" not in events.kinds or not counted:
        return []
    bound = {
        name
        for each in walk(leaf.condition)
        if isinstance(each, Comparison) and each.op == "==" and any(_counts(each, counted))
        for name in (side.name for side in (each.left, each.right) if isinstance(side, Var))
    }
    return [
        Mistake(
            at,
            "this limit counts what was asked, so that denied calls use it up too",
            "count `…::permitted{ … }` instead of `…::" + min(counted) + "{ … }`",
        )
        for at in _limits(leaf.condition, counted, bound, upper=permits)
    ]


# --- scopes -------------------------------------------------------------------------------------------------


def _covers(constraint: Mapping[str, Any], groups: frozenset[Uid], uid: Uid) -> bool:
    if constraint["op"] == "All":
        return True
    named = [_uid(each) for each in constraint.get("entities") or [constraint["entity"]]]
    return uid in named if constraint["op"] == "==" else not groups.isdisjoint(named)


def _uid(reference: Mapping[str, Any]) -> Uid:
    found = reference.get("__entity", reference)
    return (found["type"], found["id"])


def _admits(constraint: Mapping[str, Any], type_: str, names: Names) -> bool:
    """Whether an entity of this type can be what the scope says."""
    op = constraint["op"]
    if op == "is":
        return bool(constraint["entity_type"] == type_) and (
            "in" not in constraint or _admits({"op": "in", **constraint["in"]}, type_, names)
        )
    if op == "All" or "entity" not in constraint:
        return True
    wanted = _uid(constraint["entity"])[0]
    known = names.entities.get(type_)
    return wanted == type_ or (op == "in" and known is not None and wanted in known.within)


# --- limits -------------------------------------------------------------------------------------------------


def _counts(comparison: Comparison, kinds: frozenset[str]) -> Iterator[Count | Sum]:
    """The aggregates of a comparison that are over events of these kinds."""
    for aggregate in aggregates(comparison):
        if any(isinstance(each, Predicate) and each.kind in kinds for each in walk(aggregate.body)):
            yield aggregate


def _limits(condition: Condition, kinds: frozenset[str], bound: set[str], *, upper: bool) -> Iterator[int]:
    """Where a count is bounded from above (or from below), while what stands there must hold."""
    if isinstance(condition, Comparison):
        counted = list(_counts(condition, kinds))
        for side, wanted in ((condition.left, "<"), (condition.right, ">")):
            is_count = side in counted or (isinstance(side, Var) and side.name in bound)
            if is_count and condition.op in _ORDERINGS and condition.op.startswith(wanted) == upper:
                yield condition.at
    negated = type(condition).__name__ == "Not"
    for part in parts(condition):
        yield from _limits(part, kinds, bound, upper=upper != negated)


# --- names and types ----------------------------------------------------------------------------------------


class _Checker:
    """One walk over a condition, with the types of the variables bound around."""

    def __init__(self, about: Sequence[Covered], events: Events) -> None:
        self.about, self.events, self.names = about, events, events.names
        self.mistakes: dict[tuple[int, str], Mistake] = {}

    def wrong(self, at: int, message: str, next_step: str = "") -> None:
        self.mistakes.setdefault((at, message), Mistake(at, message, next_step))

    def condition(self, condition: Condition, bound: Mapping[str, Types]) -> None:
        for term in terms(condition):
            self.term(term, condition.at)
        if isinstance(condition, Predicate):
            self.predicate(condition, bound)
        elif isinstance(condition, Comparison):
            self.comparison(condition, bound)
        elif isinstance(condition, Tp):
            type_ = bound.get(condition.name)
            if type_ is not None and type_ != {TIMEPOINT}:
                self.wrong(
                    condition.at,
                    f"`tp({condition.name})` is a point of the history, and `{condition.name}` is {_said(type_)}",
                    f"declare it `({condition.name}: {TIMEPOINT})`, and take another variable for the value",
                )
        elif isinstance(condition, Formerly | Previous | Since):
            self.window(condition)
        elif isinstance(condition, Exists):
            bound = {**bound, **self.binders([condition.binder])}
        for aggregate in aggregates(condition):
            self.aggregate(aggregate, bound)
        for part in parts(condition):
            self.condition(part, bound)

    # --- windows and binders --------------------------------------------------------------------------------

    def window(self, condition: Formerly | Previous | Since) -> None:
        window, most = condition.window, self.events.max_window
        if window.amount <= 0:
            self.wrong(condition.at, f"the window `{window}` holds nothing", "write one such as `within 1h`")
        elif window.ms > most.ms:
            self.wrong(
                condition.at,
                f"the window `{window}` is longer than `{most}`, the `max_window` of the event schema",
                f"write `within {most}`, or raise `max_window` in the project's event schema",
            )

    def binders(self, binders: Iterable[Binder]) -> dict[str, Types]:
        found: dict[str, Types] = {}
        for binder in binders:
            if binder.type == TIMEPOINT:
                found[binder.name] = frozenset([TIMEPOINT])
                continue
            shape = self.names.type(binder.type)
            if shape is None:
                known = [TIMEPOINT, "String", "Long", "Bool", *self.names.entities]
                self.wrong(
                    binder.at,
                    f"there is no type `{binder.type}`{_similar(binder.type, known)}",
                    f"types of variables are {TIMEPOINT}, String, Long, Bool, decimal, and those of entities",
                )
            else:
                found[binder.name] = frozenset([name_of(shape)])
        return found

    def aggregate(self, aggregate: Count | Sum, bound: Mapping[str, Types]) -> None:
        own = self.binders(aggregate.binders)
        if isinstance(aggregate, Sum):
            summed = own.get(aggregate.summed, _LONG)
            if summed != _LONG:
                self.wrong(
                    aggregate.at,
                    f"`{aggregate.summed}` is {_said(summed)}, and only Long can be added up",
                    "count it, or sum a field that is an integer",
                )
        self.condition(aggregate.body, {**bound, **own})

    # --- events ---------------------------------------------------------------------------------------------

    def predicate(self, predicate: Predicate, bound: Mapping[str, Types]) -> None:
        signature = self.events.signature(predicate.type, predicate.action, predicate.kind)
        if signature is None:
            self.no_event(predicate)
            return
        for argument in predicate.arguments:
            leaf = signature.leaves.get(argument.path)
            at = argument.at if argument.at >= 0 else predicate.at
            if leaf is None:
                self.no_field(signature, argument.path, at)
                continue
            wanted = frozenset(map(name_of, leaf.types))
            for types in self.types_of(argument.value, bound):
                if types is not None and not _may_equal(wanted, types):
                    self.wrong(
                        at,
                        f"`{'.'.join(argument.path)}` of `{predicate.action}` is {_said(wanted)}, not {_said(types)}",
                        _advice(wanted, types) or "compare it with a value of its own type",
                    )

    def no_event(self, predicate: Predicate) -> None:
        uid = (predicate.type, predicate.action)
        if uid not in self.names.actions:
            ids = [id_ for type_, id_ in self.names.actions if type_ == predicate.type]
            similar = _similar(predicate.action, ids)
            types = sorted({type_ for type_, _ in self.names.actions})
            if not ids and types:
                similar = f' (actions are `{types[0]}::"…"`)'
            self.wrong(
                predicate.at,
                f"there is no action `{predicate.action}`{similar}",
                "import the server's tools with `remit catalogue import`, or correct the name",
            )
        elif not self.names.actions[uid].principals:
            self.wrong(
                predicate.at,
                f"`{predicate.action}` is a group of actions, which has no events of its own",
                "name one of its actions; a rule for each action asks for any of them",
            )
        else:
            kinds = self.events.kinds
            self.wrong(
                predicate.at,
                f"there is no kind of event `{predicate.kind}`{_similar(predicate.kind, kinds)}",
                "the kinds of the event schema are " + ", ".join(f"`{kind}`" for kind in kinds),
            )

    def no_field(self, signature: Signature, path: Path, at: int) -> None:
        said = ".".join(path)
        name = f"{signature.uid[1]}::{signature.kind}"
        if path in signature.groups:
            below = [leaf for leaf in signature.leaves if leaf[: len(path)] == path]
            example = f", such as `{'.'.join(below[0])}`" if below else ""
            self.wrong(at, f"`{said}` of `{name}` is a group of fields", f"name a field within it{example}")
            return
        fields = [".".join(leaf) for leaf in signature.leaves]
        step = "its fields are " + ", ".join(f"`{field}`" for field in fields[:12]) + ("…" if len(fields) > 12 else "")
        if path[0] == "output" and ("output",) in signature.groups:
            step = "events carry what the catalogue selects of a result: add it to the tool's `select`"
        elif path[0] == "output":
            step = "results are fields of `response` events"
        self.wrong(at, f"`{name}` has no field `{said}`{_similar(said, fields)}", step)

    # --- values ---------------------------------------------------------------------------------------------

    def comparison(self, comparison: Comparison, bound: Mapping[str, Types]) -> None:
        lefts, rights = self.types_of(comparison.left, bound), self.types_of(comparison.right, bound)
        if len(lefts) != len(rights):  # one of them is the same for every action
            lefts, rights = lefts * len(rights), rights * len(lefts)
        for left, right in zip(lefts, rights, strict=False):
            if left is None or right is None:
                continue
            if comparison.op in _ORDERINGS:
                odd = next((types for types in (left, right) if types != _LONG), None)
                if odd is not None:
                    self.wrong(
                        comparison.at,
                        f"`{comparison.op}` compares integers, and this is {_said(odd)}",
                        "compare it with `==`, or in a `when { … }` of its own where it is of the request alone",
                    )
            elif not _may_equal(left, right):
                self.wrong(
                    comparison.at,
                    f"{_said(left)} and {_said(right)} are never equal",
                    _advice(left, right) or "compare values of one type",
                )

    def term(self, term: Term, at: int) -> None:
        """That what a term names is there."""
        at = term.at if term.at >= 0 else at
        if isinstance(term, EntityTerm):
            self.entity(term, at)
        elif isinstance(term, ContextTerm):
            for each in self.about:
                self.path(each.action.context, term.path, at, each.action)
        elif isinstance(term, ScopeTerm) and term.path and term.path not in _PROJECTIONS:
            for each in self.about:
                for type_ in each.principals if term.root == "principal" else each.resources:
                    self.attribute(term, type_, at)

    def entity(self, term: EntityTerm, at: int) -> None:
        if term.type == "Action" or term.type.endswith("::Action"):
            return
        known = self.names.entities.get(term.type)
        if known is None:
            self.wrong(
                at,
                f"there is no type of entities `{term.type}`{_similar(term.type, self.names.entities)}",
                "declare it in the schema in `entities/`, or correct the name",
            )
        elif known.ids is not None and term.id not in known.ids:
            choices = ", ".join(f"`{id_}`" for id_ in sorted(known.ids)[:12])
            self.wrong(at, f"`{term.type}` has no `{term.id}`{_similar(term.id, known.ids)}", f"it has {choices}")

    def path(self, shape: Shape, path: Path, at: int, action: ActionName) -> None:
        for step, name in enumerate(path):
            said = ".".join(("context", *path[: step + 1]))
            if shape.kind != "record":
                self.wrong(at, f"`{said}` is read from {_said(frozenset([name_of(shape)]))}, which has no parts")
                return
            found = shape.fields.get(name)
            if found is None:
                self.wrong(
                    at,
                    f"`{action.uid[1]}` has no `{said}`{_similar(name, shape.fields)}",
                    "correct the path"
                    if len(self.about) == 1
                    else "the rule is about that action too: name others in its scope, or correct the path",
                )
                return
            shape = found.shape

    def attribute(self, term: ScopeTerm, type_: str, at: int) -> None:
        known = self.names.entities.get(type_)
        shape = Shape(kind="record", fields=known.attributes) if known is not None else None
        for step, name in enumerate(term.path):
            said = ".".join((term.root, *term.path[: step + 1]))
            attribute = shape.fields.get(name) if shape is not None and shape.kind == "record" else None
            if shape is None or attribute is None:
                names = shape.fields if shape is not None else ()
                self.wrong(
                    at,
                    f"`{type_}` has no `{said}`{_similar(name, names)}",
                    f"say in the rule's scope which {term.root} is meant: `{term.root} is …`, or correct the name",
                )
                return
            shape = attribute.shape

    def types_of(self, term: Term, bound: Mapping[str, Types]) -> list[Types | None]:
        """The types of a term: of what the request says for each action, else once; None: unknown."""
        if isinstance(term, ContextTerm):
            found = [_at(each.action.context, term.path) for each in self.about]
            return [None if shape is None else frozenset([name_of(shape)]) for shape in found]
        if isinstance(term, ScopeTerm):
            return [self.scope(term, each) or None for each in self.about]
        return [self.type_of(term, bound)]

    def type_of(self, term: Term, bound: Mapping[str, Types]) -> Types | None:
        if isinstance(term, Var):
            return bound.get(term.name)
        if isinstance(term, Constant):
            kind = "Bool" if isinstance(term.value, bool) else "Long" if isinstance(term.value, int) else "String"
            return frozenset([kind])
        if isinstance(term, DecimalTerm):
            return frozenset(["decimal"])
        if isinstance(term, EntityTerm):
            return frozenset([term.type]) if term.type in self.names.entities else None
        if isinstance(term, Count | Sum):
            return _LONG
        if isinstance(term, ArrayTerm):
            items = {self.type_of(item, bound) for item in term.items}
            if not items:
                return frozenset([_EMPTY_SET])
            only = items.pop()
            return frozenset(f"Set<{type_}>" for type_ in only) if only is not None and not items else None
        return None

    def scope(self, term: ScopeTerm, each: Covered) -> Types:
        """The types of `principal…` or `resource…` for one action; none: unknown."""
        types = each.principals if term.root == "principal" else each.resources
        if not term.path:
            return frozenset(types)
        found: set[str] = set()
        for type_ in types:
            known = self.names.entities.get(type_)
            shape = _at(Shape(kind="record", fields=known.attributes), term.path) if known is not None else None
            if shape is not None:
                found.add(name_of(shape))
            elif term.path in _PROJECTIONS:
                found |= _STRING
        return frozenset(found)


def _at(shape: Shape, path: Path) -> Shape | None:
    for name in path:
        found = shape.fields.get(name) if shape.kind == "record" else None
        if found is None:
            return None
        shape = found.shape
    return shape


def _may_equal(left: Types, right: Types) -> bool:
    if not left.isdisjoint(right):
        return True
    return any(_EMPTY_SET in types and any(each.startswith("Set<") for each in left | right) for types in (left, right))


def _said(types: Types) -> str:
    return " or ".join("a record" if type_ == "record" else f"`{type_}`" for type_ in sorted(types))


def _advice(left: Types, right: Types) -> str:
    both = left | right
    if {"decimal", "Long"} <= both:
        return 'write decimals as `decimal("1.0")`'
    if {"datetime", "String"} <= both:
        return "windows (`within 1h`) compare times"
    return ""


def _similar(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(names), n=1)
    return f" (did you mean `{close[0]}`?)" if close else ""
