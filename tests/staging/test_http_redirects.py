"""Redirects: how many, where to, and what goes along."""

from __future__ import annotations

import ipaddress
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from jackfield import Remote, RemoteInfo, TransferError
from jackfield.errors import RemoteChangedError
from jackfield.staging.remote import Timeouts
from jackfield_staging import http
from jackfield_staging._http_rules import is_public
from jackfield_testing.servers import (
    ChangeBetween,
    HostileHTTPServer,
    HTTPFault,
    Redirect,
    Status,
    WeakETag,
)
from jackfield_transfers.transfer import Transfer

CONTENT = b"the file" * 1000
LIMIT_S = 60.0


@pytest.fixture
def server() -> Iterator[HostileHTTPServer]:
    with HostileHTTPServer({"/x": CONTENT}) as made:
        yield made
    http.provider.jackfield_kernel_closing()


@pytest.fixture
def other() -> Iterator[HostileHTTPServer]:
    with HostileHTTPServer({"/x": CONTENT}) as made:
        yield made


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "part"


def fetch(url: str, path: Path, **more: Any) -> RemoteInfo:
    more.setdefault("timeouts", Timeouts(connect=60.0, idle=60.0))
    info = http.provider.jackfield_stage_in(Transfer(url=url, path=path, **more))
    assert info is not None
    return info


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_row_61_a_redirect_is_followed(
    server: HostileHTTPServer, part: Path, status: int
) -> None:
    server.fault("/old", Redirect("x", status))

    fetch(server.url("/old"), part)

    assert part.read_bytes() == CONTENT


def test_row_61_a_redirect_of_a_head_is_followed(server: HostileHTTPServer) -> None:
    server.fault("/old", Redirect("/x"))

    info = http.provider.jackfield_stat_file(Remote(url=server.url("/old")))

    assert info is not None
    assert info.size == len(CONTENT)


@pytest.mark.parametrize("limit", [0, 3, 10])
def test_row_61_a_loop_ends_at_the_limit(
    server: HostileHTTPServer, part: Path, limit: int
) -> None:
    server.fault("/loop", Redirect("/loop"))

    with pytest.raises(TransferError, match=f"more than {limit} redirects") as caught:
        fetch(server.url("/loop"), part, options={"max_redirects": limit})

    assert server.count("GET", "/loop") == limit + 1
    assert not caught.value.transient
    assert not part.exists()


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x", "data:,x"],
)
def test_row_61_no_redirect_leads_to_another_scheme(
    server: HostileHTTPServer, part: Path, target: str
) -> None:
    server.fault("/old", Redirect(target))

    with pytest.raises(TransferError) as caught:
        fetch(server.url("/old"), part)

    assert not caught.value.transient
    assert not part.exists()


@pytest.mark.parametrize(
    "target", ["", "http://", "http://[::1/x", "http://h:9999999/"]
)
def test_row_61_a_redirect_to_nowhere_is_a_permanent_error(
    server: HostileHTTPServer, part: Path, target: str
) -> None:
    server.fault("/old", Redirect(target))

    with pytest.raises(TransferError) as caught:
        fetch(server.url("/old"), part, options={"max_redirects": 2})

    assert not caught.value.transient


def test_row_61_credentials_and_headers_stay_with_their_origin(
    server: HostileHTTPServer, other: HostileHTTPServer, part: Path
) -> None:
    server.fault("/here", Redirect("/old"))
    server.fault("/old", Redirect(other.url("/x")))

    fetch(
        server.url("/here"),
        part,
        credentials={"token": "t0ken"},
        options={"headers": {"X-Key": "k"}},
    )

    assert part.read_bytes() == CONTENT
    for request in server.requests:
        assert request.headers["authorization"] == "Bearer t0ken"
        assert request.headers["x-key"] == "k"
    for request in other.requests:
        assert "authorization" not in request.headers
        assert "x-key" not in request.headers


def test_row_61_a_users_name_in_a_redirect_is_not_sent(
    server: HostileHTTPServer, other: HostileHTTPServer, part: Path
) -> None:
    server.fault("/old", Redirect(other.url("/x").replace("//", "//me:pw@")))

    fetch(server.url("/old"), part)

    assert "authorization" not in other.requests[0].headers


def test_a_signed_redirect_shows_no_secret_when_it_fails(
    server: HostileHTTPServer, other: HostileHTTPServer, part: Path
) -> None:
    server.fault("/old", Redirect(other.url("/gone?sig=s3cret")))

    with pytest.raises(TransferError) as caught:
        fetch(server.url("/old"), part)

    assert "s3cret" not in f"{caught.value} {caught.value!r}"
    assert other.requests[0].target == "/gone?sig=s3cret"


# -- Mirrors: the kernel's second look would be led elsewhere


def test_what_came_from_a_mirror_is_compared_with_that_mirror(
    server: HostileHTTPServer, other: HostileHTTPServer, part: Path
) -> None:
    server.fault("/old", Redirect(other.url("/x")))

    info = fetch(server.url("/old"), part)

    assert info.settled
    assert [one.method for one in server.requests] == ["GET"]
    assert [one.method for one in other.requests] == ["GET", "HEAD"]


def test_a_change_at_a_mirror_is_seen(
    server: HostileHTTPServer, other: HostileHTTPServer, part: Path
) -> None:
    server.fault("/old", Redirect(other.url("/x")))
    other.fault("/x", ChangeBetween(CONTENT[::-1]), times=1)

    with pytest.raises(RemoteChangedError) as caught:
        fetch(server.url("/old"), part)

    assert caught.value.transient


def test_a_mirror_that_cannot_be_asked_twice_leaves_the_size(
    server: HostileHTTPServer, other: HostileHTTPServer, part: Path
) -> None:
    server.fault("/old", Redirect(other.url("/x")))
    other.fault("/x", HTTPFault(), times=1, methods=["GET"])
    other.fault("/x", Status(503))

    info = fetch(server.url("/old"), part)

    assert (info.etag, info.settled) == (None, True)
    assert info.size == part.stat().st_size


def test_a_weak_etag_at_a_mirror_is_compared(
    server: HostileHTTPServer, other: HostileHTTPServer, part: Path
) -> None:
    server.fault("/old", Redirect(other.url("/x")))
    other.fault("/x", WeakETag())

    assert fetch(server.url("/old"), part).settled


# -- Private addresses


PUBLIC: Final = {"1.1.1.1"}
PAIRS: Final = ("1.1.1.1", "10.1.2.3", "127.0.0.1", "169.254.169.254", "192.168.0.1")
EMBEDDED: Final = (
    *("::ffff:{}", "::{}", "64:ff9b::{}"),
    *("2606:4700::5efe:{}", "2606:4700::200:5efe:{}"),
)
"""Forms of version 6 that hold an address of version 4."""


@pytest.mark.parametrize("ip", PAIRS)
def test_row_61_an_address_in_a_6to4_prefix_counts(ip: str) -> None:
    high, low = divmod(int(ipaddress.IPv4Address(ip)), 1 << 16)

    address = f"2002:{high:x}:{low:x}::1"
    # Newer Pythons do not count the prefix itself as of the whole internet.
    prefix = ipaddress.ip_address(address).is_global

    assert is_public(address) is (ip in PUBLIC and prefix)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("1.1.1.1", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%lo", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:1.1.1.1", True),
        ("localhost", False),
        *((form.format(ip), ip in PUBLIC) for form in EMBEDDED for ip in PAIRS),
        ("64:ff9b:1::1.1.1.1", False),  # a network's own gateway
        ("2001:0:4136:e378:8000:63bf:f5f5:f5f5", False),  # Teredo: 10.10.10.10
        ("2001:0:0a00:0001:8000:63bf:fefe:fefe", False),  # by a private server
        ("2001:4860:4860::8888", True),
    ],
)
def test_row_61_private_addresses_are_known(address: str, public: bool) -> None:
    assert is_public(address) is public


INSIDE = """
import subprocess, sys, threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from jackfield_transfers.transfer import Transfer
from jackfield_staging import http

for command in ("ip link set lo up", "ip addr add 11.1.1.1/32 dev lo"):
    subprocess.run(command.split(), check=True)

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        to = self.path[1:]
        self.send_response(302 if to else 200)
        if to:
            self.send_header("Location", to)
        self.send_header("Content-Length", "0" if to else "6")
        self.end_headers()
        self.wfile.write(b"" if to else b"inside")
    do_HEAD = lambda self: (self.send_response(200), self.end_headers())
    def log_message(self, *args): pass

def serve(host):
    server = ThreadingHTTPServer((host, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://{host}:{server.server_port}/"

public, public2, private = map(serve, ("11.1.1.1", "11.1.1.1", "127.0.0.1"))
port = private.rpartition(":")[2]
part = Path("part")

def attempt(url, **options):
    try:
        http.provider.jackfield_stage_in(Transfer(url=url, path=part, options=options))
        return part.read_text()
    except Exception as error:
        return f"{type(error).__name__}: {error}"

print(attempt(public + private))
print(attempt(public + "http://localhost:" + port))
print(attempt(public + "http://[::ffff:127.0.0.1]:" + port))
print(attempt(public + public2 + private))
print(attempt(public + private, private_redirects=True))
print(attempt(public + public2))
print(attempt(private + private))
print(attempt(private + public))
http.provider.jackfield_kernel_closing()
"""


def test_row_61_a_public_host_redirects_to_no_private_address(tmp_path: Path) -> None:
    if not (shutil.which("unshare") and shutil.which("ip")):
        pytest.skip("needs unshare (util-linux) and ip (iproute2)")
    probe = subprocess.run(["unshare", "-Urn", "true"], check=False)
    if probe.returncode:
        pytest.skip("this machine allows no network namespaces")

    done = subprocess.run(
        ["unshare", "-Urn", sys.executable, "-c", INSIDE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )

    lines = done.stdout.splitlines()
    assert len(lines) == 8, done.stderr
    for line in lines[:4]:
        assert line.startswith("RemoteForbiddenError: http://11.1.1.1:"), line
        assert "private_redirects = true" in line
    assert lines[4:] == ["inside"] * 4
