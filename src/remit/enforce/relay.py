"""The relay: reads each frame of either side once, and passes, refuses or hands it to the enforcement.

1. A frame that is not one JSON-RPC message is refused (`frames.read_message`).
2. A request is looked up in the one table (`methods`): unknown ones are refused, plumbing passes, the rest is decided.
3. A notification passes when the table names it; a cancellation of a call that is still being decided ends it here.
4. A response passes only to the request that waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from remit.core import bounds
from remit.enforce.calls import Call, Gone, Hung, Send, Side
from remit.enforce.frames import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    FrameError,
    Message,
    Oversized,
    error_frame,
    id_in_head,
    notification_frame,
    read_message,
)
from remit.enforce.methods import CLIENT_NOTIFICATIONS, CLIENT_REQUESTS, SERVER_NOTIFICATIONS, SERVER_REQUESTS, Rule

HANG_SECONDS: Final = 300.0  # without an answer and without progress
WITHDRAWN_SECONDS: Final = 30.0  # a cancelled call's answer need not come, but is waited for this long

Govern = Callable[[Side, Call, Rule], Awaitable[None]]


class _Cancelled(msgspec.Struct):
    requestId: int | str  # noqa: N815 - the wire's name


class _Progress(msgspec.Struct):
    progressToken: int | str  # noqa: N815 - the wire's name


class Relay:
    """Routes frames between an MCP client and its server. All methods run on one event loop; none blocks."""

    def __init__(
        self,
        *,
        to_client: Send,
        to_server: Send,
        log: Callable[[str], None],
        hang_seconds: float = HANG_SECONDS,
    ) -> None:
        self.client = Side("client", to_client, to_server, CLIENT_REQUESTS, CLIENT_NOTIFICATIONS)
        self.server = Side("server", to_server, to_client, SERVER_REQUESTS, SERVER_NOTIFICATIONS)
        self.log = log
        self.hang_seconds = hang_seconds
        self.govern: Govern | None = None  # set by the enforcement; without one, nothing that is decided passes
        self.tools_changed: Callable[[], None] = lambda: None
        self.tasks: set[asyncio.Task[None]] = set()  # governed requests
        self.background: set[asyncio.Task[None]] = set()  # late reports
        self.ended = False

    @property
    def deciding(self) -> bool:
        """Whether a request of the client is still being decided."""
        return any(call.answer is not None and not call.sent for call in self.client.open.values())

    def receive(self, side: Side, frame: bytes | Oversized) -> None:
        """Takes one frame that `side` sent."""
        if isinstance(frame, Oversized):
            self._unreadable(side, frame.head, FrameError("frame_too_large", _too_large(bounds.FRAME_BYTES)))
            return
        try:
            message = read_message(frame)
        except FrameError as error:
            self._unreadable(side, frame, error)
            return
        if message.is_request:
            self._request(side, message, len(frame))
        elif message.is_notification:
            self._notification(side, message)
        else:
            self._response(side, message)

    def send(self, side: Side, call: Call) -> None:
        """Passes a request of `side` on and starts the wait for its answer; `Gone` when the server has ended."""
        if self.ended:
            raise Gone
        side.forward(call.message.frame())
        call.sent = True
        self._start_timer(side, call)

    def end(self) -> None:
        """The server has ended: every request that waits for it is answered, and nothing is passed on."""
        self.ended = True
        for call in list(self.client.open.values()):
            call.stop_timer()
            if call.answer is None:
                self._gave_up(self.client, call, "server_ended", "the server ended before it answered")
            elif not call.answer.done() and call.sent:
                call.answer.set_exception(Gone())
        for call in list(self.server.open.values()):
            if call.answer is not None and not call.answer.done():
                call.answer.set_exception(Gone())
            self.server.close(call)

    def _request(self, side: Side, message: Message, size: int) -> None:
        rule = side.requests.get(message.method, "refuse")
        id_ = message.id
        if id_ is None:
            return
        if id_ in side.open:
            # SECURITY: a second request under the same id could take the first one's answer, or its permit.
            text = f"a request with the id `{id_}` is still under way"
            side.reply(error_frame(None, INVALID_REQUEST, text, {"code": "id_in_use"}))
            return
        if rule == "refuse":
            text = f"Remit does not pass `{message.method}`; it is not a method that it knows"
            side.reply(error_frame(id_, METHOD_NOT_FOUND, text, {"code": "method_refused"}))
            return
        if len(side.open) >= bounds.CALLS_IN_FLIGHT:
            text = f"more than {bounds.CALLS_IN_FLIGHT} requests under way"
            side.reply(error_frame(id_, INVALID_REQUEST, text, {"code": "too_many_in_flight"}))
            return
        if rule != "pass" and size > bounds.REQUEST_BYTES:
            text = _too_large(bounds.REQUEST_BYTES)
            side.reply(error_frame(id_, INVALID_REQUEST, text, {"code": "frame_too_large"}))
            return
        call = Call(id_, message.method, message)
        side.open[id_] = call
        if rule == "pass":
            try:
                self.send(side, call)
            except Gone:
                self._gave_up(side, call, "server_ended", "the server has ended")
        else:
            self._spawn(side, call, rule)

    def _spawn(self, side: Side, call: Call, rule: Rule) -> None:
        if self.govern is None:
            # SECURITY: without an enforcement nothing that must be decided passes.
            self._gave_up(side, call, "not_ready", "Remit can't decide yet")
            return
        loop = asyncio.get_running_loop()
        call.answer = loop.create_future()
        task = loop.create_task(self._governed(self.govern, side, call, rule))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _governed(self, govern: Govern, side: Side, call: Call, rule: Rule) -> None:
        try:
            await govern(side, call, rule)
        finally:
            side.close(call)
            if call.answer is not None and call.answer.done() and not call.answer.cancelled():
                call.answer.exception()  # retrieved: an answer that nobody waits for any more is no error

    def _notification(self, side: Side, message: Message) -> None:
        if message.method not in side.notifications:
            self.log(f"refused the notification `{message.method[:128]}` from the {side.name}")
            return
        if message.method == "notifications/cancelled" and self._cancel(side, message):
            return
        if message.method == "notifications/progress":
            self._progress(side, message)
        elif message.method == "notifications/tools/list_changed":
            self.tools_changed()
        if not self.ended or side is self.server:
            side.forward(message.frame())

    def _cancel(self, side: Side, message: Message) -> bool:
        """Marks the call; True when the other side has not seen it, so that it need not hear of its end."""
        try:
            target = msgspec.json.decode(message.part("params"), type=_Cancelled).requestId
        except msgspec.MsgspecError:
            return False
        if side is self.server and target in self.client.open:
            listen = self.client.open[target]  # a server tears a subscription down (MCP 2026-07-28)
            if listen.method == "subscriptions/listen" and target not in side.open:
                self._stop(self.client, listen)
                return False
        call = side.open.get(target)
        if call is None:
            return False
        call.cancelled = True
        if call.sent and (call.answer is None or call.method == "subscriptions/listen"):
            self._stop(side, call)
        elif call.sent and call.timer is not None:
            self._start_timer(side, call)
        return not call.sent

    def _stop(self, side: Side, call: Call) -> None:
        """Nobody waits for this answer, and none need come."""
        if call.answer is not None and not call.answer.done():
            call.cancelled = True
            call.answer.set_exception(Gone())
        else:
            side.close(call)

    def _progress(self, side: Side, message: Message) -> None:
        try:
            token = msgspec.json.decode(message.part("params"), type=_Progress).progressToken
        except msgspec.MsgspecError:
            return
        other = self._other(side)
        for call in other.open.values():
            if call.progress == token and call.timer is not None:
                self._start_timer(other, call)

    def _response(self, side: Side, message: Message) -> None:
        waiting = self._other(side)
        if message.id is None:
            self.log(f"dropped an error without an id from the {side.name}")
            return
        call = waiting.open.get(message.id)
        if call is None or not call.sent:
            # SECURITY: an answer that nobody waits for, or to a call that is still being decided, is not passed.
            self.log(f"dropped an answer to no request from the {side.name}")
            return
        self.answer(waiting, call, message)

    def answer(self, waiting: Side, call: Call, message: Message) -> None:
        """Hands an answer to the request that waits for it."""
        call.stop_timer()
        if call.answer is None:
            waiting.close(call)
            waiting.reply(message.frame())
        elif not call.answer.done():
            call.answer.set_result(message)

    def _unreadable(self, side: Side, head: bytes, error: FrameError) -> None:
        """A frame that can't be read: its sender is told, and a request that waits for it is answered."""
        self.log(f"refused a frame from the {side.name}: {error.message}")
        id_ = id_in_head(head)
        waiting = self._other(side)
        call = waiting.open.get(id_) if id_ is not None else None
        if side is self.server and call is not None and call.sent:
            text = f"the server's answer can't be read: {error.message}"
            data = {"code": error.code}
            broken = read_message(error_frame(call.id, INTERNAL_ERROR, text, data).strip())
            self.answer(waiting, call, broken)
        elif side is self.client:
            free = id_ if id_ is not None and id_ not in side.open else None
            side.reply(error_frame(free, error.rpc_code, error.message, {"code": error.code}))

    def _start_timer(self, side: Side, call: Call) -> None:
        call.stop_timer()
        if call.method != "subscriptions/listen":
            loop = asyncio.get_running_loop()
            seconds = min(self.hang_seconds, WITHDRAWN_SECONDS) if call.cancelled else self.hang_seconds
            call.timer = loop.call_later(seconds, self._hung, side, call)

    def _hung(self, side: Side, call: Call) -> None:
        call.timer = None
        if side is self.client and not call.cancelled and call.method != "initialize":
            params: dict[str, Any] = {"requestId": call.id, "reason": "no answer in time"}
            side.forward(notification_frame("notifications/cancelled", params))
        if call.answer is None:
            message = f"the {self._other(side).name} did not answer within {self.hang_seconds:g} s"
            self._gave_up(side, call, "server_hung", message)
        elif not call.answer.done():
            call.answer.set_exception(Hung())

    def _gave_up(self, side: Side, call: Call, code: str, message: str) -> None:
        side.close(call)
        if not call.cancelled:
            side.reply(error_frame(call.id, INTERNAL_ERROR, message, {"code": code}))

    def _other(self, side: Side) -> Side:
        return self.server if side is self.client else self.client


def _too_large(bound: int) -> str:
    return f"the frame is larger than {bound // 1024} KiB"
