"""Workers on another machine: another network, another /tmp, no file in common.

The worker is in a network namespace of its own, and sees an empty /tmp: this needs root
and ``ip``. What it has in common with the script's machine is what is installed.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import textwrap
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jackfield_testing.engines import address_in_log
from jackfield_testing.footprint import WAIT_S
from jackfield_testing.installed import skip_without

if TYPE_CHECKING:
    from collections.abc import Iterator

skip_without("distributed", extra="dask")
pytestmark = pytest.mark.xdist_group("engines")

_hosts = itertools.count()

SCRIPT = """\
import json, os, sys
from pathlib import Path

from distributed import Client

import jackfield as jf
import helpers  # beside the script

@jf.python_app(executors=["far"])
def work(inputs=(), outputs=()):
    print("said there")
    text = open(inputs[0]).read()
    Path(outputs[0]).write_text(helpers.change(text))
    return helpers.late(), os.stat("/tmp").st_ino, open(inputs[1]).read()

@jf.python_app(executors=["far"])
def version():
    return helpers.VERSION, helpers.late()

@jf.python_app(executors=["foreign"])
def foreign_version(inputs=(), outputs=()):
    Path(outputs[0]).write_text(open(inputs[0]).read())
    return helpers.VERSION, helpers.late()

@jf.bash_app(executors=["far"])
def shell(inputs=(), outputs=(), stdout=jf.AUTO_LOGNAME):
    return f"cat {inputs[0]} {inputs[0]} > {outputs[0]}; echo said by bash"

def edit(module, old, new):
    path = Path(module)
    path.write_text(path.read_text().replace(old, new))

if __name__ == "__main__":
    Path("in.txt").write_text("text")
    told = {"tmp": os.stat("/tmp").st_ino}
    far = {"plugin": "dask", "address": sys.argv[1]}
    client = Client(sys.argv[1])
    foreign = client.get_executor(pure=False)
    with jf.load(run_dir="runs", executors={"far": far, "foreign": foreign}):
        def versions():
            copy = foreign_version(inputs=[jf.File("in.txt")], outputs=["copy.txt"])
            found = version().result(60)
            assert copy.result(60) == found, (copy.result(60), found)
            assert Path("copy.txt").read_text() == "text"
            return found

        remote = jf.File(sys.argv[2])
        done = work(inputs=[jf.File("in.txt"), remote], outputs=["out/out.txt"])
        told["work"] = done.result(60)
        bash = shell(inputs=[jf.File("in.txt")], outputs=["twice.txt"])
        bash.result(60)
        told["stdout"] = Path(bash.stdout).read_text()

        told["versions"] = [versions()]
        edit("lazy.py", "first", "second")
        told["versions"] += [versions()]
        edit("helpers.py", "VERSION = 1", "VERSION = 2")
        import importlib
        importlib.reload(helpers)
        told["versions"] += [versions(), versions()]
    print("told", json.dumps(told))
"""

MODULES = {
    "helpers.py": """\
        VERSION = 1

        def change(text):
            from lab.inner import loud
            return loud(text)

        def late():
            import lazy
            return lazy.NAME
        """,
    "lazy.py": "NAME = 'first'\n",
    "lab/__init__.py": "",
    "lab/inner.py": "def loud(text):\n    return text.upper()\n",
}


@contextmanager
def hosts() -> Iterator[tuple[list[str], list[str], str]]:
    """Give what a command begins with on each of two hosts, and the first's address."""
    if os.geteuid() or shutil.which("ip") is None or shutil.which("unshare") is None:
        pytest.skip("two hosts need root, and the programs ip and unshare")
    number = f"{os.getpid()}-{next(_hosts)}"
    names = [f"jf{number}{letter}" for letter in "ab"]
    cables = [f"v{number}{letter}"[-15:] for letter in "ab"]

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    with ExitStack() as undo:
        try:
            for name in names:
                ip("netns", "add", name)
                undo.callback(ip, "netns", "del", name)
            one, other = cables
            ip("link", "add", one, "netns", names[0], "type", "veth",
               "peer", "name", other, "netns", names[1])  # fmt: skip
            for last, (name, cable) in enumerate(zip(names, cables, strict=True), 1):
                ip("-n", name, "addr", "add", f"10.99.0.{last}/24", "dev", cable)
                ip("-n", name, "link", "set", cable, "up")
                ip("-n", name, "link", "set", "lo", "up")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"two hosts cannot be had: {error.stderr!r}")
        first, second = (["ip", "netns", "exec", name] for name in names)
        private = "mount --make-rprivate / && mount -t tmpfs none /tmp && cd /tmp"
        second += ["unshare", "-m", "sh", "-c", f'{private} && exec "$@"', "--"]
        yield first, second, "10.99.0.1"


@contextmanager
def program(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, text=True, **options) as started:
        try:
            yield started
        finally:
            started.kill()


@contextmanager
def cluster() -> Iterator[tuple[list[str], str, subprocess.Popen[str]]]:
    """Start a scheduler here and a worker there; give how to run here, and those."""
    plain = ["--dashboard-address", ":0"]
    python = [sys.executable, "-m"]
    scheduler = [*python, "distributed.cli.dask_scheduler", *plain, "--port", "0"]
    worker = [*python, "distributed.cli.dask_worker", *plain, "--no-nanny"]
    with hosts() as (here, there, host):
        if not Path(os.environ.get("TMPDIR", "/tmp")).is_relative_to("/tmp"):
            pytest.skip("the tests' files are not below /tmp, which hosts do not share")
        if Path(sys.prefix).is_relative_to("/tmp"):
            pytest.skip("this Python is below /tmp, which hosts do not share")
        environment = {**os.environ, "TMPDIR": "/tmp", "HOME": "/tmp"}
        command = [*here, *scheduler, "--host", host]
        with program(command, stderr=subprocess.PIPE) as started:
            address = address_in_log(started, host)
            command = [*there, *worker, address, "--nthreads", "2"]
            with program(command, env=environment) as working:
                yield here, address, working


def test_a_script_runs_on_another_machine(tmp_path: Path) -> None:
    project = tmp_path / "project"
    for name, text in MODULES.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(textwrap.dedent(text))
    (project / "main.py").write_text(SCRIPT)
    served = tmp_path / "served"
    served.mkdir()
    (served / "remote.txt").write_text("remote")
    with cluster() as (here, address, _):
        serve = [sys.executable, "-u", "-m", "http.server", "0", "-d", str(served)]
        with program(
            [*here, *serve], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as server:
            assert server.stdout is not None
            port = server.stdout.readline().split(" port ")[1].split()[0]
            url = f"http://10.99.0.1:{port}/remote.txt"
            command = [*here, sys.executable, "main.py", address, url]
            ran = subprocess.run(  # noqa: PLW1510  (what it says is wanted)
                command, cwd=project, capture_output=True, text=True, timeout=2 * WAIT_S
            )

    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout.partition("told ")[2])
    assert told["work"][0] == "first"
    assert told["work"][1] != told["tmp"]
    assert told["work"][2] == "remote"
    assert told["stdout"] == "said by bash\n"
    assert (project / "out/out.txt").read_text() == "TEXT"
    assert (project / "twice.txt").read_text() == "texttext"
    assert told["versions"] == [
        [1, "first"], [1, "second"], [2, "second"], [2, "second"]
    ]  # fmt: skip
    assert "said there\n" in ran.stdout
    (kept,) = project.glob("runs/*/far/*.log")
    assert kept.read_text() == "said there\n"
    assert not list(project.rglob(".seen-by*"))
