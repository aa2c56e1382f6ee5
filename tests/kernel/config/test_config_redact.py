"""Of a configuration, nothing is shown but what is known to be harmless."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import jackfield as jf
from jackfield.config.finding import make_request
from jackfield.config.redact import redacted
from jackfield.plugins import PluginManager
from jackfield_executors.processes.options import parse_options

SECRET = "hunter2"


@pytest.mark.parametrize(
    "values",
    [
        {"executors": {"p": {"plugin": "x", "env": {"GITHUB_PAT": SECRET}}}},
        {"executors": {"p": {"plugin": "x", "env": {"workers": SECRET}}}},
        {"executors": {"p": {"plugin": "x", "initargs": [SECRET, {"store": SECRET}]}}},
        {"executors": {"p": {"plugin": "x", "account": SECRET}}},
        {"executors": {"p": {"plugin": "x", "cluster_options": {"account": SECRET}}}},
        {"executors": {"p": {"plugin": "x", "env": {"memory": SECRET}}}},
        {"staging": {"https": {"headers": {"Authorization": f"Bearer {SECRET}"}}}},
        {"staging": {"https": {"headers": {"region": SECRET}}}},
        {"staging": {"https": {"hosts": {"h": {"headers": {"Cookie": SECRET}}}}}},
        {"staging": {"abfs": {"connection_string": f"Key={SECRET};Host=x"}}},
        {"staging": {"s3": {"client_kwargs": {"auth": [SECRET]}}}},
        {"staging": {"s3": {"endpoint_url": f"https://{SECRET}@host/"}}},
        {"staging": {"s3": {"endpoint_url": f"https://me:{SECRET}@host/?x={SECRET}"}}},
        {"checkpoint": {"store": f"postgres://me:{SECRET}@host/db"}},
        {"checkpoint": {"store": f"host=x password={SECRET}"}},
        {"checkpoint": {"store": "memory", "read": [f"pg://a:{SECRET}@h/"]}},
        {"checkpoint": {"store": "memory", "dsn": SECRET, "pin": [SECRET]}},
        {"use_plugins": {"slack": {"hook": f"https://hooks.example/{SECRET}"}}},
        {"transfers": {"credentials": f"user={SECRET}"}},
    ],
)
def test_no_secret_is_shown_whatever_it_is_called(values: Mapping[str, Any]) -> None:
    config = jf.Config(**values)

    assert SECRET not in repr(config)
    [(name, value)] = values.items()
    assert SECRET not in repr(redacted((name,), value))


def test_the_pin_of_a_plugin_is_not_shown_either() -> None:
    assert redacted(("use_plugins", "door", "pin"), 1234) == "***"


def test_objects_are_shown_by_their_type() -> None:
    start = functools.partial(print, SECRET)
    table = {"plugin": "processes", "initializer": start}
    with ThreadPoolExecutor(1, thread_name_prefix=SECRET) as pool:
        shown = repr(jf.Config(executors={"a": pool, "p": table}))

    assert "<ThreadPoolExecutor>" in shown
    assert "<partial>" in shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (("retries",), 3),
        (("run_dir",), "/scratch/a=b/runs"),
        (("executors", "cpu", "workers"), 8),
        (("executors", "far", "cluster"), "slurm"),
        (("executors", "far", "cluster_options", "memory"), "64 GB"),
        (("checkpoint", "store"), "sqlite:///results.db"),
        (("checkpoint", "read"), ["sqlite:///a.db", "pickle:///b"]),
        (("transfers", "attempts"), 5),
        (("staging", "s3", "endpoint_url"), "https://s3.example.org"),
        (("staging", "https", "hosts", "h", "credentials"), "lab"),
        (("staging", "https", "anything"), True),
        (("checkpoint", "anything"), None),
    ],
)
def test_what_is_known_to_be_harmless_is_shown(key: Any, value: object) -> None:
    assert redacted(key, value) == value


def test_the_rest_of_a_url_is_shown() -> None:
    shown = redacted(("checkpoint", "store"), "postgres://me:x@host/db?sslkey=y")

    assert shown == "postgres://***@host/db?***"


@pytest.mark.parametrize(
    "refused",
    [
        lambda: jf.Config(checkpoint={"store": SECRET.encode()}),
        lambda: jf.Config(executors={"p": {"plugin": ["x", SECRET]}}),
        lambda: jf.Config(executors=SECRET),  # type: ignore[arg-type]  # as meant
        lambda: jf.Config(staging={"s3": SECRET}),  # type: ignore[dict-item]  # too
        lambda: jf.Config(transfers={"attempts": f"https://a:{SECRET}@h/"}),
        lambda: jf.Config(transfers={"attempts": {"token": SECRET}}),
        lambda: parse_options("p", {"env": {"A": 1, "B": SECRET}}),
        lambda: parse_options("p", {"initargs": SECRET}),
        lambda: parse_options("p", {"initializer": f"{SECRET} "}),
        lambda: jf.Remote(url="https://h/", options={"headers": SECRET}).read_options(
            _options()
        ),
    ],
)
def test_an_error_of_a_type_quotes_no_secret(refused: Callable[[], object]) -> None:
    with pytest.raises(jf.ConfigurationError) as caught:
        refused()

    assert SECRET not in str(caught.value)


def _options() -> Any:
    from dataclasses import dataclass, field

    @dataclass
    class Options:
        headers: dict[str, str] = field(default_factory=dict)

    return Options


def test_a_wrong_variable_does_not_tell_its_value() -> None:
    environ = {"JACKFIELD_EXECUTORS__P": SECRET}

    with pytest.raises(jf.ConfigurationError) as caught:
        PluginManager().find_configuration(make_request({}, environ=environ))

    assert SECRET not in str(caught.value)
