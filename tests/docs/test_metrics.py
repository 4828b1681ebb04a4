"""The metrics that the pages name are those that a real service shows, once it has decided something."""

from __future__ import annotations

import re
from pathlib import Path

from remit.app import reloading
from remit.app.publishing import GAUGES
from remit.storage.address import Address
from remit.storage.presence import Presence
from remit.storage.spent import Spent
from server.real import READ, finance
from server.stage import run
from tools.reference import ROOT

NAME = re.compile(r"`(remit_\w+)(?:\{[\w,]+\})?`")


def named(page: str) -> set[str]:
    return set(NAME.findall((ROOT / page).read_text("utf-8")))


def test_the_pages_name_the_metrics_of_a_real_service(tmp_path: Path) -> None:
    async def main() -> None:
        async with finance(tmp_path) as stage, await stage.client() as client:
            decision = await client.authorize(await stage.grant(), "files/read_text_file", READ)
            async with client._transport.session.get("http://remit.local/metrics") as response:
                assert response.status == 200
                text = await response.text()
        shown = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
        gauges = {*Presence(Address("", ""), lambda: ("", "")).gauges(), *Spent().gauges(), *GAUGES, *reloading.GAUGES}
        shared = {f"remit_{name}" for name in gauges}
        assert named("docs/reference/http.md") == shown | shared
        effect, reason = decision.effect, decision.reason.code
        assert f'remit_decisions_total{{kind="authorize",effect="{effect}",reason="{reason}"}} 1' in text

    run(main())
