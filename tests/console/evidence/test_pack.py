"""Packs: what is in them, what they prove, and that whatever is changed of one is found."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from remit.app.evidence import Made, pack_signer
from remit.app.folder import Folder
from remit.app.publishing import signer_of
from remit.console.evidence import seal
from remit.console.evidence.check import CHECKS, Verified, verify_pack
from remit.console.evidence.frameworks import chosen, frameworks
from remit.console.evidence.pack import figures_of
from remit.console.evidence.period import Period
from remit.core.errors import Conflict, NotFound, RemitError, TooLarge
from remit.core.settings import read_settings
from remit.ledger.proven import verify_receipt
from remit.ledger.receipt import decode_receipt
from remit.ledger.tlog.note import VerifierKey, open_note, read_key, split_note
from tests.console.evidence.made import INTENTS, LOG, POLICY, WHOLE, changed, history, pack, publish
from tests.decide.stage import HOUR, START, Stage, play, staged, write_project
from tests.ledger.tlog.test_notes import WITNESS, signer
from tests.storage.contract.stages import staged_on


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    root = tmp_path_factory.mktemp("evidence") / "project"
    play(root, tell, settings=LOG, intents=INTENTS, policies=POLICY)
    publish(Folder(root))
    return Folder(root)


async def tell(stage: Stage) -> None:
    await history(stage)


@pytest.fixture
def folder(made_once: Folder, tmp_path: Path) -> Folder:
    """The published project with its history, a copy for each test."""
    shutil.copytree(made_once.root, tmp_path / "project")
    return Folder(tmp_path / "project")


def keys(folder: Folder) -> tuple[VerifierKey, VerifierKey]:
    settings = read_settings(folder.root)
    return pack_signer(folder, settings).key, signer_of(folder, settings).key


def checked(folder: Folder, target: Path) -> Verified:
    return verify_pack(target, *keys(folder))


# --- what is in a pack -----------------------------------------------------------------------------------------


def test_a_pack_is_in_order_and_says_what_it_rests_on(folder: Folder, tmp_path: Path) -> None:
    made = pack(folder, tmp_path / "pack")
    found = checked(folder, tmp_path / "pack")
    assert (found.findings, found.without, found.log_key_given) == ([], 0, True)
    assert found.checks.keys() == CHECKS.keys()
    assert found.checks["receipts"] > 20
    document = json.loads((tmp_path / "pack" / "evidence.json").read_bytes())
    assert document["type"] == "remit evidence pack"
    assert (document["from"], document["to"], document["trustDomain"]) == (found.from_, found.to, "example.org")
    assert document["log"]["size"] == document["records"]["read"] == made.pack.log.size
    assert document["log"]["pending"] == 0
    assert [each["id"] for each in document["frameworks"]] == [each.id for each in frameworks()]
    assert document["concerns"] == ["no-outcome", "unknown-outcomes"]


def test_every_figure_that_a_control_names_is_in_it(folder: Folder, tmp_path: Path) -> None:
    made = pack(folder, tmp_path / "pack", "owasp-nhi-2025")
    shown = [figure.id for figure in made.pack.figures]
    assert shown == figures_of(chosen(["owasp-nhi-2025"]))
    for control in made.pack.frameworks[0].controls:
        assert set(control.figures) <= set(shown)


def test_receipts_are_those_that_remit_verify_takes(folder: Folder, tmp_path: Path) -> None:
    made = pack(folder, tmp_path / "pack", "owasp-nhi-2025")
    _, log = keys(folder)
    samples = [sample for figure in made.pack.figures for sample in figure.samples if sample.kind == "decision"]
    assert samples
    for sample in samples:
        receipt = decode_receipt((tmp_path / "pack" / sample.receipt).read_bytes())
        proven = verify_receipt(receipt, log)
        assert (proven.id, proven.kind) == (sample.id, "decision")
        assert len(proven.of("configuration")) == 1
        assert len(proven.of("task")) == sample.stream.startswith("session/")


def test_the_same_records_and_period_give_the_same_bytes(folder: Folder, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    pack(folder, first)
    pack(folder, second)
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert [(first / path).read_bytes() for path in files] == [(second / path).read_bytes() for path in files]
    pack(folder, tmp_path / "one.zip")
    pack(folder, tmp_path / "other.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()
    pack(folder, tmp_path / "later", now=START + 1)
    differing = [path for path in files if (tmp_path / "later" / path).read_bytes() != (first / path).read_bytes()]
    assert [str(path) for path in differing] == ["SIGNATURE", "evidence.html", "evidence.json"]


def test_the_auditors_word_changes_the_samples_and_not_the_figures(folder: Folder, tmp_path: Path) -> None:
    plain = pack(folder, tmp_path / "plain", samples=1).pack
    other = pack(folder, tmp_path / "other", samples=1, challenge="seven green herons").pack
    assert [figure.value for figure in plain.figures] == [figure.value for figure in other.figures]
    assert [figure.samples for figure in plain.figures] != [figure.samples for figure in other.figures]
    assert other.sampling.challenge == "seven green herons"
    assert checked(folder, tmp_path / "other").findings == []


def test_a_zip_is_verified_as_a_folder_is(folder: Folder, tmp_path: Path) -> None:
    pack(folder, tmp_path / "pack.zip")
    assert checked(folder, tmp_path / "pack.zip").findings == []


def test_a_control_without_evidence_is_a_gap(folder: Folder, tmp_path: Path) -> None:
    def states(target: str, period: Period) -> dict[str, str]:
        made = pack(folder, tmp_path / target, period=period)
        assert checked(folder, tmp_path / target).findings == []
        return {control.id: control.state for each in made.pack.frameworks for control in each.controls}

    whole, before = states("whole", WHOLE), states("before", Period(0, START))
    after = states("after", Period(START + 9 * HOUR, START + 10 * HOUR))
    assert (whole["NHI1"], whole["ASI05"], whole["PR.AT"]) == ("evidence", "gap", "not covered")
    assert set(before.values()) == {"gap", "not covered"}
    # Who was retired before the period still is, which its records need not show; everything else is a gap.
    assert {id_ for id_, state in after.items() if state == "evidence"} <= {
        "NHI1", "ASI03", "ASI10", "RS", "RS.MI", "MANAGE", "PR", "PR.AA", "L6", "L7", "ZT5", "ZT6",
    }  # fmt: skip
    page = (tmp_path / "before" / "evidence.html").read_text()
    assert "No record of the period shows it at work" in page


def test_what_should_be_zero_and_is_not_needs_a_look(folder: Folder, tmp_path: Path) -> None:
    made = pack(folder, tmp_path / "pack", "owasp-agentic-2026")
    (control,) = (each for each in made.pack.frameworks[0].controls if each.id == "ASI08")
    assert control.concerns == ("no-outcome", "unknown-outcomes")
    page = (tmp_path / "pack" / "evidence.html").read_text()
    assert "These figures should be 0 and are not" in page
    assert "needs a look" in page


def test_a_period_that_is_not_over_says_so(folder: Folder, tmp_path: Path) -> None:
    assert not pack(folder, tmp_path / "early", now=START).pack.over
    assert pack(folder, tmp_path / "late", now=WHOLE.end).pack.over


@staged_on("postgres", settings=LOG, intents=INTENTS, policies=POLICY)
async def test_a_pack_from_postgresql(stage: Stage) -> None:
    await history(stage)
    publish(stage.folder)
    target = stage.folder.root / "pack"
    made = pack(stage.folder, target)
    assert made.pack.log.pending == 0
    found = checked(stage.folder, target)
    assert (found.findings, found.without) == ([], 0)
    assert found.checks["receipts"] > 20


# --- without proofs --------------------------------------------------------------------------------------------


@staged(intents=INTENTS, policies=POLICY)
async def test_without_a_log_it_says_plainly_that_nothing_is_proven(stage: Stage) -> None:
    await history(stage)
    target = stage.folder.root / "pack"
    made = pack(stage.folder, target)
    assert not made.pack.log.published
    samples = [sample for figure in made.pack.figures for sample in figure.samples]
    assert samples
    assert {sample.without for sample in samples} == {"not published"}
    found = verify_pack(target, pack_signer(stage.folder, read_settings(stage.folder.root)).key)
    assert (found.findings, found.without) == ([], len(samples))
    assert "No log was published" in (target / "evidence.html").read_text()
    found = verify_pack(target, read_key(made.key), signer("example.org/log", 9).key)
    assert found.findings == ["checkpoint: a key of a log was given, and this pack rests on none"]


@staged(settings=LOG, intents=INTENTS, policies=POLICY)
async def test_what_is_pending_has_no_receipt(stage: Stage) -> None:
    grant = await stage.start()
    await stage.report(await stage.permit(grant))
    await stage.restart()  # publishes nothing: a stage has no publisher
    publish(stage.folder)
    await stage.report(await stage.permit(grant, "billing/read_invoice", {"invoice": "INV-2"}))
    made = pack(stage.folder, stage.folder.root / "pack", samples=10)
    samples = [sample for figure in made.pack.figures for sample in figure.samples if figure.id == "permitted"]
    assert sorted(sample.without for sample in samples) == ["", "pending"]
    assert made.pack.log.pending > 0
    assert checked(stage.folder, stage.folder.root / "pack").findings == []


def test_without_records_there_is_nothing_to_show(tmp_path: Path) -> None:
    write_project(tmp_path)
    with pytest.raises(NotFound) as raised:
        pack(Folder(tmp_path), tmp_path / "pack")
    assert raised.value.code == "no_records"
    assert not (tmp_path / "pack").exists()


def test_witnesses_of_the_checkpoint_are_told_and_checked(folder: Folder, tmp_path: Path) -> None:
    file = folder.root / "remit.toml"
    named = f'[[ledger.witnesses]]\nurl = "https://witness.example.org"\nkey = "{WITNESS.key}"\n'
    file.write_text(file.read_text() + named)
    assert pack(folder, tmp_path / "before", "csa-maestro").pack.log.witnesses == ()
    checkpoint = folder.root / ".remit" / "log" / "checkpoint"
    text, _ = split_note(checkpoint.read_bytes())
    checkpoint.write_bytes(checkpoint.read_bytes() + WITNESS.sign(text, 1_800_000_000).encode())
    made = pack(folder, tmp_path / "pack", "csa-maestro")
    assert made.pack.log.witnesses == (str(WITNESS.key),)
    assert made.pack.by_id["witnesses"].value == 1
    assert f"cosigned by {WITNESS.key.name}" in made.pack.log.says
    assert checked(folder, tmp_path / "pack").findings == []

    def edit(files: dict[str, bytes]) -> None:
        said(files, lambda document: document["log"]["witnesses"].append(str(signer("other.example", 7, 4).key)))

    found = resigned(folder, made, tmp_path / "forged", edit)
    assert [finding.partition(":")[0] for finding in found.findings] == ["checkpoint"]


# --- tampering -------------------------------------------------------------------------------------------------


def test_attack_any_file_is_changed(folder: Folder, tmp_path: Path) -> None:
    target = tmp_path / "pack"
    pack(folder, target)
    for file in sorted(target.rglob("*")):
        if not file.is_file():
            continue
        data = file.read_bytes()
        for place in (0, len(data) // 2, len(data) - 1):
            with changed(file, data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]):
                assert is_refused(folder, target), (file.name, place)
        with changed(file, b""):
            assert is_refused(folder, target), file.name
    assert checked(folder, target).findings == []


def is_refused(folder: Folder, target: Path) -> bool:
    try:
        return checked(folder, target).failed
    except RemitError:
        return True


def test_attack_a_file_is_missing_or_added(folder: Folder, tmp_path: Path) -> None:
    target = tmp_path / "pack"
    pack(folder, target)
    (target / "receipts" / "more.json").write_text("{}")
    assert checked(folder, target).findings == ["files: `receipts/more.json` was not signed"]
    (target / "receipts" / "more.json").unlink()
    (target / "checkpoint").unlink()
    assert checked(folder, target).findings == ["files: `checkpoint` is missing"]
    (target / "SIGNATURE").unlink()
    assert is_refused(folder, target)


def test_attack_a_link_in_place_of_a_file(folder: Folder, tmp_path: Path) -> None:
    target = tmp_path / "pack"
    pack(folder, target)
    shutil.copy(target / "evidence.html", tmp_path / "elsewhere")
    (target / "evidence.html").unlink()
    (target / "evidence.html").symlink_to(tmp_path / "elsewhere")
    assert is_refused(folder, target)


def test_attack_two_files_of_one_name_in_a_zip(folder: Folder, tmp_path: Path) -> None:
    pack(folder, tmp_path / "pack.zip")
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        zipfile.ZipFile(tmp_path / "pack.zip", "a") as archive,
    ):
        archive.writestr("evidence.html", "another page")
    assert is_refused(folder, tmp_path / "pack.zip")


@pytest.mark.parametrize("name", ["pack", "pack.zip"])
def test_attack_a_pack_that_would_fill_the_memory(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pack(folder, tmp_path / name)
    for bound, value in (("FILES", 3), ("FILE_BYTES", 1_000), ("PACK_BYTES", 10_000)):
        with monkeypatch.context() as patched:
            patched.setattr(seal, bound, value)
            with pytest.raises(TooLarge) as raised:
                checked(folder, tmp_path / name)
            assert raised.value.code == "pack_too_large"


def test_a_folder_that_is_no_pack_is_not_walked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(50):
        (tmp_path / f"file{n}").write_text("x")
    monkeypatch.setattr(seal, "_NAMES", 10)
    assert len(seal.read(tmp_path)) == 11


def test_another_key(folder: Folder, tmp_path: Path) -> None:
    pack(folder, tmp_path / "pack")
    own, log = keys(folder)
    with pytest.raises(RemitError, match="none of the given keys"):
        verify_pack(tmp_path / "pack", signer(own.name, 9).key, log)
    found = verify_pack(tmp_path / "pack", own, signer(log.name, 9).key)
    assert [finding.partition(":")[0] for finding in found.findings] == ["checkpoint"]


def test_attack_a_checkpoint_is_no_seal_and_a_seal_no_checkpoint(folder: Folder, tmp_path: Path) -> None:
    pack(folder, tmp_path / "pack")
    own, log = keys(folder)
    with pytest.raises(RemitError):
        seal.open_seal((tmp_path / "pack" / "checkpoint").read_bytes(), log)
    assert open_note((tmp_path / "pack" / "SIGNATURE").read_bytes(), [own]).text.startswith(seal.FIRST_LINE + "\n")


Edit = Callable[[dict[str, bytes]], None]


def resigned(folder: Folder, made: Made, target: Path, edit: Edit) -> Verified:
    """A pack that whoever has the key of packs changed and signed again."""
    files = dict(made.files)
    edit(files)
    own = pack_signer(folder, read_settings(folder.root))
    signature = seal.seal(files, made.pack.trust_domain, made.pack.from_, made.pack.to, own)
    seal.write(target, files | {seal.SIGNATURE: signature})
    return checked(folder, target)


def said(files: dict[str, bytes], edit: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(files[seal.EVIDENCE])
    edit(document)
    files[seal.EVIDENCE] = json.dumps(document).encode()


def samples_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [sample for figure in document["figures"] for sample in figure["samples"]]


def test_attack_the_operator_lets_a_sample_say_something_else(folder: Folder, tmp_path: Path) -> None:
    made = pack(folder, tmp_path / "pack", "owasp-nhi-2025")

    count = len(samples_of(json.loads(made.files[seal.EVIDENCE])))
    for number in (0, count // 2, count - 1):  # one record may stand for several figures

        def edit(files: dict[str, bytes], number: int = number) -> None:
            said(files, lambda document: samples_of(document)[number].update(says="permit everything"))

        found = resigned(folder, made, tmp_path / f"forged-{number}", edit)
        assert any("says something else of its record" in finding for finding in found.findings)


def test_attack_the_operator_exchanges_receipts(folder: Folder, tmp_path: Path) -> None:
    made = pack(folder, tmp_path / "pack", "owasp-nhi-2025")

    def edit(files: dict[str, bytes]) -> None:
        one, other = [path for path in files if path.startswith("receipts/")][:2]
        files[one], files[other] = files[other], files[one]

    found = resigned(folder, made, tmp_path / "forged", edit)
    assert any("another record" in finding for finding in found.findings)


def test_attack_the_operator_leaves_a_receipt_out(folder: Folder, tmp_path: Path) -> None:
    made = pack(folder, tmp_path / "pack", "owasp-nhi-2025")

    def edit(files: dict[str, bytes]) -> None:
        del files[next(path for path in files if path.startswith("receipts/"))]

    found = resigned(folder, made, tmp_path / "forged", edit)
    assert any("is not there" in finding for finding in found.findings)


def test_attack_the_operator_shows_a_log_of_another_key(folder: Folder, tmp_path: Path) -> None:
    made = pack(folder, tmp_path / "pack", "owasp-nhi-2025")

    def edit(files: dict[str, bytes]) -> None:
        said(files, lambda document: document["log"].update(key=str(signer("example.org/log", 9).key)))

    assert resigned(folder, made, tmp_path / "forged", edit).findings == []  # the reader's own key counts
    own, _ = keys(folder)
    assert verify_pack(tmp_path / "forged", own).failed


def test_attack_a_document_of_another_period(folder: Folder, tmp_path: Path) -> None:
    made = pack(folder, tmp_path / "pack", "owasp-nhi-2025")

    def edit(files: dict[str, bytes]) -> None:
        said(files, lambda document: document.update({"from": "2020-01-01T00:00:00Z"}))

    assert any("period" in finding for finding in resigned(folder, made, tmp_path / "forged", edit).findings)


# --- hostile values --------------------------------------------------------------------------------------------

HOSTILE = '"><script>alert(1)</script>\x1b[2J\u202egnp.exe'


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@staged(settings=LOG, intents=INTENTS, policies=POLICY)
async def test_attack_values_of_an_agent_stay_text(stage: Stage) -> None:
    grant = await stage.start()
    await stage.refusal(grant, f"billing/{HOSTILE}", {})
    await stage.permit(grant, "billing/read_invoice", {"invoice": HOSTILE, "more": HOSTILE})
    publish(stage.folder)
    target = stage.folder.root / "pack"
    pack(stage.folder, target, samples=10)
    page = (target / "evidence.html").read_text()
    tags = Tags()
    tags.feed(page)
    assert not tags.tags & {"script", "iframe", "img", "object", "link", "form", "base"}
    assert not {name for name in tags.attributes if name.startswith("on") or name == "style"}
    for link in tags.links:
        assert re.match(
            r"#[a-z]|https://(owasp|genai\.owasp|doi|cloudsecurityalliance)\.org/|receipts/[0-9a-f]{64}", link
        )
    assert any("<script>" in text for text in tags.text)  # it is shown, as text
    assert not {"\x1b", "\u202e"} & set(page)
    assert not {"\x1b", "\u202e"} & set((target / "evidence.json").read_text())
    assert checked(stage.folder, target).findings == []


def test_the_page_loads_and_runs_nothing(folder: Folder, tmp_path: Path) -> None:
    pack(folder, tmp_path / "pack")
    page = (tmp_path / "pack" / "evidence.html").read_text()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy.startswith("default-src &#x27;none&#x27;; style-src &#x27;sha256-")
    assert "url(" not in page
    assert "@import" not in page


# --- writing ---------------------------------------------------------------------------------------------------


def test_what_is_there_is_never_overwritten(folder: Folder, tmp_path: Path) -> None:
    for name in ("pack", "pack.zip"):
        pack(folder, tmp_path / name)
        with pytest.raises(Conflict) as raised:
            pack(folder, tmp_path / name)
        assert raised.value.code == "pack_exists"
    (tmp_path / "empty").mkdir()
    pack(folder, tmp_path / "empty")


def test_nothing_is_left_of_a_pack_that_could_not_be_made(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(seal, "_write_file", fail)
    place = tmp_path / "place"
    place.mkdir()
    with pytest.raises(OSError, match="No space"):
        pack(folder, place / "pack")
    assert list(place.iterdir()) == []
