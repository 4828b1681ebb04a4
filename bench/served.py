"""Remit as its users run it: `remit up` as a process of its own, with and without TLS, and requests made for it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from bench.installation import ACTION, INPUT, write_project
from bench.processes import Process, free_port, wait_for
from bench.rules import QUESTION, cedar, cedar_schema
from bench.traffic import request
from remit.app.folder import Folder
from remit.app.local import connect_as
from remit.core.clock import system_clock
from remit.core.tasks import TaskRequest
from remit.identity.holder import Holder
from remit.identity.keys import generate_key, load_key, private_jwk, thumbprint
from remit.sdk.client import EVALUATION
from remit.sdk.grant import TaskGrant

DOMAIN: Final = "bench.internal"
ASKER: Final = f"spiffe://{DOMAIN}/pep/asker"
POINT: Final = f"spiffe://{DOMAIN}/pep/point"
AGENT: Final = f"spiffe://{DOMAIN}/workload/agent"
TASKS: Final = 16  # each has a session, which is bounded

_MORE: Final = """
[[enforcement_points]]
name = "asker"
owner = "operator"
servers = []
[[bearer_keys]]
identity = "pep/asker"
"""
_ASKS: Final = f"""
@id("asker-asks")
permit (principal == Remit::Workload::"{ASKER}", action == Remit::Action::"question.ask", resource);
"""


def write(root: Path, policies: int) -> Folder:
    """A project with `policies` guardrails about tools under tasks, and as many about documents."""
    root.mkdir(parents=True)
    write_project(root, policies)
    file = root / "remit.toml"
    file.write_text(file.read_text("utf-8") + _MORE, "utf-8")
    (root / "entities").mkdir()
    (root / "entities" / "schema.cedarschema").write_text(cedar_schema(), "utf-8")
    (root / "policies" / "documents.cedar").write_text(cedar(policies) + _ASKS, "utf-8")
    return Folder(root)


@contextmanager
def served(folder: Folder, *, tls: bool = False) -> Iterator[Process]:
    """`remit up` on a free port; with `tls` the files that it and its client need are in `tls/`."""
    port = free_port()
    file = folder.root / "remit.toml"
    before = file.read_text("utf-8")
    more = make_certificates(folder.root) if tls else ""
    file.write_text(before.replace('listen = ""', f'listen = "127.0.0.1:{port}"{more}'), "utf-8")
    log = folder.root / "out.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "remit", "up", "--plain", "--project", str(folder.root)]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_for(port, process, log)
        yield Process(f"{'https' if tls else 'http'}://127.0.0.1:{port}", process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        file.write_text(before, "utf-8")


def question(url: str, headers: dict[str, str]) -> bytes:
    """The question about a document, as a request with these headers."""
    return request(EVALUATION, QUESTION, headers, url.partition("://")[2])


def bearer(folder: Folder) -> dict[str, str]:
    """The header of the bearer key that the service made."""
    return {"Authorization": f"Bearer {(folder.keys / 'pep-asker.bearer').read_text().strip()}"}


async def asker(folder: Folder) -> Holder:
    """The enforcement point that asks general questions, with its SVID."""
    return await _holder(folder, ASKER)


def questions(url: str, holder: Holder, count: int) -> Iterator[bytes]:
    """The question about a document, each time with a proof of its own."""
    for _ in range(count):
        yield question(url, holder.headers("POST", url + EVALUATION, system_clock()))


async def tasks(folder: Folder) -> tuple[Holder, Sequence[TaskGrant]]:
    """The enforcement point before the tools, and tasks of the agent."""
    key = generate_key()
    async with await connect_as(folder, "workload/agent") as agent:
        document = (await agent.svid(bind=thumbprint(key))).svid
    grants = []
    async with await connect_as(folder, "person/operator") as operator:
        for _ in range(TASKS):
            started = await operator.start_task(TaskRequest(intent="answer", workload=AGENT, key=thumbprint(key)))
            grants.append(
                TaskGrant(
                    task=started.task.id,
                    token=started.token,
                    svid=document,
                    key=private_jwk(key),
                    workload=AGENT,
                    intent="answer",
                    expires=started.task.expires,
                )
            )
    return await _holder(folder, POINT), grants


def asks(url: str, point: Holder, grants: Sequence[TaskGrant], count: int, *, probe: bool) -> Iterator[bytes]:
    """Questions about a tool under a task, each with a proof of its own; the tasks take turns."""
    bodies: list[dict[str, Any]] = []
    for grant in grants:
        proof = grant.holder().subject_proof(POINT, grant.token, system_clock())
        subject = {"type": "workload", "id": AGENT, "properties": {"token": grant.svid, "proof": proof}}
        context = {"task": grant.token, "input": INPUT, "probe": probe}
        resource = {"type": "server", "id": ACTION.partition("/")[0]}
        bodies.append({"subject": subject, "action": {"name": ACTION}, "resource": resource, "context": context})
    host = url.partition("://")[2]
    for number in range(count):
        headers = point.headers("POST", url + EVALUATION, system_clock())
        yield request(EVALUATION, bodies[number % len(bodies)], headers, host)


def client_files(root: Path) -> tuple[Path, Path, Path]:
    """Certificate and key of the asker, and the authorities of the service."""
    return root / "tls" / "asker.pem", root / "tls" / "asker.key", root / "tls" / "root.pem"


def make_certificates(root: Path) -> str:
    """One authority for both sides, a certificate of the service and one of the asker; the settings that name them."""
    folder = root / "tls"
    folder.mkdir(mode=0o700, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    authority = _certificate(name, name, key, key, ca=True, names=[])
    _write(folder, "root", authority, key)
    for file, names in (
        ("service", [x509.IPAddress(ip_address("127.0.0.1"))]),
        ("asker", [x509.UniformResourceIdentifier(ASKER)]),
    ):
        own = ec.generate_private_key(ec.SECP256R1())
        _write(folder, file, _certificate(x509.Name([]), name, own, key, ca=False, names=names), own)
    return (
        '\ntls_certificate = "tls/service.pem"\ntls_key = "tls/service.key"\n[identity]\nx509_bundle = "tls/root.pem"'
    )


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    own: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
    names: Sequence[x509.GeneralName],
) -> x509.Certificate:
    now = datetime.now(UTC)
    usage = x509.KeyUsage(not ca, False, False, False, False, ca, False, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=2))
        .add_extension(x509.BasicConstraints(ca, None), True)
        .add_extension(usage, True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), True)
    return builder.sign(signer, hashes.SHA256())


def _write(folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    secret = folder / f"{name}.key"
    secret.touch(mode=0o600)
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


async def _holder(folder: Folder, id: str) -> Holder:
    """An identity of the folder, with a fresh SVID."""
    path = id.split("/", 3)[3]
    async with await connect_as(folder, path) as client:
        document = (await client.svid()).svid
    return Holder(load_key(folder.key_file(path)), document, id)
