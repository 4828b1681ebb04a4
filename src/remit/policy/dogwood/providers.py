"""Information providers: Python functions whose values lowered policies read as `context.providers[…]`.

At load: their code is imported, and what is declared of them is checked. At a decision:

1. Each call's arguments are read off the request: `context.input`, `principal`, `resource` and constants.
2. All calls run at once, on threads of their own, each within its `timeout_ms`; calls that say the same run once.
3. A value that is not of its declared type, an exception, and no value in time are `ProviderFailed`: who asked denies.

Arguments that are absent are `None`. A provider is asked again for every decision, also where another policy denies
already: it has no effects, and it gives the same value to the same arguments.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

from remit.core import canonical
from remit.core.documents import read_toml
from remit.core.errors import DocumentError
from remit.core.identities import Registration
from remit.core.providers import MethodSettings, ProviderSettings
from remit.policy.dogwood.ast import ArrayTerm, Constant, ContextTerm, DecimalTerm, ScopeTerm, Term
from remit.policy.dogwood.bodies import METHODS
from remit.policy.dogwood.invocations import Call, Invocation
from remit.policy.dogwood.modules import FOLDER, Modules
from remit.policy.dogwood.types import WrongType, of_cedar, read_type, to_cedar
from remit.policy.shapes import Shape

log = logging.getLogger("remit.providers")

FILE: Final = "remit.toml"
THREADS: Final = 16  # that providers may occupy together; further calls wait, within their time


class ProviderFailed(Exception):
    """A provider gave no value that can be used: whoever asked denies. The message is safe to show."""

    def __init__(self, provider: str, why: str) -> None:
        super().__init__(f"the information provider `{provider}` {why}")
        self.provider = provider


@dataclass(frozen=True, slots=True)
class Method:
    """A function of a provider's value."""

    function: Callable[..., Any] = field(repr=False)
    arguments: tuple[Shape, ...]
    input: Shape
    result: Shape


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider as it is declared."""

    name: str
    function: Callable[..., Any] = field(repr=False)
    arguments: tuple[Shape, ...]
    result: Shape
    timeout_ms: int
    methods: Mapping[str, Method]


class Providers:
    """All providers of one configuration; safe to use from several threads."""

    def __init__(
        self, declared: Iterable[Provider] = (), texts: Mapping[str, str] | None = None, code: Iterable[str] = ()
    ) -> None:
        self.declared: Mapping[str, Provider] = {provider.name: provider for provider in declared}
        self.code = tuple(
            code
        )  # what was loaded, for whoever runs it: `Strings::Matches: providers/strings.py:matches`
        files = sorted((texts or {}).items())
        listed = [[path, canonical.sha256(text.encode())] for path, text in files]
        self.digest = canonical.digest(listed) if listed else ""
        # By digest; the list of them too.
        self.texts: dict[str, str] = {canonical.sha256(text.encode()): text for _, text in files}
        if listed:
            self.texts[self.digest] = canonical.encode(listed).decode()

    def evaluate(
        self,
        invocations: Sequence[Invocation],
        principal: Registration,
        resource: tuple[str, str],
        context: Mapping[str, Any],
    ) -> dict[str, Any]:
        """The value of each call, by its name, in Cedar's JSON form. Raises `ProviderFailed`; blocks while they run.

        `resource` is a type and an id; `context` is the request's, in Cedar's JSON form.
        """
        begun = self._begun(invocations, principal, resource, context)
        try:
            for one in begun.values():
                one.wait()
        finally:
            for one in begun.values():
                one.future.cancel()
        return {invocation.name: begun[_key(invocation)].value() for invocation in invocations}

    async def ask(
        self,
        invocations: Sequence[Invocation],
        principal: Registration,
        resource: tuple[str, str],
        context: Mapping[str, Any],
    ) -> dict[str, Any]:
        """As `evaluate`, for the event loop: other decisions go on meanwhile."""
        begun = self._begun(invocations, principal, resource, context)
        try:
            for one in begun.values():
                left = max(0.0, one.until - time.monotonic())
                await asyncio.wait([asyncio.wrap_future(one.future)], timeout=left)
                if not one.future.done():
                    raise one.late()
        finally:
            for one in begun.values():
                one.future.cancel()
        return {invocation.name: begun[_key(invocation)].value() for invocation in invocations}

    def result_of(self, invocation: Invocation) -> Shape:
        """The type of a call that `check` let pass."""
        provider = self.declared[invocation.function]
        return provider.methods[invocation.methods[-1].name].result if invocation.methods else provider.result

    def _begun(
        self,
        invocations: Sequence[Invocation],
        principal: Registration,
        resource: tuple[str, str],
        context: Mapping[str, Any],
    ) -> dict[Any, _Running]:
        begun: dict[Any, _Running] = {}
        for invocation in invocations:
            key = _key(invocation)
            if key in begun:
                continue
            provider = self.declared.get(invocation.function)
            if provider is None:
                raise ProviderFailed(invocation.function, "is not declared")
            calls = [
                (call.name, [_argument(term, principal, resource, context) for term in call.arguments])
                for call in (Call("", invocation.arguments), *invocation.methods)
            ]
            work = _Work(provider, calls[0][1], calls[1:])
            begun[key] = _Running(provider, _WORKERS.submit(work.run), time.monotonic() + provider.timeout_ms / 1000)
        return begun


NO_PROVIDERS: Final = Providers()


def load(settings: Sequence[ProviderSettings], root: Path) -> Providers:
    """Imports and checks what `[[providers]]` declares; a `DocumentError` says what is wrong.

    `root` is the project folder.
    """
    if not settings:
        return NO_PROVIDERS
    try:
        modules = Modules(root)
    except (OSError, ValueError) as error:
        raise DocumentError(f"the code of the providers can't be read: {error}", path=FOLDER) from None
    declared: list[Provider] = []
    for number, setting in enumerate(settings):
        try:
            declared.append(_provider(setting, modules))
        except (WrongType, ValueError) as error:
            raise read_toml(root / FILE).error(
                f"the information provider `{setting.name}` can't be used: {error}",
                ("providers", number),
                f"providers are functions of modules in `{FOLDER}/` or of installed packages",
            ) from None
    return Providers(declared, modules.texts, [f"{call} of {file}" for call, file in modules.loaded.items()])


def _provider(setting: ProviderSettings, modules: Modules) -> Provider:
    result = read_type(setting.result)
    methods: dict[str, Method] = {}
    for name, method in setting.methods.items():
        if name in METHODS or not name.isidentifier() or not name.isascii():
            raise ValueError(f"`{name}` can't be a method: it is one of Cedar's own, or no plain name")
        methods[name] = _method(method, result, modules)
    return Provider(
        setting.name,
        modules.function(setting.call),
        tuple(read_type(written) for written in setting.arguments),
        result,
        setting.timeout_ms,
        methods,
    )


def _method(setting: MethodSettings, result: Shape, modules: Modules) -> Method:
    return Method(
        modules.function(setting.call),
        tuple(read_type(written) for written in setting.arguments),
        read_type(setting.input) if setting.input else result,
        read_type(setting.result),
    )


def _key(invocation: Invocation) -> tuple[Any, ...]:
    return invocation.function, invocation.arguments, invocation.methods


def _argument(term: Term, principal: Registration, resource: tuple[str, str], context: Mapping[str, Any]) -> Any:
    """What the provider is given; None for what is absent."""
    match term:
        case Constant(value):
            return value
        case DecimalTerm(text):
            return Decimal(text)
        case ArrayTerm(items):
            several = tuple(_argument(item, principal, resource, context) for item in items)
            return (
                several if any(isinstance(item, dict | tuple | frozenset) for item in several) else frozenset(several)
            )
        case ContextTerm(path):
            found: Any = context
            for name in path:
                found = found.get(name) if isinstance(found, Mapping) else None
            return of_cedar(found)
        case ScopeTerm("principal", path):
            return principal_attribute(principal, path)
        case ScopeTerm(_, path):
            type_, id_ = resource
            known = {"id": id_, "type": type_ if "::" in type_ else f"Remit::{type_}"}
            return known.get(path[0]) if len(path) == 1 else None
    raise TypeError(f"{term} is no argument")


def principal_attribute(principal: Registration, path: tuple[str, ...]) -> Any:
    """What a provider sees of who asks."""
    kind = "Person" if principal.kind == "person" else "Workload"
    known = {
        "id": principal.id,
        "type": f"Remit::{kind}",
        "kind": principal.kind,
        "owner": principal.owner,
        "environment": principal.environment,
        "roles": frozenset(principal.roles),
    }
    return known.get(path[0]) if len(path) == 1 else None


class _Work:
    """One call with its methods, as a thread runs it."""

    __slots__ = ("arguments", "methods", "provider")

    def __init__(
        self, provider: Provider, arguments: Sequence[Any], methods: Sequence[tuple[str, Sequence[Any]]]
    ) -> None:
        self.provider = provider
        self.arguments = arguments
        self.methods = methods

    def run(self) -> Any:
        name = self.provider.name
        try:
            value = self.provider.function(*self.arguments)
            given = to_cedar(value, self.provider.result)
            for called, passed in self.methods:
                method = self.provider.methods[called]
                name = f"{self.provider.name}.{called}"
                given = to_cedar(method.function(of_cedar(given), *passed), method.result)
        except WrongType as error:
            raise ProviderFailed(name, f"gave what is not of its type: {error}") from None
        except BaseException as error:
            # What it says may hold what nobody may see: it goes to the log alone.
            log.warning("the information provider `%s` failed", name, exc_info=error)
            raise ProviderFailed(name, f"failed with {type(error).__name__}") from None
        return given


@dataclass(frozen=True, slots=True)
class _Running:
    provider: Provider
    future: Future[Any]
    until: float

    def wait(self) -> None:
        try:
            self.future.exception(max(0.0, self.until - time.monotonic()))
        except TimeoutError:
            raise self.late() from None

    def late(self) -> ProviderFailed:
        return ProviderFailed(self.provider.name, f"gave no value within {self.provider.timeout_ms} ms")

    def value(self) -> Any:
        try:
            return self.future.result(0)
        except (CancelledError, TimeoutError):
            raise self.late() from None


class _Workers:
    """Threads that never keep the process from ending; a call that never returns occupies one for good.

    SECURITY: their number is bounded, so such calls end in denials and not in ever more threads.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._unfinished = 0

    def submit(self, work: Callable[[], Any]) -> Future[Any]:
        """Runs it as soon as a thread is free."""
        future: Future[Any] = Future()
        with self._lock:
            self._unfinished += 1
            if self._threads < min(self._unfinished, self._limit):
                self._threads += 1
                threading.Thread(target=self._run, name="remit-provider", daemon=True).start()
        self._waiting.put((future, work))
        return future

    def _run(self) -> None:
        while True:
            future, work = self._waiting.get()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except ProviderFailed as error:
                    future.set_exception(error)
            del future, work
            with self._lock:
                self._unfinished -= 1


_WORKERS: Final = _Workers(THREADS)
