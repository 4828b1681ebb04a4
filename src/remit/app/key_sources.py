"""Where the keys of issuers and other trust domains come from, and how each source stands.

What was read last is kept in `.remit/issuers`, so that a restart while an issuer is out of reach changes nothing: the
last good keys serve until they are older than `stale_seconds`, then tokens of that source are refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from remit.app.folder import Folder
from remit.app.key_fetching import DOCUMENT_BYTES, Fetched, discover, fetch, spiffe_context, web_context
from remit.core.clock import Clock
from remit.core.documents import read_text
from remit.core.errors import DocumentError, RemitError, Unavailable
from remit.identity.bundles import FOREVER, read_bundle
from remit.identity.elsewhere import Elsewhere, Federation, Issuer
from remit.identity.issuer_keys import read_jwks
from remit.identity.private_file import read_private, write_private

AGAIN_MS: Final = 30_000  # until a file that could not be used is looked into again, unless it changes

Give = Callable[[bytes, int], int]  # a document, and until when it serves: how many keys it has

log = logging.getLogger("remit.issuers")


class SourceState(msgspec.Struct, kw_only=True):
    """How one source stands; kept in `.remit/issuers`."""

    source: str  # `issuers/<name>` or `federation/<trust domain>`
    place: str  # the URL or the file
    read: int = 0  # ms; when its document was last read and held
    tried: int = 0  # ms
    failures: int = 0  # since then
    error: str = ""  # of the last try; "" when it succeeded
    keys: int = 0  # that are usable
    document: str = ""  # the last good one


class KeySource(ABC):
    """One issuer or trust domain: reads its document, and gives what it holds to `Elsewhere`."""

    def __init__(self, source: str, place: str, stale_ms: int, folder: Folder) -> None:
        self.state = SourceState(source=source, place=place)
        self.stale_ms = stale_ms
        self._file = folder.issuers / f"{hashlib.sha256(source.encode()).hexdigest()[:24]}.json"

    @abstractmethod
    async def fetch(self, now: int) -> Fetched:
        """The document as it is now; raises `Unavailable` with the reason."""

    @abstractmethod
    def take(self, document: bytes, until: int) -> int | None:
        """Gives the document's keys to `Elsewhere` until then; how soon (s) its publisher wants it read again.

        Raises `InvalidInput` for a document that does not hold; then the keys before it stay.
        """

    def recall(self, now: int) -> None:
        """Takes what was kept of the last run, as far as it is of the same place."""
        try:
            kept = msgspec.json.decode(read_private(self._file), type=SourceState)
        except (DocumentError, msgspec.MsgspecError, UnicodeDecodeError):
            return
        if (kept.source, kept.place) != (self.state.source, self.state.place):
            return
        try:
            if kept.document:
                self.take(kept.document.encode(), min(kept.read, now) + self.stale_ms)
        except RemitError as error:
            log.warning("%s: what was kept is not used: %s", kept.source, error.message)
            return
        self.state = kept

    async def refresh(self, clock: Clock) -> int | None:
        """Reads it now; how soon (s) its publisher wants it read again, None where it says nothing.

        Raises `RemitError` when there is nothing to take; the state says why.
        """
        self.state.tried = clock()
        try:
            fetched = await self.fetch(clock())
            now = clock()
            hint = self.take(fetched.data, now + self.stale_ms)
        except RemitError as error:
            self.state.failures += 1
            self.state.error = error.message
            await self.keep()
            raise
        self.state.read, self.state.failures, self.state.error = now, 0, ""
        self.state.document = fetched.data.decode()
        await self.keep()
        return fetched.max_age if hint is None else hint

    async def keep(self) -> None:
        """Writes down how it stands, for a restart and for `remit issuers`."""
        data = msgspec.json.encode(self.state)
        try:
            await asyncio.to_thread(write_private, self._file, data, replace=True)
        except Unavailable as error:
            log.warning("%s: its state is not kept: %s", self.state.source, error.message)


class FileSource(KeySource):
    """A file: it is read again when it changes, and does not grow old while it can be used."""

    def __init__(self, path: Path, source: str, stale_ms: int, folder: Folder, give: Give) -> None:
        super().__init__(source, str(path), stale_ms, folder)
        self._path = path
        self._give = give
        self._seen: object = None  # the file as it was when it was last looked into

    def recall(self, now: int) -> None:
        """Reads it; `DocumentError` when it can't be used: what is named must be there when the service starts."""
        self._seen = self._stat()
        try:
            data = self._data()
            self.take(data, FOREVER)
        except DocumentError:
            raise
        except RemitError as error:
            raise DocumentError(error.message, path=self._path, next_step=error.next_step, code=error.code) from None
        self.state.read = self.state.tried = now
        self.state.document = data.decode()

    async def fetch(self, now: int) -> Fetched:
        """The file's bytes."""
        return Fetched(self._data())

    def take(self, document: bytes, until: int) -> int | None:
        """As the source's kind reads it."""
        self.state.keys = self._give(document, until)
        return None

    async def look(self, clock: Clock) -> None:
        """Reads it again if it has changed. While it can't be used, what it held before serves, and grows old."""
        seen = self._stat()
        if seen is not None and seen == self._seen and not self.state.error:
            self.state.read = self.state.tried = clock()
            return
        if self.state.error and seen == self._seen and clock() - self.state.tried < AGAIN_MS:
            return
        self._seen = seen
        self.take(self.state.document.encode(), self.state.read + self.stale_ms)
        await self.refresh(clock)
        self.take(self.state.document.encode(), FOREVER)

    def _data(self) -> bytes:
        data = read_text(self._path).encode()
        if len(data) > DOCUMENT_BYTES:
            raise DocumentError(f"the file is larger than {DOCUMENT_BYTES} bytes", path=self._path)
        return data

    def _stat(self) -> object:
        try:
            status = os.stat(self._path)
        except OSError:
            return None
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


class IssuerUrl(KeySource):
    """An OIDC issuer's JWK Set, by discovery or at its own URL."""

    def __init__(self, issuer: Issuer, elsewhere: Elsewhere, folder: Folder) -> None:
        settings = issuer.settings
        super().__init__(issuer.source, settings.jwks_url or settings.issuer, settings.stale_seconds * 1000, folder)
        self._issuer = issuer
        self._elsewhere = elsewhere
        self._context = web_context(folder.root / settings.ca_file if settings.ca_file else None)

    async def fetch(self, now: int) -> Fetched:
        """The JWK Set."""
        settings = self._issuer.settings
        url = settings.jwks_url or await discover(settings.issuer, self._context, allow_http=settings.allow_http)
        return await fetch(url, self._context, allow_http=settings.allow_http)

    def take(self, document: bytes, until: int) -> int | None:
        """The keys for the algorithms that are allowed."""
        self.state.keys = _give_issuer(self._issuer, self._elsewhere, document, until)
        return None


class BundleUrl(KeySource):
    """Another trust domain's bundle endpoint (SPIFFE Federation, section 5)."""

    def __init__(self, federation: Federation, elsewhere: Elsewhere, folder: Folder, clock: Clock) -> None:
        settings = federation.settings
        super().__init__(federation.source, settings.bundle_url, settings.stale_seconds * 1000, folder)
        self._federation = federation
        self._elsewhere = elsewhere
        self._clock = clock
        self._first = folder.root / settings.bundle_file if settings.bundle_file else None
        self._web = web_context(folder.root / settings.ca_file if settings.ca_file else None)

    def recall(self, now: int) -> None:
        """The bundle that the operator gave to begin with, or the one that was read since, unless that is older."""
        if self._first is not None:
            first = read_text(self._first)
            try:
                self.take(first.encode(), now + self.stale_ms)
            except RemitError as error:
                raise DocumentError(error.message, path=self._first, code=error.code) from None
        super().recall(now)

    async def fetch(self, now: int) -> Fetched:
        """The bundle."""
        return await fetch(self._federation.settings.bundle_url, self._context(), allow_http=False)

    def take(self, document: bytes, until: int) -> int | None:
        """The bundle, unless it is older than the one before."""
        self.state.keys = _give_bundle(self._federation, self._elsewhere, document, until)
        return read_bundle(document).refresh_hint

    def _context(self) -> ssl.SSLContext:
        settings = self._federation.settings
        if settings.profile == "https_web":
            return self._web
        domain = settings.endpoint_id.removeprefix("spiffe://").partition("/")[0]
        # The newest bundle that there is authenticates the endpoint (section 5.2.2.4), however old it has grown.
        known = self._elsewhere.bundles.latest(domain)
        if known is None or not known.x509_authorities:
            raise Unavailable(
                "keys_unreachable", f"no X.509 authority of `{domain}` is known, to authenticate the endpoint with"
            )
        return spiffe_context(settings.endpoint_id, known.x509_authorities, self._clock)


def sources_of(elsewhere: Elsewhere, folder: Folder, clock: Clock) -> tuple[KeySource, ...]:
    """Every source, with what is known of it already; `DocumentError` for files that are named and can't be used."""
    found: list[KeySource] = []
    for issuer in elsewhere.issuers.values():
        named, stale = issuer.settings.jwks_file, issuer.settings.stale_seconds * 1000
        give = partial(_give_issuer, issuer, elsewhere)
        if named:
            found.append(FileSource(folder.root / named, issuer.source, stale, folder, give))
        else:
            found.append(IssuerUrl(issuer, elsewhere, folder))
    for federation in elsewhere.federations.values():
        named, stale = federation.settings.bundle_file, federation.settings.stale_seconds * 1000
        if federation.settings.bundle_url:
            found.append(BundleUrl(federation, elsewhere, folder, clock))
        else:
            give = partial(_give_bundle, federation, elsewhere)
            found.append(FileSource(folder.root / named, federation.source, stale, folder, give))
    for source in found:
        source.recall(clock())
    return tuple(found)


def _give_issuer(issuer: Issuer, elsewhere: Elsewhere, document: bytes, until: int) -> int:
    keys = read_jwks(document, issuer.settings.algorithms)
    elsewhere.take_keys(issuer.source, keys, until=until)
    return len(keys)


def _give_bundle(federation: Federation, elsewhere: Elsewhere, document: bytes, until: int) -> int:
    bundle = read_bundle(document)
    elsewhere.bundles.put(federation.settings.trust_domain, bundle, until=until)
    return len(bundle.jwt_keys) + len(bundle.x509_authorities)
