"""A scripted pipeline step: reads the history of a repository through the third-party git server, behind Remit.

python agent.py REPOSITORY
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.finance.agent import call, gateway


async def main(repository: str) -> None:
    """One read, and one change that the intent does not justify."""
    async with gateway("git", sys.executable, "-m", "mcp_server_git", "--repository", repository) as git:
        await call(git, "git_log", repo_path=repository)
        await call(git, "git_reset", repo_path=repository)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
