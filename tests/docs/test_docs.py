"""All pages: links lead somewhere, commands exist, programs run, and nothing tells of the machine it was written on."""

from __future__ import annotations

import ast
import asyncio
import re
import shlex
import subprocess
from pathlib import Path
from types import CodeType

import click
import pytest

import remit
from bench import decide, gateway, record
from remit.app.folder import Folder
from remit.app.service import run_service
from remit.app.tasks import start_task
from remit.cli.main import cli
from remit.sdk.grant import TaskGrant
from tools.reference import ROOT

LISTED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
FILES = [name for name in LISTED if (ROOT / name).is_file()]
PAGES = [name for name in FILES if name.endswith(".md")]
FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)

pytestmark = pytest.mark.skipif(not FILES, reason="this is no git checkout")


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


# --- links ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", text_of(page))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        assert target.resolve().is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    """The headings of a page, as they are linked to."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_every_page_that_a_file_names_is_there() -> None:
    named = {(name, page) for name in texts() for page in re.findall(r"\bdocs/[\w/-]+\.md\b", texts()[name])}
    assert [pair for pair in sorted(named) if not (ROOT / pair[1]).is_file()] == []


def test_every_page_is_linked_from_the_readme_or_from_a_page_that_is() -> None:
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        for link in re.findall(r"\]\(([^)\s#:]+\.md)", page.read_text("utf-8")):
            waiting.append((page.parent / link).resolve())
    assert [name for name in PAGES if name.startswith("docs/") and ROOT / name not in reached] == []


# --- commands ---------------------------------------------------------------------------------------------------


def commands(page: str) -> list[str]:
    """Every call of `remit` in a page's console, shell and inline code."""
    text = text_of(page)
    blocks = [block for _, kind, block in FENCED.findall(text) if kind in ("console", "", "bash", "sh")]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"^    (remit .*)$", text, re.MULTILINE)
    lines += re.findall(r"`(remit [^`]*)`", FENCED.sub("", text))
    found = []
    for line in lines:
        call = re.match(r"(?:\$ )?(?:[a-z]+ \"\$\()?(remit( [^|#)]*)?)", line.strip())
        if call and (line.strip().startswith("$ ") or not re.match(r"remit [a-z]+:", line.strip())):
            found.append(call[1])
    return found


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_their_options_exist(page: str) -> None:
    for call in commands(page):
        check_call(call)


def check_call(call: str) -> None:
    """The commands and long options of one call are those of the program."""
    try:
        words = shlex.split(call)[1:]
    except ValueError:
        words = call.split()[1:]
    command: click.Command = cli
    context = click.Context(cli)
    for word in words[: words.index("--")] if "--" in words else words:
        if isinstance(command, click.Group) and re.fullmatch(r"[a-z]+", word):
            found = command.get_command(context, word)
            # `remit log` is a group that does something by itself, and takes options
            assert found is not None, f"`{call}`: there is no command `{word}`"
            command = found
        elif word.startswith("--") and len(word) > 2:
            name = word.partition("=")[0].rstrip("].,…")
            known = {option for each in (command, cli) for param in each.params for option in param.opts}
            assert name in known | {"--help", "--version"}, f"`{call}`: there is no option `{name}`"


def test_calls_are_found_and_checked() -> None:
    assert any("catalogue import files --register gateway" in call for call in commands("README.md"))
    for wrong in ("remit catalogue imprt x", "remit up --whole-attached"):
        with pytest.raises(AssertionError):
            check_call(wrong)


# --- programs ---------------------------------------------------------------------------------------------------

# Which test runs the programs of which page.
PROGRAMS = {
    "README.md": "tests/docs/test_docs.py",
    "docs/guides/first-hour.md": "tests/docs/test_first_hour.py",
    "docs/guides/sdk.md": "tests/sdk/test_guide.py",
    "docs/guides/temporal.md": "tests/docs/test_temporal.py",
    "docs/guides/verifying.md": "tests/docs/test_verifying.py",
}


def programs(page: str) -> list[str]:
    return [body for _, kind, body in FENCED.findall(text_of(page)) if kind == "python"]


def test_the_programs_of_every_page_are_run_by_a_test() -> None:
    assert {page for page in PAGES if programs(page)} == set(PROGRAMS)
    assert all((ROOT / test).is_file() for test in PROGRAMS.values())


SETTINGS = """\
trust_domain = "shop.example"
operator = "alice"
[service]
listen = ""
[[workloads]]
name = "helper"
kind = "agent"
owner = "alice"
[[enforcement_points]]
name = "orders"
owner = "alice"
servers = ["orders"]
[[people]]
name = "alice"
roles = ["starter", "administrator"]
"""
CATALOGUE = """\
server: orders
tools:
  refund:
    effect: pay
    selectors: [order]
    reviewed: true
    input_schema: '{"type": "object", "properties": {"order": {"type": "string"}}}'
"""
INTENT = """\
description: Refund orders.
actions: [orders/refund]
starters: [person/alice]
workloads: [workload/helper]
"""


def test_the_program_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {
        "remit.toml": SETTINGS,
        "catalogue/orders.yaml": CATALOGUE,
        "intents/refund.yaml": INTENT,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    (program,) = programs("README.md")
    code = compile(program, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert asyncio.run(run_with_service(Folder(tmp_path), code)) == "permitted"


async def run_with_service(folder: Folder, code: CodeType) -> str:
    """The reason code of the `permit` that the program gets."""
    ready = asyncio.Event()
    service = asyncio.create_task(run_service(folder, on_ready=lambda _installation, _listener: ready.set()))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({service, waiting}, return_when=asyncio.FIRST_COMPLETED)
    try:
        names: dict[str, object] = {"grant": await grant(folder)}
        await eval(code, names)
        return str(names["permit"].decision.reason.code)  # type: ignore[attr-defined]
    finally:
        waiting.cancel()
        service.cancel()
        await asyncio.wait({service})


async def grant(folder: Folder) -> TaskGrant:
    async with await remit.connect(folder.root, identity="person/alice") as alice:
        return await start_task(
            folder, alice, workload="spiffe://shop.example/workload/helper", intent="refund", params={}
        )


# --- claims -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [decide, gateway, record])
def test_every_claim_of_a_benchmark_stands_on_the_page(module: object) -> None:
    path = Path(str(module.__file__))  # type: ignore[attr-defined]
    claims = [
        node
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Claim"
    ]
    assert claims
    for claim in claims:
        name, _, op, bound = claim.args
        said = f"{ast.literal_eval(name)} {ast.literal_eval(op)} {ast.literal_eval(bound)}"
        assert f"| `{path.stem}` | {said} |" in text_of("docs/design/performance.md")


# --- the machine it was written on ------------------------------------------------------------------------------

# Put together here, so that this file does not name them.
FOREIGN = [
    *("/" + name for name in ("root/", "work/", "tmp/v/", "tmp/v ", "tmp/bash_jobs")),
    *("py" + "pi." + end for end in ("org", "python.org")),
    "python" + "hosted.org",
    "npm" + "js.org",
    "npm" + "js.com",
    "registry" + ".npm",
    "npm" + "mirror",
    "crates" + ".io",
]


def texts() -> dict[str, str]:
    """Every text file of the repository."""
    found = {}
    for name in FILES:
        try:
            found[name] = (ROOT / name).read_text("utf-8")
        except UnicodeDecodeError:
            continue
    return found


def test_no_file_names_a_registry_or_a_path_of_this_machine() -> None:
    said = [
        f"{name}:{number}: {part}"
        for name, text in texts().items()
        for number, line in enumerate(text.splitlines(), 1)
        for part in FOREIGN
        if part in line
    ]
    assert said == []
