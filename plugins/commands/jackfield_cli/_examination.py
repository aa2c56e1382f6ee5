"""What ``jackfield doctor`` looks at, and what it finds.

Each check yields findings; it may raise, and it may hang: ``Examination`` makes a
finding of either. Nothing that a run uses is changed: stores are opened to be read, and
executors start in a run directory of their own.
"""

from __future__ import annotations

import logging
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import jackfield as jf
from jackfield.config.check import KEEPERS_OWN
from jackfield.errors import NoProviderError, one_line, printable
from jackfield.files import redact
from jackfield.keeping import ResultKeeper, Surroundings
from jackfield.plugins import PluginManager
from jackfield.staging.mover import Mover, MoverContext
from jackfield_cli._bounded import Bounded, TookTooLongError
from jackfield_cli._check import problems
from jackfield_cli._listing import load_all
from jackfield_cli._probe import COMPARED, facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jackfield.config import Resolved

Level: TypeAlias = Literal["ok", "warning", "error"]

PROBES: Final = 8
"""Tasks that each executor gets after the first, to meet several of its workers."""

PROBE_S: Final = 0.05
"""Seconds that each of them takes, so that one worker does not run them all."""

FREE_BYTES: Final = 500 * 10**6
"""Bytes that should be free where runs and temporary files are."""

OPEN_FILES: Final = 1024
"""Files that a process should be allowed to have open at a time."""


ADVICE: Final = {
    "configuration": "jackfield config show tells what counts.",
    "stores": "See docs/checkpoints.md; jackfield memo verify looks at each result.",
    "executors": "Tasks would not run there. See the executor's page in docs/.",
    "files": "See docs/staging.md for the options of its scheme, and credentials.",
}
"""What to do after an error of which no more is known."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        area: Which part of the examination.
        which: What was looked at, by its name.
        level: ``"ok"``; ``"warning"``, with which runs go on; ``"error"``.
        told: What was found.
        advice: What to do now; ``""`` if there is nothing to do.
    """

    area: str
    which: str
    level: Level
    told: str
    advice: str = ""


Check: TypeAlias = "Callable[[], Iterator[Finding]]"


class Examination:
    """Looks at everything, one after the other, and never waits for ever.

    Args:
        limit: Seconds for each check.
        find: Finds the configuration.
        urls: Files to look at.
    """

    def __init__(
        self, limit: float, find: Callable[[], Resolved], urls: Sequence[str]
    ) -> None:
        self._bounded: Bounded = Bounded(limit)
        self._find: Callable[[], Resolved] = find
        self._urls: Sequence[str] = urls

    def findings(self, skip: Sequence[str] = ()) -> Iterator[Finding]:
        """Give what is found, as soon as it is found."""
        resolved: list[Resolved] = []
        yield from self._area("environment", "checks", _environment, skip)
        yield from self._area("plugins", "all", _plugins, skip)
        find = partial(_configuration, self._find, resolved)
        # The rest needs it, so it is looked for even if nobody wants to hear of it.
        found = list(self._area("configuration", "files", find, ()))
        if "configuration" not in skip:
            yield from found
        if not resolved:
            return
        known = resolved[0]
        for area, which, check in _configured(known, self._urls):
            yield from self._area(area, which, check, skip)

    def stuck(self, grace: float = 2.0) -> bool:
        """Tell whether something goes on that was given up."""
        return self._bounded.stuck(grace)

    def _area(
        self, area: str, which: str, check: Check, skip: Sequence[str]
    ) -> Iterator[Finding]:
        if area in skip:
            return
        try:
            yield from self._bounded.call(lambda: list(check()))
        except TookTooLongError:
            yield Finding(
                area,
                which,
                "error",
                f"no answer within {self._bounded.limit:g} s.",
                "See whether what it waits for can be reached from here; --limit gives "
                "it more time.",
            )
        except Exception as error:
            told = printable(one_line(error))
            yield Finding(area, which, "error", told, ADVICE.get(area, ""))


def _configured(
    resolved: Resolved, urls: Sequence[str]
) -> Iterator[tuple[str, str, Check]]:
    """Give the checks of what is configured: area, name, check."""
    config = resolved.config
    yield "runs", str(config.run_dir), partial(_runs, Path(config.run_dir))
    table = config.checkpoint
    stores = [table["store"], *table.get("read", ())] if "store" in table else []
    for url in stores:
        if url != "memory":
            yield "stores", redact(str(url)), partial(_store, resolved, str(url))
    for label, choice in config.executors.items():
        plugin = f" ({choice['plugin']})" if isinstance(choice, Mapping) else ""
        which = f"{label}{plugin}"
        yield "executors", which, partial(_executor, resolved, label, which)
    for url in urls:
        yield "files", redact(url), partial(_file, resolved, url)


# -- Around


def _environment() -> Iterator[Finding]:
    found = partial(Finding, "environment")
    python = f"{platform.python_version()} at {sys.executable}, {platform.platform()}"
    yield found("python", "ok", python)
    yield found(
        "jackfield", "ok", f"{version('jackfield')} at {Path(jf.__file__).parent}"
    )
    for requirement in requires("jackfield") or ():
        if ";" in requirement:
            continue  # of an extra
        name = requirement.split(">")[0].split("<")[0].strip()
        try:
            have = version(name)
        except PackageNotFoundError:
            yield found(
                name, "error", "is not installed.", f"pip install '{requirement}'"
            )
            continue
        least = requirement.partition(">=")[2]
        if _numbers(have) < _numbers(least):
            told = f"{have} is older than {least}."
            yield found(name, "error", told, f"pip install '{requirement}'")
        else:
            yield found(name, "ok", have)
    yield from _limits()


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _limits() -> Iterator[Finding]:
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < OPEN_FILES:
        yield Finding(
            "environment",
            "open files",
            "warning",
            f"a process may have {soft} files open: few for many workers or transfers.",
            f"ulimit -n {OPEN_FILES}",
        )
    yield _space("environment", "temporary files", Path(tempfile.gettempdir()))


def _space(area: str, which: str, directory: Path) -> Finding:
    """Say whether files can be made in a directory, and how much room there is."""
    if not os.access(directory, os.W_OK | os.X_OK):
        told = f"{directory} cannot be written."
        return Finding(area, which, "error", told, f"chmod u+rwx {directory}")
    free = shutil.disk_usage(directory).free
    told = f"{free / 1e9:.1f} GB are free in {directory}"
    if free < FREE_BYTES:
        return Finding(area, which, "warning", f"{told}: little.", "Make room there.")
    return Finding(area, which, "ok", told)


def _runs(run_dir: Path) -> Iterator[Finding]:
    path = run_dir.absolute()
    if path.exists() and not path.is_dir():
        told, advice = "it is there, and no directory.", "Set run_dir to another."
        yield Finding("runs", str(run_dir), "error", told, advice)
        return
    while not path.exists():
        path = path.parent
    yield _space("runs", str(run_dir), path)


def _plugins() -> Iterator[Finding]:
    manager = PluginManager()
    counted = 0
    for one in load_all(manager):
        which = f"{one.kind} {one.name}"
        origin = f"{one.distribution} {one.version}".strip()
        if not one.problem or one.blocked:
            counted += 1
        elif one.absent:
            told = f"({origin}) lacks an optional package: {one.problem}"
            yield Finding("plugins", which, "ok", told)
        else:
            advice = (
                f"Upgrade or uninstall {one.distribution}, or --no-plugin {one.name}"
            )
            told = f"({origin}) {one.problem}"
            yield Finding("plugins", which, "error", told, advice)
    yield Finding("plugins", "all", "ok", f"{counted} work")


def _configuration(
    find: Callable[[], Resolved], into: list[Resolved]
) -> Iterator[Finding]:
    resolved = find()
    into.append(resolved)
    files = ", ".join(resolved.files) or "none, so that defaults count"
    yield Finding("configuration", "files", "ok", files)
    for problem in problems(resolved):
        key, _, text = problem.partition(": ")
        yield Finding("configuration", key, "error", text, "See docs/configuration.md.")


# -- What is configured


def _store(resolved: Resolved, url: str) -> Iterator[Finding]:
    found = partial(Finding, "stores", redact(url))
    table = resolved.config.checkpoint
    own = {name: value for name, value in table.items() if name not in KEEPERS_OWN}
    options = {**(own if url == table["store"] else {}), "read_only": True}
    manager = PluginManager().configured(resolved.config)
    place = Path(url.partition(":")[2].removeprefix("///")).expanduser().absolute()
    is_path = url.partition(":")[2].startswith("///")
    if is_path and not os.path.lexists(place) and url == table["store"]:
        above = next(one for one in place.parents if one.exists())
        if os.access(above, os.W_OK | os.X_OK):
            yield found("ok", f"is not there yet: a run makes it below {above}.")
        else:
            advice = f"chmod u+rwx {above}, or name another place."
            yield found(
                "error", f"is not there, and {above} cannot be written.", advice
            )
        return
    began = time.monotonic()
    with closing(manager.open_checkpoint(url, options)) as store:
        empty = next(iter(store.keys()), None) is None
    took = time.monotonic() - began
    yield found("ok", f"{'empty' if empty else 'has results'}, opened in {took:.3f} s")
    writes = url == table["store"] and not table.get("read_only")
    if writes and is_path and not os.access(place, os.W_OK):
        yield found("error", "it cannot be written.", f"chmod u+w {place}")
    yield from _key(resolved, manager)


def _key(resolved: Resolved, manager: PluginManager) -> Iterator[Finding]:
    """See whether the keeper of results takes the store and its key."""
    said: list[str] = []
    around = Surroundings(
        directory=Path(resolved.config.run_dir),
        started=time.time(),
        open_store=manager.open_checkpoint,
        gathering=nullcontext,
        warn=lambda text, _level: said.append(text),
        stop_run=said.append,
    )
    table = {**resolved.config.checkpoint, "read_only": True, "mode": "manual"}
    table.pop("period", None)
    manager.usual("keeper", (ResultKeeper,), table, around).close()
    for text in said:
        yield Finding("stores", "key", "warning", text)
    yield Finding("stores", "key", "ok", "results can be signed and verified")


def _executor(resolved: Resolved, label: str, which: str) -> Iterator[Finding]:
    found = partial(Finding, "executors", which)
    with tempfile.TemporaryDirectory(prefix="jackfield-doctor-") as directory:
        config = replace(
            resolved.config,
            executors={label: resolved.config.executors[label]},
            run_dir=directory,
            checkpoint={},
            monitors={},
            exit_grace=1.0,
        )
        began = time.monotonic()
        kernel = jf.DataFlowKernel(config)
        try:
            started = time.monotonic()
            first = kernel.submit(facts).result()
            ended = time.monotonic()
            more = [kernel.submit(facts, PROBE_S) for _ in range(PROBES)]
            workers = [first, *(one.result() for one in more)]
        finally:
            kernel.cleanup(wait=False)
    told = (
        f"started in {started - began:.2f} s, first task in {ended - started:.2f} s; "
        f"seen: {_seen(workers)}"
    )
    yield found("ok", told)
    here = facts()
    for name in COMPARED:
        others = {one[name] for one in workers} - {here[name]}
        if others:
            told = (
                f"{name} is {here[name]} here, and {', '.join(sorted(others))} there."
            )
            minor = name == "python" and {_minor(one) for one in others} == {
                _minor(here[name])
            }
            advice = f"Install the same {name} on both sides."
            yield found("warning" if minor else "error", told, advice)


def _minor(text: str) -> str:
    return ".".join(text.split(".")[:2])


def _seen(workers: Sequence[dict[str, str]]) -> str:
    hosts = sorted({one["host"] for one in workers})
    processes = len({(one["host"], one["process"]) for one in workers})
    return (
        f"{processes} process{'es' * (processes > 1)} on {', '.join(hosts)}, "
        f"Python {', '.join(sorted({one['python'] for one in workers}))}"
    )


def _file(resolved: Resolved, url: str) -> Iterator[Finding]:
    found = partial(Finding, "files", redact(url))
    config = resolved.config
    manager = PluginManager().configured(config)
    file = jf.File(url)
    if not file.remote:
        path = Path(file)
        if path.exists():
            yield found("ok", f"{path.stat().st_size} bytes on this machine")
        else:
            yield found("error", f"there is no file {path}.")
        return
    provider = manager.provider(file.scheme)
    if not provider.stage_in:
        raise NoProviderError(file.scheme, redact(url), provider.served)
    if not provider.stat:
        told = "its plugin cannot look at a file without moving it."
        yield found("warning", told)
        return
    said = _Said()
    log = logging.Logger(jf.__name__)  # noqa: LOG001  (what it says is said here alone)
    log.addHandler(said)
    credentials = manager.hooks.credentials
    around = MoverContext(
        config.transfers, config.staging, credentials, manager.provider, log=log
    )
    began = time.monotonic()
    mover = manager.usual("mover", (Mover,), around)
    info = mover.look(file)
    took = time.monotonic() - began
    if info is None:
        yield found("warning", "its server tells nothing of it.")
        return
    known = [f"{info.size} bytes" if info.size is not None else "of unknown size"]
    known += [f"ETag {info.etag}"] if info.etag else []
    yield found("ok", f"{', '.join(known)}; answered in {took:.2f} s")
    for text in said.texts:
        yield found("warning", text)


class _Said(logging.Handler):
    """Keeps what a mover warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record's text."""
        self.texts.append(record.getMessage())
