"""Runs the service of a folder: the unix socket, the HTTP listener, and everything behind them."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable

from remit.app.bearer import bearer_keys
from remit.app.certificates import Certificates
from remit.app.folder import Folder
from remit.app.forwarding.forwarder import Forwarder, forwarders_of
from remit.app.indexing import Indexer
from remit.app.installation import UNIX_ORIGIN, Installation, audience_of, open_installation
from remit.app.issuers import gauges
from remit.app.lineage import Forgetter
from remit.app.publishing import Publisher, open_publisher
from remit.app.readiness import Readiness
from remit.app.refreshing import Refresher
from remit.app.rereading import keep_reloading
from remit.app.soundness import Watch
from remit.core.errors import InvalidInput
from remit.server.app import build_app
from remit.server.listener import Listener, serve
from remit.storage.address import address_of
from remit.storage.claims import PostgresClaims

log = logging.getLogger("remit.service")

KEYS_SECONDS = 5.0  # how soon a key that `remit trust revoke` took out is refused


async def run_service(
    folder: Folder,
    *,
    while_attached: bool = False,
    listen: str | None = None,
    on_ready: Callable[[Installation, Listener], None] = lambda _installation, _listener: None,
) -> None:
    """Serves until SIGINT or SIGTERM; with `while_attached`, until nobody is attached any more.

    `listen` is in place of what `remit.toml` says.

    Raises `Conflict("folder_in_use")` when another process has the folder, and `DocumentError` for its files.
    """
    installation = await open_installation(folder, listen=listen)
    tasks: list[asyncio.Task[None]] = []
    refresher: Refresher | None = None
    indexer = Indexer(folder)
    forgetter = Forgetter(folder)
    publisher: Publisher | None = None
    watch: Watch | None = None
    forwarders: list[Forwarder] = []
    claims = claims_of(installation)
    try:
        if claims is not None:
            await claims.open()
        settings = installation.settings
        publisher = await asyncio.to_thread(open_publisher, folder, settings)
        watch = Watch(installation.unchecked) if installation.unchecked else None
        elsewhere = installation.elsewhere
        certificates = Certificates(folder, settings, elsewhere.bundles, elsewhere.local, installation.clock())
        host, port = listen_address(settings.service.listen)
        app = build_app(
            installation.governor,
            installation.authenticator,
            installation.authority,
            bearer_keys=bearer_keys(settings, folder),
            bundle=installation.keyring.bundle,
            audience=audience_of(settings.trust_domain),
            base_url=next(iter(settings.service.reached_at), UNIX_ORIGIN),
            svid_seconds=settings.identity.svid_seconds,
            clock=installation.clock,
            certificates=certificates.authenticator,
            tls=certificates.tls,
            elsewhere=elsewhere,
            not_ready=Readiness(installation.store, wrong=lambda: watch.wrong if watch else ""),
            claims=claims,
            key_sources=lambda: gauges(installation.sources, installation.clock()),
            log_gauges=lambda: {**(publisher.gauges() if publisher else {}), **installation.reloader.gauges()},
            log_folder=folder.root / settings.ledger.folder if settings.ledger.serve else None,
        )
        forwarders += forwarders_of(folder, settings)
        refresher = Refresher(installation.sources, installation.clock)
        elsewhere.on_unknown_key = refresher.wake

        def listening(listener: Listener) -> None:
            # What was loaded lasts: no collection of garbage stops everything to look at it again.
            gc.collect()
            gc.freeze()
            tasks.append(asyncio.create_task(_keep_keys(installation, certificates)))
            tasks.append(asyncio.create_task(keep_reloading(installation)))
            refresher.start()
            indexer.start()
            forgetter.start()
            if publisher is not None:
                publisher.start()
            if watch is not None:
                watch.start()
            for forwarder in forwarders:
                forwarder.start()
            if while_attached:
                tasks.append(asyncio.create_task(_stop_when_alone(listener)))
            on_ready(installation, listener)

        await serve(
            app,
            socket_path=folder.socket,
            host=host,
            port=port,
            tls=certificates.tls,
            origins=settings.service.reached_at,
            on_listening=listening,
        )
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.to_thread(indexer.stop)
        await asyncio.to_thread(forgetter.stop)
        for forwarder in forwarders:
            await asyncio.to_thread(forwarder.stop)
        if refresher is not None:
            await refresher.stop()
        if claims is not None:
            await claims.close()
        if watch is not None:
            await asyncio.to_thread(watch.stop)
        await installation.close()
        if publisher is not None:
            await asyncio.to_thread(publisher.stop)


def claims_of(installation: Installation) -> PostgresClaims | None:
    """Where used proofs are claimed: needed where other processes are reached by the same name as this one."""
    settings, authenticator = installation.settings, installation.authenticator
    if not settings.storage.url or not settings.service.origins:
        return None
    address = address_of(settings.storage, installation.folder.root)
    return PostgresClaims(address, lambda: authenticator.refuse_before(installation.clock()))


def listen_address(listen: str) -> tuple[str, int | None]:
    """Host and port of `service.listen`; no port when it is empty."""
    if not listen:
        return "127.0.0.1", None
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidInput(
            "listen_invalid", f"`{listen[:64]}` is not host:port", "write `127.0.0.1:8181`, or leave it empty"
        )
    return host.strip("[]"), int(port)


async def _keep_keys(installation: Installation, certificates: Certificates) -> None:
    """Takes what `remit trust` changed, replaces the signing key when it is due, and takes changed certificates."""
    while True:
        await asyncio.sleep(KEYS_SECONDS)
        try:
            installation.refresh_keys()
            certificates.refresh(installation.clock())
        except Exception:
            log.critical("ALARM the signing keys could not be read or rotated; it is tried again", exc_info=True)


async def _stop_when_alone(listener: Listener) -> None:
    await listener.attachments.wait_unattended()
    # From here on nobody is told that it stays: those who come now start the next one.
    listener.attachments.close()
    listener.should_exit = True
