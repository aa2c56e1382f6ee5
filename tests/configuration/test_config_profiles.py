from __future__ import annotations

import sys
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest

from jackfield.config import Config, Resolved, make_request
from jackfield.errors import ConfigurationError
from jackfield_configuration.resolution import jackfield_find_configuration

if TYPE_CHECKING:
    from pathlib import Path


def resolve(source: Any = None, /, *, profiles: Any, **others: Any) -> Resolved:
    return jackfield_find_configuration(make_request(source, **others), profiles)


def retries_of(found: object) -> float:
    return resolve(
        {}, profiles=lambda _: found, profile="site", environ={}
    ).config.retries


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    path.write_text("retries = 3")
    return path


def test_a_profile_may_be_a_config() -> None:
    assert retries_of(Config(retries=3)) == 3


def test_a_profile_may_be_a_table() -> None:
    assert retries_of({"retries": 3}) == 3


def test_a_profile_may_be_a_function_that_gives_either() -> None:
    assert retries_of(lambda: {"retries": 3}) == 3
    assert retries_of(lambda: Config(retries=3)) == 3


def test_a_profile_may_be_a_path(toml: Path) -> None:
    assert retries_of(toml) == 3
    assert retries_of(str(toml)) == 3
    assert retries_of(lambda: toml) == 3


def test_a_profile_may_be_a_resource_of_a_package(
    toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = toml.parent / "a_site_with_profiles"
    package.mkdir()
    (package / "__init__.py").touch()
    toml.rename(package / "site.toml")
    monkeypatch.syspath_prepend(toml.parent)

    assert retries_of(files("a_site_with_profiles") / "site.toml") == 3

    del sys.modules["a_site_with_profiles"]


def test_of_a_config_only_what_differs_from_the_defaults_counts() -> None:
    below = {"retries": 2, "max_pending": 5}

    config = resolve(
        below, profiles=lambda _: Config(retries=3), profile="site", environ={}
    ).config

    assert (config.retries, config.max_pending) == (3, 5)


def test_a_function_that_raises_is_named_with_its_error() -> None:
    def broken() -> Config:
        raise KeyError("SCRATCH")

    with pytest.raises(
        ConfigurationError, match=r"profile 'site' .*KeyError\('SCRATCH'\)"
    ) as caught:
        retries_of(broken)

    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("found", [3, None, ["retries"]])
def test_a_profile_of_another_kind_is_refused(found: object) -> None:
    with pytest.raises(ConfigurationError, match=type(found).__name__):
        retries_of(found)


def test_an_unknown_key_names_the_profile() -> None:
    with pytest.raises(ConfigurationError, match=r"'retrys' \(from profile 'site'\)"):
        retries_of({"retrys": 3})


def test_a_file_that_is_not_toml_names_the_profile(toml: Path) -> None:
    toml.write_text("retries = many")

    with pytest.raises(ConfigurationError, match="profile 'site' is not valid TOML"):
        retries_of(toml)


def test_an_installed_profile_names_its_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = tmp_path / "my_lab-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: my-lab\nVersion: 1.2\n")
    (metadata / "entry_points.txt").write_text("[jackfield.profiles]\nlab = my_lab:p\n")
    monkeypatch.syspath_prepend(tmp_path)

    resolved = resolve(
        "lab", profiles=lambda _: {"retries": 3}, directory=tmp_path, environ={}
    )

    assert resolved.origins["retries"] == "profile 'lab' from my-lab 1.2"
