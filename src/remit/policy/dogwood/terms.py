"""The values of terms, and the variables that terms and conditions read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remit.policy.compiled.values import Entity, Failed, Set, call
from remit.policy.dogwood.ast import (
    And,
    ArrayTerm,
    Comparison,
    Condition,
    Constant,
    ContextTerm,
    Count,
    DecimalTerm,
    EntityTerm,
    Exists,
    Formerly,
    Not,
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
from remit.policy.dogwood.history import Request
from remit.policy.dogwood.timepoints import ABSENT, within


def value_of(term: Term, request: Request, bindings: Mapping[str, Any]) -> Any:
    """The value of a term that is no aggregate; `ABSENT` without."""
    match term:
        case Constant(value):
            return value
        case Var(name):
            return bindings.get(name, ABSENT)
        case ContextTerm(path):
            return within(request.context, path)
        case ScopeTerm(root, path):
            return _of_scope(request, request.principal if root == "principal" else request.resource, path)
        case EntityTerm(of, name):
            return Entity((of, name))
        case DecimalTerm(text):
            return _decimal(text)
        case ArrayTerm(items):
            values = [value_of(item, request, bindings) for item in items]
            return ABSENT if any(value is ABSENT for value in values) else Set(values)
    return ABSENT  # a wildcard


def _of_scope(request: Request, entity: Entity, path: Path) -> Any:
    if not path:
        return entity
    value = request.attribute(entity, path)
    if value is ABSENT and path == ("id",):
        return entity[1]
    if value is ABSENT and path == ("type",):
        return entity[0]
    return value


def _decimal(text: str) -> Any:
    try:
        return call("decimal", text)
    except Failed:
        return ABSENT


def variables(term: Term) -> frozenset[str]:
    """The variables that a term reads, and does not bind itself."""
    match term:
        case Var(name):
            return frozenset({name})
        case ArrayTerm(items):
            return frozenset().union(*map(variables, items))
        case Count(binders, body) | Sum(_, binders, body):
            return free(body) - {binder.name for binder in binders}
    return frozenset()


def free(condition: Condition) -> frozenset[str]:
    """The variables of a condition that it does not bind itself."""
    match condition:
        case Predicate():
            return frozenset().union(*(variables(argument.value) for argument in condition.arguments))
        case Tp(name):
            return frozenset({name})
        case Comparison(_, left, right):
            return variables(left) | variables(right)
        case And(left_side, right_side) | Since(left_side, _, right_side):
            return free(left_side) | free(right_side)
        case Not(body) | Formerly(_, body) | Previous(_, body):
            return free(body)
        case Exists(binder, body):
            return free(body) - {binder.name}
