"""Information providers at decision time: what they say counts, and where they say nothing the answer is a deny."""

from __future__ import annotations

import pytest

from tests.decide.stage import FETCH, READ, Stage, identity, staged, together

URL = {"url": "https://a.example/"}
SETTINGS = """
[[providers]]
name = "Hosts::Known"
call = "own:known"
arguments = ["String", "String"]
result = { known = "Bool", visits = "Long" }
timeout_ms = 200
"""
CODE = """
import time

CALLS = []

def known(url, who):
    CALLS.append((url, who))
    if "slow" in url:
        time.sleep(0.5)
    if "broken" in url:
        raise RuntimeError("secret of the provider")
    if "odd" in url:
        return {"known": "yes", "visits": 1}
    return {"known": "a.example" in url, "visits": len(url)}
"""
POLICY = """
@id("known-hosts") @reason("host_unknown")
forbid (principal, action == Remit::Action::"web/fetch", resource)
unless {
  Hosts::Known(context.input.url, principal.id).known && Hosts::Known(context.input.url, principal.id).visits > 3 };
"""
PROJECT = {"settings": SETTINGS, "providers": CODE, "temporal": POLICY}


@staged(**PROJECT)
async def test_what_a_provider_says_decides_and_is_recorded(stage: Stage) -> None:
    grant = await stage.start()
    decision = await stage.permit(grant, FETCH, URL)
    given = stage.record_of(decision)["context"]["providers"]
    assert given == {"known-hosts/0": {"known": True, "visits": 18}, "known-hosts/1": {"known": True, "visits": 18}}
    assert await stage.refusal(grant, FETCH, {"url": "https://b.example/"}) == "host_unknown"
    assert (await stage.probe(grant, FETCH, URL)).permitted


@staged(**PROJECT)
async def test_other_actions_ask_no_provider(stage: Stage) -> None:
    decision = await stage.permit(await stage.start(), READ)
    assert "providers" not in stage.record_of(decision)["context"]


@pytest.mark.parametrize("host", ["slow", "broken", "odd"])
@staged(**PROJECT)
async def test_a_provider_that_gives_nothing_usable_denies(
    stage: Stage, host: str, caplog: pytest.LogCaptureFixture
) -> None:
    grant = await stage.start()
    decision = await stage.authorize(grant, FETCH, {"url": f"https://{host}.a.example/"})
    assert (decision.effect, decision.reason.code) == ("deny", "provider_failed")
    assert "secret of the provider" not in decision.reason.message
    assert "ALARM an information provider failed" in caplog.text
    await stage.permit(grant, FETCH, URL)


@staged(**PROJECT)
async def test_decisions_go_on_while_a_provider_is_slow(stage: Stage) -> None:
    grant, other = await stage.start(), await stage.start()
    order: list[str] = []

    async def slow() -> None:
        assert await stage.refusal(grant, FETCH, {"url": "https://slow.a.example/"}) == "provider_failed"
        order.append("slow")

    async def quick() -> None:
        await stage.permit(other, READ)
        order.append("quick")

    await together(slow(), quick())
    assert order == ["quick", "slow"]


@staged(**PROJECT)
async def test_a_stranger_makes_no_provider_run(stage: Stage) -> None:
    ask = stage.ask(await stage.start(), FETCH, URL, subject=identity("workload/nobody").id)
    assert (await stage.governor.authorize(ask)).effect == "deny"
