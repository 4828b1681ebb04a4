"""The same operations on the real governor: the finance example, over its unix socket, with nothing faked."""

from __future__ import annotations

from pathlib import Path

import pytest

from remit.core.decisions import Outcome
from remit.core.errors import Conflict, Forbidden, NotFound, RemitError
from remit.sdk.client import Client
from remit.sdk.permit import Refused

from .real import AGENT, PAYMENT, READ, finance
from .stage import run


def test_a_read_is_permitted_and_its_outcome_believed(tmp_path: Path) -> None:
    async def main() -> None:
        async with finance(tmp_path) as stage, await stage.client() as gateway:
            grant = await stage.grant()
            action = "files/read_text_file"
            permit = await gateway.permit(grant, action, READ, definition=stage.pins[action])
            permit.use(action, READ)
            decision = permit.decision
            outcome = Outcome(
                decision=decision.id, digest=decision.digest, result="response", started=permit.started, bytes=10
            )
            assert (await gateway.report(outcome, wait=False)).standing == "believed"
            with pytest.raises(Conflict):
                await gateway.report(Outcome(decision=decision.id, digest=decision.digest, result="error"))
            with pytest.raises(RemitError):
                await gateway.report(Outcome(decision=decision.id, digest="0" * 64, result="response"))

    run(main())


def test_a_payment_that_the_task_does_not_justify(tmp_path: Path) -> None:
    async def main() -> None:
        async with finance(tmp_path) as stage, await stage.client() as gateway:
            grant = await stage.grant()
            action = "payments/pay_invoice"
            with pytest.raises(Refused) as caught:
                await gateway.permit(grant, action, PAYMENT, definition=stage.pins[action])
            assert caught.value.code == "not_justified"
            assert caught.value.decision
            probe = await gateway.probe(grant, action, PAYMENT, definition=stage.pins[action])
            assert (probe.permitted, probe.id, probe.probe) == (False, "", True)
            listed = await gateway.listing(
                grant, "payments", {"pay_invoice": stage.pins[action], "unknown_tool": "0" * 64}
            )
            assert listed["pay_invoice"] is not None
            assert listed["unknown_tool"] is not None

    run(main())


def test_the_workload_itself_is_no_enforcement_point(tmp_path: Path) -> None:
    async def main() -> None:
        async with finance(tmp_path) as stage, await stage.client() as gateway:
            grant = await stage.grant()
            action = "files/read_text_file"
            decision = await gateway.authorize(grant, action, READ, definition=stage.pins[action])
            assert decision.permitted
            async with await Client.connect(stage.folder.socket, grant.holder()) as inside:
                assert inside.enforcement == "self"
                with pytest.raises(Refused):
                    await inside.permit(grant, action, READ, definition=stage.pins[action])
                forged = Outcome(decision=decision.id, digest=decision.digest, result="response")
                try:
                    receipt = await inside.report(forged)
                except RemitError:
                    pass
                else:
                    assert receipt.standing == "claimed"

    run(main())


def test_a_payment_task_that_the_agent_starts_itself(tmp_path: Path) -> None:
    async def main() -> None:
        async with finance(tmp_path) as stage:
            params = {"invoice": "INV-2041", "file": "x", "account": "DE89370400440532013000", "amount": 120.5}
            with pytest.raises(Forbidden) as caught:
                await stage.grant("pay-invoice", "workload/finance-agent", **params)
            assert caught.value.decision

    run(main())


def test_one_idempotency_key_gives_one_decision(tmp_path: Path) -> None:
    async def main() -> None:
        async with finance(tmp_path) as stage, await stage.client() as gateway:
            grant = await stage.grant()
            action = "files/read_text_file"
            pin = stage.pins[action]
            first = await gateway.authorize(grant, action, READ, definition=pin, idempotency_key="k")
            again = await gateway.authorize(grant, action, READ, definition=pin, idempotency_key="k")
            assert first.id == again.id
            try:
                other = await gateway.authorize(grant, action, {"path": "x"}, definition=pin, idempotency_key="k")
            except Conflict:
                return
            assert not other.permitted

    run(main())


def test_quarantine_is_seen_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with finance(tmp_path) as stage, await stage.client() as gateway:
            grant = await stage.grant()
            action = "files/read_text_file"
            async with await stage.client("person/controller") as controller:
                assert (await controller.change(AGENT, "quarantined", "odd calls")).state == "quarantined"
                with pytest.raises(RemitError):
                    await gateway.permit(grant, action, READ, definition=stage.pins[action])
                with pytest.raises(NotFound):
                    await controller.task("t_none")
                found = {each.id: each.state for each in await controller.identities()}
                assert found[AGENT] == "quarantined"
            with pytest.raises(Forbidden):
                await stage.client("workload/finance-agent")

    run(main())
