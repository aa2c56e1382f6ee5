"""What the plugin of pytest costs, and what its kernel does at the end of a test."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import jackfield as jf
import jackfield_testing
from jackfield_testing.footprint import settled
from jackfield_testing.kernels import NAMED, kernel_that_ends

LIMIT_S = 120.0
SOON_S = 0.2
SUBMITTED_S = 2.0
"""Seconds in which a test that then hangs has submitted its tasks, and they run."""
KITS = sorted(
    f"jackfield_testing.{path.parent.name}.{path.stem}"
    for kit in ("checkpoints", "executors", "staging")
    for path in (Path(jackfield_testing.__file__).parent / kit).glob("[!_]*.py")
)


@pytest.fixture
def gate() -> Any:
    """An event that is set at the end of the test, if not before."""
    event = threading.Event()
    yield event
    event.set()


def never() -> bool:
    return False


def loaded() -> bool:
    try:
        jf.dfk()
    except jf.NoDataFlowKernelError:
        return False
    return True


# -- What it costs


def run_pytest(place: Path, test: str, *options: str) -> tuple[int, str]:
    """Run pytest, as a program and with all warnings as errors, on one test module."""
    (place / "test_it.py").write_text(dedent(test))
    ran = subprocess.run(
        [
            *(sys.executable, "-W", "error", "-m", "pytest", "-W", "error"),
            *("-p", "no:cacheprovider", "--basetemp", "tmp", "--strict-markers"),
            *options,
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=place,
        timeout=LIMIT_S,
    )
    return ran.returncode, ran.stdout + ran.stderr


def test_nothing_is_imported_before_a_fixture_is_asked_for(tmp_path: Path) -> None:
    code, output = run_pytest(
        tmp_path,
        """
        import json, pathlib, sys

        def test_modules():
            pathlib.Path("modules").write_text(json.dumps(list(sys.modules)))
        """,
    )

    assert code == 0, output
    modules = json.loads((tmp_path / "modules").read_text())
    assert {name for name in modules if name.startswith("jackfield")} == {
        "jackfield_testing",
        "jackfield_testing.pytest_plugin",
    }


def test_asserts_of_the_kits_are_explained(tmp_path: Path) -> None:
    code, output = run_pytest(
        tmp_path,
        f"""
        from importlib import import_module

        def test_loaders():
            for name in {KITS!r}:
                loader = import_module(name).__loader__
                assert type(loader).__name__ == "AssertionRewritingHook", name
        """,
    )

    assert len(KITS) > 20
    assert code == 0, output


def test_the_marker_of_long_tests_is_known(tmp_path: Path) -> None:
    code, output = run_pytest(
        tmp_path,
        """
        import pytest

        @pytest.mark.slow
        def test_long():
            raise AssertionError("it is not to run")

        def test_short():
            pass
        """,
        *("-m", "not slow"),
    )

    assert code == 0, output
    assert "1 passed, 1 deselected" in output


# -- The kernel


def test_it_is_loaded_in_the_tests_directory(
    jackfield_kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    assert jf.dfk() is jackfield_kernel
    assert jackfield_kernel.run_dir.is_relative_to(tmp_path)
    assert jackfield_kernel.executors == ("threads",)
    assert jackfield_kernel.submit(len, "abc").result(LIMIT_S) == 3


class TestConfigured:
    @pytest.fixture
    def jackfield_config(self) -> dict[str, Any]:
        return {"retries": 3}

    def test_options_are_laid_over_the_defaults(
        self, jackfield_kernel: jf.DataFlowKernel
    ) -> None:
        assert jackfield_kernel.config.retries == 3
        assert jackfield_kernel.executors == ("threads",)


def test_a_whole_configuration_is_taken_as_it_is(tmp_path: Path) -> None:
    config = jf.Config(
        run_dir=tmp_path / "elsewhere",
        executors={"mine": {"plugin": "threads", "workers": 1}},
    )

    with kernel_that_ends(config, tmp_path / "runs", LIMIT_S, never) as kernel:
        assert kernel.executors == ("mine",)
        assert kernel.run_dir.is_relative_to(tmp_path / "runs")
    assert not (tmp_path / "elsewhere").exists()


def test_a_configuration_may_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('retries = 2\n[executors.mine]\nplugin = "threads"\n')

    with kernel_that_ends(str(path), tmp_path / "runs", LIMIT_S, never) as kernel:
        assert kernel.config.retries == 2
        assert kernel.executors == ("mine",)


def test_what_still_runs_after_a_test_that_passed_is_waited_for(
    tmp_path: Path, gate: threading.Event
) -> None:
    with kernel_that_ends({}, tmp_path, LIMIT_S, never) as kernel:
        futures = [kernel.submit(gate.wait, LIMIT_S) for _ in range(8)]
        threading.Timer(SOON_S, gate.set).start()

    assert [future.result(0) for future in futures] == [True] * 8
    assert kernel.closed
    assert not loaded()


def test_what_still_runs_after_a_test_that_failed_is_cancelled(
    tmp_path: Path, gate: threading.Event
) -> None:
    began = time.monotonic()

    with kernel_that_ends(
        {"exit_grace": SOON_S}, tmp_path, LIMIT_S, lambda: True
    ) as kernel:
        futures = [kernel.submit(gate.wait, LIMIT_S) for _ in range(8)]

    assert time.monotonic() - began < LIMIT_S / 2
    assert all(future.cancelled() for future in futures)
    assert not loaded()


@contextmanager
def ended_at_the_limit(run_dir: Path) -> Iterator[tuple[jf.DataFlowKernel, list[str]]]:
    """Give a kernel with a short limit; the list has the failure's lines afterwards."""
    lines: list[str] = []
    try:
        with kernel_that_ends(
            {"exit_grace": SOON_S}, run_dir, SUBMITTED_S, never
        ) as kernel:
            yield kernel, lines
    except pytest.fail.Exception as failure:
        lines += str(failure).splitlines()


@pytest.mark.parametrize("waits", [True, False], ids=["in the test", "at its end"])
def test_at_the_limit_a_test_goes_on_and_its_tasks_are_named(
    tmp_path: Path, gate: threading.Event, waits: bool
) -> None:
    def hang(_: object) -> None:
        gate.wait(LIMIT_S)

    with ended_at_the_limit(tmp_path) as (kernel, lines):
        first = kernel.submit(hang, None)
        others = [kernel.submit(hang, first) for _ in range(5)]
        if waits:
            with pytest.raises(CancelledError):
                first.result(LIMIT_S)

    assert lines[0].endswith("Unfinished tasks: 5 waiting, 1 submitted")
    assert lines[1:] == ["  hang on threads"]
    assert first.cancelled()
    assert all(future.done() for future in others)
    assert not loaded()


def test_a_message_names_no_more_tasks_than_can_be_read(
    tmp_path: Path, gate: threading.Event
) -> None:
    with ended_at_the_limit(tmp_path) as (kernel, lines):
        for _ in range(NAMED + 3):
            kernel.submit(gate.wait, LIMIT_S)

    assert lines[0].endswith(f"Unfinished tasks: {NAMED + 3} submitted")
    assert lines[1] == "  wait on threads"
    assert len(lines) == 1 + NAMED + 1
    assert lines[-1] == "  ... and 3 more"


def test_at_the_limit_a_test_without_tasks_fails_too(tmp_path: Path) -> None:
    with ended_at_the_limit(tmp_path) as (kernel, lines):
        assert settled(lambda: kernel.closed, LIMIT_S)

    assert lines[0].endswith("Unfinished tasks: none")


def test_a_kernel_that_the_test_has_ended_is_fine(tmp_path: Path) -> None:
    with kernel_that_ends({}, tmp_path, LIMIT_S, never) as kernel:
        kernel.cleanup()


def test_another_kernel_that_the_test_leaves_loaded_is_ended(tmp_path: Path) -> None:
    with kernel_that_ends({}, tmp_path, LIMIT_S, never):
        jf.clear()
        another = jf.load(run_dir=tmp_path / "another")

    assert another.closed
    assert not loaded()


def test_a_test_that_raises_keeps_its_error(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        kernel_that_ends({}, tmp_path, LIMIT_S, lambda: True),
    ):
        _ = 1 / 0

    assert not loaded()


# -- Servers


def test_servers_serve_what_is_put_there(
    jackfield_kernel: jf.DataFlowKernel,
    jackfield_http_server: Any,
    jackfield_ftp_server: Any,
) -> None:
    pytest.importorskip("aiohttp")
    jackfield_http_server.files["/x"] = b"over http"
    (jackfield_ftp_server.root / "x").write_bytes(b"over ftp")

    def read(file: jf.File) -> bytes:
        return Path(file).read_bytes()

    urls = [jackfield_http_server.url("/x"), jackfield_ftp_server.url("x")]
    futures = [jackfield_kernel.submit(read, jf.File(url)) for url in urls]

    assert [f.result(LIMIT_S) for f in futures] == [b"over http", b"over ftp"]


def test_servers_last_longer_than_the_kernel(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")

    code, output = run_pytest(
        tmp_path,
        """
        from pathlib import Path
        import jackfield as jf
        from jackfield_testing.servers import Drip

        futures = []

        def read(file):
            return Path(file).read_bytes()

        def test_that_leaves_a_transfer(jackfield_kernel, jackfield_http_server):
            jackfield_http_server.files["/x"] = bytes(10)
            jackfield_http_server.fault("/x", Drip(1, 0.05))
            file = jf.File(jackfield_http_server.url("/x"))
            futures.append(jackfield_kernel.submit(read, file))

        def test_that_it_has_ended_well():
            assert futures[0].result(0) == bytes(10)
        """,
    )

    assert code == 0, output
    assert "2 passed" in output
