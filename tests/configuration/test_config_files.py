from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jackfield.config import Config, Resolved, make_request
from jackfield.errors import ConfigurationError
from jackfield_configuration.resolution import jackfield_find_configuration

PROJECT = "[project]\nname = 'x'\n"


def resolve_from(source: Any = None, /, *, profiles: Any, **others: Any) -> Resolved:
    return jackfield_find_configuration(make_request(source, **others), profiles)


def no_profiles(name: str) -> object:
    raise AssertionError(f"no profile was asked for, least of all {name}")


def resolve(source: Any = None, **others: Any) -> Resolved:
    given = {"environ": {"XDG_CONFIG_HOME": "/nonexistent"}, **others}
    return resolve_from(source, profiles=no_profiles, **given)


def test_with_no_file_at_all_the_defaults_hold(tmp_path: Path) -> None:
    resolved = resolve(directory=tmp_path)

    assert resolved.config == Config()
    assert set(resolved.origins.values()) == {"default"}


def test_the_file_of_the_directory_counts(tmp_path: Path) -> None:
    file = tmp_path / "jackfield.toml"
    file.write_text("retries = 2\n[executors.cpu]\nplugin = 'processes'\nworkers = 8\n")

    resolved = resolve(directory=tmp_path)

    assert resolved.config.retries == 2
    assert resolved.config.executors == {"cpu": {"plugin": "processes", "workers": 8}}
    assert resolved.origins["retries"] == str(file)
    assert resolved.origins["executors.cpu.workers"] == str(file)
    assert resolved.origins["run_dir"] == "default"


def test_the_search_goes_up_to_the_nearest_file(tmp_path: Path) -> None:
    (tmp_path / "jackfield.toml").write_text("retries = 1")
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "jackfield.toml").write_text("retries = 2")
    below = tmp_path / "near" / "a" / "b"
    below.mkdir(parents=True)

    assert resolve(directory=below).config.retries == 2


def test_the_search_begins_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jackfield.toml").write_text("retries = 1")
    monkeypatch.chdir(tmp_path)

    assert resolve().config.retries == 1


def test_a_table_in_pyproject_counts(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text(f"{PROJECT}[tool.jackfield]\nretries = 2\n")

    resolved = resolve(directory=tmp_path)

    assert resolved.config.retries == 2
    assert resolved.origins["retries"] == f"[tool.jackfield] in {file}"


def test_of_two_files_in_one_directory_the_own_one_comes_above(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[tool.jackfield]\nretries = 1\nmax_pending = 5"
    )
    (tmp_path / "jackfield.toml").write_text("retries = 2")

    config = resolve(directory=tmp_path).config

    assert (config.retries, config.max_pending) == (2, 5)


@pytest.mark.parametrize("text", [PROJECT, "this is [not TOML", "tool = 3 # jackfield"])
def test_a_pyproject_of_others_is_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "jackfield.toml").write_text("retries = 2")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "pyproject.toml").write_text(text)

    assert resolve(directory=tmp_path / "below").config.retries == 2


def test_a_named_file_is_read_instead_of_a_found_one(tmp_path: Path) -> None:
    (tmp_path / "jackfield.toml").write_text("retries = 1")
    other = tmp_path / "other.toml"
    other.write_text("max_pending = 5")

    config = resolve(str(other), directory=tmp_path).config

    assert (config.retries, config.max_pending) == (0, 5)


def test_a_named_pyproject_is_read_for_its_table(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text("[tool.jackfield]\nretries = 4")

    assert resolve(file).config.retries == 4


def test_a_named_pyproject_without_the_table_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text(PROJECT)

    with pytest.raises(ConfigurationError, match=r"no table \[tool\.jackfield\]"):
        resolve(file)


def test_a_missing_named_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.toml cannot be read: No such"):
        resolve(tmp_path / "none.toml")


def test_a_file_that_is_not_toml_is_named_with_the_place(tmp_path: Path) -> None:
    file = tmp_path / "jackfield.toml"
    file.write_text("retries = 1\nrun_dir = runs\n")

    with pytest.raises(ConfigurationError, match=rf"{file} is not valid TOML.*line 2"):
        resolve(directory=tmp_path)


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "jackfield.toml"
    file.write_bytes(b"run_dir = '\xff\xfe'")

    with pytest.raises(ConfigurationError, match=rf"{file} cannot be read"):
        resolve(directory=tmp_path)


def test_an_unknown_key_is_named_with_its_file_and_the_nearest_one(
    tmp_path: Path,
) -> None:
    file = tmp_path / "jackfield.toml"
    file.write_text("[executor.cpu]\nplugin = 'threads'")

    with pytest.raises(
        ConfigurationError,
        match=rf"'executor' \(from {file}\).*did you mean 'executors'",
    ):
        resolve(directory=tmp_path)


def test_a_bad_value_is_named_with_its_file(tmp_path: Path) -> None:
    file = tmp_path / "jackfield.toml"
    file.write_text("[executors.cpu]\nplugin = 7")

    with pytest.raises(
        ConfigurationError, match=rf"^executors\.cpu\.plugin \(from {file}\) must be"
    ):
        resolve(directory=tmp_path)


def test_a_table_where_a_value_belongs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "jackfield.toml").write_text("[retries]\nmost = 3")

    with pytest.raises(ConfigurationError, match=r"^retries \(from "):
        resolve(directory=tmp_path)


def test_the_plugins_table_holds_lists_and_options(tmp_path: Path) -> None:
    (tmp_path / "jackfield.toml").write_text(
        "[plugins]\nallow = ['a', 'b']\nblock = ['c']\n[plugins.a]\nlevel = 3\n"
    )

    resolved = resolve(directory=tmp_path)

    assert resolved.config.allow_plugins == ("a", "b")
    assert resolved.config.block_plugins == ("c",)
    assert resolved.config.use_plugins == {"a": {"level": 3}}
    assert {"plugins.allow", "plugins.block", "plugins.a.level"} <= {*resolved.origins}


def test_errors_about_plugins_name_the_key_as_the_file_writes_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "jackfield.toml").write_text("[plugins]\nblock = 'metrics'")

    with pytest.raises(ConfigurationError, match=r"^plugins\.block \(from "):
        resolve(directory=tmp_path)


def test_pythons_names_for_plugin_lists_are_turned_away_in_files(
    tmp_path: Path,
) -> None:
    (tmp_path / "jackfield.toml").write_text("block_plugins = ['metrics']")

    with pytest.raises(ConfigurationError, match=r"write plugins\.block"):
        resolve(directory=tmp_path)


def test_a_misspelt_list_of_plugins_is_not_taken_for_an_optional_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "jackfield.toml").write_text("[plugins]\nblok = ['metrics']")

    with pytest.raises(ConfigurationError, match=r"^plugins\.blok .*mean 'block'\?"):
        resolve(directory=tmp_path)


def test_an_empty_table_is_enough_to_name_an_optional_plugin(tmp_path: Path) -> None:
    (tmp_path / "jackfield.toml").write_text("[plugins.metrics]\n")

    resolved = resolve(directory=tmp_path)

    assert resolved.config.use_plugins == {"metrics": {}}
    assert "plugins.metrics" in resolved.origins


@pytest.mark.parametrize("text", ["plugins = 3", "plugins = ['metrics']"])
def test_plugins_in_a_file_must_be_a_table(tmp_path: Path, text: str) -> None:
    (tmp_path / "jackfield.toml").write_text(text)

    with pytest.raises(ConfigurationError, match=r"^plugins \(from .*must be a table"):
        resolve(directory=tmp_path)


def test_an_executor_without_its_label_is_told(tmp_path: Path) -> None:
    (tmp_path / "jackfield.toml").write_text('[executors]\nplugin = "processes"\n')

    with pytest.raises(ConfigurationError, match=r"write \[executors\.LABEL\]"):
        resolve(directory=tmp_path)


@pytest.mark.parametrize("source", [7, b"x", ["jackfield.toml"]])
def test_a_source_of_another_type_is_refused(source: object) -> None:
    with pytest.raises(ConfigurationError, match=type(source).__name__):
        resolve(source)


# -- Files of the machine and of the user


def test_the_project_comes_above_the_user_above_the_machine(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("first", "second", "home", "project")]
    keys = ("retries", "retry_delay", "retry_backoff", "retry_max_delay")
    for number, place in enumerate(places):
        own = place if place.name == "project" else place / "jackfield"
        own.mkdir(parents=True)
        name = "jackfield.toml" if place.name == "project" else "config.toml"
        lines = [f"{key} = {10 - number}" for key in keys[: len(keys) - number]]
        if place.name == "second":  # the weakest: XDG's first directory is the best
            lines = [f"{key} = 99" for key in keys]
        (own / name).write_text("\n".join(lines))

    resolved = resolve(
        directory=places[-1],
        environ={
            "XDG_CONFIG_DIRS": f"{places[0]}:{places[1]}",
            "XDG_CONFIG_HOME": str(places[2]),
        },
    )

    config = resolved.config
    values = [config.retry_max_delay, config.retry_backoff, config.retry_delay]
    assert [*values, config.retries] == [10, 10, 8, 7]
    assert [Path(one).parent.parent.name for one in resolved.files[:3]] == [
        "second",
        "first",
        "home",
    ]
    assert resolved.files[3] == str(places[3] / "jackfield.toml")
    assert resolved.origins["retries"] == resolved.files[3]


def test_a_named_source_takes_the_place_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "jackfield").mkdir()
    (tmp_path / "jackfield" / "config.toml").write_text("retries = 1")
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path)}

    assert resolve(directory=tmp_path, environ=environ).config.retries == 1
    assert resolve({}, directory=tmp_path, environ=environ).config.retries == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_directory_above_that_is_closed_ends_the_search(tmp_path: Path) -> None:
    below = tmp_path / "closed" / "below"
    below.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    code = (
        "import os, grp, pwd, pathlib, jackfield as jf\n"
        "from jackfield.config import make_request\n"
        "from jackfield_configuration.resolution import jackfield_find_configuration\n"
        "os.seteuid(65534)\n"
        "request = make_request(environ={})\n"
        "print(jackfield_find_configuration(request, str).looked[-1])\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=below,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    assert done.stdout == f"no further: {below}: Permission denied\n"
