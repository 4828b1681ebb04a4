"""All temporal clauses of a policy set, by whose history they are about: a task tree's, or a workload's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

from remit.policy.compiled.values import Entity, value_of
from remit.policy.dogwood import ast
from remit.policy.dogwood.ast import Condition, Leaf, Path, Predicate, Term
from remit.policy.dogwood.extent import reach_of
from remit.policy.dogwood.history import Monitor, Request

NO_NAMES: Final[frozenset[str]] = frozenset()


class Plan(Protocol):
    """How leaves are watched (`remit.policy.dogwood.monitor`)."""

    @property
    def digest(self) -> str:
        """Of the clauses; a state that was dumped belongs to one digest."""
        ...

    def start(self) -> Monitor:
        """The state of a history in which nothing happened."""
        ...

    def restore(self, data: bytes) -> Monitor:
        """The state that was dumped; raises where it is not one of this plan."""
        ...


class Scope:
    """The clauses about one kind of history, and which events and fields of events they can tell apart."""

    def __init__(self, leaves: Iterable[Leaf], plan: Plan, kinds: Iterable[str]) -> None:
        self.leaves: Mapping[str, Leaf] = {leaf.name: leaf for leaf in leaves}
        self.names = frozenset(self.leaves)
        self.plan = plan
        self.kinds = frozenset(kinds)  # that the event schema has; nothing else is an event
        self.reach = max(
            (reach_of(leaf.condition) for leaf in self.leaves.values()), default=0
        )  # ms that clauses look back
        self._paths: dict[tuple[str, str], dict[Path, None]] = {}
        self._context: set[str] = set()
        self._all = False
        for leaf in self.leaves.values():
            self._note(leaf.condition)

    @property
    def digest(self) -> str:
        """Of the clauses."""
        return self.plan.digest

    def watches(self, action: str, kind: str) -> bool:
        """Whether an event of this kind can change what a clause says."""
        return kind in self.kinds and (self._all or (action, kind) in self._paths)

    def paths(self, action: str, kind: str) -> tuple[Path, ...]:
        """The fields of such an event that a clause reads."""
        return tuple(self._paths.get((action, kind), ()))

    def request(
        self,
        principal: Entity,
        resource: Entity,
        context: Mapping[str, Any],
        attribute: Callable[[Entity, Path], Any],
    ) -> Request:
        """A request with what of its context, in Cedar's JSON form, any clause reads."""
        read = {name: value_of(context[name]) for name in self._context if name in context}
        return Request(principal, resource, read, attribute)

    def _note(self, condition: Condition) -> None:
        for node in nodes_of(condition):
            if isinstance(node, Predicate):
                paths = self._paths.setdefault((node.action, node.kind), {})
                paths.update((argument.path, None) for argument in node.arguments)
            elif _needs_every_timepoint(node):
                self._all = True
            elif isinstance(node, ast.ContextTerm):
                self._context.add(node.path[0])


class Temporal:
    """The clauses of a policy set; `None` where there is none of a kind."""

    def __init__(self, task: Scope | None = None, workload: Scope | None = None) -> None:
        self.task = task
        self.workload = workload
        self.names = (task.names if task else NO_NAMES) | (workload.names if workload else NO_NAMES)


NO_CLAUSES: Final = Temporal()


def nodes_of(condition: Condition) -> Iterator[Condition | Term]:
    """A condition with all that is in it."""
    left: list[Condition | Term] = [condition]
    while left:
        node = left.pop()
        yield node
        match node:
            case ast.And(before, after) | ast.Since(before, _, after):
                left += [before, after]
            case ast.Not(body) | ast.Formerly(_, body) | ast.Previous(_, body) | ast.Exists(_, body):
                left.append(body)
            case ast.Count(_, body) | ast.Sum(_, _, body):
                left.append(body)
            case ast.Comparison(_, one, other):
                left += [one, other]
            case ast.ArrayTerm(items):
                left += items
            case Predicate(arguments=arguments):
                left += [argument.value for argument in arguments]
            case _:
                pass


def _needs_every_timepoint(node: Condition | Term) -> bool:
    """Whether a timepoint can matter at which none of the predicates in `node` holds."""
    match node:
        case ast.Previous():
            return True
        case ast.Formerly(_, body):
            return not _is_anchored(body)
        case ast.Since(left, _, right):
            # A negation of what needs a predicate holds wherever there is none, and so can't be broken there.
            return not (_is_anchored(right) and isinstance(left, ast.Not) and _is_anchored(left.body))
        case _:
            return False


def _is_anchored(condition: Condition) -> bool:
    """Whether it can hold only where one of its predicates does, at that very timepoint."""
    match condition:
        case Predicate():
            return True
        case ast.And(left, right):
            return _is_anchored(left) or _is_anchored(right)
        case ast.Exists(_, body):
            return _is_anchored(body)
        case _:
            return False
