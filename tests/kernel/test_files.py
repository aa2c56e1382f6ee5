"""What a ``File`` takes for a path and what for a URL, and what it shows of it."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.files import File, lack_of, redact


@pytest.mark.parametrize(
    ("text", "scheme", "path"),
    [
        ("a.txt", "file", "a.txt"),
        ("/x/a b%20?#.txt", "file", "/x/a b%20?#.txt"),
        ("./a:b", "file", "./a:b"),
        ("dir/a:b", "file", "dir/a:b"),
        ("12:30.txt", "file", "12:30.txt"),
        (":x", "file", ":x"),
        ("file:/x/a%20b", "file", "/x/a b"),
        ("file:///x/a%20b", "file", "/x/a b"),
        ("file://localhost/x", "file", "/x"),
        ("HTTP://h/x", "http", "/x"),
        ("git+ssh://h/x", "git+ssh", "/x"),
        ("http://h/x?y#z", "http", "/x"),
        ("ftp://h/x?y#z", "ftp", "/x?y#z"),
    ],
)
def test_a_file_is_a_path_or_a_url(text: str, scheme: str, path: str) -> None:
    file = File(text)

    assert (file.scheme, file.path, file.url) == (scheme, path, text)
    assert file.remote == (scheme != "file")
    assert file.remote or file.filepath == path


@pytest.mark.parametrize(
    "text",
    [
        *("zip:x.zip/in", "s3:bucket/key", "s3:/bucket/key", "mailto:x", "a:b"),
        *(
            "simplecache::http://h/x",
            "file:x",
            "file:",
            "c:\\",
        ),
    ],
)
def test_what_is_neither_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="neither a path nor a URL") as caught:
        File(text)

    assert repr(text) in str(caught.value)


def test_a_url_that_cannot_be_read_is_named_without_its_password() -> None:
    with pytest.raises(ValueError, match="Invalid IPv6 URL") as caught:
        File("http://ada:hush@[::1/data/x.csv")
    assert "http://ada:***@[::1/data/x.csv" in str(caught.value)


def test_what_may_be_a_password_is_not_shown_with_a_refusal() -> None:
    with pytest.raises(ValueError, match="neither") as caught:
        File("zip::ftp://me:secret@h/x")

    assert "secret" not in str(caught.value)


def test_a_path_object_is_a_path_whatever_it_looks_like() -> None:
    for name in ("a:b", "s3:bucket", "http:"):
        file = File(Path(name))
        assert Path(file) == Path(name)
        assert file.cleancopy() == file
        assert not file.remote


@pytest.mark.parametrize(
    ("text", "netloc", "path"),
    [
        ("ftp://me:se?cret@h/x", "me:se%3Fcret@h", "/x"),
        ("http://me:se#cret@h/x", "me:se%23cret@h", "/x"),
        ("http://me:se/cret@h/x", "me:se%2Fcret@h", "/x"),
        ("http://me:/?#@h:80/x", "me:%2F%3F%23@h:80", "/x"),
        ("http://me:a@b@h/x", "me:a@b@h", "/x"),
        ("http://me:a@se/cret@h/x", "me:a@se", "/cret@h/x"),
        ("http://tok@h:80/x@y", "tok@h:80", "/x@y"),
        ("http://tok@[::1]:80/x@y", "tok@[::1]:80", "/x@y"),
        ("http://me:a@b/c@h/x", "me:a@b", "/c@h/x"),
        ("s3://key:se/cret@bucket/k", "key:se%2Fcret@bucket", "/k"),
        ("http://me:se%2Fcret@h/x@2.png", "me:se%2Fcret@h", "/x@2.png"),
        ("http://h:80/x@y", "h:80", "/x@y"),
        ("http://h/x:y@z", "h", "/x:y@z"),
        ("http://h/x?mail=a:b@c", "h", "/x"),
        ("http://[::1]:80/x@y", "[::1]:80", "/x@y"),
    ],
)
def test_a_password_ends_at_the_last_at_sign(text: str, netloc: str, path: str) -> None:
    file = File(text)

    assert (file.netloc, file.path) == (netloc, path)
    shown = repr(file) + redact(text) + redact(file.url)
    assert "cret" not in shown
    assert pickle.loads(pickle.dumps(file)) == file


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h:80/x?y=z#w", "http://h:80/x?***"),
        ("http://h/x#w", "http://h/x"),
        ("http://me:pw@[::1/x?y", "http://me:***@[::1/x?***"),
        ("ftp://me:pw@h/x?y", "ftp://me:***@h/x?***"),
        ("http://tok@h:80/x", "http://tok@h:80/x"),
        ("a/path?x", "a/path?x"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert redact(url) == shown


@pytest.mark.parametrize(
    ("url", "tree"),
    [
        ("http://h/d/", True),
        ("http://h/d/*.txt", True),
        ("http://h/d/%2A.txt", False),
        ("http://h/get/?id=5", False),
        ("http://h/get/*?id=5", False),
        ("ftp://h/what?/", True),
        ("file:/d/", True),
        ("/d/", False),
        ("/d/*", False),
    ],
)
def test_a_directory_or_pattern_is_a_tree(url: str, tree: bool) -> None:
    assert File(url).tree == tree


@pytest.mark.parametrize("url", ["http://h/d/", "s3://b/*.txt", "file:///d/"])
@pytest.mark.parametrize("declared", [{"sha256": "0" * 64}, {"size": 1}])
def test_many_files_have_no_digest_or_size(url: str, declared: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="stands for many files"):
        File(url, **declared)  # type: ignore[arg-type]  # either of both


@pytest.mark.parametrize(
    ("declared", "word"),
    [
        ({"sha256": ""}, "64 hexadecimal digits"),
        ({"sha256": "sha256:" + "0" * 64}, "64 hexadecimal digits"),
        ({"sha256": "0" * 63}, "64 hexadecimal digits"),
        ({"sha256": b"0" * 64}, "64 hexadecimal digits"),
        ({"sha256": " " + "0" * 64}, "64 hexadecimal digits"),
        ({"size": "1"}, "a number of bytes, not '1'"),
        ({"size": -1}, "a number of bytes, not -1"),
        ({"size": 1.5}, "a number of bytes"),
        ({"size": True}, "a number of bytes"),
    ],
)
def test_a_digest_or_size_that_no_file_can_have_is_refused_at_once(
    declared: dict[str, Any], word: str
) -> None:
    with pytest.raises(ValueError, match=word):
        File("reads.fq", **declared)


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b", "http://h/\udfff"], ids=ascii)
def test_a_name_that_no_system_takes_is_refused_at_once(name: str) -> None:
    with pytest.raises(ValueError, match="NUL or surrogate in a File's name"):
        File(name)


def test_a_name_may_have_bytes_that_are_no_utf_8() -> None:
    assert File(os.fsdecode(b"a\xffb")).filepath == "a\udcffb"


def test_of_a_name_that_is_too_long_an_output_says_so() -> None:
    assert lack_of("x" * 300).endswith("x (File name too long)")
    assert lack_of("nowhere/out") == "nowhere/out"


@pytest.mark.parametrize("url", ["http://h/a\tb", "s3://b/k\n", "file:///a\rb"])
def test_a_url_with_a_control_character_is_refused_and_not_asked_without_it(
    url: str,
) -> None:
    with pytest.raises(ValueError, match="holds a control character"):
        File(url)


@pytest.mark.parametrize("url", ["file://other/a", "file://a.txt", "FILE://h:1/a"])
def test_a_file_url_of_another_machine_is_not_read_here(url: str) -> None:
    with pytest.raises(ValueError, match="is on another machine"):
        File(url)
    assert File("file://LocalHost/a").filepath == "/a"


def test_outputs_and_arguments_are_refused_where_the_app_is_called(
    tmp_path: Path,
) -> None:
    with (
        jf.load(run_dir=tmp_path) as kernel,
        pytest.raises(ValueError, match="'s3:bucket/key' is neither"),
    ):
        kernel.submit(print, outputs=["s3:bucket/key"])
