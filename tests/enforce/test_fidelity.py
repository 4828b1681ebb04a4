"""What the official SDK client sees through the gateway is what it sees without it; a fake that permits all decides."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp_types import ElicitResult, PromptReference

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SERVER = [sys.executable, str(HERE / "features_server.py")]


def parameters(command: list[str], rules: dict[str, Any] | None) -> StdioServerParameters:
    if rules is not None:
        command = [sys.executable, "-m", "tests.enforce.gateway_main", json.dumps(rules), "30", "--", *command]
    env = {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    return StdioServerParameters(command=command[0], args=command[1:], cwd=ROOT, env=env)


async def use_everything(mode: str, rules: dict[str, Any] | None) -> list[Any]:
    seen: list[Any] = []

    async def elicited(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": "Ada"})

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message))

    transport = stdio_client(parameters(SERVER, rules))
    async with Client(transport, mode=mode, elicitation_callback=elicited) as client:
        seen.append(client.server_capabilities)
        seen.append(client.instructions)
        seen.append(await client.list_tools())
        seen.append(await client.call_tool("echo", {"text": "ü\u2028 \U0001f600"}))
        seen.append(await client.call_tool("weather", {"city": "Bern"}))
        seen.append(await client.call_tool("fail", {}))
        seen.append(await client.call_tool("slow", {"steps": 3}, progress_callback=progress))
        seen.append(await client.call_tool("greet", {}))
        seen.append(await client.list_resources())
        seen.append(await client.list_resource_templates())
        seen.append(await client.read_resource("config://main"))
        seen.append(await client.read_resource("note://a"))
        seen.append(await client.list_prompts())
        seen.append(await client.get_prompt("review", {"code": "x = 1"}))
        reference = PromptReference(type="ref/prompt", name="review")
        seen.append(await client.complete(reference, {"name": "code", "value": "p"}))
        for broken in (client.call_tool("nothing", {}), client.read_resource("nothing://x")):
            try:
                seen.append(await broken)
            except MCPError as error:
                seen.append(error.error)
    return seen


def plain(value: Any) -> Any:
    """Without what differs from call to call: the server's sealed state."""
    return value.model_dump(by_alias=True) if hasattr(value, "model_dump") else value


@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
def test_the_sdk_client_sees_the_same_through_the_gateway(mode: str, tmp_path: Path) -> None:
    log = tmp_path / "fake.jsonl"
    direct = anyio.run(use_everything, mode, None)
    governed = anyio.run(use_everything, mode, {"log": str(log), "unlisted_passes": True})
    assert [plain(item) for item in governed] == [plain(item) for item in direct]
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    asked = {entry["ask"] for entry in entries if "ask" in entry}
    assert {"s/echo", "s/greet", "s/mcp:elicitation/create", "s/mcp:resources/read"} <= asked
    assert {"s/mcp:prompts/get", "s/mcp:completion/complete"} <= asked
    permits = sum("ask" in entry for entry in entries)
    assert sum("told" in entry for entry in entries) == permits


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_the_sdk_client_reads_refusals_and_redactions(mode: str) -> None:
    rules = {
        "deny": ["s/echo", "s/mcp:prompts/get"],
        "unlisted": ["fail"],
        "redact": {"s/weather": ["email"]},
    }

    async def use() -> None:
        async with Client(stdio_client(parameters(SERVER, rules)), mode=mode) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert "fail" not in names
            assert "echo" in names
            refused = await client.call_tool("echo", {"text": "x"})
            assert refused.is_error
            assert "policy_forbids" in refused.content[0].text  # type: ignore[union-attr]
            weather = await client.call_tool("weather", {"city": "Bern"})
            assert weather.structured_content == {"city": "Bern", "degrees": 21.5, "email": "[redacted]"}
            assert "a@b.c" not in str(weather)
            with pytest.raises(MCPError, match="policy_forbids"):
                await client.get_prompt("review", {"code": "x"})

    anyio.run(use)
