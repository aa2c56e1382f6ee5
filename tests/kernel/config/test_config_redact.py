"""Of a configuration, nothing is shown but what is known to be harmless."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.config.finding import make_request
from jackfield.config.shown import shown
from jackfield.plugins import PluginManager
from jackfield_executors.processes.options import parse_options

Install = Callable[..., None]
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
    assert SECRET not in repr(shown(config, PluginManager().shown_options))


def test_the_pin_of_a_plugin_is_not_shown_either() -> None:
    config = jf.Config(use_plugins={"door": {"pin": 1234}})

    assert shown(config, PluginManager().shown_options)["plugins.door.pin"] == "***"
    assert "1234" not in repr(config)


def test_objects_are_shown_by_their_type() -> None:
    start = functools.partial(print, SECRET)
    table = {"plugin": "processes", "initializer": start}
    with ThreadPoolExecutor(1, thread_name_prefix=SECRET) as pool:
        shown = repr(jf.Config(executors={"a": pool, "p": table}))

    assert "<ThreadPoolExecutor>" in shown
    assert "<partial>" in shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"retries": 3}, "retries"),
        ({"run_dir": "/scratch/a=b/runs"}, "run_dir"),
        (
            {"executors": {"c": {"plugin": "threads", "workers": 8}}},
            "executors.c.workers",
        ),
        (
            {"executors": {"far": {"plugin": "dask", "cluster": "slurm"}}},
            "executors.far.cluster",
        ),
        (
            {
                "executors": {
                    "far": {"plugin": "dask", "cluster_options": {"memory": "64 GB"}}
                }
            },
            "executors.far.cluster_options.memory",
        ),
        ({"checkpoint": {"store": "sqlite:///results.db"}}, "checkpoint.store"),
        (
            {"checkpoint": {"store": "sqlite:///r.db", "trust": "signed"}},
            "checkpoint.trust",
        ),
        ({"transfers": {"attempts": 5}}, "transfers.attempts"),
        (
            {"staging": {"s3": {"endpoint_url": "https://s3.example.org"}}},
            "staging.s3.endpoint_url",
        ),
        (
            {"staging": {"https": {"hosts": {"h": {"credentials": "lab"}}}}},
            "staging.https.hosts.h.credentials",
        ),
        (
            {"staging": {"https": {"hosts": {"h": {"ca_file": "/etc/ca.pem"}}}}},
            "staging.https.hosts.h.ca_file",
        ),
        ({"staging": {"https": {"anything": True}}}, "staging.https.anything"),
        (
            {"monitors": {"web": {"plugin": "prometheus", "port": 9}}},
            "monitors.web.port",
        ),
        (
            {"use_plugins": {"journal": {"max_megabytes": 9}}},
            "plugins.journal.max_megabytes",
        ),
    ],
)
def test_what_is_known_to_be_harmless_is_shown(
    values: Mapping[str, Any], key: str
) -> None:
    value: Any = values
    path = key.replace("plugins.", "use_plugins.", 1).split(".")
    while path:
        value = value[path.pop(0)]

    config = jf.Config(**values)

    assert shown(config, PluginManager().shown_options)[key] == value


def test_the_rest_of_a_url_is_shown() -> None:
    config = jf.Config(checkpoint={"store": "postgres://me:x@host/db?sslkey=y"})

    store = shown(config, PluginManager().shown_options)["checkpoint.store"]

    assert store == "postgres://***@host/db?***"


# -- What plugins of others declare

LAB = """
    import jackfield as jf
    JACKFIELD_SHOWN = ["nodes", "site.rack"]

    @jf.hookimpl
    def jackfield_create_executor(kind): ...
"""
WATCH = """
    import jackfield as jf

    class Watch:
        JACKFIELD_SHOWN = {"level"}

        def __init__(self, *, level=0, pin=""):
            raise SystemExit("nobody makes one to show its options")

        @jf.hookimpl
        def jackfield_kernel_started(self): ...
"""


def executors(plugin: str, **options: Any) -> jf.Config:
    return jf.Config(executors={"a.b": {"plugin": plugin, **options}})


def test_a_plugin_of_others_says_what_may_be_shown(install: Install) -> None:
    install("lab-tools", "[jackfield.executors]\nlab = lab_shown\n", lab_shown=LAB)
    config = executors(
        "lab",
        nodes=4,
        token=SECRET,
        site={"rack": "r7", "door": SECRET, "nodes": SECRET},
        more=[{"nodes": SECRET}],
    )

    seen = shown(config, PluginManager().shown_options)

    assert {key: value for key, value in seen.items() if key.startswith("exec")} == {
        "executors.a.b.plugin": "lab",
        "executors.a.b.nodes": 4,
        "executors.a.b.token": "***",
        "executors.a.b.site.rack": "r7",
        "executors.a.b.site.door": "***",
        "executors.a.b.site.nodes": "***",
        "executors.a.b.more": "***",
    }


def test_what_is_declared_holds_for_that_plugin_alone(install: Install) -> None:
    both = "[jackfield.executors]\nlab = lab_shown\nother = other_shown\n"
    silent = LAB.replace("JACKFIELD_SHOWN", "SHOWN_ELSEWHERE")
    install("lab-tools", both, lab_shown=LAB, other_shown=silent)

    seen = shown(executors("other", nodes=4), PluginManager().shown_options)

    assert seen["executors.a.b.nodes"] == "***"


def test_a_class_declares_it_and_is_not_called_for_that(install: Install) -> None:
    install(
        "lab-tools", "[jackfield.optional]\nwatch = watching:Watch\n", watching=WATCH
    )
    config = jf.Config(use_plugins={"watch": {"level": 2, "pin": SECRET}})

    seen = shown(config, PluginManager().shown_options)

    assert seen["plugins.watch.level"] == 2
    assert seen["plugins.watch.pin"] == "***"


@pytest.mark.parametrize(
    "source",
    [
        LAB.replace('["nodes", "site.rack"]', '"nodes"'),  # of letters, were it taken
        LAB.replace('["nodes", "site.rack"]', "3"),
        LAB.replace('["nodes", "site.rack"]', "None"),
        "1 / 0",
        LAB + "    JACKFIELD_API = '>=7'\n",
    ],
)
def test_where_nothing_is_declared_rightly_nothing_is_shown(
    install: Install, source: str
) -> None:
    install("lab-tools", "[jackfield.executors]\nlab = lab_odd\n", lab_odd=source)
    sys.modules.pop("lab_odd", None)

    seen = shown(executors("lab", nodes=4, n=5), PluginManager().shown_options)

    assert seen["executors.a.b.nodes"] == "***"
    assert seen["executors.a.b.n"] == "***"


class OfProgram:
    """A plugin of the program, which may make an executor of any name."""

    def __init__(self, *names: str) -> None:
        self.JACKFIELD_SHOWN = names

    @jf.hookimpl
    def jackfield_create_executor(self, kind: str) -> None: ...


class Listener:
    """One that has no part in it, and says nothing of options."""

    @jf.hookimpl
    def jackfield_kernel_started(self) -> None: ...


def test_of_the_programs_plugins_counts_what_all_declare_that_may_be_meant() -> None:
    config = executors("mine", nodes=4, token=SECRET)
    one, other = OfProgram("nodes", "token"), OfProgram("nodes")

    alone = shown(config, PluginManager([one, Listener()]).shown_options)
    both = shown(config, PluginManager([one, other]).shown_options)

    assert alone["executors.a.b.token"] == SECRET  # as it declares
    assert both["executors.a.b.token"] == "***"
    assert both["executors.a.b.nodes"] == 4


def test_an_installed_plugin_speaks_for_its_name_itself() -> None:
    config = executors("processes", workers=2, env={"A": SECRET}, initargs=[SECRET])
    theirs = OfProgram("env.A", "initargs")

    seen = shown(config, PluginManager([theirs]).shown_options)

    assert seen["executors.a.b.workers"] == 2
    assert seen["executors.a.b.env.A"] == "***"
    assert seen["executors.a.b.initargs"] == "***"


def test_a_run_shows_what_its_plugins_declare(install: Install, tmp_path: Path) -> None:
    source = """
        import jackfield as jf
        JACKFIELD_SHOWN = ("nodes",)

        @jf.hookimpl
        def jackfield_create_executor(kind, options):
            from concurrent.futures import ThreadPoolExecutor
            return ThreadPoolExecutor(options["nodes"])
    """
    install("lab-tools", "[jackfield.executors]\nlab = lab_run\n", lab_run=source)
    table = {"plugin": "lab", "nodes": 2, "token": SECRET}

    config = jf.Config(executors={"far": table}, run_dir=tmp_path)
    with jf.load(config) as kernel:
        seen = kernel.settings()

    assert seen["executors.far.nodes"] == 2
    assert seen["executors.far.token"] == "***"
    record = json.loads((kernel.run_dir / "run.json").read_text())["settings"]
    assert record["executors.far.nodes"] == 2
    assert SECRET not in json.dumps(record)


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
