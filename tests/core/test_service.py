"""`[service]`: where the service is reached, and what of it is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from remit.core.errors import DocumentError
from remit.core.service import Service
from remit.core.settings import read_settings

TLS = 'tls_certificate = "a.pem"\ntls_key = "a.key"\n'


def service(folder: Path, text: str) -> Service:
    (folder / "remit.toml").write_text(f'trust_domain = "example.org"\n[service]\n{text}')
    return read_settings(folder).service


@pytest.mark.parametrize(
    ("text", "reached"),
    [
        ("", ("http://127.0.0.1:8181",)),
        ('listen = ""', ()),
        ('listen = ""\norigins = ["https://remit.example.org"]', ()),
        ('listen = "[::1]:8181"', ("http://[::1]:8181",)),
        (TLS, ("https://127.0.0.1:8181",)),
        (TLS + 'listen = "127.0.0.1:443"', ("https://127.0.0.1",)),
        (TLS + 'listen = "0.0.0.0:443"\norigins = ["https://remit.example.org"]', ("https://remit.example.org",)),
        (TLS + 'listen = "[::]:443"\norigins = ["https://a.example:8443"]', ("https://a.example:8443",)),
        ('origins = ["http://127.0.0.1:8181"]', ("http://127.0.0.1:8181",)),
        # A proxy ends TLS before it: clients prove themselves for the name that they know.
        ('origins = ["https://remit.example.org"]', ("https://remit.example.org", "http://127.0.0.1:8181")),
        ('origins = ["http://localhost:9000"]', ("http://localhost:9000", "http://127.0.0.1:8181")),
    ],
)
def test_where_it_is_reached(tmp_path: Path, text: str, reached: tuple[str, ...]) -> None:
    assert service(tmp_path, text).reached_at == reached


@pytest.mark.parametrize(
    "text",
    [
        'tls_certificate = "a.pem"',
        'tls_key = "a.key"',
        TLS + 'listen = "0.0.0.0:443"',
        TLS + 'listen = "[::]:443"',
        TLS + 'origins = ["http://127.0.0.1:8181"]',
        'origins = ["http://remit.example.org"]',
        'origins = ["https://remit.example.org/"]',
        'origins = ["https://remit.example.org:443"]',
        'origins = ["https://remit.example.org:99999"]',
        'origins = ["https://Remit.example.org"]',
        'origins = ["https://kim@remit.example.org"]',
        'origins = ["https://remit.example.org/path"]',
        'origins = ["remit.example.org"]',
        'origins = ["*"]',
        'origins = [""]',
        f"origins = {['https://a.example'] * 17}",
        'origin = "https://a.example"',
    ],
)
def test_what_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DocumentError) as caught:
        service(tmp_path, text)
    assert caught.value.line >= 2
