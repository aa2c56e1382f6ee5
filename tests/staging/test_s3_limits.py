"""Stores whose answers have no measure, or are none."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jackfield import Remote, RemoteInfo, TransferError
from jackfield.staging.remote import Timeouts
from jackfield_staging import s3
from jackfield_staging._core_files import MOST_LISTED
from jackfield_staging._s3_files import read_page
from jackfield_testing.servers import (
    Answer,
    Exchange,
    HostileHTTPServer,
    HTTPFault,
    Status,
)
from jackfield_transfers.transfer import Transfer

LIMIT_S = 60.0
LOGIN = {"key": "AKIDEXAMPLE", "secret": "not-to-be-shown"}
DATE = "<LastModified>2026-01-02T03:04:05.000Z</LastModified>"


@pytest.fixture
def server() -> Iterator[HostileHTTPServer]:
    with HostileHTTPServer({"/bucket/x": b"content"}) as server:
        yield server
    s3.provider.jackfield_kernel_closing()


class Pages(HTTPFault):
    """Shows a listing: what a function makes of each request's number."""

    def __init__(self, make: Callable[[int], str]) -> None:
        self.make = make
        self.numbers = itertools.count()

    def answer(self, normal: Callable[[], Answer], exchange: Exchange) -> Answer:
        page = self.make(next(self.numbers)).encode()
        return Answer.of(200, page, "application/xml")


def page(keys: list[str], more: str = "", size: str = "1") -> str:
    objects = "".join(
        f"<Contents><Key>{key}</Key><Size>{size}</Size>{DATE}</Contents>"
        for key in keys
    )
    truncated = "true" if more else "false"
    return (
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<EncodingType>url</EncodingType><IsTruncated>{truncated}</IsTruncated>"
        f"<NextContinuationToken>{more}</NextContinuationToken>{objects}"
        "</ListBucketResult>"
    )


def at(server: HostileHTTPServer, url: str, **more: Any) -> Remote:
    more.setdefault("timeouts", Timeouts(LIMIT_S, LIMIT_S))
    options = {"endpoint_url": server.url("").rstrip("/")}
    return Remote(url=url, options=options, credentials=LOGIN, **more)


def names(server: HostileHTTPServer, url: str = "s3://bucket/d/") -> list[str]:
    found = s3.provider.jackfield_list_files(at(server, url))
    assert found is not None
    return sorted(one.removeprefix(url) for one in found)


def test_pages_are_followed_to_the_last(server: HostileHTTPServer) -> None:
    pages = [page(["d/a%2Bb", "d/c+d"], "t&amp;1"), page(["d/e%25/f", "d/"])]
    server.fault("/bucket/", Pages(pages.__getitem__))

    assert names(server) == ["a+b", "c d", "e%25/f"]
    assert "continuation-token=t%261" in server.requests[1].target


def test_a_page_without_end_is_an_error(server: HostileHTTPServer) -> None:
    server.fault("/bucket/", Pages(lambda _: page(["d/x" * 1000] * 2000)))

    with pytest.raises(TransferError, match="more than 4194304 bytes"):
        names(server)


def test_a_listing_without_end_is_an_error(
    server: HostileHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MOST_LISTED, "files", 5000)  # a million take a minute
    server.fault(
        "/bucket/", Pages(lambda n: page([f"{n}-{m}" for m in range(1000)], f"t{n}"))
    )

    with pytest.raises(TransferError, match="more than 5000 files"):
        names(server, "s3://bucket/")


def test_a_listing_that_comes_back_to_its_beginning_ends(
    server: HostileHTTPServer,
) -> None:
    server.fault("/bucket/", Pages(lambda _: page(["d/x"], more="again")))

    assert names(server) == ["x"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no XML",
        "<a>",
        "<a><Contents><Key>x</Key></Contents></a>",
        page(["d/x"], size="many"),
        page(["d/x"], size="9" * 5000),
        page(["d/x"]).replace("2026", "0000"),
        page(["d/x"]).replace("000Z", "000+24:00"),
        '<!DOCTYPE a [<!ENTITY a "aaaa">]><a>&a;</a>',
        "<a " + "x" * 100_000,
    ],
    ids=lambda text: text[:30],
)
def test_a_page_that_is_none_is_an_error(server: HostileHTTPServer, text: str) -> None:
    server.fault("/bucket/", Pages(lambda _: text))

    with pytest.raises(TransferError, match="cannot be understood"):
        names(server)


@pytest.mark.parametrize("piece", ["<a>", "<a/>", "<Contents>", "&amp;", "<!--"])
def test_a_page_made_to_be_slow_is_read_in_no_time(piece: str) -> None:
    text = f"<a>{piece * ((1 << 22) // len(piece))}"
    began = time.process_time()

    with pytest.raises(SyntaxError):
        read_page(text.encode())

    assert time.process_time() - began < LIMIT_S


@pytest.mark.parametrize(
    "body",
    [
        b"<Error><Code>&#" + b"9" * 5000 + b";</Code></Error>",
        b"<Code>" * 20_000,
        b"x" * (1 << 20),
        b"\xff\xfe<Error>",
    ],
    ids=["digits", "codes", "long", "bytes"],
)
def test_a_refusal_that_is_none_is_classified(
    server: HostileHTTPServer, tmp_path: Path, body: bytes
) -> None:
    server.fault("/bucket/x", Status(503, retry_after="9" * 5000, body=body))
    given = at(server, "s3://bucket/x")
    transfer = Transfer(
        url=given.url,
        options=given.options,
        credentials=LOGIN,
        timeouts=given.timeouts,
        path=tmp_path / "part",
    )

    with pytest.raises(TransferError, match="answers 503") as caught:
        s3.provider.jackfield_stage_in(transfer)

    assert caught.value.transient


class Texts(HTTPFault):
    """Answers with these texts, one after another."""

    def __init__(self, *texts: bytes) -> None:
        self.texts = list(texts)

    def answer(self, normal: Callable[[], Answer], exchange: Exchange) -> Answer:
        return Answer.of(200, self.texts.pop(0), "application/xml")


BEGUN = b"<R><UploadId>u1</UploadId></R>"


@pytest.mark.parametrize(
    ("texts", "reason", "transient"),
    [
        ([b"x" * (8 << 20)], "names no upload", False),
        ([b"<R></R>"], "names no upload", False),
        ([BEGUN, b"<Error><Code>InternalError</Code></Error>"], "InternalError", True),
        ([BEGUN, b"<Error>" + b"x" * (8 << 20)], "the store answers 500", True),
    ],
    ids=["long", "none", "late", "late-and-long"],
)
def test_an_upload_in_parts_that_is_answered_oddly_is_an_error(
    server: HostileHTTPServer,
    tmp_path: Path,
    texts: list[bytes],
    reason: str,
    transient: bool,
) -> None:
    server.fault("/bucket/large", Texts(*texts), methods=["POST"])
    (tmp_path / "out").write_bytes(bytes(6 << 20))
    given = at(server, "s3://bucket/large")
    transfer = Transfer(
        url=given.url,
        options={**given.options, "part_size": 5 << 20},
        credentials=LOGIN,
        timeouts=given.timeouts,
        path=tmp_path / "out",
        warn=lambda text: None,  # it takes no DELETE, which is warned of
    )

    with pytest.raises(TransferError, match=reason) as caught:
        s3.provider.jackfield_stage_out(transfer)

    assert caught.value.transient == transient
    given_up = [one.target for one in server.requests if one.method == "DELETE"]
    assert given_up == ["/bucket/large?uploadId=u1"] * (len(texts) - 1)


def test_a_key_that_is_no_utf_8_is_refused(server: HostileHTTPServer) -> None:
    with pytest.raises(TransferError, match="no UTF-8"):
        s3.provider.jackfield_stat_file(at(server, "s3://bucket/%E4"))


def test_a_store_that_is_not_verified_is_warned_of(server: HostileHTTPServer) -> None:
    told: list[str] = []
    remote = at(server, "s3://bucket/x", warn=told.append)
    remote.options = {**remote.options, "verify": False}

    with pytest.warns(UserWarning, match="verify = false"):
        assert s3.provider.jackfield_stat_file(remote) is not None

    assert told[0].startswith("s3: verify = false: whoever answers for 'bucket'")


def test_what_is_told_of_an_object_is_read() -> None:
    found, more = read_page(page(["k"]).encode())

    modified = "Fri, 02 Jan 2026 03:04:05 GMT"
    assert found == {"k": RemoteInfo(size=1, modified=modified)}
    assert more == ""
