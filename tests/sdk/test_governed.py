from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from remit.core.decisions import Obligation
from remit.core.errors import InvalidInput, RemitError, Unavailable
from remit.sdk.blocking import Blocking
from remit.sdk.governed import governed
from remit.sdk.grant import save_grant
from remit.sdk.permit import Refused
from server.stage import PEP, Stage, run, running


@contextmanager
def served(folder: Path) -> Iterator[Stage]:
    """A stage that serves in another thread, for code that blocks."""
    ready, done = threading.Event(), threading.Event()
    stages: list[Stage] = []

    async def main() -> None:
        async with running(folder) as stage:
            stages.append(stage)
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    ready.wait(5)
    try:
        yield stages[0]
    finally:
        done.set()
        thread.join()


def test_runs_what_is_permitted_and_reports(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client() as client:
            stage.service.obligations = (
                Obligation(id="redact", fields=("payee.iban",)),
                Obligation(id="select", fields=("id",)),
            )

            @governed(action="payments/pay", client=client, grant=stage.grant())
            async def pay(invoice: str, amount: str = "1.00") -> dict[str, Any]:
                return {"id": "p_1", "invoice": invoice, "payee": {"name": "A", "iban": "DE12"}}

            assert await pay("INV-1") == {"id": "p_1", "invoice": "INV-1", "payee": {"name": "A"}}
            [(_, asked)] = stage.service.asks
            assert asked.input == {"invoice": "INV-1", "amount": "1.00"}
            [(caller, outcome, durable)] = stage.service.reports
            assert (caller.id, outcome.result, outcome.output, durable) == (PEP, "response", {"id": "p_1"}, True)
            assert outcome.digest == asked_digest(stage)
            assert outcome.bytes > 0
            assert pay.__name__ == "pay"

    run(main())


def asked_digest(stage: Stage) -> str:
    from remit.core.canonical import request_digest

    ask = stage.service.asks[-1][1]
    return request_digest(ask.action, ask.input)


def test_does_not_run_what_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client() as client:
            ran: list[str] = []

            @governed(action="payments/deny", client=client, grant=stage.grant)
            async def pay(invoice: str) -> None:
                ran.append(invoice)

            with pytest.raises(Refused) as caught:
                await pay("INV-1")
            assert caught.value.code == "not_justified"
            assert ran == []
            assert stage.service.reports == []

    run(main())


def test_does_not_run_without_a_service(tmp_path: Path) -> None:
    async def main() -> None:
        ran: list[str] = []
        async with running(tmp_path) as stage:
            client = await stage.client()

            @governed(action="payments/pay", client=client, grant=stage.grant())
            async def pay(invoice: str) -> None:
                ran.append(invoice)

        with pytest.raises(Unavailable):
            await pay("INV-1")
        assert ran == []
        await client.close()

    run(main())


def test_an_unknown_obligation_is_refused_and_reported_as_not_executed(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client() as client:
            stage.service.obligations = (Obligation(id="watermark"),)
            ran: list[str] = []

            @governed(action="payments/pay", client=client, grant=stage.grant())
            async def pay(invoice: str) -> None:
                ran.append(invoice)

            with pytest.raises(Refused) as caught:
                await pay("INV-1")
            assert caught.value.code == "obligation_unknown"
            assert ran == []
            assert [outcome.result for _, outcome, _ in stage.service.reports] == ["not_executed"]

    run(main())


def test_an_error_is_reported_and_raised(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client() as client:

            @governed(action="payments/pay", client=client, grant=stage.grant())
            async def pay(invoice: str) -> None:
                raise ZeroDivisionError(invoice)

            with pytest.raises(ZeroDivisionError):
                await pay("INV-1")
            assert [outcome.result for _, outcome, _ in stage.service.reports] == ["error"]

    run(main())


def test_a_cancelled_call_is_reported(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client() as client:

            @governed(action="payments/pay", client=client, grant=stage.grant())
            async def pay(invoice: str) -> None:
                await asyncio.sleep(60)

            call = asyncio.create_task(pay("INV-1"))
            while not stage.service.asks:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert [outcome.result for _, outcome, _ in stage.service.reports] == ["error"]

    run(main())


def test_a_result_that_cannot_be_redacted_is_withheld(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client() as client:
            stage.service.obligations = (Obligation(id="redact", fields=("iban",)),)

            @governed(action="payments/pay", client=client, grant=stage.grant())
            async def pay(invoice: str) -> str:
                return "iban=DE12"

            with pytest.raises(Refused) as caught:
                await pay("INV-1")
            assert caught.value.code == "result_withheld"
            assert [outcome.result for _, outcome, _ in stage.service.reports] == ["response"]

    run(main())


def test_arguments_changed_while_the_question_was_under_way(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client() as client:
            ran: list[Any] = []

            @governed(action="payments/pay", client=client, grant=stage.grant())
            async def pay(to: list[str]) -> None:
                ran.append(to)

            to = ["honest"]
            call = asyncio.create_task(pay(to))
            await asyncio.sleep(0)
            while not stage.service.asks:
                await asyncio.sleep(0)
            to.append("thief")
            with pytest.raises(Refused) as caught:
                await call
            assert caught.value.code == "permit_mismatch"
            assert ran == []
            assert [outcome.result for _, outcome, _ in stage.service.reports] == ["not_executed"]

    run(main())


def test_arguments_that_are_not_json_are_refused_before_asking(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client() as client:

            @governed(action="payments/pay", client=client, grant=stage.grant())
            async def pay(amount: float, **more: Any) -> None:
                raise AssertionError

            for amount in (float("inf"), b"12", {1}):
                with pytest.raises(InvalidInput):
                    await pay(amount)  # type: ignore[arg-type]
            assert stage.service.asks == []

    run(main())


def test_named_and_spread_arguments(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client() as client:

            @governed(action="payments/pay", client=client, grant=stage.grant())
            async def pay(invoice: str, /, *notes: str, **more: int) -> None:
                return None

            await pay("INV-1", "a", "b", n=1)
            assert stage.service.asks[-1][1].input == {"invoice": "INV-1", "notes": ["a", "b"], "n": 1}
            with pytest.raises(InvalidInput):
                await pay("INV-1", invoice=2)
            with pytest.raises(TypeError):
                await pay()  # type: ignore[call-arg]

    run(main())


def test_a_report_that_fails_keeps_the_result(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client() as client:

            @governed(action="payments/pay", client=client, grant=stage.grant())
            async def pay() -> int:
                stage.service.fault = Unavailable("disk_full", "the disk is full")
                return 7

            assert await pay() == 7
            assert "was not reported: the disk is full" in caplog.text

    run(main())


def test_blocking_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(tmp_path) as stage, Blocking.connect(stage.path, stage.holder(with_svid=False)) as client:
        assert client.enforcement == "pep"
        path = tmp_path / "grant.json"
        save_grant(path, stage.grant())
        monkeypatch.setenv("REMIT_TASK", str(path))

        @governed(action="payments/pay", client=client)
        def pay(invoice: str) -> dict[str, str]:
            return {"invoice": invoice}

        assert pay("INV-1") == {"invoice": "INV-1"}

        @governed(action="payments/deny", client=client)
        def refused(invoice: str) -> None:
            raise AssertionError

        with pytest.raises(Refused):
            refused("INV-1")

        @governed(action="payments/pay", client=client)
        def fails() -> None:
            raise KeyError("x")

        with pytest.raises(KeyError):
            fails()
        stage.service.obligations = (Obligation(id="watermark"),)
        with pytest.raises(Refused):
            pay("INV-2")
        assert [outcome.result for _, outcome, _ in stage.service.reports] == ["response", "error", "not_executed"]


def test_every_blocking_method_answers(tmp_path: Path) -> None:
    from remit.core.clock import system_clock
    from remit.core.decisions import Outcome
    from remit.core.tasks import RiskSignal, TaskRequest
    from server.stage import PERSON, STARTER, WORKLOAD

    with served(tmp_path) as stage:
        grant = stage.grant()
        with Blocking.connect(stage.url, stage.holder(PERSON, with_svid=False)) as person:
            found = person.identities()
            assert person.register(found[0]) == found[0]
            assert person.change(found[0].id, "quarantined").state == "quarantined"
            person.change(found[0].id, "active")
            person.set_risk(RiskSignal(id=WORKLOAD, signal="m", value=1, source="kim", expires=system_clock() + 9))
            person.resolve("d_1", "response")
            assert person.id == PERSON
        with Blocking.connect(stage.path, stage.holder(STARTER, with_svid=False)) as starter:
            started = starter.start_task(TaskRequest(intent="x", workload=WORKLOAD, key="k" * 43))
            assert starter.task(started.task.id) == started.task
            assert starter.end_task(started.task.id) == started.task
        with Blocking.connect(stage.path, stage.holder(with_svid=False)) as pep:
            decision = pep.authorize(grant, "payments/pay", {})
            assert pep.probe(grant, "payments/pay", {}).probe
            assert pep.listing(grant, "payments", {"pay": ""}) == {"pay": None}
            assert pep.permit(grant, "payments/pay", {}).decision.permitted
            outcome = Outcome(decision=decision.id, digest=decision.digest, result="response")
            assert pep.report(outcome).standing == "believed"


def test_a_closed_blocking_client_says_so(tmp_path: Path) -> None:
    with served(tmp_path) as stage:
        client = Blocking.connect(stage.path, stage.holder(with_svid=False))
        client.close()
        client.close()
        with pytest.raises(Unavailable):
            client.identities()


def test_a_blocking_client_that_can_not_connect(tmp_path: Path) -> None:
    from remit.identity.holder import Holder
    from remit.identity.keys import generate_key

    before = threading.active_count()
    with pytest.raises(RemitError):
        Blocking.connect(tmp_path / "none.sock", Holder(generate_key(), "", PEP))
    assert threading.active_count() == before


def test_a_function_and_a_client_of_different_kinds(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as stage, await stage.client() as client:
            with pytest.raises(InvalidInput):

                @governed(action="payments/pay", client=client)
                def pay() -> None:
                    return None

    run(main())
