from __future__ import annotations

import json
import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from jackfield.config import Config, make_request
from jackfield.config.check import CheckpointMode, Dependencies, ExitMode, LogLevel
from jackfield.config.model import KEYS
from jackfield.plugins import PluginManager
from jackfield_configuration.resolution import jackfield_find_configuration
from jackfield_configuration.sources import document

TEXT = (Path(__file__).parents[2] / "docs/configuration.md").read_text("utf-8")
FIELDS = [one.name for one in fields(Config)]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| `") and line.count("|") > 4
]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def row_of(name: str) -> list[str]:
    [row] = [row for row in ROWS if re.search(rf"`{re.escape(name)}`", row[0])]
    return row


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_has_its_row(name: str) -> None:
    assert len(row_of(name)) == 5


@pytest.mark.parametrize("name", FIELDS)
def test_the_documented_default_is_the_default(name: str) -> None:
    default = row_of(name)[3].strip("`")
    value = getattr(Config(), name)

    if default == "none":
        assert not value
    else:
        assert json.loads(default) == (list(value) if value == () else value)


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("dependencies", get_args(Dependencies)),
        ("exit_mode", get_args(ExitMode)),
        ("log_level", get_args(LogLevel)),
        ("checkpoint.mode", get_args(CheckpointMode)),
    ],
)
def test_every_choice_is_documented(name: str, choices: tuple[str, ...]) -> None:
    assert tuple(re.findall(r'"(\w+)"', row_of(name)[1])) == choices


def test_every_table_of_the_examples_is_a_configuration() -> None:
    examples = [text for text in blocks("toml") if "entry-points" not in text]

    assert len(examples) >= 2
    for text in examples:
        table = tomllib.loads(text)
        resolved = PluginManager().find_configuration(make_request(table, environ={}))
        assert set(table) <= set(KEYS)
        assert resolved.config != Config()


def test_the_first_example_is_read_as_it_says(tmp_path: Path) -> None:
    (tmp_path / "jackfield.toml").write_text(blocks("toml")[0])

    found = PluginManager().find_configuration(
        make_request(directory=tmp_path, environ={})
    )
    config = found.config

    assert config.retries == 2
    assert list(config.executors) == ["cpu", "io"]
    assert config.block_plugins == ("some-observer",)


def test_the_variables_of_the_example_are_accepted() -> None:
    [text] = blocks("sh")
    environ = dict(line.split("=", 1) for line in text.splitlines())

    config = (
        PluginManager().find_configuration(make_request({}, environ=environ)).config
    )

    assert config.retries == 3
    assert config.executors == {"cpu": {"plugin": "processes", "workers": 4}}
    assert config.block_plugins == ("some-observer", "another")


def test_the_profile_of_the_example_is_one() -> None:
    [source] = [text for text in blocks("python") if "def perlmutter" in text]
    names: dict[str, object] = {}

    exec(source, names)

    request = make_request({}, profile="perlmutter", environ={})
    resolved = jackfield_find_configuration(request, names.__getitem__)
    assert resolved.config.executors["cpu"] == {"plugin": "processes", "workers": 128}


def test_no_row_is_about_a_key_that_does_not_exist() -> None:
    first = [re.findall(r"`([\w.]+)`", row[0]) for row in ROWS if len(row) == 5]
    documented = {name for names in first for name in names if "." not in name}

    assert documented == set(FIELDS)
    assert document({}, "x").values == {}
