"""What a run writes is the user's alone, whatever the umask and the directory."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import jackfield as jf
from jackfield import bash_app
from jackfield.errors import BadStdStreamFile

LIMIT_S = 60.0

NOBODY = "65534"
SETPRIV = shutil.which("setpriv")

only_root = pytest.mark.skipif(
    os.geteuid() != 0 or SETPRIV is None, reason="needs root and setpriv"
)


def as_another_user(command: str, cwd: Path) -> int:
    """Run a shell command as somebody who stands in a directory and owns nothing."""
    assert SETPRIV
    privileges = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    run = [SETPRIV, *privileges, "/bin/sh", "-c", command]
    done = subprocess.run(
        run, cwd=cwd, capture_output=True, timeout=LIMIT_S, check=False
    )
    return done.returncode


def load_under(umask: int, cwd: Path, run_dir: str = "runs") -> Path:
    """Have another process make a run whose task writes its streams; return where."""
    code = (
        "import os, sys, jackfield as jf\n"
        "os.umask(int(sys.argv[1]))\n"
        "app = jf.bash_app(lambda stdout=jf.AUTO_LOGNAME: 'echo out')\n"
        "with jf.load(run_dir=sys.argv[2]) as kernel: app().result(60)\n"
        "print(kernel.run_dir)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(umask), run_dir],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return Path(done.stdout.strip())


@pytest.mark.parametrize("umask", [0, 0o002, 0o022, 0o077])
def test_a_run_is_closed_to_others_under_any_umask(tmp_path: Path, umask: int) -> None:
    run = load_under(umask, tmp_path)

    assert stat.S_IMODE(run.stat().st_mode) == 0o700
    below = [*run.rglob("*")]
    assert len(below) == 5  # run.json and the log; the streams and two directories
    assert [path for path in below if path.stat().st_mode & 0o022] == []
    assert not run.parent.stat().st_mode & 0o022


@only_root
@pytest.mark.parametrize(
    "attack",
    [
        "echo no >> */jackfield.log",
        "ln -s /etc/passwd */task_logs/0000/planted",
        "mv 000 999",
        "mkdir 001",
        "rm -rf 000",
    ],
)
def test_another_user_changes_nothing_in_a_run(tmp_path: Path, attack: str) -> None:
    tmp_path.chmod(0o755)
    run = load_under(0, tmp_path)
    before = sorted(run.rglob("*"))
    log = (run / "jackfield.log").read_text()

    assert as_another_user(attack, run.parent) != 0
    assert (sorted(run.rglob("*")), (run / "jackfield.log").read_text()) == (
        before,
        log,
    )


@only_root
def test_in_a_sticky_directory_for_all_a_run_is_safe(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    run = load_under(0, tmp_path, run_dir=".")

    assert as_another_user(f"mv {run.name} 999", tmp_path) != 0
    assert as_another_user(f"touch {run.name}/planted", tmp_path) != 0
    assert as_another_user("touch planted", tmp_path) == 0  # it is no test of nothing


def test_a_parent_that_all_may_write_is_refused(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    runs.chmod(0o777)

    with pytest.raises(jf.ConfigurationError) as caught:
        jf.load(run_dir=runs)

    assert f"others may write {runs} (mode 0777)" in str(caught.value)
    assert "shared_run_dir = true" in str(caught.value)
    assert list(runs.iterdir()) == []


@only_root
@pytest.mark.parametrize("mode", [0o755, 0o2775, 0o1777])
def test_a_parent_of_somebody_else_is_refused(tmp_path: Path, mode: int) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    os.chown(runs, int(NOBODY), int(NOBODY))
    runs.chmod(mode)

    with pytest.raises(jf.ConfigurationError, match=f"{runs} belongs to"):
        jf.load(run_dir=runs)


def test_a_team_may_ask_for_a_shared_directory(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    runs.chmod(0o777)
    umask = os.umask(0o002)
    try:
        with jf.load(run_dir=runs, shared_run_dir=True) as kernel:
            pass
    finally:
        os.umask(umask)

    assert stat.S_IMODE(kernel.run_dir.stat().st_mode) == 0o775


# -- Links that somebody has planted


def test_the_log_is_not_written_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "bashrc"
    victim.write_text("mine\n")
    with jf.load(run_dir=tmp_path / "runs", log_level="WARNING") as kernel:
        (kernel.run_dir / "jackfield.log").symlink_to(victim)
        kernel.submit(len, 3).exception(LIMIT_S)

    assert victim.read_text() == "mine\n"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("plugin", ["threads", "processes"])
def test_a_stream_is_not_written_through_a_link(
    tmp_path: Path, stream: str, plugin: str
) -> None:
    victim = tmp_path / "bashrc"
    victim.write_text("mine\n")
    link = tmp_path / "out.txt"
    link.symlink_to(victim)
    app = bash_app(_speak)

    with jf.load(run_dir=tmp_path / "runs", executors={"x": {"plugin": plugin}}):
        error = app(**{stream: str(link)}).exception(LIMIT_S)

    assert isinstance(error, BadStdStreamFile)
    assert "a symbolic link, which is not followed" in str(error)
    assert victim.read_text() == "mine\n"


def test_a_device_may_be_a_link(tmp_path: Path) -> None:
    with jf.load(run_dir=tmp_path / "runs"):
        assert bash_app(_speak)(stdout="/dev/stderr").result(LIMIT_S) == 0


def _speak(stdout: object = None, stderr: object = None) -> str:
    return "echo spoken; echo spoken >&2"
