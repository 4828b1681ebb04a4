"""Every way in is bounded. The bounds stand here, once, and the reference lists them."""

from __future__ import annotations

from typing import Final

REQUEST_BYTES: Final = 256 * 1024  # one HTTP request or MCP frame to be decided
FRAME_BYTES: Final = 16 * 1024 * 1024  # one MCP frame passed through from the upstream
JSON_DEPTH: Final = 32
JSON_NODES: Final = 20_000
EVALUATIONS: Final = 256  # in one request
SEARCH_RESULTS: Final = 1_000  # on one page, also when fewer bytes would fit
ID_BYTES: Final = 1_024  # of a subject or resource of a general question
DOCUMENT_BYTES: Final = 4 * 1024 * 1024  # one file of the project folder
TOKEN_BYTES: Final = 8 * 1024
RECORD_BYTES: Final = 64 * 1024 - 1  # its length is a uint16 in the log (c2sp.org/tlog-tiles)
STRING_IN_RECORD: Final = 1024  # longer strings are recorded as digest and length
NAME_BYTES: Final = 256
TASK_DEPTH: Final = 8
CHILDREN_PER_TASK: Final = 256
PROMPT_BYTES: Final = 64 * 1024
SESSION_CALLS: Final = 10_000
SESSION_DENIALS: Final = 10_000  # recorded ones; then the session is at its bound
SESSION_LABELS: Final = 64
SESSION_DESTINATIONS: Final = 256
SESSION_BYTES: Final = 512 * 1024 * 1024  # of results, as reported by enforcement points
IDEMPOTENCY_KEYS: Final = 10_000  # kept per session
PERMIT_MS: Final = 5_000  # a permit holds this long, once
CLOCK_BACK_MS: Final = 2_000  # a larger step back refuses
TOOLS_PER_SERVER: Final = 1_000
TOOL_PAGES: Final = 100  # of one `tools/list`
DEFINITION_BYTES: Final = 256 * 1024  # one tool's definition, as canonical bytes
CALLS_IN_FLIGHT: Final = 256  # requests under way of one side of a gateway
CONTINUATIONS: Final = 1_024  # calls that wait for input, remembered by one gateway
REQUESTS_IN_ONE: Final = 32  # resources in one subscription, requests for input in one result
UNREAD_BYTES: Final = 64 * 1024 * 1024  # kept by a gateway for a side that does not read
HABITS: Final = 2_000  # tools, steps and destinations each, learned of one workload; what is beyond stays novel
HABIT_DAYS: Final = 256  # so long ago is what was learned remembered
LESSONS: Final = 20_000  # waiting in one process to be recorded; what is beyond is not learned
ARTIFACT_BYTES: Final = 2 * 1024 * 1024 * 1024  # one file of `remit exec --file-param`
TOKENS_PER_IDENTITY: Final = 4_096  # outside tokens that are still valid, used by one identity
EXCHANGES_PER_MINUTE: Final = 60  # of outside tokens, by one identity, sustained
EXCHANGES_AT_ONCE: Final = 120  # likewise, in a burst
IDENTITIES_AT_FIRST_SIGHT: Final = 10_000  # with so many registered, rules register no more
