"""Rows on staging: a large file, many small ones, and files that are here already.

The server is nginx where it is installed, else Python's own. Files go to the directory
of the measurement, ours as they go to a run: verified, synced and renamed. Beside it
stand tools that do none of that. One row has a delay of 5 ms between client and server,
as between two buildings: without it, there is hardly anything to wait for.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from peers import fresh
from rows import Bar, Case, Metric, Row

GIGABYTE = 1 << 30
SMALL = 10_000
DELAY_S = 0.005

ROWS = [
    Row(
        "http-large",
        (
            Case("-", "staging.large", GIGABYTE, "jackfield"),
            Case("-", "staging.large", GIGABYTE, "curl", {"by": "curl"}),
        ),
        (
            Metric("mb_s", "staging 1 GiB over HTTP, MB/s", higher=True, bars=(Bar("ratio", 0.7, "curl", 0.9),)),
            Metric("rss_mb", "memory that this takes, MB", bars=(Bar("at most", 64),)),
        ),
    ),
    Row(
        "http-small",
        (
            Case("-", "staging.small", 1_000, "jackfield"),
            Case("-", "staging.small", 1_000, "fsspec, one by one", {"by": "fsspec"}),
            Case("-", "staging.small", 1_000, "urllib, one by one", {"by": "urllib"}),
            Case("-", "staging.small", 1_000, "curl, one by one", {"by": "curl"}),
        ),
        (Metric("per_s", "staging files of 10 kB over HTTP, files/s", higher=True, bars=(Bar("ratio", 3, "curl, one by one", 5),)),),
    ),
    Row(
        "http-small-delayed",
        (
            Case("-", "staging.small", 400, "jackfield", {"delayed": True}),
            Case("-", "staging.small", 400, "fsspec, one by one", {"by": "fsspec", "delayed": True}),
            Case("-", "staging.small", 400, "urllib, one by one", {"by": "urllib", "delayed": True}),
        ),
        (Metric("per_s", "the same, 5 ms away, files/s", higher=True, bars=(Bar("ratio", 3, "fsspec, one by one", 5),)),),
    ),
    Row(
        "s3-small",
        (
            Case("-", "staging.objects", 1_000, "jackfield"),
            Case("-", "staging.objects", 1_000, "s3fs, one by one", {"by": "s3fs"}),
        ),
        (Metric("per_s", "staging objects of 10 kB over S3, objects/s", higher=True, bars=(Bar("ratio", 3, "s3fs, one by one", 5),)),),
    ),
    Row(
        "local-file",
        (
            Case("-", "staging.local", 20_000, "a File", {"wrapped": True}),
            Case("-", "staging.local", 20_000, "a path"),
        ),
        (Metric("us", "a local file as an argument, µs a task", bars=(Bar("more", 30, "a path"),)),),
    ),
]  # fmt: skip


# -- Work ---------------------------------------------------------------------------


def large(_: None, n: int, by: str = "jackfield") -> dict[str, float]:
    root = Path(fresh())
    with (root / "large").open("wb") as file:
        for _block in range(n >> 20):
            file.write(os.urandom(1 << 20))
    os.sync()  # or the source would be on its way to the disk, too
    with serving(root) as base:
        before = psutil.Process().memory_info().rss
        peak = Peak()
        seconds = WAYS[by]([f"{base}/large"], n)
        used = (peak.stop() - before) / 1e6
    shutil.rmtree(root)
    return {"mb_s": n / seconds / 1e6, "rss_mb": used if by == "jackfield" else 0.0}


def small(
    _: None, n: int, by: str = "jackfield", *, delayed: bool = False
) -> dict[str, float]:
    root = Path(fresh())
    for number in range(n):
        (root / f"{number}").write_bytes(os.urandom(SMALL))
    os.sync()  # as above
    with contextlib.ExitStack() as servers:
        base = servers.enter_context(serving(root))
        if delayed:
            base = servers.enter_context(delaying(base))
        seconds = WAYS[by]([f"{base}/{number}" for number in range(n)], SMALL)
    shutil.rmtree(root)
    return {"per_s": n / seconds}


def objects(_: None, n: int, by: str = "jackfield") -> dict[str, float]:
    with storing() as options:
        import s3fs

        names = {"key": options["key"], "secret": options["secret"]}
        place = {"endpoint_url": options["endpoint_url"]}
        fs = s3fs.S3FileSystem(**names, **place, skip_instance_cache=True)
        fs.mkdir("bench")
        data = os.urandom(SMALL)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda k: fs.pipe_file(f"bench/{k}", data), range(n)))
        if by == "s3fs":
            there = Path(fresh())
            start = time.perf_counter()
            for number in range(n):
                fs.get_file(f"bench/{number}", str(there / str(number)))
            return {"per_s": n / (time.perf_counter() - start)}
        for part, value in names.items():
            os.environ[f"JACKFIELD_CREDENTIALS_BENCH_{part.upper()}"] = value
        staging = {"s3": {**place, "credentials": "bench"}}
        urls = [f"s3://bench/{number}" for number in range(n)]
        return {"per_s": n / by_kernel(urls, SMALL, staging)}


def local(_: None, n: int, *, wrapped: bool = False) -> dict[str, float]:
    import jackfield as jf

    path = Path(fresh()) / "x"
    path.write_bytes(b"x")
    app = jf.python_app(size_of)
    argument: Any = jf.File(path) if wrapped else str(path)
    with jf.load(jf.Config(run_dir=fresh(), log_level="OFF")):
        app(argument).result()
        start = time.perf_counter()
        futures = [app(argument) for _ in range(n)]
        assert sum(future.result() for future in futures) == n
        return {"us": (time.perf_counter() - start) / n * 1e6}


def size_of(file: Any) -> int:
    return Path(file).stat().st_size


# -- Ways to bring files ------------------------------------------------------------


def by_kernel(urls: list[str], size: int, staging: Any = None) -> float:
    import jackfield as jf

    app = jf.python_app(size_of)
    config = jf.Config(run_dir=fresh(), log_level="OFF", staging=staging or {})
    with jf.load(config):
        start = time.perf_counter()
        futures = [app(jf.File(url)) for url in urls]
        assert sum(future.result() for future in futures) == size * len(urls)
        return time.perf_counter() - start


def one_by_one(
    fetch: Callable[[str, Path], object],
) -> Callable[[list[str], int], float]:
    def bring(urls: list[str], size: int) -> float:
        there = Path(fresh())
        start = time.perf_counter()
        for url in urls:
            fetch(url, there / url.rpartition("/")[2])
        seconds = time.perf_counter() - start
        assert all(path.stat().st_size == size for path in there.iterdir())
        return seconds

    return bring


def _fsspec(url: str, path: Path) -> None:
    import fsspec

    fsspec.filesystem("http").get_file(url, str(path))


def _urllib(url: str, path: Path) -> None:
    from urllib.request import urlopen

    with urlopen(url) as source, path.open("wb") as file:
        shutil.copyfileobj(source, file)


def _curl(url: str, path: Path) -> None:
    subprocess.run(["curl", "-sf", "-o", path, url], check=True)


WAYS = {
    "jackfield": by_kernel,
    "fsspec": one_by_one(_fsspec),
    "urllib": one_by_one(_urllib),
    "curl": one_by_one(_curl),
}


class Peak:
    """The greatest memory of this process, looked at every 20 ms."""

    def __init__(self) -> None:
        self._most = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        process = psutil.Process()
        while not self._end.wait(0.02):
            self._most = max(self._most, process.memory_info().rss)

    def stop(self) -> int:
        self._end.set()
        self._thread.join()
        return self._most


# -- Servers ------------------------------------------------------------------------

NGINX = """
daemon off; worker_processes 1; pid {root}/../pid; error_log /dev/null;
{user}
events {{ worker_connections 256; }}
http {{ access_log off; sendfile on; client_body_temp_path {root}/../body;
proxy_temp_path {root}/../proxy; fastcgi_temp_path {root}/../f; uwsgi_temp_path {root}/../u;
scgi_temp_path {root}/../s;
server {{ listen 127.0.0.1:{port}; root {root}; keepalive_requests 100000; }} }}
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    child = subprocess.Popen(command, **quiet)  # type: ignore[call-overload]  # two keywords
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if time.monotonic() > deadline or child.poll() is not None:
                    raise
                time.sleep(0.05)
        yield
    finally:
        below = psutil.Process(child.pid).children(recursive=True)
        for one in (child, *below):  # who starts others first: it would start more
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        child.wait()


@contextlib.contextmanager
def serving(root: Path) -> Iterator[str]:
    port = free_port()
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    command = [sys.executable, "-m", "http.server", str(port), "-d", str(root)]
    if nginx:
        user = "user root;" if os.geteuid() == 0 else ""
        conf = Path(fresh()) / "nginx.conf"
        conf.write_text(NGINX.format(root=root, port=port, user=user))
        command = [nginx, "-c", str(conf), "-e", "/dev/null"]
    with running(command, port):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def storing() -> Iterator[dict[str, str]]:
    """Run SeaweedFS; give what one needs to know to use it."""
    weed = Path(sys.executable).with_name("weed")
    there = fresh()
    keys = {"accessKey": "bench", "secretKey": "bench-secret"}
    import json

    rights = [
        {
            "name": "b",
            "credentials": [keys],
            "actions": ["Admin", "Read", "Write", "List"],
        }
    ]
    (Path(there) / "s3.json").write_text(json.dumps({"identities": rights}))
    ports = {
        name: free_port() % 10_000 + 12_000
        for name in ("master", "volume", "filer", "s3")
    }
    command = [
        str(weed), "-logtostderr", "server", f"-dir={there}", "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1", "-filer", "-s3", f"-s3.config={there}/s3.json",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=64",
        "-volume.max=20", "-master.telemetry=false",
        *(f"-{name}.port={port}" for name, port in ports.items()),
    ]  # fmt: skip
    with running(command, ports["s3"]):
        time.sleep(5)  # it answers before it can store
        yield {
            "endpoint_url": f"http://127.0.0.1:{ports['s3']}",
            "key": keys["accessKey"],
            "secret": keys["secretKey"],
        }


@contextlib.contextmanager
def delaying(base: str) -> Iterator[str]:
    port, there = free_port(), int(base.rpartition(":")[2])
    child = multiprocessing.get_context("spawn").Process(
        target=delay, args=(port, there)
    )
    child.start()
    try:
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        child.kill()
        child.join()


def delay(port: int, there: int) -> None:
    """Pass connections on; each piece takes half the delay."""

    async def pass_on(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                loop.call_later(DELAY_S / 2, writer.write, data)
            await asyncio.sleep(DELAY_S)
            writer.close()

    async def connect(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await asyncio.sleep(DELAY_S)  # the handshake's
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", there)
        await asyncio.gather(pass_on(reader, far_writer), pass_on(far_reader, writer))

    async def serve() -> None:
        server = await asyncio.start_server(connect, "127.0.0.1", port)
        await server.serve_forever()

    asyncio.run(serve())
