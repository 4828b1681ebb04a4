"""Runs the real gateway with the fake decider: `gateway_main.py RULES_JSON HANG_SECONDS -- COMMAND…`."""

from __future__ import annotations

import sys

import msgspec
import uvloop

from remit.enforce.gateway import gateway

from .fake import GRANT, FakeDecider, Rules


async def main() -> int:
    rules = msgspec.json.decode(sys.argv[1], type=Rules)
    decider = FakeDecider(rules)
    return await gateway(sys.argv[4:], server="s", decider=decider, grant=GRANT, hang_seconds=float(sys.argv[2]))


if __name__ == "__main__":
    sys.exit(uvloop.run(main()))
