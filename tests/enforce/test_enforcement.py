"""One governed request, from its arguments to its result; attacks are named after what they try."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import pytest

from remit.core.canonical import request_digest
from remit.core.decisions import Decision, Reason
from remit.core.obligations import KNOWN
from remit.enforce import permits, relay, tools

from .fake import FakeDecider, Rules
from .stage import Stage, text

PAY_INPUT = {"amount": 5}
MODERN = {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}


def run(scene: Callable[[Stage], Awaitable[None]], rules: Rules | None = None, **more: Any) -> Stage:
    async def play() -> Stage:
        stage = Stage(rules, **more)
        try:
            await scene(stage)
        finally:
            await stage.close()
        return stage

    return asyncio.run(play())


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [(Rules(), ["reply", "report"]), (Rules(oblige={"s/pay": "report_first"}), ["report", "reply"])],
    ids=["nothing-waits-for-it", "a-prerequisite-waits-for-it"],
)
def test_an_outcome_is_reported_before_the_result_leaves_where_a_prerequisite_waits(
    rules: Rules, wanted: list[str]
) -> None:
    order: list[str] = []

    async def scene(stage: Stage) -> None:
        report, reply = stage.decider.report, stage.relay.client.reply

        async def reporting(*args: Any, **kwargs: Any) -> object:
            order.append("report")
            assert kwargs == {"wait": False}
            await asyncio.sleep(0.01)
            return await report(*args, **kwargs)

        def replying(frame: bytes) -> None:
            order.append("reply")
            reply(frame)

        stage.decider.report = reporting  # type: ignore[method-assign]
        stage.relay.client.reply = replying
        stage.call(1, "pay", PAY_INPUT)
        await stage.settle()
        assert len(stage.to_server) == 1
        stage.answer(1, text("paid"))
        await asyncio.sleep(0.05)

    stage = run(scene, rules)
    assert order == wanted
    assert stage.decider.asked[0][:2] == ("s/pay", PAY_INPUT)
    assert len(stage.decider.asked[0][2]) == 64
    assert stage.decider.told[0].result == "response"
    assert stage.decider.told[0].digest == request_digest("s/pay", PAY_INPUT)
    assert stage.decider.told[0].started > 0
    assert stage.to_client == [{"jsonrpc": "2.0", "id": 1, "result": text("paid")}]


@pytest.mark.parametrize("modern", [False, True])
def test_a_refusal_is_a_tool_error_that_says_why(modern: bool) -> None:
    async def scene(stage: Stage) -> None:
        stage.call("x", "pay", PAY_INPUT, **(MODERN if modern else {}))
        await stage.settle()

    stage = run(scene, Rules(deny=("s/pay",)))
    assert stage.to_server == []
    (answer,) = stage.to_client
    result = answer["result"]
    assert answer["id"] == "x"
    assert result["isError"] is True
    assert result.get("resultType") == ("complete" if modern else None)
    said = result["content"][0]["text"]
    for part in ("the fake forbids this", "policy_forbids", "s/pay", "d_1", "ask for something else"):
        assert part in said
    decision = result["_meta"]["remit/decision"]
    assert decision["id"] == "d_1"
    assert decision["reason"]["code"] == "policy_forbids"
    assert not decision["executed"]


def test_a_refused_method_is_a_json_rpc_error() -> None:
    async def scene(stage: Stage) -> None:
        stage.client({"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": "file:///etc/shadow"}})
        await stage.settle()

    stage = run(scene, Rules(deny=("s/mcp:resources/read",)))
    assert stage.to_server == []
    error = stage.to_client[0]["error"]
    assert error["code"] == 403
    assert error["data"]["remit/decision"]["reason"]["code"] == "policy_forbids"
    assert stage.decider.asked[0] == ("s/mcp:resources/read", {"uri": "file:///etc/shadow"}, "")


def test_unknown_methods_and_notifications_do_not_pass() -> None:
    async def scene(stage: Stage) -> None:
        stage.client({"jsonrpc": "2.0", "id": 1, "method": "tasks/result", "params": {}})
        stage.client({"jsonrpc": "2.0", "method": "notifications/tasks/status"})
        stage.server({"jsonrpc": "2.0", "id": 1, "method": "client/execute"})
        stage.server({"jsonrpc": "2.0", "method": "notifications/anything"})
        await stage.settle()

    stage = run(scene)
    assert [frame["error"]["code"] for frame in stage.to_client] == [-32601]
    assert [frame["error"]["code"] for frame in stage.to_server] == [-32601]
    assert len(stage.log) == 2


def test_without_a_task_everything_that_is_decided_is_refused() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "pay")
        stage.client({"jsonrpc": "2.0", "id": 2, "method": "tools/list"})
        stage.client({"jsonrpc": "2.0", "id": 3, "method": "resources/read", "params": {"uri": "a"}})
        await stage.settle()
        stage.answer(2, {"tools": stage.tools})
        await stage.settle()

    stage = run(scene, grant=None)
    assert stage.decider.asked == []
    assert [frame["method"] for frame in stage.to_server] == ["tools/list"]
    assert {frame["id"] for frame in stage.to_client} == {1, 2, 3}
    assert all("task_required" in str(frame) for frame in stage.to_client)


def test_an_outage_of_the_service_refuses() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "pay")
        await stage.settle()

    stage = run(scene, Rules(unavailable=("s/pay",)))
    assert stage.to_server == []
    assert "service_unreachable" in stage.to_client[0]["result"]["content"][0]["text"]


def test_a_fault_in_the_gateway_refuses() -> None:
    async def scene(stage: Stage) -> None:
        async def broken(*_: Any, **__: Any) -> Decision:
            raise ZeroDivisionError

        stage.decider.authorize = broken  # type: ignore[method-assign]
        stage.call(1, "pay")
        await stage.settle()

    stage = run(scene)
    assert stage.to_server == []
    assert "gateway_fault" in str(stage.to_client[0])
    assert "ZeroDivisionError" in stage.log[0]
    assert "ZeroDivisionError" not in str(stage.to_client)


def test_attack_answer_to_another_question() -> None:
    """A decision for other arguments, another action, or without an id permits nothing."""

    class Confused(FakeDecider):
        change: ClassVar[dict[str, Any]] = {}

        async def authorize(self, *args: Any, **kwargs: Any) -> Decision:
            from msgspec.structs import replace

            return replace(await super().authorize(*args, **kwargs), **self.change)

    changes: list[dict[str, Any]] = [
        {"digest": request_digest("s/pay", {"amount": 9})},
        {"action": "s/read"},
        {"id": ""},
        {"probe": True},
        {"expires": 0, "at": 0},
    ]
    for change in changes:

        async def scene(stage: Stage, change: dict[str, Any] = change) -> None:
            confused = Confused()
            Confused.change = change
            stage.enforcement._decider = confused
            stage.call(1, "pay", PAY_INPUT)
            await stage.settle()

        stage = run(scene)
        assert stage.to_server == [], change
        assert stage.to_client[0]["result"]["isError"]


def test_attack_permit_used_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    class Slow(FakeDecider):
        async def authorize(self, *args: Any, **kwargs: Any) -> Decision:
            decision = await super().authorize(*args, **kwargs)
            clock[0] += 5.1
            return decision

    async def scene(stage: Stage) -> None:
        from remit.sdk import permit

        monkeypatch.setattr(permit.Permit.__init__, "__defaults__", (lambda: clock[0],))
        stage.decider = stage.enforcement._decider = Slow()
        stage.call(1, "pay", PAY_INPUT)
        await stage.settle()

    stage = run(scene)
    assert stage.to_server == []
    assert "permit_expired" in str(stage.to_client[0])
    assert [outcome.result for outcome in stage.decider.told] == ["not_executed"]


def test_attack_unknown_obligation() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "pay")
        await stage.settle()

    stage = run(scene, Rules(oblige={"s/pay": "watermark"}))
    assert stage.to_server == []
    assert "obligation_unknown" in str(stage.to_client[0])
    assert stage.decider.told[0].result == "not_executed"


def test_it_says_what_it_can_fulfil() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "pay", PAY_INPUT)
        await stage.settle()
        stage.server({"jsonrpc": "2.0", "id": 5, "method": "sampling/createMessage", "params": {"messages": []}})
        await stage.settle()

    stage = run(scene)
    # What goes from the client to the server is passed on as it is: no obligation to change it could be met.
    assert stage.decider.supports == [KNOWN, KNOWN - {"redact", "limit"}]


def test_who_must_be_told_is_told_before_the_call_is_passed_on() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "pay", PAY_INPUT)
        await stage.settle()
        assert (stage.decider.notified, stage.to_server) == ([("d_1", "security")], [])
        await asyncio.sleep(0.06)
        assert len(stage.to_server) == 1

    run(scene, Rules(notify={"s/pay": "security"}, slow_notifier=0.05))


def test_a_denial_is_told_and_stays_one() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "pay", PAY_INPUT)
        await stage.settle()

    stage = run(scene, Rules(notify={"s/pay": "away"}, deny=("s/pay",)))
    assert (stage.decider.notified, stage.to_server, stage.decider.told) == ([("d_1", "away")], [], [])
    assert "policy_forbids" in str(stage.to_client[0])


def test_attack_nobody_could_be_told_and_the_call_is_passed_on() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "pay", PAY_INPUT)
        await stage.settle()

    stage = run(scene, Rules(notify={"s/pay": "away"}))
    assert stage.to_server == []
    assert "obligation_failed" in str(stage.to_client[0])
    assert [outcome.result for outcome in stage.decider.told] == ["not_executed"]


def test_an_unknown_obligation_is_refused_and_the_known_ones_are_told() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "pay", PAY_INPUT)
        await stage.settle()

    stage = run(scene, Rules(notify={"s/pay": "security"}, oblige={"s/pay": "watermark"}))
    assert stage.to_server == []
    assert "obligation_unknown" in str(stage.to_client[0])
    assert stage.decider.notified == [("d_1", "security")]


def test_attack_a_notifier_that_hangs_holds_the_call_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permits, "TELL_SECONDS", 0.02)

    async def scene(stage: Stage) -> None:
        stage.call(1, "pay", PAY_INPUT)
        await asyncio.sleep(0.1)

    stage = run(scene, Rules(notify={"s/pay": "security"}, slow_notifier=30))
    assert stage.to_server == []
    assert "obligation_failed" in str(stage.to_client[0])


def test_a_result_is_cut_to_its_limits() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "read")
        await stage.settle()
        stage.answer(1, text('{"rows": [1, 2, 3]}', structuredContent={"rows": [1, 2, 3]}))
        await stage.settle()

    [frame] = run(scene, Rules(limit={"s/read": {"rows": 2}})).to_client
    assert frame["result"]["structuredContent"] == {"rows": [1, 2]}
    assert frame["result"]["content"] == [{"type": "text", "text": '{"rows":[1,2]}'}]
    assert frame["result"]["_meta"] == {"remit/limited": {"rows": 2}}


@pytest.mark.parametrize("answer", ["result", "error"])
def test_attack_a_result_larger_than_its_limit(answer: str) -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "read")
        await stage.settle()
        long = "x" * 200
        body = text(long) if answer == "result" else {"code": -32000, "message": long}
        stage.server({"jsonrpc": "2.0", "id": 1, answer: body})
        await stage.settle()

    stage = run(scene, Rules(most_bytes={"s/read": 100}))
    assert "result_too_large" in str(stage.to_client[0])
    assert "xxx" not in str(stage.to_client[0])
    assert [outcome.result for outcome in stage.decider.told] == ["response" if answer == "result" else "error"]


def test_attack_what_is_limited_leaves_in_an_error() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "read")
        await stage.settle()
        stage.server({"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "rows 1 2 3"}})
        await stage.settle()

    assert "result_not_json" in str(run(scene, Rules(limit={"s/read": {"rows": 2}})).to_client[0])


def test_attack_id_in_use() -> None:
    """A second call under an id that is being decided or carried out takes neither its permit nor its answer."""

    async def scene(stage: Stage) -> None:
        stage.call(1, "read")
        stage.call(1, "pay", {"amount": 1000})
        await stage.settle()
        stage.call(1, "pay", {"amount": 1000})
        await stage.settle()

    stage = run(scene)
    assert [frame["params"]["name"] for frame in stage.to_server] == ["read"]
    assert [ask[0] for ask in stage.decider.asked] == ["s/read"]
    errors = [frame for frame in stage.to_client if "error" in frame]
    assert [error["id"] for error in errors[:2]] == [None, None]


def test_ids_of_different_types_are_different() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "read")
        stage.call("1", "read")
        await stage.settle()
        stage.answer("1", text("text"))
        stage.answer(1, text("number"))
        await stage.settle()

    stage = run(scene)
    assert {frame["id"]: frame["result"]["content"][0]["text"] for frame in stage.to_client} == {
        1: "number",
        "1": "text",
    }


def test_attack_answer_before_the_decision() -> None:
    """A server that guesses an id can't answer a call that has not been permitted."""

    async def scene(stage: Stage) -> None:
        stage.call(1, "pay")
        stage.answer(1, text("done"))
        await asyncio.sleep(0.05)
        stage.answer(7, text("nobody asked"))
        await asyncio.sleep(0.1)

    stage = run(scene, Rules(delay=0.1))
    assert all("isError" not in frame.get("result", {}) or frame["result"]["isError"] for frame in stage.to_client)
    assert len(stage.log) == 2


def test_attack_unlisted_tool() -> None:
    """A tool that the server does not list is asked for with a digest that no definition has."""

    async def scene(stage: Stage) -> None:
        stage.call(1, "hidden")
        await stage.settle()
        stage.call(2, "hidden")
        await stage.settle()

    stage = run(scene)
    assert stage.to_server == []
    assert [ask[2] for ask in stage.decider.asked] == ["unlisted", "unlisted"]


def test_attack_rug_pull() -> None:
    """After the server announces a change, a call quotes the new definition."""

    async def scene(stage: Stage) -> None:
        stage.call(1, "read")
        await stage.settle()
        stage.tools = [{**tool, "description": "now with a hidden order"} for tool in stage.tools]
        stage.server({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        stage.call(2, "read")
        await stage.settle()

    stage = run(scene)
    first, second = (ask[2] for ask in stage.decider.asked)
    assert first != second


def test_attack_two_definitions_of_one_name() -> None:
    async def scene(stage: Stage) -> None:
        stage.client({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        await stage.settle()
        stage.answer(1, {"tools": stage.tools})
        await stage.settle()
        stage.call(2, "read")
        await stage.settle()

    twice = [
        {"name": "read", "inputSchema": {"type": "object"}},
        {"name": "read", "description": "other", "inputSchema": {"type": "object"}},
    ]
    stage = run(scene, tools=twice)
    assert stage.to_client[0]["result"]["tools"] == []
    assert stage.decider.asked[0][2] == "unlisted"


def test_attack_tool_named_like_a_method() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "mcp:resources/read", {"uri": "a"})
        await stage.settle()

    stage = run(scene)
    assert stage.decider.asked == []
    assert stage.to_server == []
    assert stage.to_client[0]["error"]["code"] == -32602


def test_attack_argument_that_differs_in_case() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "pay", {"Amount": 900})
        await stage.settle()

    stage = run(scene)
    assert stage.decider.asked == []
    assert stage.to_server == []
    assert "arguments_ambiguous" in str(stage.to_client[0])


def test_attack_call_that_answers_later() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "pay", PAY_INPUT, task={"ttl": 1000})
        await stage.settle()

    stage = run(scene)
    assert stage.decider.asked == []
    assert stage.to_server == []
    assert "task_call_refused" in str(stage.to_client[0])


def test_attack_result_of_unknown_type() -> None:
    """A result that stands for one that comes later is withheld, and the permit's outcome stays unknown."""

    async def scene(stage: Stage) -> None:
        stage.call(1, "pay", PAY_INPUT)
        await stage.settle()
        stage.answer(1, {"resultType": "task", "taskId": "t"})
        await stage.settle()

    stage = run(scene)
    assert "result_type_unknown" in str(stage.to_client[0])
    assert stage.decider.told == []


def test_a_result_whose_outcome_can_not_be_recorded_is_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permits, "REPORT_AGAIN", (0.01, 0.01))

    async def scene(stage: Stage) -> None:
        stage.call(1, "read")
        await stage.settle()
        stage.answer(1, text("secret"))
        await stage.settle()
        assert "secret" not in str(stage.to_client)
        stage.decider.rules.no_reports = False
        await asyncio.sleep(0.05)

    stage = run(scene, Rules(no_reports=True, oblige={"s/read": "report_first"}))
    said = stage.to_client[0]["result"]["content"][0]["text"]
    assert "outcome_not_recorded" in said
    assert "Do not repeat" in said
    assert [outcome.result for outcome in stage.decider.told] == ["response"]  # reported again, late


def test_an_outcome_that_nothing_waits_for_is_reported_again_until_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permits, "REPORT_AGAIN", (0.01, 0.01))

    async def scene(stage: Stage) -> None:
        stage.call(1, "read")
        await stage.settle()
        stage.answer(1, text("public"))
        await stage.settle()
        stage.decider.rules.no_reports = False
        await asyncio.sleep(0.05)

    stage = run(scene, Rules(no_reports=True))
    assert "public" in str(stage.to_client)
    assert [outcome.result for outcome in stage.decider.told] == ["response"]


def test_a_cancelled_call_that_is_being_decided_is_not_carried_out() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "pay", PAY_INPUT)
        await asyncio.sleep(0.01)
        cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
        stage.client(cancel)
        await asyncio.sleep(0.1)

    stage = run(scene, Rules(delay=0.05))
    assert stage.to_server == []
    assert stage.to_client == []
    assert [outcome.result for outcome in stage.decider.told] == ["not_executed"]


def test_a_cancellation_of_a_call_under_way_passes_and_its_outcome_is_still_reported() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "pay", PAY_INPUT)
        await stage.settle()
        stage.client({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        await stage.settle()
        stage.answer(1, text("too late"))
        await stage.settle()

    stage = run(scene)
    assert [frame["method"] for frame in stage.to_server] == ["tools/call", "notifications/cancelled"]
    assert [outcome.result for outcome in stage.decider.told] == ["response"]


def test_a_hanging_server() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "pay", PAY_INPUT)
        stage.client({"jsonrpc": "2.0", "id": 2, "method": "ping"})
        await asyncio.sleep(0.15)
        stage.answer(1, text("late"))
        await asyncio.sleep(0.02)

    stage = run(scene, hang=0.05)
    assert {frame["id"] for frame in stage.to_client} == {1, 2}
    assert "server_hung" in str(stage.to_client)
    assert "late" not in str(stage.to_client)
    assert [f["params"]["requestId"] for f in stage.to_server if f["method"] == "notifications/cancelled"] == [2, 1]
    assert [outcome.result for outcome in stage.decider.told] == ["response"]


def test_progress_keeps_a_call_alive() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "pay", PAY_INPUT, _meta={"progressToken": "p"})
        for _ in range(6):
            await asyncio.sleep(0.03)
            params = {"progressToken": "p", "progress": 1}
            stage.server({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        stage.answer(1, text("done"))
        await stage.settle()

    stage = run(scene, hang=0.08)
    assert stage.to_client[-1]["result"] == text("done")


def test_a_server_that_ends_leaves_the_outcome_unknown() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "pay", PAY_INPUT)
        stage.client({"jsonrpc": "2.0", "id": 2, "method": "ping"})
        await stage.settle()
        stage.relay.end()
        await stage.settle()
        stage.call(3, "pay", PAY_INPUT)
        await stage.settle()

    stage = run(scene)
    by_id = {frame["id"]: str(frame) for frame in stage.to_client}
    assert "server_ended" in by_id[1]
    assert "server_ended" in by_id[2]
    assert 3 in by_id
    assert [outcome.result for outcome in stage.decider.told] == ["not_executed"]


def test_too_many_requests_under_way_are_refused() -> None:
    async def scene(stage: Stage) -> None:
        for number in range(300):
            stage.client({"jsonrpc": "2.0", "id": number, "method": "ping"})

    stage = run(scene)
    assert sum("too_many_in_flight" in str(frame) for frame in stage.to_client) == 44


def test_a_call_too_large_to_be_decided_is_refused() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "pay", {"text": "x" * 300_000})
        await stage.settle()

    stage = run(scene)
    assert stage.to_server == []
    assert stage.decider.asked == []
    assert "frame_too_large" in str(stage.to_client[0])
    assert stage.to_client[0]["id"] == 1


def test_a_broken_answer_ends_the_call_that_waits_for_it() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(4, "pay", PAY_INPUT)
        await stage.settle()
        stage.server(b'{"jsonrpc":"2.0","id":4,"result":{"content":[\xff]}}')
        await stage.settle()

    stage = run(scene)
    assert stage.to_client[0]["id"] == 4
    assert "can't be read" in str(stage.to_client[0])
    assert [outcome.result for outcome in stage.decider.told] == ["error"]


def test_selected_fields_are_reported_and_named_ones_redacted() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "read")
        await stage.settle()
        stage.answer(1, text('{"email": "a@b.c", "total": 5}', structuredContent={"email": "a@b.c", "total": 5}))
        await stage.settle()

    stage = run(scene, Rules(redact={"s/read": ("email",)}, select={"s/read": ("total", "email", "missing")}))
    assert stage.decider.told[0].output == {"total": 5, "email": "a@b.c"}
    result = stage.to_client[0]["result"]
    assert "a@b.c" not in str(result)
    assert result["structuredContent"] == {"email": "[redacted]", "total": 5}
    assert result["_meta"]["remit/redacted"] == ["email"]


@pytest.mark.parametrize(
    "result",
    [
        text("Your address is a@b.c"),
        text('"a@b.c"'),
        {"content": [{"type": "image", "data": "a@b.c", "mimeType": "x"}]},
        {"content": [], "structuredContent": "a@b.c"},
        {"content": [], "extra": "a@b.c"},
        {"content": "a@b.c"},
        {"content": [{"type": "text", "text": '{"email": {"x": "a@b.c"}'}]},
        {**text("a@b.c"), "isError": True},
    ],
)
def test_attack_result_of_unknown_shape_where_fields_are_redacted(result: dict[str, Any]) -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "read")
        await stage.settle()
        stage.answer(1, result)
        await stage.settle()

    stage = run(scene, Rules(redact={"s/read": ("email",)}))
    assert "a@b.c" not in str(stage.to_client)
    assert stage.to_client[0]["result"]["isError"]
    assert stage.to_client[0]["result"]["_meta"]["remit/decision"]["executed"]


def test_attack_error_text_where_fields_are_redacted() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "read")
        await stage.settle()
        stage.server({"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "a@b.c not allowed"}})
        await stage.settle()

    stage = run(scene, Rules(redact={"s/read": ("email",)}))
    assert "a@b.c" not in str(stage.to_client)


def test_tool_errors_and_protocol_errors_are_errors() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "read")
        stage.call(2, "read")
        await stage.settle()
        stage.answer(1, {**text("no such file"), "isError": True})
        stage.server({"jsonrpc": "2.0", "id": 2, "error": {"code": -32602, "message": "bad"}})
        await stage.settle()

    stage = run(scene)
    assert [outcome.result for outcome in stage.decider.told] == ["error", "error"]
    assert stage.to_client[1]["error"] == {"code": -32602, "message": "bad"}


def test_sampling_and_elicitation_are_asked_for() -> None:
    async def scene(stage: Stage) -> None:
        stage.server({"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": {"message": "name?"}})
        stage.server({"jsonrpc": "2.0", "id": 2, "method": "sampling/createMessage", "params": {"messages": []}})
        stage.server({"jsonrpc": "2.0", "id": 3, "method": "roots/list"})
        await stage.settle()
        assert [frame["method"] for frame in stage.to_client] == ["roots/list", "elicitation/create"]
        stage.client({"jsonrpc": "2.0", "id": 1, "result": {"action": "decline"}})
        stage.client({"jsonrpc": "2.0", "id": 3, "result": {"roots": []}})
        await stage.settle()

    stage = run(scene, Rules(deny=("s/mcp:sampling/createMessage",)))
    by_id = {frame["id"]: frame for frame in stage.to_server}
    assert by_id[1]["result"] == {"action": "decline"}
    assert by_id[3]["result"] == {"roots": []}
    assert by_id[2]["error"]["code"] == 403
    assert [outcome.result for outcome in stage.decider.told] == ["response"]


def input_required(method: str = "elicitation/create", state: str | None = "st") -> dict[str, Any]:
    result = {"resultType": "input_required", "inputRequests": {"a": {"method": method, "params": {"message": "?"}}}}
    return result if state is None else {**result, "requestState": state}


@pytest.mark.parametrize("answer", ["input_required", "error", "tool_error"])
def test_an_outcome_that_gives_a_limit_back_is_reported_before_the_answer_leaves(answer: str) -> None:
    """The client may call again at once; the decision must know that the first call did not count."""

    async def scene(stage: Stage) -> None:
        stage.call(1, "pay", PAY_INPUT)
        await stage.settle()
        if answer == "error":
            stage.server({"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "m"}})
        else:
            stage.answer(1, input_required() if answer == "input_required" else {**text("no"), "isError": True})
        await stage.settle()
        assert stage.to_client == []
        await asyncio.sleep(0.1)
        assert len(stage.to_client) == 1

    stage = run(scene, Rules(slow_reports=0.03))
    assert stage.decider.told[0].result == ("not_executed" if answer == "input_required" else "error")


def test_a_call_that_needs_input_is_asked_for_and_continued() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "pay", PAY_INPUT)
        await stage.settle()
        stage.answer(1, input_required())
        await stage.settle()
        stage.call(2, "pay", PAY_INPUT, inputResponses={"a": {"action": "accept"}}, requestState="st")
        await stage.settle()
        stage.answer(2, text("paid"))
        await stage.settle()

    stage = run(scene)
    assert [ask[0] for ask in stage.decider.asked] == ["s/pay", "s/mcp:elicitation/create", "s/pay"]
    assert [outcome.result for outcome in stage.decider.told] == ["not_executed", "response", "response"]
    assert stage.to_client[0]["result"] == input_required()


def test_attack_refused_request_inside_a_result() -> None:
    """Sampling that is refused as a request is refused inside an `input_required` result too."""

    async def scene(stage: Stage) -> None:
        stage.call(1, "pay", PAY_INPUT, **MODERN)
        stage.call(2, "pay", PAY_INPUT, **MODERN)
        await stage.settle()
        stage.answer(1, input_required("sampling/createMessage"))
        stage.answer(2, input_required("tools/call"))
        await stage.settle()

    stage = run(scene, Rules(deny=("s/mcp:sampling/createMessage",)))
    assert all(frame["result"]["isError"] for frame in stage.to_client)
    assert [outcome.result for outcome in stage.decider.told] == ["not_executed", "not_executed"]


def url_required(elicitations: Any) -> dict[str, Any]:
    error = {"code": -32042, "message": "open this", "data": {"elicitations": elicitations}}
    return {"jsonrpc": "2.0", "id": 1, "error": error}


def test_an_error_that_asks_to_open_a_page_is_asked_for() -> None:
    page = {"mode": "url", "elicitationId": "e", "url": "https://bank.example/", "message": "log in"}

    async def scene(stage: Stage) -> None:
        stage.call(1, "pay", PAY_INPUT)
        await stage.settle()
        stage.server(url_required([page]))
        await stage.settle()

    stage = run(scene)
    assert stage.decider.asked[1][:2] == ("s/mcp:elicitation/create", page)
    assert [outcome.result for outcome in stage.decider.told] == ["not_executed", "response"]
    assert stage.to_client == [url_required([page])]


@pytest.mark.parametrize("elicitations", [[{"url": "https://evil.example"}], "https://evil.example", [5], None])
def test_attack_refused_elicitation_inside_an_error(elicitations: Any) -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "pay", PAY_INPUT)
        await stage.settle()
        stage.server(url_required(elicitations))
        await stage.settle()

    stage = run(scene, Rules(deny=("s/mcp:elicitation/create",)))
    assert stage.to_client[0]["result"]["isError"]
    assert "evil.example" not in str(stage.to_client)
    assert [outcome.result for outcome in stage.decider.told] == ["not_executed"]


def test_attack_question_to_the_user_that_quotes_a_redacted_field() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "read")
        stage.call(2, "read")
        await stage.settle()
        asking = {"a": {"method": "elicitation/create", "params": {"message": "send to a@b.c?"}}}
        stage.answer(1, {"resultType": "input_required", "inputRequests": asking})
        stage.server({**url_required([{"message": "a@b.c"}]), "id": 2})
        await stage.settle()

    stage = run(scene, Rules(redact={"s/read": ("email",)}))
    assert "a@b.c" not in str(stage.to_client)
    assert len(stage.to_client) == 2


def test_attack_key_that_stands_twice_where_fields_are_redacted() -> None:
    async def scene(stage: Stage) -> None:
        for id_, field in ((1, '"email"'), (2, '"other"')):
            stage.call(id_, "read")
            await stage.settle()
            stage.answer(id_, text(f'{{{field}: "a@b.c", {field}: 5}}'))
            await stage.settle()

    stage = run(scene, Rules(redact={"s/read": ("email",)}))
    assert "a@b.c" not in str(stage.to_client)


def test_attack_text_where_an_object_with_a_redacted_field_was_expected() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "read")
        await stage.settle()
        stage.answer(1, text('{"customer": "name=A, email=a@b.c"}'))
        await stage.settle()

    stage = run(scene, Rules(redact={"s/read": ("customer.email",)}))
    assert "a@b.c" not in str(stage.to_client)


def test_attack_tool_that_gets_no_verdict() -> None:
    """A tool that the service says nothing of is not listed."""

    async def scene(stage: Stage) -> None:
        async def silent(*_: Any) -> dict[str, Any]:
            return {"read": None}

        stage.decider.listing = silent  # type: ignore[assignment]
        stage.client({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        await stage.settle()
        stage.answer(1, {"tools": stage.tools})
        await stage.settle()

    stage = run(scene)
    assert [tool["name"] for tool in stage.to_client[0]["result"]["tools"]] == ["read"]


def test_attack_relay_without_an_enforcement() -> None:
    async def scene(stage: Stage) -> None:
        stage.relay.govern = None
        stage.call(1, "pay")
        stage.client({"jsonrpc": "2.0", "id": 2, "method": "tools/list"})
        await stage.settle()

    stage = run(scene)
    assert stage.to_server == []
    assert [frame["error"]["data"]["code"] for frame in stage.to_client] == ["not_ready", "not_ready"]


def test_cancelled_calls_that_are_never_answered_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "WITHDRAWN_SECONDS", 0.02)

    async def scene(stage: Stage) -> None:
        stage.call(1, "pay", PAY_INPUT)
        await stage.settle()
        stage.client({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        await asyncio.sleep(0.06)
        assert stage.relay.client.open == {}

    stage = run(scene)
    assert stage.to_client == []
    assert stage.decider.told == []


@pytest.mark.parametrize(
    ("arguments", "params"),
    [
        ({"amount": 1}, {"requestState": "st"}),  # the state of the other call
        (PAY_INPUT, {"requestState": "forged"}),
        (PAY_INPUT, {"inputResponses": {}}),
        (PAY_INPUT, {"requestState": 5}),
    ],
)
def test_attack_state_of_another_call(arguments: dict[str, Any], params: dict[str, Any]) -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "pay", PAY_INPUT)
        await stage.settle()
        stage.answer(1, input_required())
        await stage.settle()
        stage.call(2, "pay", arguments, **params)
        await stage.settle()

    stage = run(scene)
    assert len(stage.to_server) == 1
    assert "continuation_unknown" in str(stage.to_client[1])


def test_resource_subscriptions_of_a_listen_are_asked_for() -> None:
    def listen(id_: int, uris: list[Any]) -> dict[str, Any]:
        params = {"notifications": {"toolsListChanged": True, "resourceSubscriptions": uris}}
        return {"jsonrpc": "2.0", "id": id_, "method": "subscriptions/listen", "params": params}

    async def scene(stage: Stage) -> None:
        stage.client(listen(1, []))
        stage.client(listen(2, ["file:///a", "file:///b"]))
        stage.client(listen(3, ["x"] * 40))
        await stage.settle()
        cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
        stage.server(cancelled)
        stage.client({**cancelled, "params": {"requestId": 2}})
        await stage.settle()
        assert stage.relay.client.open == {}

    stage = run(scene, hang=0.01)
    assert [ask[:2] for ask in stage.decider.asked] == [
        ("s/mcp:resources/subscribe", {"uri": "file:///a"}),
        ("s/mcp:resources/subscribe", {"uri": "file:///b"}),
    ]
    assert [frame.get("id") for frame in stage.to_server] == [1, 2, None]
    assert [frame["error"]["code"] for frame in stage.to_client if "error" in frame] == [-32602]


def test_the_list_shows_what_could_be_permitted_and_the_rest_as_it_came() -> None:
    async def scene(stage: Stage) -> None:
        stage.client({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"cursor": "c"}})
        await stage.settle()
        stage.answer(1, {"tools": stage.tools, "nextCursor": "d", "cacheScope": "public", "ttlMs": 5, "x": [1.50]})
        await stage.settle()

    stage = run(scene, Rules(unlisted=("pay",)))
    (frame,) = stage.raw_to_client
    assert b'"x":[1.5' in frame.replace(b" ", b"")
    result = stage.to_client[0]["result"]
    assert [tool["name"] for tool in result["tools"]] == ["read"]
    assert (result["nextCursor"], result["cacheScope"], result["ttlMs"]) == ("d", "private", 5)


def test_a_malformed_list_is_not_shown() -> None:
    async def scene(stage: Stage) -> None:
        stage.client({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        await stage.settle()
        stage.answer(1, {"tools": "all of them"})
        await stage.settle()

    stage = run(scene)
    assert "list_malformed" in str(stage.to_client[0])


def test_the_gateway_lists_by_itself_in_the_clients_era() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "read", **{"_meta": {**MODERN["_meta"], "progressToken": 1, "com.example/x": 2}})
        await stage.settle()

    stage = run(scene)
    assert stage.own_list["params"] == MODERN
    assert len(stage.to_server) == 1


def test_the_gateway_reads_all_pages_of_the_list() -> None:
    async def scene(stage: Stage) -> None:
        stage.relay.client.forward = stage.raw_to_server.append
        stage.call(1, "read")
        await stage.settle()
        first = stage.to_server[0]
        stage.answer(first["id"], {"tools": stage.tools[:1], "nextCursor": "more"})
        await stage.settle()
        second = stage.to_server[1]
        assert second["params"] == {"cursor": "more"}
        stage.answer(second["id"], {"tools": stage.tools[1:]})
        await stage.settle()
        stage.call(2, "nowhere")
        await stage.settle()

    stage = run(scene)
    assert [frame["method"] for frame in stage.to_server] == ["tools/list", "tools/list", "tools/call"]
    assert stage.to_client[0]["id"] == 2
    assert [ask[0] for ask in stage.decider.asked] == ["s/read", "s/nowhere"]


def test_tools_may_have_arguments_that_differ_in_case() -> None:
    async def scene(stage: Stage) -> None:
        stage.call(1, "both", {"a": 1})
        stage.call(2, "both", {"A": 1})
        await stage.settle()

    schema = {"type": "object", "properties": {"a": {"type": "integer"}, "A": {"type": "integer"}}}
    stage = run(scene, tools=[{"name": "both", "inputSchema": schema}])
    assert len(stage.to_server) == 2


def test_a_decision_that_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permits, "DECIDE_SECONDS", 0.02)

    async def scene(stage: Stage) -> None:
        stage.call(1, "pay")
        await asyncio.sleep(0.1)

    stage = run(scene, Rules(delay=5.0))
    assert "decision_timeout" in str(stage.to_client[0])
    assert stage.to_server == []


def test_a_list_that_never_comes_refuses_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "LIST_SECONDS", 0.02)

    async def scene(stage: Stage) -> None:
        stage.relay.client.forward = stage.raw_to_server.append
        stage.call(1, "pay")
        await asyncio.sleep(0.1)

    stage = run(scene)
    assert "definition_unavailable" in str(stage.to_client[0])
    assert stage.decider.asked == []


def test_a_refusal_says_when_a_person_can_approve() -> None:
    from remit.enforce.refusals import Refusal

    decision = Decision(
        id="d_9", effect="deny", reason=Reason(code="c", message="m"), action="a", digest="", requestable=True
    )
    refusal = Refusal(decision.reason, "a", decision)
    assert "approve" in refusal.text()
    assert refusal.data()["requestable"]


def test_a_refusal_says_what_would_have_to_be_asked_for() -> None:
    from remit.core.decisions import AccessRequest, Approval
    from remit.enforce.refusals import Refusal

    request = AccessRequest(
        subject="spiffe://example.org/workload/a",
        approvals=(Approval(policy="p", by=("group:leads", "person/ada")), Approval(policy="q")),
        selectors={"url": "https://a.example/" + "x" * 200, "count": 3},
    )
    decision = Decision(
        id="d_9", effect="deny", reason=Reason(code="c", message="m"), action="web/fetch", digest="f" * 64,
        task="t_1", at=1_800_000_000_000, requestable=True, request=request,
    )  # fmt: skip
    refusal = Refusal(decision.reason, "web/fetch", decision)
    said = refusal.text()
    assert "What would have to be asked for: `web/fetch` with url " in said
    assert ", count 3, in the task t_1, approved by a member of leads or person/ada, and by any approver." in said
    assert "x" * 130 not in said
    data = refusal.data()["request"]
    assert data["context"]["selectors"] == request.selectors
    assert data["denial"] == {"evaluation_id": "d_9", "evaluated_at": "2027-01-15T08:00:00.000Z", "reason": "c"}
