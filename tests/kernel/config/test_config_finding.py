"""Who is asked for a configuration, and what counts where nobody finds one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import jackfield as jf
from jackfield.config import set_default_source
from jackfield.config.finding import make_request
from jackfield.errors import PluginLoadError
from jackfield.plugins import PluginManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SITE = """
import jackfield as jf
from jackfield.config import Config, Resolved

@jf.hookimpl
def jackfield_find_configuration(request, profiles):
    if request.source is None:
        return Resolved(Config(retries=7), files=["the site's server"])
"""


@pytest.fixture
def nobody_finds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No plugin that finds configurations may be used, and there is a file."""
    (tmp_path / "jackfield.toml").write_text("retries = 9")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JACKFIELD_PLUGINS", "-layers")


@pytest.fixture(autouse=True)
def no_choice_is_left() -> Iterator[None]:
    yield
    set_default_source()


def test_a_plugin_that_is_installed_is_asked_before_our_own(
    install: Callable[..., None],
) -> None:
    install("site", "[jackfield.configuration]\nours = site_server\n", site_server=SITE)

    found = PluginManager().find_configuration()

    assert found.config.retries == 7
    assert found.files == ["the site's server"]
    assert (
        PluginManager().find_configuration(make_request({"retries": 3})).config.retries
        == 3
    )


def test_one_that_is_broken_stops_who_loads(install: Callable[..., None]) -> None:
    install("site", "[jackfield.configuration]\nours = no_such_module\n")

    with pytest.raises(PluginLoadError, match=r"ours.*site 1\.0.*no_such_module"):
        PluginManager().find_configuration()


def test_one_that_answers_something_else_is_named(
    install: Callable[..., None],
) -> None:
    source = SITE.replace("Resolved(Config(retries=7), files", "dict(a")
    install("site", "[jackfield.configuration]\nours = site_wrong\n", site_wrong=source)

    with pytest.raises(PluginLoadError, match="ours"):
        PluginManager().find_configuration()


def test_what_python_gives_needs_nobody(nobody_finds: None) -> None:
    mine, theirs = object(), object()
    config = jf.Config(max_pending=5, plugins=[mine])

    found = PluginManager().find_configuration(
        make_request(config, plugins=[theirs], retries=2)
    )

    assert (found.config.retries, found.config.max_pending) == (2, 5)
    assert found.config.plugins == (mine, theirs)
    assert PluginManager().find_configuration().config == jf.Config()


def test_a_kernel_runs_without_anybody(nobody_finds: None) -> None:
    with jf.load(jf.Config(run_dir="runs", log_level="OFF")) as kernel:
        assert kernel.submit(len, "ab").result(60) == 2


@pytest.mark.parametrize("source", [{"retries": 3}, "jackfield.toml", "lab"])
def test_what_has_to_be_read_needs_somebody(nobody_finds: None, source: Any) -> None:
    with pytest.raises(jf.ConfigurationError, match=r"jackfield\.configuration"):
        PluginManager().find_configuration(make_request(source))


def test_what_a_command_line_assigns_needs_somebody(nobody_finds: None) -> None:
    set_default_source(assign=["retries=3"])

    with pytest.raises(jf.ConfigurationError, match=r"jackfield\.configuration"):
        PluginManager().find_configuration()
