"""Loaded into the pytest that runs Parsl's tests: notes each result at once."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_OUT = Path(os.environ["REPORT"]).open("a", buffering=1)  # noqa: SIM115  (as long as the run)
_LEFT_OUT: dict[str, str] = json.loads(os.environ["LEFT_OUT"])


def _note(node: str, outcome: str, why: str = "") -> None:
    _OUT.write(json.dumps([node, outcome, why]) + "\n")


def pytest_configure() -> None:
    """Make threads processes, where this run is to be on processes."""
    from jackfield_parsl.executors.threads import ThreadPoolExecutor

    if os.environ["THREADS_ARE"] == "processes":
        threads: Any = ThreadPoolExecutor
        threads.as_jackfield = lambda self: {
            "plugin": "processes",
            "workers": self.max_threads,
        }


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave out what does not apply; until it has run, a test has failed."""
    kept = []
    for item in session.items:
        found = (why for what, why in _LEFT_OUT.items() if re.search(what, item.nodeid))
        why = next(found, "")
        _note(item.nodeid, "left out" if why else "failed", why or "it did not run")
        if not why:
            kept.append(item)
    session.items[:] = kept


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note a file that cannot be read."""
    if report.failed:
        _note(report.nodeid, "failed", str(report.longrepr)[-3000:])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note a result."""
    if report.skipped:
        _note(report.nodeid, "left out", "it skips itself")
    elif report.when == "call" or report.failed:
        why = str(report.longrepr)[-3000:] if report.failed else ""
        _note(report.nodeid, report.outcome, why)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Clear up behind a test that fails, or those after it would fail too."""
    from jackfield_parsl.dataflow.dflow import DataFlowKernelLoader

    before = DataFlowKernelLoader._dfk
    try:
        return (yield)
    except BaseException:
        left = DataFlowKernelLoader._dfk
        if left is not None and left is before:
            left.kernel.wait_for_current_tasks(20)
        elif left is not None:
            left.kernel.cleanup(wait=False)
            DataFlowKernelLoader.clear()
        raise
