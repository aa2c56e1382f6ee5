"""What tests of pages share: a real browser, and histories of runs to look at."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.staging.servers import needs

from jackfield_monitoring.store.made_up import MadeUp
from jackfield_monitoring.store.writer import RunRow, Writer

if TYPE_CHECKING:
    from tests.monitoring.browsing import Browser

    from jackfield.events import Batch


AXE = "4.14.1"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window, and the driver that moves it; see ``browsing``.

    It starts and ends processes of its own at any time. So it does not stay while tests
    of other files look whether theirs are gone.
    """
    needs.modules("chromium", "selenium")
    chromium = needs.program("chromium", "chromium")
    driver = needs.program("chromium", "chromedriver")
    from tests.monitoring.browsing import Browser

    with Browser(chromium, driver) as browser:
        yield browser


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe-core, which looks for what keeps people from using a page.

    It comes from npm, which not every machine has.
    """
    npm, place = shutil.which("npm"), tmp_path_factory.mktemp("axe")
    if npm is None:
        pytest.skip("there is no npm to get axe-core with")
    package = f"axe-core@{AXE}"
    command = [npm, "pack", "--silent", "--prefer-offline", package]
    try:
        subprocess.run(command, cwd=place, check=True, timeout=60, capture_output=True)
    except subprocess.SubprocessError as error:
        pytest.skip(f"npm does not get {package}: {error}")
    (packed,) = place.glob("*.tgz")
    with tarfile.open(packed) as archive:
        script = archive.extractfile("package/axe.min.js")
        assert script is not None
        return str(script.read(), "utf-8")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A directory of runs."""
    parent = tmp_path / "runs"
    parent.mkdir()
    return parent


@pytest.fixture
def made_up(runs: Path) -> Callable[..., Path]:
    """Make up a run with a history; takes the fields of ``MadeUp``."""

    def make(number: int = 0, **fields: Any) -> Path:
        run = runs / f"{number:03}"
        run.mkdir()
        MadeUp(**fields).write(run / "monitor.db")
        record(run)
        return run

    return make


def record(run: Path, **more: Any) -> None:
    """Write a run's ``run.json``."""
    told: dict[str, Any] = {
        "format": 1, "id": "0" * 32, "state": "done", "began": 1_790_000_000.0,
        "beat": 1_790_000_001.0, "elapsed": 1.0,
        "counts": {"succeeded": 3, "failed": 1}, "failures": ["Task 3 failed: no"],
        "program": {"argv": ["fit.py"], "user": "ada", "host": "lovelace", "pid": 7},
    }  # fmt: skip
    (run / "run.json").write_text(json.dumps(told | more))


def history(
    run: Path, batches: Sequence[Batch], state: str | None = "done", *,
    began: int = 1_790_000_000,
) -> Writer:  # fmt: skip
    """Write a history of these batches; ``None`` leaves it open, as of a live run.

    A run that goes on is to have ``began`` just now, or it counts as lost.
    """
    run.mkdir(exist_ok=True)
    record(run)
    second = 1_000_000
    row = RunRow(
        "0" * 32, str(run), began * second, 0, "lovelace", "ada", 7, "3.13.0",
        "0.1.0", '["fit.py"]', "/home/ada",
    )  # fmt: skip
    writer = Writer(run / "monitor.db", row)
    writer.write(batches)
    if state is not None:
        writer.end(state, 10 * second, [])
    return writer
