"""Makes packs of evidence from the records of a folder, also beside a running service, and signs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from remit import __version__
from remit.app.folder import Folder
from remit.app.note_keys import note_key
from remit.app.pending import published_of
from remit.app.publishing import signer_of
from remit.app.records import reader_of
from remit.console.evidence import seal
from remit.console.evidence.figures import Progress, Tally
from remit.console.evidence.frameworks import Framework
from remit.console.evidence.pack import (
    Log,
    Pack,
    Records,
    Sample,
    Sampling,
    change_shown,
    figure_shown,
    figures_of,
    framework_shown,
    sample_of,
    unused_shown,
)
from remit.console.evidence.page import page
from remit.console.evidence.period import Period, shown
from remit.console.evidence.receipts import Proofs
from remit.console.evidence.samples import Candidate, Chooser, leaf_of, seed_of
from remit.core.errors import NotFound
from remit.core.settings import Settings, read_settings
from remit.ledger.tlog.note import Signer, read_key
from remit.ledger.tlog.source import FolderSource
from remit.storage.reader import Reader, Stored

RULE: Final = (
    "Of each figure the {most} records with the lowest SHA-256(seed, figure, leaf hash) of all that it counts, so that "
    "nobody picks them."
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a pack is to show."""

    frameworks: Sequence[Framework]
    period: Period
    samples: int
    challenge: str = ""  # a word of the auditor's, that the choice of samples rests on too


@dataclass(frozen=True, slots=True)
class Made:
    """A pack that was written."""

    pack: Pack
    files: Mapping[str, bytes]  # by path, without the signature
    key: str  # vkey, by which it is verified


def pack_signer(folder: Folder, settings: Settings) -> Signer:
    """The signer of packs, `<trust domain>/evidence`; its key in `.remit/evidence.pem` is made when it is missing."""
    return Signer(f"{settings.trust_domain}/evidence", note_key(folder.evidence_key))


def make_pack(folder: Folder, wanted: Wanted, target: Path, now: int, progress: Progress = lambda *_: None) -> Made:
    """Writes a pack to `target`, a new folder or a new `.zip` file; `now` is the time of its making, in ms.

    Raises `Conflict("pack_exists")` where something is there, and `RemitError` where records or log can't be read.
    """
    settings = read_settings(folder.root)
    signer = pack_signer(folder, settings)
    with reader_of(folder) as reader:
        pack, receipts, checkpoint = _document(folder, settings, reader, wanted, now, progress)
    files = {
        seal.EVIDENCE: msgspec.json.format(msgspec.json.encode(pack), indent=1) + b"\n",
        seal.PAGE: page(pack).encode(),
        **receipts,
    }
    if checkpoint:
        files[seal.CHECKPOINT] = checkpoint
    signature = seal.seal(files, pack.trust_domain, pack.from_, pack.to, signer)
    seal.write(target, files | {seal.SIGNATURE: signature})
    return Made(pack, files, str(signer.key))


def _document(
    folder: Folder, settings: Settings, reader: Reader, wanted: Wanted, now: int, progress: Progress
) -> tuple[Pack, dict[str, bytes], bytes]:
    """The document, its receipts by path, and the checkpoint that it rests on (b"" for none)."""
    proofs = _proofs(folder, settings)
    last = next(iter(reader.records(last=1)), None)
    if last is None:
        raise NotFound("no_records", "there are no records yet", "start the service with `remit up`")
    root = proofs.signed.checkpoint.root if proofs else leaf_of(last.data)
    seed = seed_of(root, wanted.challenge)
    chooser = Chooser(seed, wanted.samples)
    tally = Tally(reader, wanted.period, chooser, proofs.is_published if proofs else None)
    counted = tally.count(progress)
    counted["witnesses"].value = len(proofs.witnesses) if proofs else 0
    names = figures_of(wanted.frameworks)
    receipts: dict[str, bytes] = {}
    configurations = {str(record.body["config"]): stored for stored, record in reversed(tally.configurations)}
    figures = []
    for done, name in enumerate(names, 1):
        samples = [_sample(reader, proofs, each, configurations, receipts) for each in chooser.chosen(name)]
        figures.append(figure_shown(counted[name], [each for each in samples if each is not None]))
        progress("proving", done, len(names))
    start, end = shown(wanted.period.start), shown(wanted.period.end)
    pack = Pack(
        created=shown(now),
        remit=__version__,
        trust_domain=settings.trust_domain,
        from_=start,
        to=end,
        over=now >= wanted.period.end,
        records=Records(read=tally.read, in_period=counted["recorded"].value, unreadable=counted["unreadable"].value),
        log=_log(
            proofs,
            counted["recorded"].value - counted["published"].value,
            is_wanted=bool(settings.ledger.folder),
        ),
        sampling=Sampling(
            seed=seed.hex(),
            rests_on="the root of the log's checkpoint"
            if proofs
            else "the hash of the last record: no log is published",
            challenge=wanted.challenge,
            most=wanted.samples,
            rule=RULE.format(most=wanted.samples),
        ),
        concerns=tuple(name for name in names if counted[name].is_concern),
        frameworks=tuple(framework_shown(each, counted) for each in wanted.frameworks),
        figures=tuple(figures),
        changes=tuple(change_shown(each) for each in tally.changes),
        unused=tuple(unused_shown(each) for each in tally.unused),
        unused_more=counted["unused-privileges"].value - len(tally.unused),
        privileges_known=tally.held is not None,
    )
    return pack, receipts, proofs.signed.data if proofs else b""


def _proofs(folder: Folder, settings: Settings) -> Proofs | None:
    """What proves records, where they are published and anything is."""
    published = published_of(folder, settings)
    if published is None or not published.size:
        return None
    source = FolderSource(folder.root / settings.ledger.folder)
    witnesses = [read_key(each.key) for each in settings.ledger.witnesses]
    return Proofs(source, signer_of(folder, settings).key, published.place_of, witnesses)


def _sample(
    reader: Reader,
    proofs: Proofs | None,
    chosen: Candidate,
    configurations: Mapping[str, Stored],
    receipts: dict[str, bytes],
) -> Sample | None:
    stored = chosen.stored or reader.find(chosen.id)
    if stored is None:
        return None
    path = f"{seal.RECEIPTS}{chosen.leaf.hex()}.json"
    if path not in receipts and proofs is not None:
        receipt = proofs.receipt(reader, stored, configurations)
        if receipt is not None:
            receipts[path] = receipt
    if path in receipts:
        return sample_of(stored, chosen.leaf, path)
    return sample_of(stored, chosen.leaf, "", "pending" if proofs is not None else "not published")


def _log(proofs: Proofs | None, pending: int, *, is_wanted: bool) -> Log:
    if proofs is None:
        said = "Nothing is published in the log yet" if is_wanted else "The records are not published as a log"
        return Log(published=False, says=f"{said}: there are no proofs, and what was cut off would not show.")
    checkpoint = proofs.signed.checkpoint
    said = f"{checkpoint.origin}, {checkpoint.size:,} entries; {pending:,} records of the period are pending"
    names = ", ".join(each.name for each in proofs.witnesses)
    said += f"; cosigned by {names}" if names else "; no witness has cosigned it"
    return Log(
        published=True,
        says=said,
        name=checkpoint.origin,
        key=str(proofs.key),
        size=checkpoint.size,
        root=checkpoint.root.hex(),
        pending=pending,
        witnesses=tuple(str(each) for each in proofs.witnesses),
    )
