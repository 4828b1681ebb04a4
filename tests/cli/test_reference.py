"""docs/reference/cli.md names every command and option; every option says what it does."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from remit.cli.main import cli
from tests.cli import reference

COMMANDS = dict(reference.commands())


@pytest.fixture(scope="module")
def page() -> str:
    return reference.PAGE.read_text("utf-8")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_names_the_command_and_every_option(page: str, name: str) -> None:
    section = reference.section_of(page, name)
    assert section, f"`{name}` is missing: run `python -m tests.cli.reference`"
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            for option in parameter.opts:
                assert option in section or option in ("--project", "-h", "--help"), f"{option} of `{name}`"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_teaches(name: str) -> None:
    result = CliRunner().invoke(cli, [*name.split()[1:], "--help"], prog_name="remit")
    assert result.exit_code == 0
    assert max(map(len, result.output.splitlines())) <= 120
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{parameter.opts[0]} of `{name}` says nothing"


def test_the_page_names_no_command_that_is_not_there(page: str) -> None:
    for line in page.splitlines():
        if line.startswith("### `"):
            assert line[5:-1] in COMMANDS


def test_the_exit_codes_are_those_of_the_program(page: str) -> None:
    from remit.cli import failures

    for code in (failures.OK, failures.FAILED, failures.USAGE, failures.REFUSED):
        assert f"| {code} |" in page
