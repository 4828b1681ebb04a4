"""`docs/guides/sdk.md`: every program on the page runs, on the finance example, and prints what it should."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

from remit.sdk.grant import save_grant
from server.real import Finance, finance
from server.stage import run

PAGE = (Path(__file__).parents[2] / "docs/guides/sdk.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
PRINTED = [
    "True\n",
    "not_justified\nTrue\n",
    "believed\n",
    "open\ncancelled\n",
    "True\n",
    "Embedded pep\nfolder_in_use\n",
    "self\nTrue permitted\n",
]


def test_every_program_on_the_page_runs(tmp_path: Path) -> None:
    async def main() -> None:
        async with finance(tmp_path) as stage:
            grant = tmp_path / "grant.json"
            save_grant(grant, await stage.grant())
            for program, printed in zip(PROGRAMS, PRINTED, strict=True):
                assert await asyncio.to_thread(printed_by, program, stage, grant) == printed

    run(main())


def printed_by(program: str, stage: Finance, grant: Path) -> str:
    environment = {"REMIT_TASK": str(grant), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=stage.folder.root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
