"""A client whose TLS certificate says who it is: nothing to sign for a request, and files that others renew."""

from __future__ import annotations

import logging

from remit.core.clock import Clock
from remit.core.errors import InvalidInput, RemitError, Unauthenticated
from remit.identity.holder import Holder
from remit.sdk.renewal import HeldSvid
from remit.sdk.transport import Transport

_log = logging.getLogger("remit.sdk")
_FOREVER = 1 << 62


class CertifiedHolder(Holder):
    """The holder of an X.509-SVID: its requests carry no headers, because the connection proves who asks."""

    def __init__(self, id: str) -> None:
        """`id` is who it is at the service: the SPIFFE ID in the certificate, or the one that this is mapped to."""
        self.id = id
        self.svid = ""
        self.key = ""

    def headers(self, method: str, url: str, now: int) -> dict[str, str]:
        """None."""
        return {}

    def subject_proof(self, pep_id: str, task_token: str, now: int) -> str:
        """Refused: a connection can't be forwarded."""
        raise InvalidInput(
            "proof_impossible",
            "a TLS connection can't be shown to anybody else",
            "bind a key to the identity with `svid(bind=…)`, and start the task for that key",
        )


class HeldCertificate(HeldSvid):
    """Looks after the certificate's files, which the workload's SPIFFE agent replaces."""

    def __init__(self, holder: CertifiedHolder, now: int) -> None:
        super().__init__(holder, now)
        self.expires = _FOREVER
        self.renew_at = 0
        self._seen = False

    async def fresh(self, transport: Transport, clock: Clock) -> None:
        """Sees, the first time, whether the service takes the connection; when it expires, the service says so."""
        if not self._seen:
            await transport.send("GET", "/healthz", None, {})
            self._seen = True

    async def renew(self, transport: Transport, clock: Clock) -> None:
        """Takes files that have changed; ones that can't be used are told of, and tried again."""
        try:
            _refresh(transport)
        except RemitError as error:
            _log.warning("the certificate of %s was not replaced: %s", self.holder.id, error.message)

    async def replace(self, transport: Transport, clock: Clock, refused: str) -> None:
        """Takes files that have changed; `Unauthenticated` when there are no others than those refused."""
        if not _refresh(transport):
            raise Unauthenticated("certificate_refused", "there is no other certificate than the one refused")


def _refresh(transport: Transport) -> bool:
    return transport.tls is not None and transport.tls.refresh()
