"""The enforcement: one governed request, from its arguments to its result.

1. Read the params strictly: what could be read in two ways is refused (`frames.read_params`).
2. Know the tool's definition as the server lists it now (`definitions`), or fetch the list.
3. Ask, and tell whom the decision obliges to tell. A denial, an error and an unknown obligation refuse.
4. The call must still be wanted, and its permit younger than 5 s. It is passed on once.
5. Wait for the answer; a server that ends or hangs leaves the outcome unknown.
6. Report the outcome with the selected fields: before the result leaves where a later decision can depend on it, else
   while it is on its way.
7. Redact and cut to its limits, then release. What can't be, is too large, or can't be reported where that comes
   first, is withheld.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, Final

from remit.core import bounds
from remit.core.canonical import request_digest
from remit.core.decisions import OutcomeResult, Reason
from remit.core.errors import RemitError, Unavailable
from remit.core.obligations import KNOWN, LIMIT, REDACT
from remit.core.trace import within
from remit.enforce.calls import Call, Gone, Hung, Side
from remit.enforce.continuations import Continuations
from remit.enforce.definitions import filtered, read_page, usable_name
from remit.enforce.frames import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    FrameError,
    Message,
    error_frame,
    read_params,
    result_frame,
    strict_json,
)
from remit.enforce.methods import CONTINUED, SERVER_REQUESTS, Rule, method_action, method_input
from remit.enforce.permits import Held, Question, ask, could_permit, report, report_again, report_until_taken
from remit.enforce.port import Decider
from remit.enforce.refusals import Refusal, method_refusal, tool_refusal
from remit.enforce.relay import Relay
from remit.enforce.results import Unreadable, check_size, ending, read_result, select, shape, url_elicitations
from remit.enforce.tools import Tools
from remit.sdk.grant import TaskGrant

UNSHAPED: Final = KNOWN - {REDACT, LIMIT}  # where what comes back is passed on as it is
LATE_SECONDS: Final = 600.0  # an answer after the time limit is still reported until then
VERSION_META: Final = "io.modelcontextprotocol/protocolVersion"  # on every request since MCP 2026-07-28

_NO_ANSWER: Final[Mapping[type[Exception], tuple[str, str]]] = {
    Gone: ("the server ended before it answered", "server_ended"),
    Hung: ("no answer in time", "server_hung"),
}
_EXECUTED: Final = "look at what it did before you try again"


class Enforcement:
    """Decides the governed requests of one gateway: one server, one task."""

    def __init__(self, relay: Relay, decider: Decider, grant: TaskGrant | None, server: str) -> None:
        self._relay = relay
        self._decider = decider
        self._grant = grant
        self._server = server
        self._tools = Tools(relay, server)
        self._continuations = Continuations()
        relay.govern = self.govern

    async def govern(self, side: Side, call: Call, rule: Rule) -> None:
        """Takes one request from its params to its answer; never raises but for cancellation."""
        try:
            if rule == "call":
                await self._tool_call(side, call)
            elif rule == "list":
                await self._tools_list(side, call)
            elif rule == "listen":
                await self._listen(side, call)
            else:
                await self._method(side, call)
        except Refusal as refusal:
            self._refuse(side, call, refusal)
        except FrameError as error:
            _reply(side, call, error_frame(call.id, error.rpc_code, error.message, {"code": error.code}))
        except (Gone, Hung) as event:
            if not call.cancelled:
                text, code = _NO_ANSWER[type(event)]
                side.reply(error_frame(call.id, INTERNAL_ERROR, text, {"code": code}))
        except Exception as error:  # noqa: BLE001 - fail closed: any fault is a refusal, told here and in the log
            self._relay.log(f"a fault while deciding `{call.method}`: {error!r}")
            reason = Reason(code="gateway_fault", message="the gateway failed while it handled this request")
            self._refuse(side, call, Refusal(reason, call.method, executed=call.sent))

    async def _tool_call(self, side: Side, call: Call) -> None:
        params = self._params(call)
        question = await self._tool_question(call, params)
        self._continuations.check(params, request_digest(question.action, question.input), question.action)
        with within(call.trace):
            held = await ask(self._decider, self._grant, question)
        answer = await self._carry_out(side, call, [held])
        if answer is not None:
            await self._conclude(side, call, held, answer)

    async def _method(self, side: Side, call: Call) -> None:
        params = self._params(call)
        question = self._method_question(call.method, params)
        if call.method in CONTINUED:
            self._continuations.check(params, request_digest(question.action, question.input), question.action)
        # What goes to the server, and what may be asked of the user meanwhile, is not changed on its way.
        supports = KNOWN if side is self._relay.client else UNSHAPED
        with within(call.trace):
            held = await ask(self._decider, self._grant, question, supports)
        answer = await self._carry_out(side, call, [held])
        if answer is not None:
            await self._conclude(side, call, held, answer)

    async def _listen(self, side: Side, call: Call) -> None:
        params = self._params(call)
        wanted = params.get("notifications")
        uris = wanted.get("resourceSubscriptions", []) if isinstance(wanted, dict) else []
        if not isinstance(uris, list) or len(uris) > bounds.REQUESTS_IN_ONE:
            text = f"a subscription names at most {bounds.REQUESTS_IN_ONE} resources"
            raise FrameError("params_invalid", text, rpc_code=INVALID_PARAMS)
        held = await self._ask_all([self._method_question("resources/subscribe", {"uri": uri}) for uri in uris])
        if not await self._pass_on(side, call, held):
            return
        for permit in held:
            await self._tell(permit, "response")
        answer = await self._answer(call)
        _reply(side, call, answer.frame())

    async def _tools_list(self, side: Side, call: Call) -> None:
        params = self._params(call)
        changes = self._tools.changes
        self._relay.send(side, call)
        answer = await self._answer(call)
        if "error" in answer.members:
            _reply(side, call, answer.frame())
            return
        action = f"{self._server}/*"
        try:
            page = read_page(answer)
            self._tools.see(page, changes, whole=not params.get("cursor") and not page.cursor)
            digests = {name: page.seen[name].digest for name, _ in page.tools}
            verdicts = await could_permit(self._decider, self._grant, self._server, digests)
        except RemitError as error:
            raise Refusal.of(error, action) from None
        _reply(side, call, filtered(answer, page, verdicts))

    def _params(self, call: Call) -> dict[str, Any]:
        """1. The params, read strictly; notes the request's era and its progress token."""
        params = read_params(call.message.part("params"))
        meta = params.get("_meta")
        if isinstance(meta, dict):
            call.modern = VERSION_META in meta
            call.progress = meta.get("progressToken")
            call.trace = meta.get("traceparent")
        return params

    async def _tool_question(self, call: Call, params: dict[str, Any]) -> Question:
        """2. What is asked for a tools/call: its arguments, and the tool's definition as the server lists it."""
        name, arguments = params.get("name"), params.get("arguments")
        arguments = {} if arguments is None else arguments
        if not isinstance(name, str) or not usable_name(name) or not isinstance(arguments, dict):
            text = "`name` must name a tool, and `arguments` be an object"
            raise FrameError("params_invalid", text, rpc_code=INVALID_PARAMS)
        action = f"{self._server}/{name}"
        if "task" in params:
            # SECURITY: the result of such a call is fetched later, by a method that reports no outcome.
            message = "calls that answer later (`task`) do not pass"
            raise Refusal(Reason(code="task_call_refused", message=message, next_step="call without `task`"), action)
        tool = await self._tools.tool(name, params.get("_meta"))
        for argument in arguments:
            if argument not in tool.arguments and argument.casefold() in tool.folded:
                # SECURITY: a server that ignores case would take it for the argument that the policy did not see.
                message = f"`{argument[:64]}` differs from an argument of the tool only in case"
                raise Refusal(Reason(code="arguments_ambiguous", message=message), action)
        return Question(action, arguments, tool.digest)

    def _method_question(self, method: str, params: dict[str, Any]) -> Question:
        return Question(method_action(self._server, method), method_input(params))

    async def _ask_all(self, questions: list[Question]) -> list[Held]:
        """3. All permits or none: those that were given are handed back when a later one is refused."""
        permits: list[Held] = []
        try:
            for question in questions:
                permits.append(await ask(self._decider, self._grant, question, UNSHAPED))
        except Refusal:
            await self._give_back(permits)
            raise
        return permits

    async def _carry_out(self, side: Side, call: Call, permits: list[Held]) -> Message | None:
        """4 and 5. Passes the call on and waits; None when nobody waits for it any more."""
        if not await self._pass_on(side, call, permits):
            return None
        held = permits[0]
        try:
            return await self._answer(call)
        except Gone:
            message = "the server ended before it answered"
            reason = Reason(code="server_ended", message=message, next_step=_EXECUTED)
            raise Refusal(reason, held.question.action, held.decision, executed=True) from None
        except Hung:
            message = f"no answer within {self._relay.hang_seconds:g} s"
            reason = Reason(code="server_hung", message=message, next_step=_EXECUTED)
            self._refuse(side, call, Refusal(reason, held.question.action, held.decision, executed=True))
            if not call.cancelled:
                await self._late(call, held)
            return None

    async def _pass_on(self, side: Side, call: Call, permits: list[Held]) -> bool:
        """4. False when the call was cancelled while it was decided; the permits are handed back then."""
        if call.cancelled or self._relay.ended:
            await self._give_back(permits)
            if call.cancelled:
                return False
            raise Gone
        try:
            for held in permits:
                held.use()
        except Refusal:
            await self._give_back(permits)
            raise
        self._relay.send(side, call)
        return True

    async def _answer(self, call: Call) -> Message:
        """5. The answer; `Gone` or `Hung` when none came."""
        if call.answer is None:
            raise Gone
        return await call.answer

    async def _late(self, call: Call, held: Held) -> None:
        """An answer after the time limit is not released, but what it says is reported."""
        call.cancelled = True
        call.answer = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(LATE_SECONDS):
                answer = await call.answer
        except (Gone, TimeoutError):
            return
        result: OutcomeResult = "error" if "error" in answer.members else "response"
        await report(self._decider, held.outcome(result, size=len(answer.part("result"))))

    async def _conclude(self, side: Side, call: Call, held: Held, answer: Message) -> None:
        """6 and 7. The outcome is reported, then the result leaves, redacted where the permit says so."""
        raw = answer.part("result")
        if not raw:
            elicitations = url_elicitations(answer.part("error")) if side is self._relay.client else None
            if elicitations is not None:
                await self._ask_client(side, call, held, answer, elicitations)
                return
            await self._tell(held, "error", size=len(answer.part("error")))
            try:
                if held.shaping.changes:
                    # SECURITY: an error's text can hold what must not leave.
                    raise Unreadable("result_not_json", "the answer is an error, where fields must be redacted")
                check_size(len(answer.part("error")), held.shaping)
            except Unreadable as error:
                raise Refusal.of(error, held.question.action, held.decision, executed=True) from None
            _reply(side, call, answer.frame())
            return
        if side is self._relay.server:
            await self._tell(held, "response", size=len(raw))
            _reply(side, call, answer.frame())
            return
        try:
            result = read_result(raw)
            end = ending(result)
            if end == "input_required" and call.method in CONTINUED:
                requests = bytes(result.inputRequests)
                await self._ask_client(side, call, held, answer, requests)
                self._continuations.remember(held.decision.digest, result.requestState)
                return
            if end not in ("response", "error"):
                # The server may carry the call out later, or have done so: the outcome stays unknown.
                raise Unreadable("result_type_unknown", f"the result is of the type `{result.resultType[:64]}`")
            output = select(result, held.selections) if held.selections and end == "response" else {}
            await self._tell(held, "error" if end == "error" else "response", output, len(raw))
            shaped = shape(raw, held.shaping)
            frame = answer.frame() if shaped is None else result_frame(call.id, shaped)
        except Unreadable as error:
            raise Refusal.of(error, held.question.action, held.decision, executed=True) from None
        _reply(side, call, frame)

    async def _ask_client(self, side: Side, call: Call, held: Held, answer: Message, requests: bytes) -> None:
        """An answer that asks the client for input: each of its requests is decided like one that is sent."""
        if held.shaping.changes:
            # SECURITY: a question to the user can quote what must not leave.
            await self._tell(held, "not_executed")
            error = Unreadable("result_not_json", "the answer asks for input, where fields must be redacted")
            raise Refusal.of(error, held.question.action, held.decision)
        try:
            held_requests = await self._ask_all(self._input_questions(strict_json(requests) if requests else {}))
        except (Refusal, FrameError) as refused:
            await self._tell(held, "not_executed")
            if isinstance(refused, FrameError):
                raise Refusal.of(refused, held.question.action, held.decision) from None
            raise
        await self._tell(held, "not_executed")
        for permit in held_requests:
            permit.use()
            await self._tell(permit, "response")
        _reply(side, call, answer.frame())

    def _input_questions(self, requests: Any) -> list[Question]:
        if not isinstance(requests, dict) or len(requests) > bounds.REQUESTS_IN_ONE:
            raise FrameError("input_requests_invalid", "the server's requests for input have an unknown shape")
        questions = []
        for request in requests.values():
            method = request.get("method") if isinstance(request, dict) else None
            rule = SERVER_REQUESTS.get(method, "refuse") if isinstance(method, str) else "refuse"
            params = request.get("params", {}) if isinstance(request, dict) else {}
            if rule == "refuse" or not isinstance(params, dict):
                raise FrameError("input_requests_invalid", "the server asks the client for something unknown")
            if rule == "ask":
                questions.append(self._method_question(str(method), params))
        return questions

    async def _tell(
        self, held: Held, result: OutcomeResult, output: dict[str, Any] | None = None, size: int = 0
    ) -> None:
        """6. Reports; a `Refusal` withholds the result when the report must come first and is not taken.

        First comes what the next decision can depend on: an outcome that a prerequisite waits for, and any that may
        give a limit back, because the same call may come again at once. A plain response is reported on the way.
        """
        outcome = held.outcome(result, output, size)
        if result == "response" and not held.reports_first:
            self._in_background(report_until_taken(self._decider, outcome, self._relay.log))
            return
        if await report(self._decider, outcome):
            return
        self._in_background(report_again(self._decider, outcome, self._relay.log))
        # SECURITY: a result that leaves before its outcome is in order lets another gateway decide without it.
        error = Unavailable("outcome_not_recorded", "the outcome could not be recorded, so the result is withheld")
        raise Refusal.of(error, held.question.action, held.decision, executed=result != "not_executed")

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._relay.background.add(task)
        task.add_done_callback(self._relay.background.discard)

    async def _give_back(self, permits: list[Held]) -> None:
        for held in permits:
            await report(self._decider, held.outcome("not_executed"))

    def _refuse(self, side: Side, call: Call, refusal: Refusal) -> None:
        if call.cancelled:
            return
        if call.method == "tools/call":
            _reply(side, call, tool_refusal(call.id, refusal, modern=call.modern))
        else:
            _reply(side, call, method_refusal(call.id, refusal))


def _reply(side: Side, call: Call, frame: bytes) -> None:
    """Answers the request, unless its sender withdrew it."""
    if not (call.cancelled and not call.sent):
        side.reply(frame)
