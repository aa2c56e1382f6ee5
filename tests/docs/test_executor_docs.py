"""What the documents on executors show runs, and passes the kit that they praise."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jackfield.errors import ConfigurationError
from jackfield_executors import dask, parsl, ray
from jackfield_executors.foreign.options import Options
from jackfield_testing import ExecutorConformance

if TYPE_CHECKING:
    import concurrent.futures

    from jackfield.abc import Executor

DOCS = Path(__file__).parents[2] / "docs"
FIELDS = ["isolated", "cancels_running", "walltime", "shared_filesystem", "resources"]


def run_examples(document: str) -> dict[str, Any]:
    """Execute a document's Python blocks, one after another, and return the names."""
    names: dict[str, Any] = {"__name__": document}
    text = (DOCS / document).read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, document, "exec"), names)
    return names


class TestBatchExample(ExecutorConformance):
    short_cycles = 20

    def make_executor(self, workers: int) -> Executor:
        executor: Executor = run_examples("writing-an-executor.md")["OneThread"]()
        return executor


class TestShortExample(ExecutorConformance):
    waits_at_exit = True

    def make_executor(self, workers: int) -> concurrent.futures.Executor:
        create = run_examples("writing-an-executor.md")["jackfield_create_executor"]
        executor: concurrent.futures.Executor = create(
            "my-pool", "mine", {"workers": workers}
        )
        return executor


def test_the_short_example_leaves_other_kinds_alone() -> None:
    create = run_examples("writing-an-executor.md")["jackfield_create_executor"]

    assert create("threads", "mine", {}) is None


def test_the_short_example_names_its_one_option() -> None:
    create = run_examples("writing-an-executor.md")["jackfield_create_executor"]

    with pytest.raises(ConfigurationError, match="'workers'"):
        create("my-pool", "mine", {"wrkers": 2})


def test_the_examples_on_testing_run() -> None:
    names = run_examples("testing-a-plugin.md")

    assert issubclass(names["TestMyExecutor"], ExecutorConformance)


@pytest.mark.parametrize(
    "attribute",
    [
        "cancels_queued",
        "keeps_order",
        "waits_at_exit",
        "cycles",
        "short_cycles",
    ],
)
def test_the_kits_attributes_are_told_with_their_defaults(attribute: str) -> None:
    default = getattr(ExecutorConformance, attribute)
    shown = f"`{default}`" if isinstance(default, bool | dict) else str(default)

    assert f"| `{attribute}` | {shown} |" in (DOCS / "testing-a-plugin.md").read_text()


@pytest.mark.parametrize("field", [*FIELDS, "survives_worker_death"])
def test_every_capability_is_in_the_table(field: str) -> None:
    assert f"\n| `{field}" in (DOCS / "writing-an-executor.md").read_text()


def test_the_example_of_a_foreign_executor_is_a_script(tmp_path: Path) -> None:
    text = (DOCS / "executors-foreign.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    script = tmp_path / "script.py"
    script.write_text(blocks[0])

    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr


def test_every_option_of_the_adapter_is_documented() -> None:
    text = (DOCS / "executors-foreign.md").read_text()

    named = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert named == [field.name for field in fields(Options) if field.name != "label"]


ENGINES = {"dask": dask, "parsl": parsl, "ray": ray}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> tuple[str, str]:
    """An engine's plugin, and its document."""
    name: str = request.param
    package = "distributed" if name == "dask" else name
    pytest.importorskip(package, reason=f"pip install 'jackfield[{name}]'")
    return name, (DOCS / f"executors-{name}.md").read_text()


def test_every_option_of_an_engine_is_documented(engine: tuple[str, str]) -> None:
    name, text = engine

    named = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    with pytest.raises(ConfigurationError) as caught:
        ENGINES[name].jackfield_check_options("far", {"no such": 1})
    assert f"Options: {', '.join(named)}." in str(caught.value)


def test_the_tables_for_engines_are_right(engine: tuple[str, str]) -> None:
    name, text = engine
    blocks = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)

    tables = [one for b in blocks for one in tomllib.loads(b)["executors"].values()]

    assert {table.pop("plugin") for table in tables} == {name}
    check = ENGINES[name].jackfield_check_options
    assert all(check("far", table) for table in tables)


# Parsl looks for the machine's addresses with sockets that it does not close.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_sites_configuration_for_parsl_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("parsl", reason="pip install 'jackfield[parsl]'")
    from jackfield_executors.parsl.engine import find

    text = (DOCS / "executors-parsl.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "site_in_the_document.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)

    assert find("site_in_the_document:config").label == "cpu"


def test_what_clusters_md_shows_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run_examples("clusters.md")
    tables = re.findall(
        r"^```toml\n(.*?)^```",
        (DOCS / "clusters.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )

    assert capfd.readouterr().out == "booked 7\na\nb\n\n"
    (table,) = [one for t in tables for one in tomllib.loads(t)["executors"].values()]
    assert table.pop("plugin") == "dask"
    assert dask.jackfield_check_options("far", table)
