"""The documents on staging: their tables are complete, and what they show runs."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest

import jackfield as jf
from jackfield.config.finding import make_request
from jackfield.config.transfers import transfers_table
from jackfield.kernel.compose import TRANSFER_THREADS
from jackfield.plugins import PluginManager
from jackfield.staging.mover import Stage
from jackfield_testing.servers import HostileFTPServer, HostileHTTPServer
from jackfield_transfers.credentials import Credentials
from jackfield_transfers.mover import DEFAULT_QUOTA
from jackfield_transfers.rules import RULE_TYPES, Rules

TEXT = (Path(__file__).parents[2] / "docs/staging.md").read_text("utf-8")
READS = b"ACGT ACCT TTGA\nGATTACA GG\n"
"""What the document says of ``reads.txt`` is true of this."""

PROVIDERS = {
    "http and https": ("jackfield_staging._http_trail", "HttpOptions"),
    "ftp and ftps": ("jackfield_staging._ftp_client", "FtpOptions"),
    "s3": ("jackfield_staging._s3_account", "S3Options"),
    "file": ("jackfield_staging.local", "FileOptions"),
}


def blocks(language: str) -> list[str]:
    found = re.findall(
        rf"^( *)```{language}\n(.*?)^\1```", TEXT, re.DOTALL | re.MULTILINE
    )
    return [
        re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found
    ]


def rows(section: str) -> dict[str, list[str]]:
    """Return the first cell of each row below a heading to the others."""
    below = re.split(r"\n#+ ", TEXT.partition(f"\n{section}\n")[2], maxsplit=1)[0]
    tables = [line[1:-1].split("|") for line in below.splitlines() if line[:1] == "|"]
    cells = [[cell.strip() for cell in line] for line in tables]
    return {name.strip("`"): rest for name, *rest in cells if name[:1] == "`"}


def value(cell: str) -> object:
    """Return what a default in a table stands for."""
    text = cell.strip("`")
    return None if text == "none" else tomllib.loads(f"x = {text}")["x"]


# -- The tables


def test_every_rule_is_in_the_table_with_its_default() -> None:
    told = rows("## Retries, time-outs and limits")

    defaults = {one.name: one.default for one in fields(Rules)}
    assert {name: value(told[name][2]) for name in RULE_TYPES} == defaults


def test_every_other_key_of_transfers_is_in_the_table() -> None:
    told = rows("## Retries, time-outs and limits")
    others = {name: cells[1] for name, cells in told.items() if name not in RULE_TYPES}

    given: dict[str, Any] = {
        "threads": value(others["threads"]),
        "schemes": ["https"],
        "cache": "x",
        "cache_quota": value(others["cache_quota"]),
        "credentials_file": value(others["credentials_file"]),
    }

    checked: Any = transfers_table(("transfers",), given)
    assert others.keys() == given.keys()
    assert checked["threads"] == TRANSFER_THREADS
    assert checked["cache_quota"] == DEFAULT_QUOTA


def test_the_default_file_of_credentials_is_the_one_that_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".config/jackfield").mkdir(parents=True)
    file = tmp_path / ".config/jackfield/credentials.toml"
    [text] = [text for text in blocks("toml") if "secret" in text]
    file.write_text(text)
    file.chmod(0o600)

    assert Credentials().get("slow-archive") == {"user": "me", "password": "..."}


@pytest.mark.parametrize("section", PROVIDERS)
def test_every_option_of_a_provider_is_in_its_table(section: str) -> None:
    module, name = PROVIDERS[section]
    options = getattr(import_module(module), name)

    told = {name: value(cells[0]) for name, cells in rows(f"### {section}").items()}

    assert told == {one.name: one.default for one in fields(options)}


def test_every_stage_of_a_transfer_is_told() -> None:
    assert all(f"`{stage}`" in TEXT for stage in get_args(Stage))


@pytest.mark.parametrize("how", ["digest", "etag", "size", "none"])
def test_every_kind_of_verification_is_told(how: str) -> None:
    assert f'| `"{how}"` |' in TEXT


# -- The examples


def test_the_configuration_is_one_and_means_what_it_seems_to() -> None:
    table = tomllib.loads(blocks("toml")[0])

    config = PluginManager().find_configuration(make_request(table, environ={})).config

    slow = config.staging["https"]["hosts"]["slow.example.org"]
    assert (slow["connections"], slow["idle_timeout"]) == (1, 300.0)
    assert config.transfers["schemes"] == ("https", "s3")


@pytest.fixture
def elsewhere() -> Iterator[tuple[HostileFTPServer, dict[str, str]]]:
    """Servers in the place of those that the document names, and their URLs."""
    pytest.importorskip("aiohttp", reason="pip install 'jackfield[http]'")
    pytest.importorskip("pyftpdlib", reason="pip install 'jackfield[testing]'")
    with (
        HostileHTTPServer({"/reads.txt": READS}) as http,
        HostileFTPServer() as ftp,
    ):
        at = f"ftp://{ftp.user}:{ftp.password}@127.0.0.1:{ftp.port}/"
        yield (
            ftp,
            {
                "https://data.example.org/": http.url("/"),
                "ftp://files.example.org/": at,
            },
        )


def run(source: str, urls: Mapping[str, str]) -> dict[str, Any]:
    for told, real in urls.items():
        source = source.replace(told, real)
    example = ModuleType("example")
    exec(compile(source, "docs/staging.md", "exec"), vars(example))
    return vars(example)


def test_the_first_example_counts_words(
    elsewhere: tuple[HostileFTPServer, dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ftp, urls = elsewhere
    monkeypatch.chdir(tmp_path)

    run(blocks("python")[0], urls)

    assert (ftp.root / "words.txt").read_text().strip() == "5"


def test_what_the_second_example_declares_is_verified(
    elsewhere: tuple[HostileFTPServer, dict[str, str]], tmp_path: Path
) -> None:
    _, urls = elsewhere

    reads = run(f"import jackfield as jf\n{blocks('python')[1]}", urls)["reads"]

    with jf.load({"run_dir": str(tmp_path)}) as kernel:
        there = kernel.submit(verified, reads).result(60)
    assert there == "digest"


def verified(file: jf.File) -> str | None:
    assert os.fspath(file)
    return file.verified
