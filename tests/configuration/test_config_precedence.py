from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jackfield.config import Config, Resolved, make_request, set_default_source
from jackfield.errors import ConfigurationError, PluginNotFoundError
from jackfield_configuration.resolution import jackfield_find_configuration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SITE = {"site": {"retries": 3, "executors": {"cpu": {"plugin": "batch", "nodes": 2}}}}


def resolve(source: Any = None, /, *, profiles: Any, **others: Any) -> Resolved:
    return jackfield_find_configuration(make_request(source, **others), profiles)


def profiles(name: str) -> object:
    if name not in SITE:
        raise PluginNotFoundError("profile", name, tuple(SITE))
    return SITE[name]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory whose file sets three keys and two executors."""
    (tmp_path / "jackfield.toml").write_text(
        """
        retries = 1
        max_pending = 5
        run_dir = "from-file"
        [executors.cpu]
        plugin = "processes"
        workers = 8
        [executors.io]
        plugin = "threads"
        """
    )
    return tmp_path


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "jackfield.toml").touch()

    resolved = resolve(profiles=profiles, directory=tmp_path, environ={})

    assert resolved.config == Config()
    assert list(resolved.files) == [str(tmp_path / "jackfield.toml")]


@pytest.fixture(autouse=True)
def no_choice_is_left() -> Iterator[None]:
    yield
    set_default_source()


def test_a_profile_comes_above_the_file(project: Path) -> None:
    resolved = resolve("site", profiles=profiles, directory=project, environ={})

    assert (resolved.config.retries, resolved.config.max_pending) == (3, 5)
    assert resolved.origins["retries"] == "profile 'site'"


def test_the_environment_comes_above_the_profile(project: Path) -> None:
    environ = {"JACKFIELD_RETRIES": "4"}

    resolved = resolve("site", profiles=profiles, directory=project, environ=environ)

    assert resolved.config.retries == 4


def test_keywords_come_above_the_environment(project: Path) -> None:
    environ = {"JACKFIELD_RETRIES": "4"}

    resolved = resolve(profiles=profiles, directory=project, environ=environ, retries=5)

    assert resolved.config.retries == 5
    assert resolved.origins["retries"] == "Python"


def test_executors_merge_label_by_label(project: Path) -> None:
    resolved = resolve(
        profiles=profiles,
        directory=project,
        environ={},
        executors={"gpu": {"plugin": "threads"}, "cpu": {"workers": 2}},
    )

    assert resolved.config.executors == {
        "cpu": {"plugin": "processes", "workers": 2},
        "io": {"plugin": "threads"},
        "gpu": {"plugin": "threads"},
    }


def test_options_of_another_plugin_do_not_linger(project: Path) -> None:
    resolved = resolve("site", profiles=profiles, directory=project, environ={})

    assert resolved.config.executors["cpu"] == {"plugin": "batch", "nodes": 2}
    assert "executors.cpu.workers" not in resolved.origins


def test_options_of_another_store_do_not_linger_but_the_mode_does() -> None:
    below = {"store": "sqlite:///a.db", "timeout": 3, "mode": "manual"}

    resolved = resolve(
        {"checkpoint": below},
        profiles=profiles,
        environ={},
        checkpoint={"store": "pickle:///b"},
    )

    assert resolved.config.checkpoint == {"store": "pickle:///b", "mode": "manual"}


def test_a_store_of_the_same_kind_keeps_its_options() -> None:
    below = {"store": "sqlite:///a.db", "timeout": 3}

    resolved = resolve(
        {"checkpoint": below},
        profiles=profiles,
        environ={},
        checkpoint={"store": "sqlite:///b.db"},
    )

    assert resolved.config.checkpoint["timeout"] == 3


def test_a_configured_executor_ends_the_default_one() -> None:
    resolved = resolve(
        {"executors": {"cpu": {"plugin": "processes"}}}, profiles=profiles, environ={}
    )

    assert list(resolved.config.executors) == ["cpu"]


def test_a_config_is_complete_and_no_file_is_read(project: Path) -> None:
    resolved = resolve(
        Config(retries=7), profiles=profiles, directory=project, environ={}
    )

    assert resolved.config == Config(retries=7)
    assert resolved.origins["retries"] == "Python"


def test_a_config_keeps_its_live_objects() -> None:
    plugin = object()

    resolved = resolve(Config(plugins=[plugin]), profiles=profiles, environ={})

    assert resolved.config.plugins == (plugin,)
    assert resolved.origins["plugins"] == "Python"


def test_the_environment_overrides_a_config() -> None:
    environ = {"JACKFIELD_RETRIES": "4"}

    resolved = resolve(
        Config(retries=7, max_pending=5), profiles=profiles, environ=environ
    )

    assert resolved.config == Config(retries=4, max_pending=5)


def test_a_variable_chooses_the_profile_where_none_is_named(project: Path) -> None:
    environ = {"JACKFIELD_PROFILE": "site"}

    found = resolve(profiles=profiles, directory=project, environ=environ)
    given = resolve(Config(retries=7), profiles=profiles, environ=environ)

    assert found.config.retries == 3
    assert given.config.retries == 3


def test_a_named_profile_is_not_replaced_by_the_variable(project: Path) -> None:
    environ = {"JACKFIELD_PROFILE": "no-such-profile"}

    resolved = resolve("site", profiles=profiles, directory=project, environ=environ)

    assert resolved.config.retries == 3


def test_an_unknown_profile_is_the_plugin_managers_error() -> None:
    with pytest.raises(PluginNotFoundError, match="did you mean 'site'"):
        resolve("sites", profiles=profiles, environ={})


def test_an_unknown_keyword_is_an_error() -> None:
    keyword: dict[str, Any] = {"retrys": 3}

    with pytest.raises(ConfigurationError, match="did you mean 'retries'"):
        resolve({}, profiles=profiles, environ={}, **keyword)


def test_a_keyword_can_take_a_limit_away() -> None:
    resolved = resolve(
        {"max_pending": 5}, profiles=profiles, environ={}, max_pending=None
    )

    assert resolved.config.max_pending is None


def test_an_empty_table_says_that_there_are_no_executors_yet() -> None:
    resolved = resolve({"executors": {}}, profiles=profiles, environ={})

    assert resolved.config.executors == {}
    assert resolved.origins["executors"] == "Python"


def test_every_value_has_an_origin_and_nothing_else_has(project: Path) -> None:
    resolved = resolve(
        "site",
        profiles=profiles,
        directory=project,
        environ={"JACKFIELD_STAGING__S3__KEY": "x", "JACKFIELD_PLUGINS__M__A": "1"},
    )

    assert list(resolved.origins) == [
        "executors.cpu.plugin",
        "executors.cpu.nodes",
        "executors.io.plugin",
        "run_dir",
        "shared_run_dir",
        "retries",
        "retry_delay",
        "retry_backoff",
        "retry_max_delay",
        "max_pending",
        "lazy_errors",
        "app_cache",
        "dependencies",
        "exit_mode",
        "exit_grace",
        "internal_threads",
        "scale_period",
        "checkpoint",
        "staging.s3.key",
        "transfers",
        "plugins.allow",
        "plugins.block",
        "plugins.m.a",
        "log_level",
    ]


# -- Chosen from outside ------------------------------------------------------------


def test_the_chosen_source_is_used_where_none_is_named(project: Path) -> None:
    set_default_source({"retries": 9})

    unnamed = resolve(profiles=profiles, directory=project, environ={})
    named = resolve(Config(retries=7), profiles=profiles, environ={})

    assert unnamed.config == Config(retries=9)
    assert named.config.retries == 7


def test_the_chosen_profile_comes_before_one_that_the_program_names() -> None:
    set_default_source({"max_pending": 5}, profile="site")

    resolved = resolve("no-such-profile", profiles=profiles, environ={})

    assert (resolved.config.retries, resolved.config.max_pending) == (3, 5)


def test_a_chosen_source_may_be_the_name_of_a_profile(project: Path) -> None:
    set_default_source("site")

    resolved = resolve(profiles=profiles, directory=project, environ={})

    assert (resolved.config.retries, resolved.config.max_pending) == (3, 5)


def test_assignments_come_above_everything() -> None:
    set_default_source(assign=["retries=9", "executors.cpu.plugin=processes"])
    environ = {"JACKFIELD_RETRIES": "4"}

    resolved = resolve(Config(), profiles=profiles, environ=environ, retries=5)

    assert resolved.config.retries == 9
    assert resolved.config.executors == {"cpu": {"plugin": "processes"}}
    assert resolved.origins["retries"] == "command line"


def test_defaults_from_outside_are_used_where_nobody_says_anything() -> None:
    set_default_source(defaults=["monitors.db.plugin=sqlite", "retries=4"])
    theirs = {"monitors": {"mine": {"plugin": "other"}}}
    nothing: dict[str, Any] = {"monitors": {}}

    resolved = [
        resolve(source, profiles=profiles, environ={}).config
        for source in (Config(), theirs, nothing)
    ]

    assert [one.monitors for one in resolved] == [
        {"db": {"plugin": "sqlite"}}, theirs["monitors"], {},
    ]  # fmt: skip
    assert [one.retries for one in resolved] == [4, 4, 4]


def test_assignments_may_quote_a_label_with_a_dot() -> None:
    set_default_source(
        assign=['executors."my.cpu".plugin=threads', "plugins.block=a,b"]
    )

    config = resolve({}, profiles=profiles, environ={}).config

    assert config.executors == {"my.cpu": {"plugin": "threads"}}
    assert config.block_plugins == ("a", "b")


@pytest.mark.parametrize("text", ["retries", "=3", "a b=3", "retries\nx=3", "[x]=3"])
def test_a_text_that_is_no_assignment_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="KEY=VALUE"):
        set_default_source(assign=[text])


def test_an_assignment_to_an_unknown_key_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"command line.*'retries'"):
        set_default_source(assign=["retrys=3"])


def test_chosen_plugins_are_added_to_those_of_the_program() -> None:
    mine, theirs = object(), object()
    set_default_source(plugins=[theirs])

    resolved = resolve(Config(plugins=[mine]), profiles=profiles, environ={})

    assert resolved.config.plugins == (mine, theirs)


def test_a_choice_can_be_taken_back() -> None:
    set_default_source({"retries": 9}, assign=["max_pending=5"])
    set_default_source()

    assert resolve({}, profiles=profiles, environ={}).config == Config()
