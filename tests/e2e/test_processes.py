"""Three `remit up` processes on one PostgreSQL database: one order, one history, and the others go on when one ends."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import aiohttp
import pytest

from remit.app.exports import verify_folder
from remit.app.folder import Folder
from remit.app.local import connect_as
from remit.app.records import reader_of
from remit.app.storing import show_store
from remit.core.clock import system_clock
from remit.core.decisions import Decision
from remit.core.errors import RemitError, Unavailable
from remit.identity.holder import Holder
from remit.identity.keys import generate_key, load_key, thumbprint
from remit.sdk.client import Client
from remit.sdk.grant import TaskGrant
from tests.e2e.cluster import Cluster, cluster, proxied
from tests.e2e.load import Acknowledged, Load, check, served_again
from tests.e2e.service import REMIT, grants, told
from tests.postgres import PostgresServer

T = TypeVar("T")

ROUNDS = 1_000
AT_ONCE = 20
CALLERS = 24


@asynccontextmanager
async def connected(made: Cluster, path: str = "pep/gateway") -> AsyncIterator[list[Client]]:
    """An identity's connection to each process."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(await connect_as(folder, path)) for folder in made.folders]


def play(made: Cluster, story: Callable[[Cluster, list[Client]], Awaitable[T]]) -> T:
    """A story with the enforcement point's connections."""

    async def play() -> T:
        async with connected(made) as clients:
            return await story(made, clients)

    return asyncio.run(play())


def in_order(folder: Folder) -> None:
    """The verifier finds nothing."""
    report = verify_folder(folder)
    assert told(report) == []
    assert report.failed is False


# --- one order ----------------------------------------------------------------------------------------------


@pytest.mark.timeout(600)
def test_calls_at_three_processes_against_a_limit_of_one_exactly_one_passes_1000_of_1000(
    short_path: Path, postgres: PostgresServer
) -> None:
    async def race(made: Cluster, clients: list[Client]) -> list[list[Decision]]:
        held = await grants(made.folders[0], "once", ROUNDS)

        async def ask_all(number: int, grant: TaskGrant) -> list[Decision]:
            """Two or three processes at the same moment, in turning order."""
            asked = [clients[(number + each) % 3] for each in range(2 + number % 2)]
            input = {"order": f"O-{number}"}
            return list(await asyncio.gather(*(each.authorize(grant, "orders/close", input) for each in asked)))

        found: list[list[Decision]] = []
        for begin in range(0, ROUNDS, AT_ONCE):
            rounds = (ask_all(number, held[number]) for number in range(begin, begin + AT_ONCE))
            found.extend(await asyncio.gather(*rounds))
        return found

    with cluster(short_path, postgres.database()) as made:
        rounds = play(made, race)
    assert [sum(decision.permitted for decision in each) for each in rounds] == [1] * ROUNDS
    refused = {decision.reason.code for each in rounds for decision in each if not decision.permitted}
    assert refused == {"limit_reached"}
    in_order(made.folders[0])


def test_a_sum_is_never_overspent_by_processes_together(short_path: Path, postgres: PostgresServer) -> None:
    async def race(made: Cluster, clients: list[Client]) -> list[Decision]:
        (held,) = await grants(made.folders[0], "sum", 1)
        asked = [
            clients[number % 3].authorize(held, "orders/refund", {"order": f"O-{number}", "amount": 7.5})
            for number in range(90)
        ]
        return list(await asyncio.gather(*asked))

    with cluster(short_path, postgres.database()) as made:
        decisions = play(made, race)
    assert sum(decision.permitted for decision in decisions) == 13  # 13 x 7.5 = 97.5
    in_order(made.folders[0])


def test_a_permit_of_one_process_is_reported_at_another(short_path: Path, postgres: PostgresServer) -> None:
    acknowledged = Acknowledged()

    async def story(made: Cluster, clients: list[Client]) -> None:
        load = Load(acknowledged, await grants(made.folders[1], "work", 6))
        for number in range(60):
            await load.once(f"O-{number}", clients[number % 3], clients[(number + 1) % 3], load.held[number % 6])

    with cluster(short_path, postgres.database()) as made:
        play(made, story)
    assert len(acknowledged.outcomes) == 60
    assert acknowledged.denials == {}
    check(made.folders[2], acknowledged)


# --- seen by all within a second ----------------------------------------------------------------------------


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 5.0) -> float:
    """How long it took until something held; looked at without a pause."""
    began = time.monotonic()
    while not await holds():
        assert time.monotonic() < began + seconds, "it was not seen"
    return time.monotonic() - began


def test_a_quarantine_is_seen_by_all_within_a_second(short_path: Path, postgres: PostgresServer) -> None:
    async def story(made: Cluster, clients: list[Client]) -> list[float]:
        took: list[float] = []
        (held,) = await grants(made.folders[0], "work", 1)
        for number, folder in enumerate(made.folders * 2):
            others = [other for other in range(3) if other != number % 3]

            async def refuses(at: int) -> bool:
                decision = await clients[at].authorize(held, "orders/get", {"order": "O-1"})
                return decision.reason.code == "identity_quarantined"

            async def tells(at: int) -> bool:
                return not (await clients[at].probe(held, "orders/get", {"order": "O-1"})).permitted

            async def issues_nothing(at: int) -> bool:
                try:
                    async with await connect_as(made.folders[at], "workload/agent"):
                        return False
                except RemitError as error:
                    return error.code == "identity_quarantined"

            for at in range(3):  # each has seen the workload as it was
                assert (await clients[at].authorize(held, "orders/get", {"order": "O-1"})).permitted
            async with await connect_as(folder, "person/alice") as alice:
                await alice.change(held.workload, "quarantined", "a test")
                for at in others:
                    for seen in (refuses, tells, issues_nothing):
                        took.append(await until(lambda at=at, seen=seen: seen(at)))  # type: ignore[misc]
                await alice.change(held.workload, "active", "a test")
                for at in others:

                    async def permits(at: int = at) -> bool:
                        return (await clients[at].authorize(held, "orders/get", {"order": "O-1"})).permitted

                    took.append(await until(permits))
        return took

    with cluster(short_path, postgres.database()) as made:
        took = play(made, story)
    assert max(took) < 1.0, took
    in_order(made.folders[0])


def test_a_task_s_end_is_seen_by_all_within_a_second(short_path: Path, postgres: PostgresServer) -> None:
    async def story(made: Cluster, clients: list[Client]) -> list[float]:
        took: list[float] = []
        for number, held in enumerate(await grants(made.folders[0], "work", 9)):
            state = ("completed", "cancelled", "suspended")[number // 3]
            for at in range(3):
                assert (await clients[at].authorize(held, "orders/get", {"order": "O-1"})).permitted
            async with await connect_as(made.folders[number % 3], "person/alice") as alice:
                await alice.end_task(held.task, state, "a test")  # type: ignore[arg-type]
            for at in range(3):

                async def refuses(at: int = at, held: TaskGrant = held, state: str = state) -> bool:
                    decision = await clients[at].authorize(held, "orders/get", {"order": "O-1"})
                    return decision.reason.code == f"task_{state}"

                async def tells(at: int = at, held: TaskGrant = held) -> bool:
                    return not (await clients[at].probe(held, "orders/get", {"order": "O-1"})).permitted

                took.append(await until(refuses))
                took.append(await until(tells))
        return took

    with cluster(short_path, postgres.database()) as made:
        took = play(made, story)
    assert max(took) < 1.0, took
    in_order(made.folders[0])


# --- one process ends ---------------------------------------------------------------------------------------


class Failover(Load):
    """Callers that go to another process when theirs does not answer."""

    def __init__(self, acknowledged: Acknowledged, held: list[TaskGrant], clients: list[Client]) -> None:
        super().__init__(acknowledged, held)
        self.clients = clients
        self.answered: dict[int, float] = {}  # caller -> when it was last served
        self.at: dict[int, int] = {}  # caller -> the process that it asks

    async def call(self, number: int, client: Client) -> None:
        """One caller; `client` is where it begins."""
        self.at[number] = self.clients.index(client)
        count = 0
        while self.running:
            count += 1
            here = self.clients[self.at[number]]
            try:
                await self.once(f"{number}-{count}", here, here, self.held[number])
                self.served += 1
                self.answered[number] = time.monotonic()
            except Unavailable:
                self.acknowledged.lost += 1
                self.at[number] = (self.at[number] + 1) % len(self.clients)
            except RemitError as error:
                self.acknowledged.others.append(f"{error.code}: {error.message}")
                await asyncio.sleep(0.01)


@pytest.mark.timeout(300)
def test_kill_9_of_one_process_loses_nothing_and_the_others_serve_its_callers_within_two_seconds(
    short_path: Path, postgres: PostgresServer
) -> None:
    acknowledged = Acknowledged()
    randomness = random.Random(20261122)

    async def story(made: Cluster, clients: list[Client]) -> list[float]:
        took: list[float] = []
        load = Failover(acknowledged, await grants(made.folders[0], "work", CALLERS), clients)
        callers = [asyncio.create_task(load.call(number, clients[number % 3])) for number in range(CALLERS)]
        for number in (1, 2, 0):
            await served_again(load, callers)
            await asyncio.sleep(randomness.uniform(0.1, 0.4))
            for caller in callers:  # a third of them at each process
                assert not caller.done()
            for caller in range(CALLERS):
                load.at[caller] = caller % 3
            await asyncio.sleep(0.2)
            theirs = [caller for caller, at in load.at.items() if at == number]
            assert theirs
            await asyncio.to_thread(made.kill, number)
            killed = time.monotonic()
            while any(load.answered.get(caller, 0.0) < killed for caller in range(CALLERS)):
                assert time.monotonic() < killed + 10, "callers are not served again"
                await asyncio.sleep(0.005)
            took.append(max(load.answered[caller] for caller in theirs) - killed)
            await asyncio.to_thread(made.start, number)
        await served_again(load, callers)
        load.running = False
        await asyncio.wait_for(asyncio.gather(*callers), 30)
        return took

    with cluster(short_path, postgres.database()) as made:
        took = play(made, story)
    assert max(took) < 2.0, took
    assert acknowledged.others == []
    assert acknowledged.lost > 0
    assert acknowledged.denials == {}
    assert len(acknowledged.outcomes) > 200
    check(made.folders[0], acknowledged)


# --- the database ends, or the way to it --------------------------------------------------------------------


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_a_database_that_is_restarted_is_denied_for_and_then_served_again(
    short_path: Path, own_postgres: PostgresServer, how: str
) -> None:
    acknowledged = Acknowledged()

    async def story(made: Cluster, clients: list[Client]) -> list[float]:
        took: list[float] = []
        load = Load(acknowledged, await grants(made.folders[0], "work", CALLERS))
        callers = [asyncio.create_task(load.call(number, clients[number % 3])) for number in range(CALLERS)]
        loop = asyncio.get_running_loop()
        for _ in range(3):
            await served_again(load, callers)
            await loop.run_in_executor(pool, own_postgres.stop, how)
            denied = acknowledged.unrecorded.copy()
            for number, client in enumerate(clients):
                decision = await client.authorize(load.held[number], "orders/get", {"order": "O-1"})
                assert (decision.effect, decision.id) == ("deny", "")
                assert decision.reason.code == "storage_unavailable"
                assert decision.reason.next_step
                tells = await client.probe(load.held[number], "orders/get", {"order": "O-1"})
                assert not tells.permitted
            await loop.run_in_executor(pool, own_postgres.start)
            back = time.monotonic()
            for number, client in enumerate(clients):
                while not (await client.authorize(load.held[number], "orders/get", {"order": "O-1"})).permitted:
                    assert time.monotonic() < back + 15, made.log(number)[-2000:]
                    await asyncio.sleep(0.01)
            took.append(time.monotonic() - back)
            assert acknowledged.unrecorded != denied
        await served_again(load, callers)
        load.running = False
        await asyncio.wait_for(asyncio.gather(*callers), 30)
        return took

    with ThreadPoolExecutor(1) as pool:  # the server ends with the thread that started it
        with cluster(short_path, own_postgres.database()) as made:
            took = play(made, story)
            for number in range(3):
                assert "ALARM" in made.log(number)
        check(made.folders[0], acknowledged)
    assert max(took) < 5.0, took
    assert acknowledged.others == []
    assert acknowledged.unrecorded.keys() == {"storage_unavailable"}
    assert acknowledged.denials == {}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("passes", [False, True])
def test_attack_a_connection_that_is_lost_in_the_middle_of_a_commit(
    short_path: Path, postgres: PostgresServer, passes: bool
) -> None:
    """One process reaches the database through a proxy that cuts it off, before the commit arrives or just after."""
    acknowledged = Acknowledged()
    randomness = random.Random(7)

    def cuts(data: bytes) -> bool:
        return b"COMMIT" in data and randomness.random() < 0.3

    async def story(made: Cluster, clients: list[Client]) -> None:
        load = Load(acknowledged, await grants(made.folders[0], "work", CALLERS))
        callers = [asyncio.create_task(load.call(number, clients[number % 3])) for number in range(CALLERS)]
        await served_again(load, callers)
        proxy.on_sent = cuts
        until = time.monotonic() + 60
        while proxy.cuts < 8:
            assert time.monotonic() < until, f"{proxy.cuts} cuts"
            await asyncio.sleep(0.05)
        proxy.on_sent = lambda _: False
        await served_again(load, callers)
        load.running = False
        await asyncio.wait_for(asyncio.gather(*callers), 30)
        # And it takes part again.
        (held,) = await grants(made.folders[0], "once", 1)
        decisions = [await client.authorize(held, "orders/close", {"order": "O-1"}) for client in reversed(clients)]
        assert [decision.permitted for decision in decisions] == [True, False, False]

    url = postgres.database()
    with proxied(url) as proxy:
        proxy.passes = passes
        with cluster(short_path, url, urls=("", "", proxy.url)) as made:
            play(made, story)
    assert acknowledged.others == []
    assert acknowledged.unrecorded.keys() <= {"storage_unavailable"}
    assert proxy.cuts >= 8
    # Of a commit without an answer nobody can say whether it is in the records: nothing of it is permitted.
    assert acknowledged.unrecorded.total() + acknowledged.lost > 0
    check(made.folders[0], acknowledged)


@pytest.mark.timeout(300)
def test_a_process_that_can_t_reach_the_database_denies_and_the_others_go_on(
    short_path: Path, postgres: PostgresServer
) -> None:
    async def story(made: Cluster, clients: list[Client]) -> None:
        (held,) = await grants(made.folders[0], "work", 1)
        for client in clients:
            assert (await client.authorize(held, "orders/get", {"order": "O-1"})).permitted
        proxy.close()
        decision = await clients[2].authorize(held, "orders/get", {"order": "O-1"})
        assert (decision.effect, decision.id, decision.reason.code) == ("deny", "", "storage_unavailable")
        for client in clients[:2]:
            assert (await client.authorize(held, "orders/get", {"order": "O-1"})).permitted

    url = postgres.database()
    with proxied(url) as proxy, cluster(short_path, url, urls=("", "", proxy.url)) as made:
        play(made, story)
        made.kill(2)
    in_order(made.folders[0])


# --- one name, one set of keys, one configuration ------------------------------------------------------------


def test_attack_a_proof_that_was_seen_behind_one_name_is_used_at_another_process(
    short_path: Path, postgres: PostgresServer
) -> None:
    """The proof says nothing of the body: whoever saw it could have a key of their own bound to the identity."""
    origin = "http://localhost:9"
    url = f"{origin}/v1/svids"

    async def post(port: int, headers: dict[str, str], body: dict[str, str]) -> tuple[int, str]:
        headers = {**headers, "Host": "localhost:9"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://127.0.0.1:{port}/v1/svids", json=body, headers=headers) as response,
        ):
            answer = await response.json()
            return response.status, str(answer.get("code", ""))

    async def story(made: Cluster, clients: list[Client]) -> None:
        id_ = "spiffe://e2e.example/pep/gateway"
        key = load_key(made.folders[0].key_file("pep/gateway"))
        mine = {"id": id_, "bind": thumbprint(generate_key())}
        for turn in range(3):
            # By the key alone, and with a live SVID.
            for holder in (Holder(key, "", id_), Holder(key, (await clients[0].svid(bind=thumbprint(key))).svid, id_)):
                headers = holder.headers("POST", url, system_clock())
                first, second = made.ports[turn % 2], made.ports[(turn + 1) % 2]
                assert await post(first, headers, {"id": id_}) == (201, "")
                assert await post(second, headers, mine) == (401, "proof_replayed")
                assert await post(first, headers, mine) == (401, "proof_replayed")
                # Another signature over the same claims holds as well, and is the same proof.
                assert await post(second, headers | {"DPoP": twin(headers["DPoP"])}, mine) == (401, "proof_replayed")

    with cluster(short_path, postgres.database(), 2, origin=origin) as made:
        play(made, story)


def twin(proof: str) -> str:
    """The proof with its signature (r, s) as (r, n - s), which verifies as well."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    signed, _, signature = proof.rpartition(".")
    raw = urlsafe_b64decode(signature + "==")
    other = raw[:32] + (order - int.from_bytes(raw[32:])).to_bytes(32)
    return f"{signed}.{urlsafe_b64encode(other).decode().rstrip('=')}"


def test_processes_that_begin_at_the_same_time_with_nothing_there_are_one_installation(
    short_path: Path, postgres: PostgresServer
) -> None:
    with cluster(short_path, postgres.database(), at_once=True) as made:
        with reader_of(made.folders[0]) as reader:
            kinds = [stored.record.kind for stored in reader.stream("administration")]
            registered = [stored.record.body["registration"] for stored in reader.records(kinds=("identity",))]
        assert kinds == ["configuration", "mode"]
        ids = [each["id"] for each in registered]
        assert len(ids) == len(set(ids)) == 3
        keys = {thumbprint(load_key(path)) for folder in made.folders for path in folder.keys.glob("*.jwk")}
        assert {each["key"] for each in registered} <= keys
        assert len(list((short_path / "trust").iterdir())) == 1
    in_order(made.folders[0])


def test_a_process_without_the_shared_keys_does_not_start(short_path: Path, postgres: PostgresServer) -> None:
    with cluster(short_path, postgres.database(), 1) as made:
        alone = short_path / "alone"
        shutil.copytree(made.folders[0].root, alone, ignore=shutil.ignore_patterns(".remit", "service.log"))
        text = (alone / "remit.toml").read_text()
        (alone / "remit.toml").write_text(text.replace('trust = "../trust"\n', ""))
        refused = subprocess.run(
            [*REMIT, "up", "--plain", "--project", str(alone)], capture_output=True, text=True, timeout=60
        )
    assert refused.returncode == 1
    assert "the records are here but the trust domain's keys are not" in refused.stderr
    assert "[identity] trust" in refused.stderr


def test_a_revoked_key_is_refused_by_all_within_seconds(short_path: Path, postgres: PostgresServer) -> None:
    async def story(made: Cluster, clients: list[Client]) -> float:
        (held,) = await grants(made.folders[0], "work", 1)
        for client in clients:
            assert (await client.authorize(held, "orders/get", {"order": "O-1"})).permitted
        show = [*REMIT, "trust", "show", "--json", "--project", str(made.folders[1].root)]
        (kid,) = (key["kid"] for key in json.loads(subprocess.check_output(show))["keys"])
        subprocess.run([*REMIT, "trust", "revoke", kid, "--project", str(made.folders[1].root)], check=True)
        began = time.monotonic()
        for client in clients:

            async def refused(client: Client = client) -> bool:
                try:
                    decision = await client.authorize(held, "orders/get", {"order": "O-1"})
                except RemitError as error:
                    return error.code == "token_invalid"
                return not decision.permitted

            await until(refused, 15)
        return time.monotonic() - began

    with cluster(short_path, postgres.database()) as made:
        took = play(made, story)
    assert took < 10
    in_order(made.folders[0])


def test_a_process_that_decides_otherwise_is_shown(short_path: Path, postgres: PostgresServer) -> None:
    async def gauges(client: Client) -> dict[str, int]:
        async with client._transport.session.get("http://remit.local/metrics") as response:
            lines = (await response.text()).splitlines()
        return {
            name: int(float(value)) for name, _, value in (line.partition(" ") for line in lines) if "process" in name
        }

    async def story(made: Cluster, clients: list[Client]) -> None:
        intent = made.folders[1].root / "intents" / "once.yaml"
        assert made.services[1] is not None
        assert made.services[1].stop() == 0
        intent.write_text(intent.read_text().replace("one-close", "one"))
        await asyncio.to_thread(made.start, 1)
        wanted = {"remit_processes": 2, "remit_processes_differing": 1, "remit_processes_other_keys": 0}
        until = time.monotonic() + 15
        while any([await gauges(client) != wanted for client in clients]):
            assert time.monotonic() < until, [await gauges(client) for client in clients]
            await asyncio.sleep(0.2)

    with cluster(short_path, postgres.database(), 2) as made:
        play(made, story)
        assert "another process decides with another configuration" in made.log(0)
        assert "another process decides with another configuration" in made.log(1)
        shown = show_store(made.folders[0])
        assert len({each.configuration for each in shown.processes}) == 2
    in_order(made.folders[0])


def test_a_process_that_can_t_decide_is_not_ready(short_path: Path, own_postgres: PostgresServer) -> None:
    async def ready(client: Client) -> int:
        async with client._transport.session.get("http://remit.local/readyz") as response:
            return response.status

    async def story(made: Cluster, clients: list[Client]) -> None:
        assert await ready(clients[0]) == 200
        own_postgres.stop()
        assert await ready(clients[0]) == 503
        own_postgres.start()
        until = time.monotonic() + 20
        while await ready(clients[0]) != 200:
            assert time.monotonic() < until
            await asyncio.sleep(0.1)

    with cluster(short_path, own_postgres.database(), 1) as made:
        play(made, story)
