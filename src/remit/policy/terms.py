"""What an intent refers to: arguments of actions, parameters, fields of believed steps, and literals.

Each reference is checked where it is declared, so that its error names the intent and what there is instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from remit.core.actions import Action, Catalogue
from remit.core.errors import DocumentError, InvalidInput
from remit.core.intents import Intent
from remit.policy import shapes
from remit.policy.shapes import Attribute, Shape
from remit.policy.text import presence, quote, select
from remit.policy.typed import typed_value

Term = tuple[list[str], str, str]  # the tests that it is there, the expression, its Cedar type

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


class Terms:
    """The references of one intent as Cedar expressions."""

    def __init__(self, intent: Intent, catalogue: Catalogue, inputs: Mapping[str, Shape]) -> None:
        self.intent = intent
        self.catalogue = catalogue
        self.inputs = inputs

    def argument(self, action: Action, path: str, label: str) -> Attribute:
        head, *rest = path.split(".")
        field = shapes.at(self.inputs[action.name], tuple(rest)) if head == "input" else None
        if field is None or field.shape.kind in ("record", "set"):
            known = ", ".join(f"`input.{name}`" for name in list(self.inputs[action.name].fields)[:12])
            raise self.error(
                f"{label}: `{action.name}` has no argument `{path}` that policies can compare",
                f"its arguments are {known}" if known else "it declares no arguments",
            )
        return field

    def term(self, value: str, label: str, *, decimal: bool) -> Term:
        """A value that the starter, a believed step or the intent itself supplies."""
        head, _, rest = value.partition(".")
        if value.startswith("'") and value.endswith("'") and len(value) > 1:
            return [], quote(value[1:-1]), "String"
        if value in ("true", "false"):
            return [], value, "Bool"
        if _NUMBER.fullmatch(value):
            return self._number(value, label, decimal=decimal)
        if head == "params":
            parameter = self.intent.params.get(rest)
            if parameter is None:
                declared = ", ".join(f"`{name}`" for name in self.intent.params) or "none"
                raise self.error(f"{label}: there is no parameter `{rest}`", f"declared parameters: {declared}")
            kind = shapes.name_of(shapes.DECLARED[parameter.type])
            return presence("context.task.params", rest), select("context.task.params", rest), kind
        if head == "done":
            return self._selected(rest, label)
        raise self.error(
            f"{label}: can't read `{value}`",
            "write `params.NAME`, `done.STEP.FIELD`, a number, or a text in quotes: `'x'`",
        )

    def _number(self, value: str, label: str, *, decimal: bool) -> Term:
        try:
            if decimal:
                text = typed_value("decimal", value)["__extn"]["arg"]
                return [], f"decimal({quote(text)})", "decimal"
            return [], str(typed_value("integer", int(value))), "Long"
        except (InvalidInput, ValueError):
            raise self.error(f"{label}: `{value}` is not a number of the right kind") from None

    def _selected(self, rest: str, label: str) -> Term:
        """A field of a believed step: `STEP.FIELD`, where FIELD may have dots."""
        for step in self.intent.order:
            name, field_path = step.name, rest.removeprefix(f"{step.name}.")
            if field_path == rest:
                continue
            action = self.require_action(step.done, f"`order.{name}.done`")
            field = next((field for field in action.select if field.path == field_path), None)
            if field is None:
                kept = ", ".join(f"`{field.path}`" for field in action.select) or "none"
                raise self.error(
                    f"{label}: `{step.done}` keeps no result field `{field_path}`",
                    f"fields under `select` in the catalogue: {kept}",
                )
            path = (f"{self.intent.name}/{name}", field_path)
            kind = shapes.name_of(shapes.DECLARED[field.type])
            return presence("context.task.done", *path), select("context.task.done", *path), kind
        steps = ", ".join(f"`{step.name}`" for step in self.intent.order) or "none"
        raise self.error(f"{label}: there is no step for `done.{rest}`", f"steps under `order`: {steps}")

    def require_action(self, name: str, label: str) -> Action:
        action = self.catalogue.actions.get(name)
        if action is None:
            raise self.error(
                f"{label} names `{name}`, which is not in the catalogue",
                "import the server's tools with `remit catalogue import`, or correct the name",
            )
        return action

    def error(self, message: str, next_step: str = "") -> DocumentError:
        path = self.intent.path or f"intents/{self.intent.name}.yaml"
        return DocumentError(message, path=path, line=self.intent.line or 1, next_step=next_step)


def said(value: str) -> str:
    """A declared value in words."""
    head, _, rest = value.partition(".")
    if head == "params":
        return f"the task's `{rest}`"
    if head == "done":
        return f"`{rest}` as read before"
    return value
