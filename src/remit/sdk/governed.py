"""`@governed`: a function that asks before it runs, and reports what happened.

Where the function runs inside the workload (`client.enforcement` is `self`), this is a seat belt and no barrier: the
workload could call something else, and what it reports of itself is stored as `claimed`.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, cast

import msgspec

from remit.core.decisions import Outcome, OutcomeResult
from remit.core.errors import InvalidInput, RemitError
from remit.sdk.api import Remit
from remit.sdk.blocking import Blocking
from remit.sdk.grant import TaskGrant, grant_of_environment
from remit.sdk.obligations import SELECT, check_known, fields_of, select, shape, shaping_of
from remit.sdk.permit import Permit

P = ParamSpec("P")
R = TypeVar("R")

GrantSource = TaskGrant | Callable[[], TaskGrant] | None

_log = logging.getLogger("remit.sdk")


def governed(
    *, action: str, client: Remit | Blocking, grant: GrantSource = None, definition: str = ""
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Governs a function as the action `<server>/<tool>`; its arguments by name are the action's input.

    Coroutine functions need a `Remit`, others a `Blocking`. `grant` is a task grant, a function that gives one, or
    None for the one that `REMIT_TASK` names at the time of the call.

    1. Asks, and tells whom the decision obliges to tell. Raises `Refused` with the reason when it may not run, any
       other `RemitError` when nothing could be decided; the function does not run then.
    2. Refuses a permit with an obligation that it does not know, and reports `not_executed`.
    3. Spends the permit and runs the function.
    4. Reports `response` with the selected fields, or `error` when the function raised; a report that fails is
       logged, and the outcome stays unknown until someone resolves it.
    5. Returns the result without the fields that must be removed, with at most as many elements as its lists may
       have; raises `Refused("result_withheld")` when it has a shape in which they can't be found, or is too large.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        asynchronous = inspect.iscoroutinefunction(function)
        if asynchronous is isinstance(client, Blocking) or inspect.isasyncgenfunction(function):
            raise InvalidInput(
                "governed_mismatch",
                f"`{function.__name__}` and its client are not both synchronous or both asynchronous",
                "give a coroutine function a `Client`, and any other function a `Blocking` one",
            )
        if asynchronous:
            return cast("Callable[P, R]", _governed_async(function, signature, action, client, grant, definition))
        return _governed_sync(function, signature, action, cast("Blocking", client), grant, definition)

    return decorate


def _governed_async(
    function: Callable[P, Any],
    signature: inspect.Signature,
    action: str,
    client: Any,
    grant: GrantSource,
    definition: str,
) -> Callable[P, Coroutine[Any, Any, Any]]:
    @functools.wraps(function)
    async def run(*args: P.args, **kwargs: P.kwargs) -> Any:
        input = _input_of(signature, args, kwargs)
        permit = await client.permit(_grant_of(grant), action, input, definition=definition)
        try:
            _begin(permit, action, input)
        except RemitError:
            await _tell(client, _outcome(permit, "not_executed"))
            raise
        try:
            result = await function(*args, **kwargs)
        except BaseException:
            await _tell(client, _outcome(permit, "error"))
            raise
        await _tell(client, _outcome(permit, "response", result))
        return _left(permit, result)

    return run


def _governed_sync(
    function: Callable[P, R],
    signature: inspect.Signature,
    action: str,
    client: Blocking,
    grant: GrantSource,
    definition: str,
) -> Callable[P, R]:
    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        input = _input_of(signature, args, kwargs)
        permit = client.permit(_grant_of(grant), action, input, definition=definition)
        try:
            _begin(permit, action, input)
        except RemitError:
            _tell_sync(client, _outcome(permit, "not_executed"))
            raise
        try:
            result = function(*args, **kwargs)
        except BaseException:
            _tell_sync(client, _outcome(permit, "error"))
            raise
        _tell_sync(client, _outcome(permit, "response", result))
        return cast("R", _left(permit, result))

    return run


def _input_of(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments by name, defaults included; `**kwargs` of the function are spread, `*args` are a list."""
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    input: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            # SECURITY: an extra argument can't hide a named one (positional-only names may stand in both).
            if clash := input.keys() & value.keys():
                raise InvalidInput("arguments_clash", f"the argument `{min(clash)}` stands twice")
            input.update(value)
        else:
            input[name] = list(value) if kind is inspect.Parameter.VAR_POSITIONAL else value
    return input


def _grant_of(grant: GrantSource) -> TaskGrant:
    if grant is None:
        return grant_of_environment()
    return grant if isinstance(grant, TaskGrant) else grant()


def _begin(permit: Permit, action: str, input: dict[str, Any]) -> None:
    check_known(permit.decision)
    permit.use(action, input)


def _outcome(permit: Permit, result: OutcomeResult, value: Any = None) -> Outcome:
    decision = permit.decision
    return Outcome(
        decision=decision.id,
        digest=decision.digest,
        result=result,
        started=permit.started,
        output=select(value, fields_of(decision, SELECT)),
        bytes=_size(value),
    )


def _left(permit: Permit, result: Any) -> Any:
    return shape(result, shaping_of(permit.decision))


def _size(value: Any) -> int:
    if value is None:
        return 0
    try:
        return len(msgspec.json.encode(value))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return 0


async def _tell(client: Remit, outcome: Outcome) -> None:
    try:
        await client.report(outcome)
    except RemitError as error:
        _log.warning("the outcome of %s was not reported: %s", outcome.decision, error.message)


def _tell_sync(client: Blocking, outcome: Outcome) -> None:
    try:
        client.report(outcome)
    except RemitError as error:
        _log.warning("the outcome of %s was not reported: %s", outcome.decision, error.message)
