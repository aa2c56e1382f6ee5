"""What the documents on executors show runs, and passes the kit that they praise."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jackfield.errors import ConfigurationError
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
        "resource_amounts",
    ],
)
def test_the_kits_attributes_are_told_with_their_defaults(attribute: str) -> None:
    default = getattr(ExecutorConformance, attribute)
    shown = f"`{default}`" if isinstance(default, bool | dict) else str(default)

    assert f"| `{attribute}` | {shown} |" in (DOCS / "testing-a-plugin.md").read_text()


@pytest.mark.parametrize("field", [*FIELDS, "survives_worker_death"])
def test_every_capability_is_in_the_table(field: str) -> None:
    assert f"\n| `{field}" in (DOCS / "writing-an-executor.md").read_text()
