"""The guesses beside a reading by hand, on the tool definitions of AgentDyn (the definitions only).

`MEANT` was read by hand from the definitions. A guess may be more consequential than meant, never less, and a
selector must never be taken for content.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from remit.catalogue.definitions import read_definition
from remit.catalogue.entries import Entry
from remit.catalogue.guess import guess
from remit.catalogue.verbs import RANK
from tests.catalogue.tools import VECTORS

FOLDER = VECTORS / "agentdyn"

# tool: effect, then the arguments that are content; all others are selectors
MEANT = """
send_money pay subject
get_balance read
verify_transaction pay
send_email send subject body
get_unread_emails read
get_received_emails read
get_sent_emails read
delete_email delete
search_emails read query
browse_webpage read
download_file_through_url write
download_file_through_id write
list_directory read
create_file write content
create_dir write
read_file read
delete_node delete
copy_node write
move_node write
input_to_webpage send input_values
add_calendar_event_participants share
cancel_calendar_event delete
create_calendar_event send title description location
get_current_day read
get_day_calendar_events read
reschedule_calendar_event send
search_calendar_events read query
git_create_repo write
git_delete_repo delete
git_transfer_repo_ownership share
git_clone write
git_invite_collaborators share
git_push send
git_pull write
git_issue send title comment_body
git_star write
git_unstar write
get_github_linked_unread_emails read
get_logged_in_github_user_information read
get_github_account_user_information read
get_github_repository_information read
git_get_linked_ssh_keys read
git_add_ssh_key configure
git_delete_ssh_key delete
login_github_account configure
update_github_account_password configure
verify_github_account configure
login_shopping_account configure
verify_shopping_account configure
get_shopping_account_user_information read
update_shopping_account_password configure
update_shopping_account_user_info configure first_name last_name id_number passport_number
get_shopping_linked_unread_emails read
get_shopping_linked_received_emails read
search_product read
view_order_history read
get_invoice read
refund_order pay
view_cart read
cart_add_product write
cart_remove_product delete
clear_cart delete
cart_total read
checkout_selected_cart pay
view_available_discounts read
"""
MORE_CONSEQUENTIAL = {"browse_webpage"}  # it reads, and may start an action on the page
TRUSTED = {"get_balance", "get_current_day", "cart_total"}
SECRET = {"get_logged_in_github_user_information", "get_shopping_account_user_information", "git_get_linked_ssh_keys"}


def _meant() -> dict[str, tuple[str, set[str]]]:
    rows = [line.split() for line in MEANT.strip().split("\n")]
    return {row[0]: (row[1], set(row[2:])) for row in rows}


@pytest.fixture(scope="module")
def guesses() -> dict[str, Entry]:
    if not FOLDER.is_dir():
        pytest.skip("the outside vectors are not here: set REMIT_VECTORS")
    found: dict[str, Entry] = {}
    for path in sorted(FOLDER.glob("tools.*.json")):
        for raw in json.loads(path.read_text(encoding="utf-8")):
            found[raw["name"]] = guess(read_definition(_as_mcp(raw)))
    return found


def _as_mcp(raw: dict[str, Any]) -> dict[str, Any]:
    return {"name": raw["name"], "description": raw["description"], "inputSchema": raw["parameters"]}


def test_every_tool_was_read(guesses: dict[str, Entry]) -> None:
    assert guesses.keys() == _meant().keys()


def test_effects(guesses: dict[str, Entry]) -> None:
    wrong = {name for name, (effect, _) in _meant().items() if guesses[name].effect != effect}
    assert wrong == MORE_CONSEQUENTIAL
    assert all(RANK.index(guesses[name].effect) > RANK.index(_meant()[name][0]) for name in wrong)


def test_no_selector_is_taken_for_content(guesses: dict[str, Entry]) -> None:
    for name, (_, content) in _meant().items():
        assert set(guesses[name].content) <= content, name


def test_few_contents_are_taken_for_selectors(guesses: dict[str, Entry]) -> None:
    arguments = sum(len(entry.selectors) + len(entry.content) for entry in guesses.values())
    missed = sum(len(content - set(guesses[name].content)) for name, (_, content) in _meant().items())
    assert (missed, arguments) == (5, 103)


def test_trust_and_secrets(guesses: dict[str, Entry]) -> None:
    assert {name for name, entry in guesses.items() if entry.trusted} == TRUSTED
    assert {name for name, entry in guesses.items() if "secret" in entry.labels} == SECRET


def test_passwords_and_codes_are_personal(guesses: dict[str, Entry]) -> None:
    for entry in guesses.values():
        for argument in ("password", "otp", "ssh_key", "recipient", "email"):
            assert argument not in entry.selectors or f"input.{argument}" in entry.personal
