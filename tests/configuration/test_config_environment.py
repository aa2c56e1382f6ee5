from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.config import Config, Resolved, make_request
from jackfield.errors import ConfigurationError
from jackfield_configuration.resolution import jackfield_find_configuration

if TYPE_CHECKING:
    from pathlib import Path


def resolve_from(source: Any = None, /, *, profiles: Any, **others: Any) -> Resolved:
    return jackfield_find_configuration(make_request(source, **others), profiles)


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
            "JACKFIELD_STAGING__S3__CLIENT__region": "x",
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


# -- Tables that only their plugin or the user understands


@pytest.mark.parametrize("name", ["MY_FLAG", "http_proxy", "Path", "OMP_NUM_THREADS"])
@pytest.mark.parametrize("value", ["yes", "1", "true", "[1]", "2024-01-01", '"x"'])
def test_names_and_values_of_env_are_taken_as_they_are(name: str, value: str) -> None:
    resolved = resolve(
        {
            "JACKFIELD_EXECUTORS__P__PLUGIN": "processes",
            "JACKFIELD_EXECUTORS__P__WORKERS": "2",
            f"JACKFIELD_EXECUTORS__P__ENV__{name}": value,
        },
        {"executors": {"P": {"plugin": "processes", "env": {"my_flag": "other"}}}},
    )

    table = resolved.config.executors["P"]
    assert isinstance(table, dict)
    assert table["env"] == {"my_flag": "other", name: value}
    assert table["workers"] == 2


def test_hosts_and_headers_keep_their_case() -> None:
    table = resolve(
        {
            "JACKFIELD_STAGING__HTTPS__HOSTS__Data.example.org__CONNECTIONS": "1",
            "JACKFIELD_STAGING__HTTPS__HOSTS__KNOWN__ATTEMPTS": "2",
            "JACKFIELD_STAGING__HTTPS__HOSTS__KNOWN__HEADERS__X_Api_Key": "7",
            "JACKFIELD_STAGING__HTTPS__HEADERS__X_Trace": "1",
        },
        {"staging": {"https": {"hosts": {"known": {"attempts": 9}}}}},
    ).config.staging["https"]

    assert table["headers"] == {"X_Trace": "1"}
    assert table["hosts"]["Data.example.org"] == {"connections": 1}
    assert table["hosts"]["known"] == {"attempts": 2, "headers": {"X_Api_Key": "7"}}


def test_env_can_be_set_on_the_command_line_too() -> None:
    from jackfield_configuration.sources import assignments

    texts = ["executors.p.env.A=1", 'executors.p.env.B="2"', "executors.p.workers=3"]
    layers = [layer.values for layer in assignments(texts)]

    assert [layer["executors"]["p"] for layer in layers] == [
        {"env": {"A": "1"}},
        {"env": {"B": "2"}},
        {"workers": 3},
    ]


# -- Variables of others


@pytest.mark.parametrize(
    "name",
    [
        "JACKFIELD_PORT",
        "JACKFIELD_SERVICE_HOST",
        "JACKFIELD_SERVICE_PORT_HTTP",
        "JACKFIELD_PORT_80_TCP",
        "JACKFIELD_PORT_80_TCP_ADDR",
        "JACKFIELD_STAGING_SERVICE_HOST",
        "JACKFIELD_STAGING_PORT_443_TCP_PROTO",
        "JACKFIELD_NAME",
    ],
)
@pytest.mark.filterwarnings("error")
def test_variables_of_a_service_named_jackfield_pass(name: str) -> None:
    assert resolve({name: "tcp://10.0.0.1:80"}).config == Config()


def test_a_variable_that_looks_like_no_key_is_told_and_does_not_stop() -> None:
    with pytest.warns(UserWarning, match=r"'home' .*JACKFIELD_HOME\) is no config"):
        assert resolve({"JACKFIELD_HOME": "/opt"}).config == Config()


# -- Surroundings


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    file = tmp_path / "jackfield.toml"
    file.write_text("\ufeffretries = 3", "utf-8")

    assert resolve({}, file).config.retries == 3
    assert retries_of_profile(file) == 3


def retries_of_profile(file: Path) -> float:
    resolved = resolve_from({}, profiles=lambda _: file, profile="x", environ={})
    return resolved.config.retries


@pytest.mark.parametrize("given", ["", "{}"])
def test_a_working_directory_that_is_gone_is_one_sentence(
    tmp_path: Path, given: str
) -> None:
    code = (
        "import os, jackfield as jf\n"
        "os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\n"
        "try:\n"
        f"    jf.load({given})\n"
        "except jf.ConfigurationError as error: print(error)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    assert done.stdout == (
        "The current directory is gone or closed to you (No such file or directory): "
        "change to another one and start again.\n"
    )
