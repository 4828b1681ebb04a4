"""Intents as Cedar policies: a permit for what each justifies, and forbids for everything that it does not.

Each forbid is written as `unless` its condition is known to hold, so that a missing fact refuses. The text is
what `remit check --show-generated` prints and what decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from remit.core.actions import Action, Catalogue
from remit.core.intents import Binding, Intent, Limit, Prerequisite
from remit.policy import schema, shapes
from remit.policy.shapes import Shape
from remit.policy.sources import Source
from remit.policy.terms import Terms, said
from remit.policy.text import action as action_text
from remit.policy.text import entity, presence, quote, select

_INDENT: Final = "  "


def generate(
    intents: Mapping[str, Intent], catalogue: Catalogue, inputs: Mapping[str, Shape], trust_domain: str
) -> list[Source]:
    """One text of policies for each intent; a `DocumentError` at an intent that names what is not there."""
    return [
        Source(
            f"generated/{intent.name}.cedar",
            "\n\n".join(_Generator(intent, catalogue, inputs, trust_domain).policies()) + "\n",
            "generated",
            (intent.path or f"intents/{intent.name}.yaml", intent.line or 1),
        )
        for intent in intents.values()
    ]


class _Generator:
    """Writes the policies of one intent."""

    def __init__(self, intent: Intent, catalogue: Catalogue, inputs: Mapping[str, Shape], trust_domain: str) -> None:
        self.intent = intent
        self.catalogue = catalogue
        self.terms = Terms(intent, catalogue, inputs)
        self.trust_domain = trust_domain
        self.guard = f"context.task.intent == {quote(intent.name)}"

    def policies(self) -> Iterator[str]:
        """The text of each policy, in the order in which they are read."""
        justified = self._members(self.intent.actions, self.intent.effects)
        if justified:
            yield self._justifies(justified)
        yield self._ceiling(justified)
        for step in self.intent.order:
            yield self._order(step)
        for limit in self.intent.limits:
            yield from self._limit(limit)
        for binding in self.intent.bindings:
            yield self._binding(binding)
        if self.intent.risk_at_most < 100:
            yield self._risk()
        yield from self._start()

    def _justifies(self, justified: list[str]) -> str:
        return self._policy(
            "justifies",
            {"message": f"the task's intent `{self.intent.name}` justifies this action"},
            "permit",
            f"principal is Remit::Workload, {_action_scope(justified)}, resource",
            when=self.guard,
        )

    def _ceiling(self, justified: list[str]) -> str:
        return self._policy(
            "ceiling",
            {
                "reason": "not_justified",
                "message": f"the task's intent `{self.intent.name}` does not justify this action",
            },
            "forbid",
            f"principal, {_action_scope([schema.TOOLS])}, resource",
            when=self.guard,
            unless=[f"action in [{', '.join(action_text(name) for name in justified)}]"] if justified else [],
        )

    def _order(self, step: Prerequisite) -> str:
        self.terms.require_action(step.done, f"`order.{step.name}.done`")
        actions = self._members(step.before, ())
        where = f" with {_conditions(step.where)}" if step.where else ""
        within = f" within {step.within} seconds" if step.within else ""
        note = f"done means: `{step.done}` was completed in this task tree{where}{within}, seen by an enforcement point"
        return self._policy(
            f"order/{step.name}",
            {
                "reason": "out_of_order",
                "message": f"`{step.done}` must be completed first in this task{where}{within}",
                "next": f"call `{step.done}`{where}, then try again",
            },
            "forbid",
            f"principal, {_action_scope(actions)}, resource",
            when=self.guard,
            unless=presence("context.task.done", f"{self.intent.name}/{step.name}"),
            note=note,
        )

    def _limit(self, limit: Limit) -> Iterator[str]:
        key = f"{self.intent.name}/{limit.name}"
        usage = select("context.task.usage", key)
        scope = self._members(limit.actions, limit.effects)
        if not scope:
            raise self.terms.error(f"limit `{limit.name}` names no actions", "add `actions` or `effects` to it")
        if limit.calls is not None:
            calls = f"{limit.calls} call" + ("" if limit.calls == 1 else "s")
            yield self._policy(
                f"limit/{limit.name}",
                {
                    "reason": "limit_reached",
                    "message": f"the task's limit of {calls} is reached (limit `{limit.name}`)",
                    "next": "ask for a new task; a call that failed or never ran may be resolved by an operator",
                },
                "forbid",
                f"principal, {_action_scope(scope)}, resource",
                when=self.guard,
                unless=[*presence("context.task.usage", key), f"{usage}.calls < {limit.calls}"],
            )
        if limit.sum:
            yield from self._sum(limit, usage, presence("context.task.usage", key))

    def _sum(self, limit: Limit, usage: str, present: list[str]) -> Iterator[str]:
        """One policy for the actions whose summed argument is an integer, one for those where it is a decimal."""
        there, most, kind = self.terms.term(limit.at_most, f"limit `{limit.name}`", decimal=True)
        if kind != "decimal":
            raise self.terms.error(
                f"limit `{limit.name}`: `at_most` must be a decimal, not {kind}",
                "declare the parameter as `decimal`, or write a number",
            )
        by_type: dict[str, list[str]] = {}
        for action in self._covered(limit):
            field = self.terms.argument(action, limit.sum, f"limit `{limit.name}`")
            by_type.setdefault(shapes.name_of(field.shape), []).append(action.name)
        for name, actions in sorted(by_type.items()):
            if name not in ("Long", "decimal"):
                raise self.terms.error(f"limit `{limit.name}` sums `{limit.sum}`, which is {name} in `{actions[0]}`")
            path = limit.sum.split(".")[1:]
            argument = select("context.input", *path)
            # A negative amount would give back what was spent.
            positive = f"{argument} >= 0" if name == "Long" else f'{argument}.greaterThanOrEqual(decimal("0.0"))'
            suffix = "/sum" if limit.calls is not None else ""
            suffix += f"/{name.lower()}" if len(by_type) > 1 else ""
            yield self._policy(
                f"limit/{limit.name}{suffix}",
                {
                    "reason": "limit_reached",
                    "message": f"the sum of `{limit.sum}` would go over this task's limit of {said(limit.at_most)}"
                    f" (limit `{limit.name}`)",
                    "next": "try a smaller amount, or ask for a new task",
                },
                "forbid",
                f"principal, {_action_scope(actions)}, resource",
                when=self.guard,
                unless=[
                    *presence("context.input", *path),
                    positive,
                    *present,
                    f"{usage} has total",
                    *there,
                    f"{usage}.total.lessThanOrEqual({most})",
                ],
            )

    def _binding(self, binding: Binding) -> str:
        label = f"binding of `{binding.action}`"
        action = self.terms.require_action(binding.action, label)
        field = self.terms.argument(action, binding.argument, label)
        path = binding.argument.split(".")[1:]
        argument = select("context.input", *path)
        kind = shapes.name_of(field.shape)
        value = binding.equals or binding.at_most
        if bool(binding.equals) == bool(binding.at_most):
            raise self.terms.error(f"{label}: write exactly one of `equals` and `at_most`")
        there, term, type_ = self.terms.term(value, label, decimal=kind == "decimal")
        if type_ != kind:
            raise self.terms.error(
                f"{label}: `{binding.argument}` is {kind}, but `{value}` is {type_}", "give the two the same type"
            )
        if binding.equals:
            test, words = f"{argument} == {term}", "equal"
        elif kind == "decimal":
            test, words = f"{argument}.lessThanOrEqual({term})", "be at most"
        elif kind == "Long":
            test, words = f"{argument} <= {term}", "be at most"
        else:
            raise self.terms.error(f"{label}: `at_most` needs a number, and `{binding.argument}` is {kind}")
        return self._policy(
            f"binding/{binding.action}.{binding.argument.removeprefix('input.')}"
            + ("" if binding.equals else "/at-most"),
            {
                "reason": "argument_not_bound",
                "message": f"`{binding.argument}` must {words} {said(value)}",
                "next": f"call it with {said(value)}; another value needs another task",
            },
            "forbid",
            f"principal, {_action_scope([binding.action])}, resource",
            when=self.guard,
            unless=[*presence("context.input", *path), *there, test],
        )

    def _risk(self) -> str:
        return self._policy(
            "risk",
            {
                "reason": "risk_too_high",
                "message": f"the risk is above {self.intent.risk_at_most}, the most that this intent allows",
                "next": "wait until the risk signals expire, or ask an operator",
            },
            "forbid",
            f"principal, {_action_scope([schema.TOOLS])}, resource",
            when=self.guard,
            unless=[f"context.risk <= {self.intent.risk_at_most}"],
        )

    def _start(self) -> Iterator[str]:
        scope = f"principal, action == {action_text('task.start')}, resource == {entity('Intent', self.intent.name)}"
        starters = self._any_of("principal", self.intent.starters, people=True)
        if starters:
            yield self._policy(
                "start",
                {"message": f"it is named as a starter of `{self.intent.name}`"},
                "permit",
                scope,
                when=starters,
            )
        yield self._policy(
            "starters",
            {"reason": "starter_not_listed", "message": f"this starter may not start tasks under `{self.intent.name}`"},
            "forbid",
            scope,
            unless=[starters] if starters else [],
        )
        workloads = self._any_of("context.workload", self.intent.workloads, people=False)
        yield self._policy(
            "workloads",
            {
                "reason": "workload_not_listed",
                "message": f"this workload may not act under `{self.intent.name}`",
            },
            "forbid",
            scope,
            unless=[workloads] if workloads else [],
        )
        if self.intent.case_types:
            cases = ", ".join(quote(name) for name in self.intent.case_types)
            yield self._policy(
                "case-types",
                {
                    "reason": "case_type_not_allowed",
                    "message": f"a task under `{self.intent.name}` needs one of its case types",
                    "next": f"start it with one of: {', '.join(self.intent.case_types)}",
                },
                "forbid",
                scope,
                unless=["context has caseType", f"[{cases}].contains(context.caseType)"],
            )

    def _policy(
        self,
        name: str,
        annotations: Mapping[str, str],
        effect: str,
        scope: str,
        *,
        when: str = "",
        unless: Iterable[str] = (),
        note: str = "",
    ) -> str:
        # SECURITY: a line end within a comment would begin a policy that no one wrote.
        lines = [f"// {''.join(char for char in note if char.isprintable())}"] if note else []
        lines.append(f"@id({quote(f'intent:{self.intent.name}/{name}')})")
        lines += [f"@{key}({quote(text[:1000])})" for key, text in annotations.items()]
        lines.append(f"{effect} (")
        lines += [f"{_INDENT}{part}" for part in _parts(scope)]
        lines.append(")")
        lines += [f"when {{ {when} }}"] if when else []
        terms = list(unless)
        if len(terms) == 1:
            lines.append(f"unless {{ {terms[0]} }}")
        elif terms:
            lines.append("unless {")
            lines += [f"{_INDENT}{term}{' &&' if number < len(terms) - 1 else ''}" for number, term in enumerate(terms)]
            lines.append("}")
        return "\n".join(lines) + ";"

    def _members(self, actions: Iterable[str], effects: Iterable[str]) -> list[str]:
        """The actions and groups of actions that are named; each must be there."""
        return [self.terms.require_action(name, "the intent").name for name in actions] + list(effects)

    def _covered(self, limit: Limit) -> list[Action]:
        """The single actions that a limit counts: those named, or those justified that have its effects."""
        return [
            action
            for action in self.catalogue.actions.values()
            if action.name in limit.actions
            or (action.effect in limit.effects and schema.justifies(self.intent, action))
        ]

    def _any_of(self, who: str, names: Iterable[str], *, people: bool) -> str:
        """A test that `who` is one of those named: groups, SPIFFE IDs, or their paths."""
        groups: list[str] = []
        ids: list[str] = []
        for name in names:
            if name.startswith("group:"):
                groups.append(entity("Group", name.removeprefix("group:")))
            else:
                ids.append(name if name.startswith("spiffe://") else f"spiffe://{self.trust_domain}/{name}")
        terms = [f"{who} in [{', '.join(groups)}]"] if groups else []
        for type_ in ("Workload", "Person") if people else ("Workload",):
            named = ", ".join(entity(type_, id_) for id_ in ids)
            terms += [f"{who} in [{named}]"] if ids else []
        return " || ".join(terms)


def _action_scope(names: list[str]) -> str:
    if len(names) == 1:
        return f"action {'==' if '/' in names[0] else 'in'} {action_text(names[0])}"
    return f"action in [{', '.join(action_text(name) for name in names)}]"


def _parts(scope: str) -> list[str]:
    """The scope on three lines: principal, action, resource."""
    principal, _, rest = scope.partition(", ")
    action, _, resource = rest.rpartition(", ")
    return [f"{principal},", f"{action},", resource]


def _conditions(where: Mapping[str, str]) -> str:
    return " and ".join(f"{path} = {said(value)}" for path, value in where.items())
