"""The page of metrics and traces: its tables are whole, and its examples load."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path

import pytest

import jackfield as jf
from jackfield_monitoring.telemetry import spans
from jackfield_monitoring.telemetry.metrics import Numbers

TEXT = (Path(__file__).parents[2] / "docs/monitors.md").read_text("utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


def test_each_metric_is_told() -> None:
    numbers = Numbers()
    suffixes = {"counter": "_total", "info": "_info"}
    found = [
        family.name + suffixes.get(family.type, "")
        for family in numbers.registry.collect()
    ]

    assert re.findall(r"^\| `(jackfield_\w+)` \|", TEXT, re.MULTILINE) == found


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_is_accepted(text: str, tmp_path: Path) -> None:
    monitors = tomllib.loads(text)["monitors"]
    for table in monitors.values():
        if "port" in table:
            table["port"] = 0  # that of the example may be taken
    with jf.load({"run_dir": str(tmp_path / "runs"), "monitors": monitors}):
        pass


def test_each_attribute_of_a_span_is_told() -> None:
    source = inspect.getsource(spans)
    names = set(re.findall(r'"(jackfield\.[\w.]+|host\.name|process\.pid)"', source))
    more = re.findall(r'^ +"(\w+)": rec', source, re.MULTILINE)
    names |= {f"jackfield.{name}" for name in more}

    assert len(names) > 15
    assert {name for name in names if f"`{name}`" not in TEXT} == set()
