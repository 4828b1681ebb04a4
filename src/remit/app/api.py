"""`remit.connect()` and `remit.open()`: the two ways in, with one API."""

from __future__ import annotations

import os
from pathlib import Path

from remit.app.embedded import Embedded
from remit.app.folder import Folder, find_folder
from remit.app.installation import open_installation
from remit.app.local import connect_as, is_served
from remit.app.remote import connect_to
from remit.core.errors import Conflict, InvalidInput
from remit.core.settings import Settings, read_settings
from remit.sdk.api import Remit
from remit.sdk.client import Client


async def connect(
    folder: str | os.PathLike[str] = ".",
    *,
    identity: str = "",
    token_file: str | os.PathLike[str] = "",
    certificate: str | os.PathLike[str] = "",
    key: str | os.PathLike[str] = "",
    ca: str | os.PathLike[str] = "",
) -> Client:
    """A client of the service that has this folder, as `identity` (`pep/orders`, `starter/accounts`).

    Without a name: the only enforcement point that `remit.toml` declares. By its key in `.remit/keys`, or by a token of
    an outside issuer in `token_file`, which is read again whenever an SVID is due.

    In place of a folder, the `https://` URL of a service, wherever it runs; `ca` is a PEM file with the authorities of
    its certificate (those of this system without it). With `certificate` and `key` (PEM) it is the X.509-SVID that says
    who connects, and the files may be replaced at any time; otherwise `identity` is a SPIFFE ID, and `key` the JWK file
    of its registered key, or `token_file` a token. Raises `Unavailable` when no service answers.
    """
    if os.fspath(folder).startswith(("https://", "http://")):
        return await connect_to(
            os.fspath(folder),
            identity=identity,
            token_file=os.fspath(token_file),
            certificate=os.fspath(certificate),
            key=os.fspath(key),
            ca=os.fspath(ca),
        )
    if certificate or key or ca:
        raise InvalidInput("url_missing", "a certificate is for a service that is reached by a URL", "give its URL")
    found = find_folder(Path(folder))
    name = _identity(read_settings(found.root), identity)
    return await connect_as(found, name, token_file=os.fspath(token_file))


async def open(folder: str | os.PathLike[str] = ".", *, identity: str = "") -> Remit:
    """Opens a folder in this process, exclusively; or joins the service that has it. The API is the same.

    Raises `Conflict("folder_in_use")` when another process has it embedded, and `DocumentError` for its files.
    """
    found = find_folder(Path(folder))
    name = _identity(read_settings(found.root), identity)
    if is_served(found):
        return await connect_as(found, name)
    try:
        return await _embedded(found, name)
    except Conflict as error:
        if error.code == "folder_in_use" and is_served(found):
            return await connect_as(found, name)
        raise


async def _embedded(folder: Folder, name: str) -> Embedded:
    installation = await open_installation(folder)
    try:
        return Embedded(installation, name, owns=True)
    except BaseException:
        await installation.close()
        raise


def _identity(settings: Settings, name: str) -> str:
    if name:
        return name
    points = [point.name for point in settings.enforcement_points]
    if len(points) == 1:
        return f"pep/{points[0]}"
    known = ", ".join(f"pep/{point}" for point in points) or "none"
    raise InvalidInput(
        "identity_missing", "it is not clear as whom to connect", f"give `identity=`; enforcement points here: {known}"
    )
