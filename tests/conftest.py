"""What all tests share: a look for leaks, a kernel, and distributions to install."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import jackfield as jf

LIMIT_S = 10.0
"""Seconds that a test waits for what ought to happen at once."""


@pytest.fixture(autouse=True)
def _nothing_is_left(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    """Run each test in a directory of its own; see that it ends what it starts."""
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))
    for name in list(os.environ):
        if name.startswith("JACKFIELD_"):
            monkeypatch.delenv(name)
    # The key that signs results is the user's; tests have one of their own.
    monkeypatch.setenv(
        "XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "config")
    )
    before = set(threading.enumerate())
    yield
    loaded = _loaded()
    if loaded is not None:
        loaded.cleanup(wait=False)
    assert loaded is None, f"{request.node.name} left a kernel loaded: {loaded!r}"
    left = [t for t in threading.enumerate() if t not in before and _is_ours(t)]
    for thread in left:
        thread.join(LIMIT_S)
    alive = [thread.name for thread in left if thread.is_alive()]
    assert not alive, f"{request.node.name} left threads: {alive}"


def _loaded() -> jf.DataFlowKernel | None:
    try:
        return jf.dfk()
    except jf.NoDataFlowKernelError:
        return None


def _is_ours(thread: threading.Thread) -> bool:
    return thread.name.startswith("jackfield") and thread.name != "jackfield-walltime"


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[jf.DataFlowKernel]:
    """A loaded kernel with four threads, ended after the test."""
    options: dict[str, Any] = {
        "executors": {"threads": {"plugin": "threads", "workers": 4}},
        "run_dir": tmp_path / "runs",
        "exit_grace": 1.0,
    }
    with jf.load(options) as loaded:
        yield loaded


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of installed distributions, first on the path."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    yield site
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(site)):
            del sys.modules[name]


@pytest.fixture
def install(site: Path) -> Callable[..., None]:
    """Install a distribution: its ``entry_points.txt``, and modules by name."""

    def install(
        distribution: str, entry_points: str, /, version: str = "1.0", **modules: str
    ) -> None:
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        )
        (info / "entry_points.txt").write_text(dedent(entry_points))
        for name, source in modules.items():
            (site / f"{name}.py").write_text(dedent(source))
        importlib.invalidate_caches()

    return install
