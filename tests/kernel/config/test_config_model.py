from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, fields, replace
from datetime import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jackfield import DataFlowKernel
from jackfield.config import Config, checked
from jackfield.config.check import _CHECKS
from jackfield.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def test_every_field_has_a_check() -> None:
    assert [one.name for one in fields(Config)] == list(_CHECKS)


def test_the_defaults_pass_their_own_checks() -> None:
    config = Config()

    assert config.executors == {"threads": {"plugin": "threads"}}
    assert config.checkpoint == {}
    assert config.exit_mode == "wait"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("executors", [{"plugin": "threads"}]),
        ("executors", {"cpu": 3}),
        ("executors", {"cpu": ThreadPoolExecutor}),
        ("executors", {7: {"plugin": "threads"}}),
        ("run_dir", 7),
        ("run_dir", ""),
        ("run_dir", "a\0b"),
        ("run_dir", "a\ud800b"),
        ("run_dir", "~no-such-user/runs"),
        ("retries", -1),
        ("retries", True),
        ("retries", "3"),
        ("retries", float("nan")),
        ("retries", 10**400),
        ("exit_grace", 10**400),
        ("transfers", {"idle_timeout": 10**400}),
        ("transfers", {"max_bytes": "9" * 400}),
        ("transfers", {"cache": "a\0b"}),
        ("retry_delay", -0.5),
        ("retry_backoff", 0.5),
        ("retry_max_delay", float("inf")),
        ("max_pending", 0),
        ("max_pending", 10.0),
        ("max_pending", True),
        ("lazy_errors", 1),
        ("app_cache", "yes"),
        ("dependencies", "flat"),
        ("exit_mode", "cleanup"),
        ("exit_grace", None),
        ("internal_threads", 0),
        ("checkpoint", "sqlite:///x.db"),
        ("staging", {"s3": "x"}),
        ("plugins", "metrics"),
        ("plugins", ["metrics"]),
        ("allow_plugins", "metrics"),
        ("block_plugins", None),
        ("block_plugins", ["metrics", ""]),
        ("use_plugins", {"metrics": 3}),
        ("log_level", "LOUD"),
        ("log_level", 10),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_key(key: str, value: object) -> None:
    bad: dict[str, Any] = {key: value}

    with pytest.raises(ConfigurationError, match=rf"^{key}.* \(from Python\) "):
        Config(**bad)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("executors", {}),
        ("run_dir", Path("elsewhere")),
        ("retries", 1.5),
        ("max_pending", None),
        ("allow_plugins", ["metrics"]),
        ("block_plugins", ()),
        ("staging", {"s3": {}, "git+ssh": {}}),
        ("log_level", "OFF"),
    ],
)
def test_a_good_value_passes(key: str, value: object) -> None:
    good: dict[str, Any] = {key: value}

    kept = tuple(value) if isinstance(value, list) else value
    assert getattr(Config(**good), key) == kept


def test_a_kernel_made_by_hand_takes_a_config_and_says_so() -> None:
    with pytest.raises(ConfigurationError, match=r"not dict; .* jackfield\.load"):
        DataFlowKernel({"retries": 2})  # type: ignore[arg-type]  # wrong on purpose


def test_an_unknown_keyword_is_met_with_the_nearest_one() -> None:
    bad: dict[str, Any] = {"retrys": 3}

    with pytest.raises(ConfigurationError, match=r"'retrys'.* did you mean 'retries'"):
        Config(**bad)


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        ("internal_tasks_max_threads", "internal_threads"),
        ("checkpoint_mode", "checkpoint.mode"),
        ("retry_handler", "jackfield_retry"),
        ("strategy", "plugins.scaling.strategy"),
    ],
)
def test_a_keyword_of_parsl_is_met_with_ours(key: str, advice: str) -> None:
    bad: dict[str, Any] = {key: 1}

    with pytest.raises(ConfigurationError, match=advice):
        Config(**bad)


def test_a_near_choice_is_suggested() -> None:
    bad: dict[str, Any] = {"dependencies": "depp"}

    with pytest.raises(ConfigurationError, match="did you mean 'deep'"):
        Config(**bad)


def test_a_table_without_a_plugin_shows_its_likely_misspelling() -> None:
    with pytest.raises(
        ConfigurationError, match=r"executors\.cpu .*'plugin' by 'plugn'"
    ):
        Config(executors={"cpu": {"plugn": "processes", "workers": 2}})


def test_a_plugin_that_is_not_text_is_named_to_the_last_part() -> None:
    with pytest.raises(ConfigurationError, match=r"executors\.cpu\.plugin .*not 3"):
        Config(executors={"cpu": {"plugin": 3}})


@pytest.mark.parametrize("label", ["", "_internal", "all"])
def test_labels_that_mean_something_else_are_refused(label: str) -> None:
    with pytest.raises(ConfigurationError, match="label"):
        Config(executors={label: {"plugin": "threads"}})


def test_a_live_executor_is_kept_as_it_is(pool: ThreadPoolExecutor) -> None:
    assert Config(executors={"mine": pool}).executors["mine"] is pool


def test_executors_that_are_added_later_are_checked_alike() -> None:
    table = {"plugin": "threads"}

    assert checked({"executors": {"io": table}}) == {"executors": {"io": table}}
    with pytest.raises(ConfigurationError, match=r"executors\._x .*label"):
        checked({"executors": {"_x": table}})


def test_a_scheme_in_capitals_is_refused_as_it_would_never_match() -> None:
    with pytest.raises(ConfigurationError, match=r"staging\.S3 .*lower case"):
        Config(staging={"S3": {}})


def test_a_checkpoint_without_a_store_says_how_the_usual_one_is_written() -> None:
    assert Config(checkpoint={"mode": "manual"}).checkpoint == {"mode": "manual"}


def test_a_slip_of_the_stores_name_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"has no store; did you mean"):
        Config(checkpoint={"stor": "sqlite:///x.db"})


def test_the_defaults_of_a_checkpoint_are_filled_in() -> None:
    config = Config(checkpoint={"store": "sqlite:///x.db"})
    periodic = Config(checkpoint={"store": "sqlite:///x.db", "mode": "periodic"})

    assert config.checkpoint == {"store": "sqlite:///x.db", "mode": "task_exit"}
    assert periodic.checkpoint["period"] == "00:30:00"


def test_an_empty_store_is_shown_as_it_is() -> None:
    with pytest.raises(ConfigurationError, match=r"checkpoint\.store .* not ''\."):
        Config(checkpoint={"store": ""})


def test_options_of_the_store_are_left_to_its_plugin() -> None:
    config = Config(checkpoint={"store": "sqlite:///x.db", "timeout": 3})

    assert config.checkpoint["timeout"] == 3


@pytest.mark.parametrize(
    "period", ["30", "00:99:00", "00:00:00", "9999999:00:00", 1800, None]
)
def test_a_period_that_is_no_time_span_is_refused(period: object) -> None:
    with pytest.raises(ConfigurationError, match=r"checkpoint\.period"):
        Config(checkpoint={"store": "x", "mode": "periodic", "period": period})


def test_a_period_may_be_a_time_as_toml_writes_it() -> None:
    config = Config(checkpoint={"store": "x", "period": time(0, 10)})

    assert config.checkpoint["period"] == "00:10:00"


def test_a_level_in_small_letters_is_the_level() -> None:
    small: Any = "debug"

    assert Config(log_level=small).log_level == "DEBUG"


def test_the_home_directory_is_put_in_for_a_tilde() -> None:
    assert Config(run_dir="~/runs").run_dir == Path.home() / "runs"


def test_what_was_passed_in_can_change_without_changing_the_configuration() -> None:
    cpu: dict[str, object] = {"plugin": "processes"}
    plugins = [object()]
    config = Config(executors={"cpu": cpu}, plugins=plugins)

    cpu["plugin"] = "threads"
    plugins.clear()

    assert config.executors == {"cpu": {"plugin": "processes"}}
    assert len(config.plugins) == 1


def test_a_configuration_is_constant() -> None:
    config: Any = Config()

    with pytest.raises(FrozenInstanceError):
        config.retries = 3


def test_a_configuration_survives_pickle_copy_and_replace() -> None:
    config = Config(retries=2, staging={"s3": {"a": [1]}})

    assert pickle.loads(pickle.dumps(config)) == config
    assert copy.deepcopy(config) == config
    assert replace(config, retries=3).retries == 3


def test_the_repr_shows_what_is_set_and_no_secrets() -> None:
    s3 = {"secret": "hunter2", "attempts": 1}
    shown = repr(Config(retries=2, staging={"s3": s3}))

    assert (
        shown == "Config(retries=2, staging={'s3': {'secret': '***', 'attempts': 1}})"
    )


def test_a_message_about_a_table_does_not_show_what_stands_there() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Config(staging={"s3": "hunter2"})  # type: ignore[dict-item]  # that is the test

    assert "hunter2" not in str(caught.value)


def test_importing_the_configuration_stays_light() -> None:
    heavy = "{'tomllib', 'click', 'cloudpickle', 'multiprocessing', 'json', 'asyncio'}"
    code = f"import sys, jackfield.config; print({heavy} & set(sys.modules))"

    ended = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert ended.stdout.strip() == "set()", ended.stderr
