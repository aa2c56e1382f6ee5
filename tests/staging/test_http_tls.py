"""HTTPS: whom we trust, and how we show who we are."""

from __future__ import annotations

import datetime
import logging
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from jackfield import ConfigurationError, RemoteInfo, TransferError
from jackfield.staging.remote import Timeouts
from jackfield_staging import http
from jackfield_testing.servers import HostileHTTPServer, Redirect
from jackfield_transfers.transfer import Transfer

trustme = pytest.importorskip("trustme", reason="needs trustme: pip install trustme")

CONTENT = b"behind a lock" * 100

Make = Callable[[ssl.SSLContext], None]


class Authority:
    """An authority in a directory, and servers with its certificates."""

    def __init__(self, directory: Path) -> None:
        self.issuer = trustme.CA()
        self.directory = directory
        self.file = self.pem("ca.pem", self.issuer.cert_pem.bytes())

    def pem(self, name: str, *content: bytes) -> str:
        path = self.directory / name
        path.write_bytes(b"".join(content))
        return str(path)

    @contextmanager
    def server(
        self, *names: str, change: Make | None = None, **more: Any
    ) -> Iterator[HostileHTTPServer]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate = self.issuer.issue_cert(*(names or ["127.0.0.1"]), **more)
        certificate.configure_cert(context)
        if change is not None:
            change(context)
        with HostileHTTPServer({"/x": CONTENT}, ssl_context=context) as made:
            yield made


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    yield Authority(tmp_path)
    http.provider.jackfield_kernel_closing()


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "part"


def fetch(url: str, path: Path, **options: Any) -> RemoteInfo:
    transfer = Transfer(
        url=url,
        path=path,
        options=options,
        timeouts=Timeouts(connect=60.0, idle=60.0),
    )
    info = http.provider.jackfield_stage_in(transfer)
    assert info is not None
    return info


def test_row_65_an_authority_of_ones_own_is_trusted_on_demand(
    authority: Authority, part: Path
) -> None:
    with authority.server() as server:
        fetch(server.url("/x"), part, ca_file=authority.file)

    assert part.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("names", "trusted", "expired"),
    [
        (["127.0.0.1"], False, False),
        (["elsewhere.example"], True, False),
        (["127.0.0.1"], True, True),
    ],
    ids=["self-signed", "wrong-host", "expired"],
)
def test_row_65_a_certificate_that_is_not_right_is_a_permanent_error(
    authority: Authority, part: Path, names: list[str], trusted: bool, expired: bool
) -> None:
    day = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    more: dict[str, Any] = {"not_before": day, "not_after": day} if expired else {}
    options = {"ca_file": authority.file} if trusted else {}

    with (
        authority.server(*names, **more) as server,
        pytest.raises(TransferError, match="certificate is not trusted") as caught,
    ):
        fetch(server.url("/x"), part, **options)

    assert not caught.value.transient
    assert not part.exists()


def test_row_65_verification_is_turned_off_only_aloud(
    authority: Authority, part: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        authority.server() as server,
        caplog.at_level(logging.WARNING, "jackfield.staging"),
    ):
        with pytest.warns(UserWarning, match="insecure = true"):
            fetch(server.url("/x"), part, insecure=True)
        with pytest.raises(TransferError):
            fetch(server.url("/x"), part)

    [record] = caplog.records
    assert "insecure = true: whoever answers for '127.0.0.1'" in record.getMessage()


@pytest.mark.parametrize("apart", [True, False], ids=["two-files", "one-file"])
def test_a_clients_certificate_is_shown(
    authority: Authority, part: Path, apart: bool
) -> None:
    def demand(context: ssl.SSLContext) -> None:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.issuer.configure_trust(context)

    mine = authority.issuer.issue_cert("me@example.org")
    key = mine.private_key_pem.bytes()
    chain = b"".join(blob.bytes() for blob in mine.cert_chain_pems)
    options = {"client_cert": authority.pem("me.pem", chain if apart else key + chain)}
    if apart:
        options["client_key"] = authority.pem("me.key", key)

    with authority.server(change=demand) as server:
        with pytest.raises(TransferError):
            fetch(server.url("/x"), part, ca_file=authority.file)
        fetch(server.url("/x"), part, ca_file=authority.file, **options)

    assert part.read_bytes() == CONTENT


@pytest.mark.parametrize("option", ["ca_file", "client_cert"])
def test_a_missing_file_is_named(part: Path, option: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{option} names '/nowhere"):
        fetch("https://127.0.0.1:1/x", part, **{option: "/nowhere/x.pem"})


def test_a_file_without_certificates_is_named(authority: Authority, part: Path) -> None:
    bad = authority.pem("bad.pem", b"nothing\n")

    with pytest.raises(ConfigurationError, match=r"bad\.pem"):
        fetch("https://127.0.0.1:1/x", part, ca_file=bad)


def test_row_61_no_redirect_leads_from_https_to_http(
    authority: Authority, part: Path
) -> None:
    with (
        authority.server() as server,
        HostileHTTPServer({"/x": CONTENT}) as plain,
    ):
        server.fault("/old", Redirect(plain.url("/x")))
        with pytest.raises(TransferError, match="not followed"):
            fetch(server.url("/old"), part, ca_file=authority.file)

        assert plain.requests == []
    assert not part.exists()


def test_row_61_a_redirect_leads_from_http_to_https(
    authority: Authority, part: Path
) -> None:
    with (
        authority.server() as server,
        HostileHTTPServer({"/x": CONTENT}) as plain,
    ):
        plain.fault("/old", Redirect(server.url("/x")))
        fetch(plain.url("/old"), part, ca_file=authority.file)

    assert part.read_bytes() == CONTENT


def test_a_server_that_speaks_no_tls_is_an_error(part: Path) -> None:
    with HostileHTTPServer({"/x": CONTENT}) as plain:
        url = plain.url("/x").replace("http:", "https:")

        with pytest.raises(TransferError, match="no TLS connection"):
            fetch(url, part)
