"""Count the words of files that lie on servers, and survive the end of the servers.

    python examples/remote_counts.py                  # servers of its own, on loopback
    python examples/remote_counts.py --files 60
    python examples/remote_counts.py --profile lab --folder data --http https://x/data

By default some hundred sources of Python's standard library are served by HTTP, by FTP
and by S3, as far as such servers are installed. Each file is staged in once and counted
twice: by ``wc`` in a bash app, and in a Python app. On the way all servers are killed;
they come back at the same places, and the transfers go on. The table of results is
staged out to S3 and to FTP and read back, and the sums are compared with those of the
files on this disk.

With ``--http``, ``--ftp`` or ``--s3`` the files are counted where these URLs point.
They are there already, as in ``--folder``, or ``--upload`` sends them first. How to log
in there is said in the configuration.

Read it from top to bottom: the apps, the workflow, the plugin that watches transfers,
and the command line. ``remote_sites.py`` and ``remote_server.py`` are the servers.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shlex
import shutil
import signal
import sys
import sysconfig
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import remote_sites
from remote_sites import Site

import jackfield as jf

RESULTS = "remote-counts.tsv"

STDLIB = Path(sysconfig.get_path("stdlib"))

MIN_FILES = 12
"""So that each server has some before and after it is killed."""

PATIENCE_S = 20.0
"""How long transfers may take to notice that the servers are gone."""


# -- The apps -------------------------------------------------------------------------
#
# A ``File`` with a URL among the arguments is brought here before the app runs, once
# for all that want it, and the app gets the local copy. One among the ``outputs`` is
# taken to its URL after the app has written the local file.


@jf.python_app
def count(file: jf.File) -> int:
    return len(Path(file).read_bytes().split())


@jf.bash_app
def count_by_wc(file: jf.File, outputs: Sequence[jf.File]) -> str:
    source, target = shlex.quote(str(file)), shlex.quote(str(outputs[0]))
    return f"LC_ALL=C wc -w < {source} > {target}"


@jf.python_app
def add_up(files: Any) -> int:
    return sum(int(Path(file).read_text()) for file in files)


@jf.python_app
def write_table(words: Any, outputs: Sequence[jf.File]) -> tuple[int, str]:
    """Write the same table to each output; return the sum and the table's digest."""
    table = "".join(f"{number}\t{name}\n" for name, number in words.items())
    for output in outputs:
        Path(output).write_text(table)
    return sum(words.values()), hashlib.sha256(table.encode()).hexdigest()


@jf.python_app
def copy(source: Path, outputs: Sequence[jf.File]) -> None:
    shutil.copyfile(source, outputs[0])


# -- The workflow ---------------------------------------------------------------------


def run(
    sites: Sequence[Site],
    folder: Path,
    names: Sequence[str],
    work: Path,
    watch: Watch,
) -> dict[str, int]:
    """Count; return the sum of all words by who has counted them."""
    places = {name: sites[i % len(sites)] for i, name in enumerate(names)}
    send_files(places, folder)
    words: dict[str, jf.AppFuture[int]] = {}
    by_wc: list[jf.DataFuture] = []

    def begin(some: Sequence[str]) -> None:
        for name in some:
            file = jf.File(url_of(places[name], name))
            local = jf.File(work / f"{len(words)}.txt")
            words[name] = count(file)
            by_wc.extend(count_by_wc(file, outputs=[local]).outputs)

    half = len(names) // 2
    begin(names[:half])
    for name in names[: half // 2]:
        words[name].result()
    with outage(sites, watch):
        begin(names[half:])

    tables = [jf.File(url_of(site, RESULTS)) for site in sites if site.writable]
    written = write_table(words, outputs=tables)
    total, digest = written.result()  # when the tables are where they were wanted
    for table in tables:
        there = jf.File(table.url, sha256=digest)  # other content would be an error
        count(there).result()
        print(f"The table is in {table!r}")
    return {
        "by Python": total,
        "by wc": add_up(by_wc).result(),
        "from this disk": sum(words_of(folder / name) for name in names),
    }


def send_files(places: Mapping[str, Site], folder: Path) -> None:
    """Take files to sites that have none; wait until they are there."""
    sent = [
        copy(folder / name, outputs=[jf.File(url_of(site, name))])
        for name, site in places.items()
        if site.empty
    ]
    for future in sent:
        future.result()


@contextmanager
def outage(sites: Sequence[Site], watch: Watch) -> Iterator[None]:
    """Kill the servers that are ours; revive them when the transfers have noticed."""
    ours = [site for site in sites if site.server is not None]
    if not ours:
        yield
        return
    began = time.monotonic()
    with remote_sites.outage(ours):
        yield
        watch.wait_for_retries({site.scheme for site in ours})
    seconds = time.monotonic() - began
    print(f"All servers were killed; {seconds:.1f} s later they were back")


def url_of(site: Site, name: str) -> str:
    return f"{site.url}/{quote(name)}"


def words_of(path: Path) -> int:
    return len(path.read_bytes().split())


# -- A plugin: gives credentials, and is told how the transfers go --------------------


class Watch:
    """Counts transfers by scheme, and knows the passwords of our own servers."""

    def __init__(self, sites: Sequence[Site]) -> None:
        self._logins = {site.options.get("credentials"): site.login for site in sites}
        self._changed = threading.Condition()
        self.retried: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.verified: defaultdict[str, Counter[str]] = defaultdict(Counter)

    @jf.hookimpl
    def jackfield_credentials(self, name: str) -> Mapping[str, str] | None:
        """Give what the configuration has only the name of."""
        return self._logins.get(name)

    @jf.hookimpl
    def jackfield_transfer_events(self, events: Sequence[jf.TransferEvent]) -> None:
        """Count what arrives, and what has to be tried again."""
        with self._changed:
            for event in events:
                scheme = event.url.partition(":")[0]
                if event.stage == "retrying":
                    self.retried[scheme] += 1
                elif event.stage == "done" and event.direction == "in":
                    self.bytes[scheme] += event.moved
                    self.verified[scheme][event.verified or "none"] += 1
            self._changed.notify_all()

    def wait_for_retries(self, schemes: set[str]) -> None:
        """Wait until a transfer of each scheme has failed and will be tried again."""
        with self._changed:
            self._changed.wait_for(lambda: schemes <= self.retried.keys(), PATIENCE_S)

    def show(self) -> None:
        """Print what was counted."""
        print(f"\n{'From':<7}{'Files':>7}{'kB':>9}{'Retries':>9}  Verified by")
        for scheme, verified in sorted(self.verified.items()):
            files, kilobytes = verified.total(), self.bytes[scheme] // 1000
            how = ", ".join(f"{kind} {number}" for kind, number in verified.items())
            retried = self.retried[scheme]
            print(f"{scheme:<7}{files:7,}{kilobytes:9,}{retried:9,}  {how}")
        print()


# -- The command line -----------------------------------------------------------------


def main() -> None:
    options = read_options()
    came: list[int] = []

    def terminate(number: int, _: object) -> None:
        came.append(number)
        raise KeyboardInterrupt  # by the way of all errors, as Ctrl-C

    signal.signal(signal.SIGTERM, terminate)
    scratch = Path(tempfile.mkdtemp(prefix="remote-counts-"))
    try:
        right = count_remotely(options, scratch)
    except KeyboardInterrupt:
        print("remote_counts: interrupted", file=sys.stderr)
        sys.exit(128 + (came or [signal.SIGINT])[0])
    except (jf.JackfieldError, remote_sites.ServerError) as error:
        sys.exit(f"remote_counts: {error}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    sys.exit(None if right else "remote_counts: THE SUMS DIFFER")


def count_remotely(options: argparse.Namespace, scratch: Path) -> bool:
    """Tell whether all counts are the same."""
    folder = options.folder or STDLIB
    names = choose_files(options.folder, options.files)
    for part in ("files", "work"):
        (scratch / part).mkdir()
    sites = choose_sites(options, scratch)
    if any(site.server for site in sites):
        copy_files(folder, scratch / "files", names)
    watch = Watch(sites)
    began = time.perf_counter()
    with (
        remote_sites.started(sites),
        load(options.profile, sites, scratch, watch) as kernel,
    ):
        where = ", ".join(f"{site.scheme} ({site.software})" for site in sites)
        print(f"Counting {len(names):,} files from {where}")
        sums = run(sites, folder, names, scratch / "work", watch)
    watch.show()
    print("Words:", ", ".join(f"{number:,} {who}" for who, number in sums.items()))
    tasks = sum(kernel.summary().counts.values())
    print(f"{tasks:,} tasks ended in {time.perf_counter() - began:.1f} s")
    return len(set(sums.values())) == 1


def load(
    profile: str | None, sites: Sequence[Site], scratch: Path, watch: Watch
) -> jf.DataFlowKernel:
    """Load a kernel; one that is patient with our own servers, if we have any."""
    ours = [site for site in sites if site.server is not None]
    if not ours:
        return jf.load(profile, plugins=[watch])
    plain = {
        "executors": {"threads": {"plugin": "threads", "workers": 4}},
        "run_dir": scratch / "runs",
    }
    return jf.load(
        profile or plain,
        staging={site.scheme: site.options for site in ours},
        transfers={"attempts": 20, "max_delay": 3.0},
        plugins=[watch],
    )


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Count the words of files that lie on servers."
    )
    parser.add_argument(
        "--files", type=int, default=450, help="how many (default: %(default)s)"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="what is served (default: sources of this Python's standard library)",
    )
    parser.add_argument("--profile", help="Jackfield profile to run on")
    for scheme in ("http", "ftp", "s3"):
        parser.add_argument(
            f"--{scheme}",
            metavar="URL",
            help=f"where FOLDER is by {scheme}, instead of servers of our own",
        )
    parser.add_argument(
        "--upload", action="store_true", help="send the files to these URLs first"
    )
    options = parser.parse_args()
    named = [options.http, options.ftp, options.s3]
    if not all(url is None or "://" in url for url in named):
        parser.error("--http, --ftp and --s3 want URLs, such as s3://bucket/folder")
    if options.upload and not any(named):
        parser.error("--upload needs --http, --ftp or --s3")
    return options


def choose_sites(options: argparse.Namespace, scratch: Path) -> list[Site]:
    named = [url for url in (options.http, options.ftp, options.s3) if url]
    if named:
        return [named_site(url.rstrip("/"), options.upload) for url in named]
    sites, missing = remote_sites.own_sites(scratch, scratch / "files")
    for line in missing:
        print(line)
    if not sites:
        sys.exit("remote_counts: no server is installed")
    return sites


def named_site(url: str, upload: bool) -> Site:
    parts = urlsplit(url)
    writable = parts.scheme in {"ftp", "ftps", "s3"}
    return Site(parts.scheme, url, parts.hostname or "", upload, writable)


def choose_files(folder: Path | None, number: int) -> list[str]:
    """Return the names of some files, the same each time."""
    kind = "*" if folder else "*.py"
    folder = folder or STDLIB
    paths = [
        path
        for path in sorted(folder.rglob(kind))
        if path.is_file() and "site-packages" not in path.parts
    ]
    random.Random(0).shuffle(paths)
    chosen: list[str] = []
    for path in paths:
        if len(chosen) == number:
            break
        if path.read_bytes().isascii():  # what a word is in others, wc does not agree
            chosen.append(path.relative_to(folder).as_posix())
    if len(chosen) < MIN_FILES:
        sys.exit(f"remote_counts: {folder} has too few files of plain text.")
    return chosen


def copy_files(folder: Path, target: Path, names: Sequence[str]) -> None:
    for name in names:
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, place)


if __name__ == "__main__":
    main()
