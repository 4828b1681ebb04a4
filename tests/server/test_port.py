"""The fake and the real governor offer the same operations, so that tests on the one speak of the other."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from remit.decide.governor import Governor
from remit.identity.authenticator import Authenticator
from remit.identity.authority import Authority
from remit.sdk.api import Remit
from remit.sdk.blocking import Blocking
from remit.sdk.client import Client
from remit.server.port import AuthenticatorPort, AuthorityPort, ServicePort

from .fake_service import FakeService


def operations(protocol: type[Any]) -> list[str]:
    return [name for name, value in vars(protocol).items() if not name.startswith("_") and callable(value)]


def shape(function: Any) -> tuple[bool, int, list[str]]:
    """Whether it is awaited, how many positional parameters it has, and the names of its keyword-only ones."""
    parameters = inspect.signature(function).parameters.values()
    positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    named = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
    return inspect.iscoroutinefunction(function), len(positional), named


@pytest.mark.parametrize(
    ("protocol", "real"),
    [
        (ServicePort, FakeService),
        (ServicePort, Governor),
        (AuthenticatorPort, Authenticator),
        (AuthorityPort, Authority),
        (Remit, Client),
    ],
)
def test_fulfils_its_port(protocol: type[Any], real: type[Any]) -> None:
    for name in operations(protocol):
        assert shape(getattr(real, name)) == shape(getattr(protocol, name)), name


def test_the_blocking_client_has_every_method() -> None:
    for name in operations(Remit):
        awaited, positional, named = shape(getattr(Remit, name))
        assert awaited
        assert shape(getattr(Blocking, name)) == (False, positional, named), name
