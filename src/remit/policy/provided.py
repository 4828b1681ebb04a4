"""What lowered policies read of the context that is not a fact: values of temporal conditions and of providers.

The validator sees one name for all temporal conditions, and one for each way through providers, so its schema does not
grow with the policies, and a policy that changes makes no other one invalid.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from remit.core.errors import DocumentError
from remit.policy import shapes, validation
from remit.policy.dogwood.ast import ArrayTerm, Constant, ContextTerm, DecimalTerm, ScopeTerm, Term
from remit.policy.dogwood.invocations import Call, Invocation
from remit.policy.dogwood.lowering import LEAF
from remit.policy.dogwood.providers import Provider, Providers
from remit.policy.reads import Uid
from remit.policy.schema import PRINCIPAL, Vocabulary
from remit.policy.shapes import BOOL, DECIMAL, LONG, STRING, Attribute, Shape
from remit.policy.sources import Policy, error_at

_IDENTITY = shapes.record(id=STRING, type=STRING)


def with_given(vocabulary: Vocabulary, policies: Iterable[Policy], providers: Providers) -> Vocabulary:
    """The vocabulary with what these policies read, for the validator; `check` let them pass."""
    given: dict[str, Attribute] = {}
    if any(policy.leaves for policy in policies):
        given["temporal"] = shapes.always(shapes.record(**{LEAF: BOOL}))
    results = {
        invocation.pipeline: shapes.always(providers.result_of(invocation))
        for policy in policies
        for invocation in policy.providers
    }
    if results:
        given["providers"] = shapes.always(Shape(kind="record", fields=dict(sorted(results.items()))))
    return msgspec.structs.replace(vocabulary, given=given) if given else vocabulary


def check(policies: Iterable[Policy], vocabulary: Vocabulary, providers: Providers) -> None:
    """Refuses calls of providers that are not as declared, with a `DocumentError`.

    What they give is checked by the validator, as the type of what policies read.
    """
    groups = {name: validation.groups_of(known) for name, known in vocabulary.actions.items()}
    for policy in policies:
        for invocation in policy.providers:
            _check(policy, invocation, vocabulary, groups, providers)


def _check(
    policy: Policy,
    invocation: Invocation,
    vocabulary: Vocabulary,
    groups: Mapping[str, frozenset[Uid]],
    providers: Providers,
) -> None:
    provider = providers.declared.get(invocation.function)
    if provider is None:
        close = difflib.get_close_matches(invocation.function, providers.declared, n=1)
        raise _error(
            policy,
            invocation.at,
            f"there is no information provider `{invocation.function}`"
            + (f" (did you mean `{close[0]}`?)" if close else ""),
            "declare it in `remit.toml` under `[[providers]]`",
        )
    covered = [
        (name, known.context)
        for name, known in vocabulary.actions.items()
        if known.is_tool and validation.covers(policy, name, groups)
    ]
    for call, parameters in _calls(policy, invocation, provider):
        if len(call.arguments) != len(parameters):
            raise _error(policy, call.at, f"`{call.name}` takes {len(parameters)} arguments, not {len(call.arguments)}")
        for number, (term, wanted) in enumerate(zip(call.arguments, parameters, strict=True), 1):
            _check_argument(policy, call, number, term, wanted, covered)


def _calls(policy: Policy, invocation: Invocation, provider: Provider) -> Iterator[tuple[Call, Sequence[Shape]]]:
    """The call and its methods, each with its parameters."""
    yield Call(invocation.function, invocation.arguments, invocation.at), provider.arguments
    given = provider.result
    for call in invocation.methods:
        method = provider.methods.get(call.name)
        if method is None:
            known = ", ".join(sorted(provider.methods)) or "none"
            raise _error(policy, call.at, f"`{provider.name}` has no method `{call.name}`", f"its methods are: {known}")
        if method.input != given:
            raise _error(
                policy,
                call.at,
                f"`{call.name}` is applied to {shapes.name_of(method.input)}, not to {shapes.name_of(given)}",
            )
        yield call, method.arguments
        given = method.result


def _check_argument(
    policy: Policy, call: Call, number: int, term: Term, wanted: Shape, covered: Sequence[tuple[str, Shape]]
) -> None:
    if isinstance(term, ArrayTerm):
        if wanted.kind != "set" or wanted.of is None:
            raise _wrong(policy, call, number, wanted, "a set", term.at)
        for item in term.items:
            _check_argument(policy, call, number, item, wanted.of, covered)
        return
    if isinstance(term, ContextTerm):
        for action, context in covered:
            found = shapes.at(context, term.path)
            if found is None:
                raise _error(
                    policy,
                    term.at,
                    f"the action `{action}` has no `context.{'.'.join(term.path)}`",
                    "say which actions the policy is about, or pass a field that all of them have",
                )
            if found.shape != wanted:
                raise _wrong(policy, call, number, wanted, f"{shapes.name_of(found.shape)} for `{action}`", term.at)
        return
    if isinstance(term, ScopeTerm):
        of = Shape(kind="record", fields={**_IDENTITY.fields, **(PRINCIPAL.fields if term.root == "principal" else {})})
        attribute = shapes.at(of, term.path)
        if attribute is None:
            known = ", ".join(of.fields)
            raise _error(
                policy, term.at, f"providers can't be given `{term.root}.{'.'.join(term.path)}`", f"but: {known}"
            )
        if attribute.shape != wanted:
            raise _wrong(policy, call, number, wanted, shapes.name_of(attribute.shape), term.at)
        return
    given = _literal(term)
    if given != wanted:
        raise _wrong(policy, call, number, wanted, shapes.name_of(given), call.at)


def _literal(term: Term) -> Shape:
    if isinstance(term, DecimalTerm):
        return DECIMAL
    value = term.value if isinstance(term, Constant) else ""
    return BOOL if isinstance(value, bool) else LONG if isinstance(value, int) else STRING


def _wrong(policy: Policy, call: Call, number: int, wanted: Shape, given: str, at: int) -> DocumentError:
    return _error(policy, at, f"argument {number} of `{call.name}` is {shapes.name_of(wanted)}, not {given}")


def _error(policy: Policy, at: int, message: str, next_step: str = "") -> DocumentError:
    return error_at(policy.source, at, message, next_step)
