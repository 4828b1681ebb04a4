"""Conditions written out again, in one line: what is read from it is the same condition.

Variables that macros made have names that nobody can write; they are shown as `name_number`.
"""

from __future__ import annotations

from remit.policy import text as cedar_text
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


def show(node: Condition | Term) -> str:
    """The condition or the value as text."""
    match node:
        case And(left, right):
            # `&&` takes from the left; what reaches far to the right is closed off.
            first = show(left) if isinstance(left, And) else _closed(left, Since)
            return f"{first} && {_closed(right, Since)}"
        case Not(body):
            return f"!{_closed(body, Not)}"
        case Formerly(window, body):
            return f"formerly within {window} {_closed(body)}"
        case Previous(window, body):
            return f"previous within {window} {_closed(body)}"
        case Since(left, window, right):
            return f"{_closed(left, Not)} since within {window} {_closed(right)}"
        case Exists(binder, body):
            return f"exists {_binder(binder)}. {show(body)}"
        case Comparison(op, left, right):
            return f"{_operand(left)} {op} {_operand(right)}"
        case Predicate(type_, action, kind, arguments):
            fields = ", ".join(_argument(argument) for argument in arguments)
            return f"{type_}::{cedar_text.quote(action)}::{kind}{{{fields}}}"
        case Tp(name):
            return f"tp({_name(name)})"
        case _:
            return _term(node)


def _closed(node: Condition, *open_: type) -> str:
    """In parentheses, but for what needs none anywhere and for `open_`."""
    plain = isinstance(node, (Predicate, Tp, *open_))
    return show(node) if plain else f"({show(node)})"


def _term(node: Term) -> str:
    match node:
        case EntityTerm(type_, id_):
            return f"{type_}::{cedar_text.quote(id_)}"
        case Constant(value):
            if isinstance(value, bool):
                return "true" if value else "false"
            return str(value) if isinstance(value, int) else cedar_text.quote(value)
        case DecimalTerm(text):
            return f'decimal("{text}")'
        case ContextTerm(path):
            return ".".join(["context", *path])
        case ScopeTerm(root, path):
            return ".".join([root, *path])
        case Var(name):
            return _name(name)
        case Wildcard():
            return "_"
        case ArrayTerm(items):
            return "[" + ", ".join(_operand(item) for item in items) + "]"
        case Count(binders, body):
            return f"count for {', '.join(_binder(each) for each in binders)}. where {show(body)}"
        case Sum(summed, binders, body):
            return f"sum {_name(summed)} for {', '.join(_binder(each) for each in binders)}. where {show(body)}"


def _operand(term: Term) -> str:
    """A value where others follow: a `where` reaches as far as it can."""
    return f"({_term(term)})" if isinstance(term, Count | Sum) else _term(term)


def _argument(argument: Argument) -> str:
    return f"{'.'.join(argument.path)}: {_operand(argument.value)}"


def _binder(binder: Binder) -> str:
    return f"({_name(binder.name)}: {binder.type})"


def _name(name: str) -> str:
    return name.replace("$", "_")
