"""`[storage]`: which URLs are taken, that no password stands in a file of the project, and where it comes from."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from remit.core.errors import DocumentError
from remit.core.settings import read_settings, read_storage
from remit.core.storage import StorageSettings
from remit.storage.address import address_of

FULL = "sslmode=verify-full"


def written(root: Path, storage: str, rest: str = "") -> Path:
    (root / "remit.toml").write_text(f'trust_domain = "example.org"\n{rest}\n[storage]\n{storage}\n')
    return root


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://remit@db.example.org/remit?{FULL}",
        f"postgresql://remit@db.example.org:6432/remit?{FULL}&sslrootcert=ca.pem",
        f"postgres://remit@one.example.org,two.example.org:5433/remit?{FULL}&target_session_attrs=read-write",
        "postgresql://remit@db.example.org/remit?sslmode=require",
        "postgresql://127.0.0.1:5433/remit",
        "postgresql://remit@[::1]:5433/remit",
        "postgresql://localhost/remit",
        "postgresql:///remit?host=/run/postgresql",
        "postgresql:///remit",
    ],
)
def test_a_database_on_this_machine_or_behind_tls_is_taken(tmp_path: Path, url: str) -> None:
    assert read_settings(written(tmp_path, f'url = "{url}"')).storage.url == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://remit:secret@127.0.0.1/remit", "has a password in it"),
        ("postgresql://remit@127.0.0.1/remit?password=secret", "has a password in it"),
        ("postgresql://remit@db.example.org/remit", "`db.example.org` may go without TLS"),
        ("postgresql://remit@db.example.org/remit?sslmode=prefer", "may go without TLS"),
        ("postgresql://remit@127.0.0.1,db.example.org/remit", "`db.example.org` may go without TLS"),
        ("postgresql:///remit?host=db.example.org", "`db.example.org` may go without TLS"),
        ("postgresql://remit@10.0.0.7/remit?sslmode=disable", "may go without TLS"),
        ("postgresql://remit@127.0.0.1/remit?sslmode=always", "`always` is no mode of TLS"),
        ("postgresql://127.0.0.1/remit?search_path=other", "`search_path` is not a parameter"),
        ("postgresql://127.0.0.1/remit?options=-csynchronous_commit=off", "`options` is not a parameter"),
        ("mysql://127.0.0.1/remit", "not the URL of a PostgreSQL database"),
        ("postgresql://127.0.0.1/remit#x", "not the URL of a PostgreSQL database"),
        ("postgresql://[127.0.0.1/remit", "can't be read"),
    ],
)
def test_attack_a_url_that_gives_something_away_or_sets_what_it_must_not(tmp_path: Path, url: str, said: str) -> None:
    for read in (read_settings, read_storage):
        with pytest.raises(DocumentError) as refused:
            read(written(tmp_path, f'url = "{url}"'))
        assert said in refused.value.message
        assert "secret" not in str(refused.value)
        assert (refused.value.line, bool(refused.value.next_step)) == (4, True)


def test_the_environment_does_not_lead_elsewhere_without_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db.example.org")
    with pytest.raises(DocumentError, match="may go without TLS"):
        read_settings(written(tmp_path, 'url = "postgresql:///remit"'))


def test_no_tls_in_a_network_of_ones_own_is_said_aloud(tmp_path: Path) -> None:
    url = "postgresql://remit@db.example.org/remit"
    assert read_settings(written(tmp_path, f'url = "{url}"\nunencrypted = true')).storage.url == url


def test_records_are_found_where_something_else_is_wrong(tmp_path: Path) -> None:
    written(tmp_path, 'url = "postgresql:///remit"', rest="no_such_setting = 1")
    with pytest.raises(DocumentError):
        read_settings(tmp_path)
    assert read_storage(tmp_path).url == "postgresql:///remit"


def test_sqlite_has_no_password(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="SQLite has no password"):
        read_settings(written(tmp_path, 'password_file = "secret"'))


# --- the password -------------------------------------------------------------------------------------------


def with_password(root: Path, text: str, mode: int = 0o600) -> StorageSettings:
    file = root / "secret"
    file.unlink(missing_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return StorageSettings(url=f"postgresql://remit@db.example.org:5433/remit?{FULL}", password_file="secret")


def test_a_password_from_a_file_is_in_the_url_and_nowhere_else(tmp_path: Path) -> None:
    address = address_of(with_password(tmp_path, "p@ss:w/rd?%\n"), tmp_path)
    parts = urlsplit(address.url)
    assert parts.netloc == "remit:p%40ss%3Aw%2Frd%3F%25@db.example.org:5433"
    assert parse_qs(parts.query) == {"sslmode": ["verify-full"]}
    assert address.shown == "postgresql://remit@db.example.org:5433/remit"
    assert "p@ss" not in repr(address)
    assert "p%40ss" not in repr(address)


def test_files_are_looked_for_in_the_project_folder(tmp_path: Path) -> None:
    storage = StorageSettings(url=f"postgresql://db.example.org/remit?{FULL}&sslrootcert=keys/ca.pem&sslkey=/etc/k.pem")
    query = parse_qs(urlsplit(address_of(storage, tmp_path).url).query)
    assert query["sslrootcert"] == [str(tmp_path / "keys/ca.pem")]
    assert query["sslkey"] == ["/etc/k.pem"]


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o602])
def test_attack_a_password_that_others_can_read_or_change(tmp_path: Path, mode: int) -> None:
    with pytest.raises(DocumentError) as refused:
        address_of(with_password(tmp_path, "secret", mode), tmp_path)
    assert refused.value.code == "key_file_exposed"


@pytest.mark.parametrize("text", ["", "\n", "one\ntwo\n", "nul\0", "x" * 2000])
def test_a_password_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(DocumentError) as refused:
        address_of(with_password(tmp_path, text), tmp_path)
    assert refused.value.code == "password_file_invalid"


def test_a_mounted_password_is_a_link_that_the_group_may_read(tmp_path: Path) -> None:
    storage = with_password(tmp_path, "secret", 0o640 if os.geteuid() == 0 else 0o600)
    (tmp_path / "secret").rename(tmp_path / "..data")
    (tmp_path / "secret").symlink_to(tmp_path / "..data")
    assert ":secret@" in address_of(storage, tmp_path).url


def test_a_missing_password_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(DocumentError) as refused:
        address_of(StorageSettings(url="postgresql:///remit", password_file="none"), tmp_path)
    assert refused.value.code == "key_file_missing"
