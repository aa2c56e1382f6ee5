"""The provider that the document on testing shows passes the kit, told as it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from jackfield_testing import StagingConformance, StagingFaults

TEXT = (Path(__file__).parents[2] / "docs" / "testing-a-plugin.md").read_text()


def run_examples() -> dict[str, Any]:
    """Execute the document's Python blocks, one after another; return the names."""
    names: dict[str, Any] = {"__name__": "testing-a-plugin"}
    for block in re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL):
        exec(compile(block, "testing-a-plugin.md", "exec"), names)
    return names


Example: Any = run_examples()["TestArchive"]


class TestArchive(Example):  # type: ignore[misc]  # known when the document is run
    large = 1 << 20


ATTRIBUTES = [
    name
    for kind in StagingConformance.__mro__[:-1]
    for name in vars(kind).get("__annotations__", ())
]


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_the_kits_attributes_are_told_with_their_defaults(attribute: str) -> None:
    default = getattr(StagingConformance, attribute)
    match default:
        case bool():
            shown = f"`{default}`"
        case str():
            shown = f'`"{default}"`'
        case tuple():
            shown = "some"
        case _:
            shown = str(default)

    assert f"| `{attribute}` | {shown} |" in TEXT


FAULTS = [name for name in vars(StagingFaults) if not name.startswith("_")]


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_in_the_table(fault: str) -> None:
    assert re.search(rf"^\| .*`{fault}`.* \|", TEXT, re.MULTILINE)


def test_there_is_something_to_tell() -> None:
    assert len(ATTRIBUTES) == 14
    assert len(FAULTS) == 11
