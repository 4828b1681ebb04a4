"""Any JSON gets an answer or a problem, never a fault; several questions are their answers one by one; pages are all.

Against the real governor and the policies of the search example, called through the ASGI application itself.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from remit.app.bearer import bearer_keys, secret_file
from remit.app.folder import Folder
from remit.app.installation import Installation, audience_of, open_installation
from remit.server.app import build_app
from remit.server.authentication import ORIGINS, UNIX_ORIGIN

EXAMPLE = Path(__file__).parents[2] / "examples/authzen/search"
EVALUATION, EVALUATIONS = "/access/v1/evaluation", "/access/v1/evaluations"
SEARCHES = {what: f"/access/v1/search/{what}" for what in ("subject", "resource", "action")}

anything = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


class Direct:
    """The application on a loop of its own, asked without a socket."""

    def __init__(self, folder: Folder) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = folder
        self.installation: Installation = self.loop.run_until_complete(open_installation(folder))
        # Examples come faster than any caller may ask.
        self.installation.governor._rates._burst = 1e12
        self.installation.governor._rates._buckets.clear()
        self.app: Starlette = build_app(
            self.installation.governor,
            self.installation.authenticator,
            self.installation.authority,
            bearer_keys=bearer_keys(self.installation.settings, folder),
            bundle=self.installation.keyring.bundle,
            audience=audience_of(self.installation.settings.trust_domain),
        )
        secret = secret_file(folder, self.installation.settings.bearer_keys[0]).read_text().strip()
        self.headers = [
            (b"authorization", f"Bearer {secret}".encode()),
            (b"content-type", b"application/json"),
            (b"host", b"remit.local"),
        ]

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Status and JSON of the answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.loop.run_until_complete(self._post(path, data))

    async def _post(self, path: str, data: bytes) -> tuple[int, Any]:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": data, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": self.headers,
            "state": {ORIGINS: (UNIX_ORIGIN,)},
        }
        await self.app(scope, receive, send)
        return sent[0]["status"], json.loads(sent[1]["body"])

    def close(self) -> None:
        self.loop.run_until_complete(self.installation.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Direct]:
    root = tmp_path_factory.mktemp("any") / "search"
    shutil.copytree(EXAMPLE, root, ignore=shutil.ignore_patterns(".remit"))
    direct = Direct(Folder(root))
    yield direct
    direct.close()


# --- questions near and far from what is meant ----------------------------------------------------------------

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(1 << 70), max_value=1 << 70),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["user", "record", "workload", "server", "Remit::Workload", "Records::User", "alice", "101", ""]),
)
_names = st.one_of(
    st.sampled_from(
        ["type", "id", "name", "properties", "subject", "action", "resource", "context", "evaluations", "options"]
    ),
    st.sampled_from(["page", "token", "limit", "evaluations_semantic", "reasons", "role", "department", "owner"]),
    st.sampled_from(["__entity", "__extn", "fn", "arg", "uid", "attrs", "supported_obligations"]),
    st.text(max_size=6),
)
_json = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_names, inner, max_size=4)),
    max_leaves=12,
)


def mixed(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly what is meant, sometimes anything."""
    return st.integers(0, 15).flatmap(lambda number: good if number else _json)


_properties = st.dictionaries(_names, _json, max_size=3)
_subjects = st.fixed_dictionaries(
    {"type": mixed(st.just("user")), "id": mixed(st.sampled_from(["alice", "bob", "carol", "dan", "erin", "felix"]))},
    optional={"properties": mixed(_properties)},
)
_records = st.fixed_dictionaries(
    {"type": mixed(st.just("record")), "id": mixed(st.integers(101, 120).map(str))},
    optional={"properties": mixed(_properties)},
)
_actions = st.fixed_dictionaries(
    {"name": mixed(st.sampled_from(["view", "edit", "delete"]))}, optional={"properties": mixed(_properties)}
)
_members = {"subject": mixed(_subjects), "action": mixed(_actions), "resource": mixed(_records)}
_more = {
    "context": mixed(_properties),
    "options": mixed(
        st.fixed_dictionaries(
            {},
            optional={
                "reasons": mixed(st.booleans()),
                "evaluations_semantic": mixed(
                    st.sampled_from(["execute_all", "deny_on_first_deny", "permit_on_first_permit"])
                ),
            },
        )
    ),
    "page": mixed(
        st.fixed_dictionaries({}, optional={"limit": mixed(st.integers(0, 30)), "token": mixed(st.text(max_size=40))})
    ),
    "evaluations": mixed(st.lists(st.fixed_dictionaries({}, optional=_members), max_size=4)),
}
_questions = st.fixed_dictionaries(_members, optional=_more)


def check(service: Direct, path: str, body: Any) -> None:
    status, answer = service.post(path, body)
    assert status in (200, 400, 403, 413), answer
    if status == 200:
        assert ({"decision", "evaluations", "results"} & answer.keys()) != set()
        assert not has_null(answer)
    else:
        assert answer["code"]
        assert answer["detail"]


def has_null(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(has_null(each) for each in (value.values() if isinstance(value, dict) else value))
    return value is None


@anything
@given(body=mixed(_questions))
@pytest.mark.parametrize("path", [EVALUATION, EVALUATIONS, *SEARCHES.values()])
def test_any_json_is_answered_or_refused(service: Direct, path: str, body: Any) -> None:
    check(service, path, body)


@anything
@given(body=st.one_of(st.binary(max_size=200), _json.map(lambda value: json.dumps(value).encode()[:-1])))
@pytest.mark.parametrize("path", [EVALUATION, SEARCHES["subject"]])
def test_any_bytes_are_answered_or_refused(service: Direct, path: str, body: bytes) -> None:
    check(service, path, body)


# --- several are one by one -----------------------------------------------------------------------------------

_good = st.fixed_dictionaries(
    {
        "subject": st.fixed_dictionaries(
            {"type": st.just("user"), "id": st.sampled_from(["alice", "bob", "dan", "nobody"])}
        ),
        "action": st.fixed_dictionaries({"name": st.sampled_from(["view", "edit", "delete", "fly"])}),
        "resource": st.fixed_dictionaries({"type": st.just("record"), "id": st.integers(100, 121).map(str)}),
        "context": st.dictionaries(st.sampled_from("ab"), st.integers(0, 3), max_size=1),
    }
)
_bad = st.sampled_from(
    [
        {"subject": {"type": "user"}},
        {"action": {"name": 1}},
        {"resource": "101"},
        {"subject": {"type": "workload", "id": "x"}},
        {"subject": {"type": "Remit::Person", "id": "x"}},
    ]
)


@anything
@given(
    defaults=_good,
    items=st.lists(
        st.one_of(st.lists(st.sampled_from(["subject", "action", "resource", "context"]), unique=True), _bad),
        min_size=1,
        max_size=20,
    ),
    others=st.lists(_good, min_size=20, max_size=20),
    semantic=st.sampled_from(["", "execute_all", "deny_on_first_deny", "permit_on_first_permit"]),
    reasons=st.booleans(),
)
def test_several_answers_are_those_one_by_one(
    service: Direct, defaults: Any, items: list[Any], others: list[Any], semantic: str, reasons: bool
) -> None:
    parts = [
        item if isinstance(item, dict) else {name: other[name] for name in item}
        for item, other in zip(items, others, strict=False)
    ]
    options = {"reasons": reasons} | ({"evaluations_semantic": semantic} if semantic else {})
    status, answer = service.post(EVALUATIONS, {**defaults, "evaluations": parts, "options": options})
    assert status == 200, answer
    wanted = []
    for part in parts:
        status, alone = service.post(EVALUATION, {**defaults, **part, "options": {"reasons": reasons}})
        if status != 200:
            said = {"status": status, "message": alone["detail"], "code": alone["code"]}
            said |= {"nextStep": alone["nextStep"]} if "nextStep" in alone else {}
            alone = {"decision": False, "context": {"error": said}}
        wanted.append(alone)
        if semantic.endswith("deny" if not alone["decision"] else "permit"):
            break
    got = answer["evaluations"]
    for one, other in zip(got, wanted, strict=True):
        assert _without_path(one) == _without_path(other)


def _without_path(answer: Any) -> Any:
    """A part of several is told by the same code and status; where in the body it stands is another matter."""
    context = answer.get("context", {})
    if "error" in context:
        return {"decision": answer["decision"], "error": (context["error"]["status"], context["error"]["code"])}
    return answer


# --- pages ----------------------------------------------------------------------------------------------------


def pages(service: Direct, what: str, body: Any, limit: int, sends_limit: Callable[[int], bool]) -> list[Any]:
    found: list[Any] = []
    page: dict[str, Any] = {"limit": limit}
    for number in range(1, 1_000):
        status, answer = service.post(SEARCHES[what], body | {"page": page})
        assert status == 200, answer
        assert answer["page"]["count"] == len(answer["results"]) <= limit
        found += answer["results"]
        token = answer["page"]["next_token"]
        if not token:
            return found
        page = {"token": token} | ({"limit": limit} if sends_limit(number) else {})
    raise AssertionError("it never ends")


@anything
@given(body=_good, what=st.sampled_from(sorted(SEARCHES)), limit=st.integers(1, 25), sends=st.booleans())
def test_page_by_page_is_all_at_once(service: Direct, body: Any, what: str, limit: int, sends: bool) -> None:
    status, whole = service.post(SEARCHES[what], body)
    assert status == 200, whole
    assert pages(service, what, body, limit, lambda _: sends) == whole["results"]
    for found in whole["results"]:
        alone = {**body, what: found}
        assert service.post(EVALUATION, alone)[1] == {"decision": True}


@anything
@given(
    one=_good,
    other=_good,
    whats=st.tuples(st.sampled_from(sorted(SEARCHES)), st.sampled_from(sorted(SEARCHES))),
    limits=st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
def test_a_token_goes_on_with_its_own_search_only(
    service: Direct, one: Any, other: Any, whats: tuple[str, str], limits: tuple[int, int]
) -> None:
    status, first = service.post(SEARCHES[whats[0]], one | {"page": {"limit": limits[0]}})
    assert status == 200
    token = first["page"]["next_token"]
    if not token:
        return
    status, answer = service.post(SEARCHES[whats[1]], other | {"page": {"limit": limits[1], "token": token}})
    same = (whats[0], limits[0], sought(one, whats[0])) == (whats[1], limits[1], sought(other, whats[1]))
    assert (status == 200) is same, answer
    assert same or answer["code"] == "page_token_mismatch"


def sought(body: Any, what: str) -> Any:
    """What a search depends on: not on the id of what is sought, nor on the action where actions are."""
    if what == "action":
        return {name: value for name, value in body.items() if name != "action"}
    return {**body, what: body[what]["type"]}


@anything
@given(token=st.one_of(st.text(max_size=60), st.binary(max_size=60).map(lambda data: data.hex()), st.just("W10")))
def test_a_token_that_is_made_up_is_refused_or_harmless(service: Direct, token: str) -> None:
    body = {
        "subject": {"type": "user", "id": "alice"},
        "action": {"name": "view"},
        "resource": {"type": "record"},
        "page": {"token": token},
    }
    status, answer = service.post(SEARCHES["resource"], body)
    assert status == 200 if not token else (status, answer["code"][:10]) == (400, "page_token")
