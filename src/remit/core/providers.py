"""Information providers: functions of the project's own whose values policies in `.dw` files can use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from remit.core.documents import Document

_CALL = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"

Call_ = Annotated[
    str,
    Meta(pattern=_CALL, max_length=256, description="`module:function`, in the folder `providers/` or installed"),
]
Type_ = Annotated[
    str | Mapping[str, Any],
    Meta(description='"String", "Long", "Bool", "Decimal", "Set<…>" of one, or a table of them: a record'),
]
Arguments = Annotated[tuple[Type_, ...], Meta(max_length=16, description="the type of each argument")]


class MethodSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[providers.methods.<name>]`: a function of a provider's value: `Ns::Fn(…).<name>(…)`."""

    call: Call_
    result: Type_
    arguments: Arguments = ()
    input: Annotated[
        str | Mapping[str, Any], Meta(description="the type of what it is applied to; empty: the provider's result")
    ] = ""


class ProviderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[providers]]`: an information provider that policies in `.dw` files call."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z_]\w*(::[A-Za-z_]\w*)+$",
            max_length=128,
            description="what policies call it: `Strings::Matches`",
        ),
    ]
    call: Call_
    result: Type_
    arguments: Arguments = ()
    timeout_ms: Annotated[int, Meta(ge=1, le=10_000, description="then the action is denied")] = 1_000
    methods: Annotated[Mapping[str, MethodSettings], Meta(max_length=64, description="functions of its value")] = {}


def check_providers(document: Document, providers: Sequence[ProviderSettings]) -> None:
    """Each has its own name; a `DocumentError` names the line of one that hasn't."""
    names: set[str] = set()
    for number, provider in enumerate(providers):
        if provider.name in names:
            raise document.error(f"`{provider.name}` is declared twice", ("providers", number, "name"), "keep one")
        names.add(provider.name)
