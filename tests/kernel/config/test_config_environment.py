from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.config import Config, Resolved
from jackfield.config import resolve as resolve_from
from jackfield.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def no_profiles(name: str) -> object:
    raise AssertionError(f"no profile was asked for, least of all {name}")


def resolve(environ: dict[str, str], source: Any = None) -> Resolved:
    source = {} if source is None else source
    return resolve_from(source, profiles=no_profiles, environ=environ)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("RETRIES", "3", 3),
        ("RETRIES", "1.5", 1.5),
        ("MAX_PENDING", "100_000", 100_000),
        ("MAX_PENDING", "null", None),
        ("LAZY_ERRORS", "false", False),
        ("RUN_DIR", "2024", "2024"),
        ("RUN_DIR", "true", "true"),
        ("EXIT_MODE", "skip", "skip"),
        ("LOG_LEVEL", "debug", "DEBUG"),
        ("STAGING", '{"s3": {"region": "x"}}', {"s3": {"region": "x"}}),
        ("STAGING", "{s3 = {region = 'x'}}", {"s3": {"region": "x"}}),
    ],
)
def test_a_variable_sets_a_key(name: str, text: str, value: object) -> None:
    resolved = resolve({f"JACKFIELD_{name}": text})

    assert getattr(resolved.config, name.lower()) == value


def test_the_origin_names_the_variable() -> None:
    resolved = resolve({"JACKFIELD_RETRIES": "3"})

    assert resolved.origins["retries"] == "environment variable JACKFIELD_RETRIES"


def test_two_underscores_reach_into_tables() -> None:
    resolved = resolve(
        {
            "JACKFIELD_EXECUTORS__CPU__PLUGIN": "processes",
            "JACKFIELD_EXECUTORS__CPU__WORKERS": "4",
            "JACKFIELD_CHECKPOINT__STORE": "sqlite:///x.db",
            "JACKFIELD_CHECKPOINT__PERIOD": "00:10:00",
            "JACKFIELD_STAGING__S3__CLIENT__REGION": "x",
        }
    )

    assert resolved.config.executors == {"cpu": {"plugin": "processes", "workers": 4}}
    assert resolved.config.checkpoint["period"] == "00:10:00"
    assert resolved.config.staging == {"s3": {"client": {"region": "x"}}}


@pytest.mark.parametrize("label", ["CPU", "Cpu", "cpu"])
def test_a_label_that_exists_is_meant_in_any_case(label: str) -> None:
    resolved = resolve(
        {"JACKFIELD_EXECUTORS__CPU__WORKERS": "4"},
        {"executors": {label: {"plugin": "processes"}}},
    )

    assert resolved.config.executors == {label: {"plugin": "processes", "workers": 4}}


def test_an_underscore_reaches_a_hyphen_that_variables_cannot_have() -> None:
    resolved = resolve(
        {"JACKFIELD_EXECUTORS__BIG_MEM__MAX_TASKS": "4"},
        {"executors": {"big-mem": {"plugin": "processes", "max-tasks": 1}}},
    )

    assert resolved.config.executors["big-mem"] == {
        "plugin": "processes",
        "max-tasks": 4,
    }


def test_a_name_that_two_labels_fit_is_refused() -> None:
    labels = {"cpu": {"plugin": "threads"}, "CPU": {"plugin": "threads"}}

    with pytest.raises(ConfigurationError, match="'cpu' or 'CPU'"):
        resolve({"JACKFIELD_EXECUTORS__CPU__WORKERS": "4"}, {"executors": labels})


def test_the_default_executor_can_be_tuned_alone() -> None:
    resolved = resolve({"JACKFIELD_EXECUTORS__THREADS__WORKERS": "4"})

    assert resolved.config.executors == {"threads": {"plugin": "threads", "workers": 4}}
    assert resolved.origins["executors.threads.plugin"] == "default"


def test_a_new_label_needs_a_plugin() -> None:
    variable = "JACKFIELD_EXECUTORS__GPU__WORKERS"

    with pytest.raises(ConfigurationError, match=rf"executors\.gpu .*{variable}"):
        resolve({variable: "4"})


def test_the_choice_of_a_plugin_does_not_depend_on_the_order_of_names() -> None:
    resolved = resolve(
        {
            "JACKFIELD_EXECUTORS__CPU__BATCH": "7",
            "JACKFIELD_EXECUTORS__CPU__PLUGIN": "other",
        },
        {"executors": {"cpu": {"plugin": "processes", "workers": 8}}},
    )

    assert resolved.config.executors == {"cpu": {"plugin": "other", "batch": 7}}


def test_a_live_executor_takes_no_options_from_outside() -> None:
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(ConfigurationError, match=r"executors\.cpu .*executor object"),
    ):
        resolve(
            {"JACKFIELD_EXECUTORS__CPU__WORKERS": "4"}, Config(executors={"cpu": pool})
        )


def test_a_live_executor_can_be_replaced_from_outside() -> None:
    with ThreadPoolExecutor(1) as pool:
        resolved = resolve(
            {"JACKFIELD_EXECUTORS__CPU__PLUGIN": "threads"},
            Config(executors={"cpu": pool}),
        )

    assert resolved.config.executors == {"cpu": {"plugin": "threads"}}


@pytest.mark.parametrize("text", ["a, b", '["a", "b"]', "a,b,"])
def test_lists_of_plugins_may_be_separated_by_commas(text: str) -> None:
    resolved = resolve({"JACKFIELD_PLUGINS__BLOCK": text})

    assert resolved.config.block_plugins == ("a", "b")


def test_an_option_of_a_plugin_can_be_set() -> None:
    resolved = resolve({"JACKFIELD_PLUGINS__METRICS__PORT": "9000"})

    assert resolved.config.use_plugins == {"metrics": {"port": 9000}}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("JACKFIELD_RETRY", "did you mean 'retries'"),
        ("JACKFIELD_CHECKPOINT_MODE", "write checkpoint.mode"),
        ("JACKFIELD_EXECUTORS_CPU_WORKERS", "Two underscores"),
        ("JACKFIELD_EXECUTORS____WORKERS", "Two underscores"),
        ("JACKFIELD_", "Two underscores"),
        ("JACKFIELD_BLOCK_PLUGINS", "write plugins.block"),
    ],
)
def test_an_unknown_variable_is_an_error_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"variable {name}\).*{hint}"):
        resolve({name: "3"})


def test_a_bad_value_names_the_variable() -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"^retries \(from environment variable JACKFIELD_RETRIES\) must be a "
        r"number of at least 0, not 'many'",
    ):
        resolve({"JACKFIELD_RETRIES": "many"})


def test_empty_variables_are_as_if_not_there() -> None:
    assert (
        resolve({"JACKFIELD_RETRIES": "", "JACKFIELD_PROFILE": ""}).config == Config()
    )


def test_the_plugin_managers_own_variable_is_left_alone() -> None:
    assert resolve({"JACKFIELD_PLUGINS": "-metrics", "HOME": "x"}).config == Config()


def test_the_processs_own_environment_is_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JACKFIELD_RETRIES", "7")

    assert resolve_from({}, profiles=no_profiles).config.retries == 7


@given(text=st.text(min_size=1))
def test_no_text_of_an_option_is_an_error_or_sets_anything_else(text: str) -> None:
    resolved = resolve({"JACKFIELD_PLUGINS__METRICS__NOTE": text})

    assert set(resolved.config.use_plugins["metrics"]) == {"note"}


def test_the_example_file_of_a_directory_can_be_overridden(tmp_path: Path) -> None:
    (tmp_path / "jackfield.toml").write_text("retries = 1\nmax_pending = 5")

    config = resolve({"JACKFIELD_RETRIES": "2"}, tmp_path / "jackfield.toml").config

    assert (config.retries, config.max_pending) == (2, 5)
