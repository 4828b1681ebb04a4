"""Runs the real exec with the fake decider: `exec_main.py RULES_JSON ACTION ARGUMENTS_JSON FILES_JSON -- COMMAND…`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
import uvloop

from remit.enforce.exec import execute

from .fake import GRANT, FakeDecider, Rules


async def main() -> int:
    decider = FakeDecider(msgspec.json.decode(sys.argv[1], type=Rules))
    files = {name: Path(path) for name, path in json.loads(sys.argv[4]).items()}
    arguments = json.loads(sys.argv[3])
    return await execute(sys.argv[2], arguments, sys.argv[6:], decider=decider, grant=GRANT, files=files)


if __name__ == "__main__":
    sys.exit(uvloop.run(main()))
