"""A plugin says where the log of a run goes; the run goes on whatever it does."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import jackfield as jf

LIMIT_S = 60.0


class Kept(logging.Handler):
    """Keeps what it is given."""

    def __init__(self, level: str) -> None:
        super().__init__(level)
        self.texts: list[str] = []
        self.closed: bool = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        assert not self.closed
        self.texts.append(record.getMessage())

    def close(self) -> None:
        """Note it."""
        super().close()
        self.closed = True


class Broken(Kept):
    """Fails with every record."""

    def emit(self, record: logging.LogRecord) -> None:
        """Raise, and not as ``logging`` wants it."""
        super().emit(record)
        raise RuntimeError("no log today")


class Logs:
    """Opens logs of a kind."""

    def __init__(self, kind: type[Kept]) -> None:
        self.kind: type[Kept] = kind
        self.opened: dict[Path, Kept] = {}

    @jf.hookimpl
    def jackfield_open_log(self, run_dir: Path, level: str) -> logging.Handler:
        """Open one."""
        self.opened[run_dir] = self.kind(level)
        return self.opened[run_dir]


@pytest.mark.parametrize("kind", [Kept, Broken])
def test_the_kernels_records_go_where_a_plugin_says(
    kind: type[Kept], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = Logs(kind)
    with jf.load(run_dir=tmp_path, plugins=[logs]) as kernel:
        assert kernel.submit(len, "abc").result(LIMIT_S) == 3
        with pytest.raises(TypeError):
            kernel.submit(len, 3).result(LIMIT_S)
    log = logs.opened[kernel.run_dir]

    assert log.closed
    assert "Kernel started; executors: threads" in log.texts
    assert any("Task 1 (len) failed: TypeError" in text for text in log.texts)
    assert not (kernel.run_dir / "jackfield.log").exists()
    assert ("no log today" in capsys.readouterr().err) is (kind is Broken)


def test_the_level_of_the_handler_counts(tmp_path: Path) -> None:
    logs = Logs(Kept)
    with (
        pytest.raises(TypeError),
        jf.load(run_dir=tmp_path, plugins=[logs], log_level="critical") as kernel,
    ):
        kernel.submit(len, 3).result(LIMIT_S)

    assert logs.opened[kernel.run_dir].texts == []


def test_a_kernel_without_a_log_says_which_plugin_is_missing(tmp_path: Path) -> None:
    with pytest.raises(jf.PluginError, match=r"'plain'.*blocked"):
        jf.load(run_dir=tmp_path / "runs", block_plugins=["plain"])

    assert [*tmp_path.rglob("[0-9]*")] == []
