"""The notebooks of Parsl's tutorial run by cells, as far as they do on Parsl itself.

They are no part of Parsl's wheel. ``TEST_PARSL_TUTORIAL`` names a clone of
github.com/Parsl/parsl-tutorial, of which a copy is used.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any, Final

import nbformat
import pytest
from nbclient import NotebookClient

TUTORIAL: Final = os.environ.get("TEST_PARSL_TUTORIAL", "")
LIMIT_S: Final = 120.0

MAY_FAIL: Final = {
    # Names that Parsl 2026.10 has no more, such as channels; tables of its monitoring,
    # which nothing has filled then; plotly.
    "2-parsl-advanced-features.ipynb": {*range(8), 9, 11, *range(13, 19), 20},
    "1-parsl-introduction.ipynb": {11},  # the internet
    "3-parsl-workflows.ipynb": {6, 7},  # channels; a configuration of a site
}
"""By notebook, the numbers of cells that fail on Parsl itself, or need the internet."""


@pytest.mark.skipif(
    not TUTORIAL, reason="TEST_PARSL_TUTORIAL names no clone of Parsl's tutorial"
)
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", sorted(MAY_FAIL))
def test_a_notebook_of_parsls_runs(tmp_path: Path, name: str) -> None:
    place = tmp_path / "tutorial"
    shutil.copytree(TUTORIAL, place, ignore=shutil.ignore_patterns(".git"))
    for program in (place / "app").iterdir():
        program.chmod(0o755)
    read_book: Any = nbformat.read  # it has no types
    book = read_book(place / name, as_version=4)
    book.cells = [cell for cell in book.cells if cell.cell_type == "code"]
    for cell in book.cells:
        cell.source = renamed(cell.source)
    NotebookClient(
        book,
        timeout=LIMIT_S,
        allow_errors=True,
        resources={"metadata": {"path": str(place)}},
    ).execute()

    failed = {
        number: one.evalue
        for number, cell in enumerate(book.cells)
        for one in cell.outputs
        if one.output_type == "error"
    }
    worse: dict[int, Any] = {n: failed[n] for n in failed if n not in MAY_FAIL[name]}
    assert worse == {}


def renamed(source: str) -> str:
    """Do what docs/coming-from-parsl.md says."""
    source = re.sub(r"\bfrom parsl\b", "from jackfield_parsl", source)
    return re.sub(r"(?m)\bimport parsl$", "import jackfield_parsl as parsl", source)
