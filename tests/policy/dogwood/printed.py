"""Conditions as Dogwood text, with more parentheses than needed."""

from __future__ import annotations

from remit.policy.dogwood.ast import (
    And,
    Argument,
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
    Not,
    Predicate,
    Previous,
    ScopeTerm,
    Since,
    Sum,
    Term,
    Tp,
    Var,
    Wildcard,
)
from remit.policy.text import quote


def printed(condition: Condition) -> str:
    """The text of a condition; it can stand wherever a condition can."""
    match condition:
        case Predicate(of, action, kind, arguments):
            return f"{of}::{quote(action)}::{kind}{{{', '.join(map(_argument, arguments))}}}"
        case Tp(name):
            return f"tp({name})"
        case Comparison(op, left, right):
            return f"{term(left)} {op} {term(right)}"
        case And(left_side, right_side):
            return f"({printed(left_side)} && {printed(right_side)})"
        case Not(body):
            return f"(!{_closed(body)})"
        case Formerly(window, body):
            return f"(formerly within {window} {printed(body)})"
        case Previous(window, body):
            return f"(previous within {window} {printed(body)})"
        case Since(left_side, window, right_side):
            return f"({_closed(left_side)} since within {window} {printed(right_side)})"
        case Exists(binder, body):
            return f"(exists {_binder(binder)}. {printed(body)})"


def term(of: Term) -> str:
    """The text of a term."""
    match of:
        case EntityTerm(type_of, name):
            return f"{type_of}::{quote(name)}"
        case Constant(value):
            return quote(value) if isinstance(value, str) else str(value).lower()
        case DecimalTerm(text):
            return f'decimal("{text}")'
        case ContextTerm(path):
            return ".".join(("context", *path))
        case ScopeTerm(root, path):
            return ".".join((root, *path))
        case Var(name):
            return name
        case Wildcard():
            return "_"
        case ArrayTerm(items):
            return f"[{', '.join(map(term, items))}]"
        case Count(binders, body):
            return f"(count for {', '.join(map(_binder, binders))}. where {printed(body)})"
        case Sum(summed, binders, body):
            return f"(sum {summed} for {', '.join(map(_binder, binders))}. where {printed(body)})"


def _closed(condition: Condition) -> str:
    text = printed(condition)
    return f"({text})" if isinstance(condition, Comparison) else text


def _argument(argument: Argument) -> str:
    return f"{'.'.join(argument.path)}: {term(argument.value)}"


def _binder(binder: Binder) -> str:
    return f"({binder.name}: {binder.type})"
