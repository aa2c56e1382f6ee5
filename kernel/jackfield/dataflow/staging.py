"""Remote files: one transfer for each, whole or not at all.

A provider only moves bytes. Here is what it need not care about: a name of its own
for the unfinished copy, the check of size and digest, the rename, and one transfer
for all tasks that want the same file.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from jackfield.abc import Transfer, Transferred
from jackfield.dataflow.asking import ask
from jackfield.dataflow.executors import INTERNAL
from jackfield.dataflow.task import AppSpec
from jackfield.errors import NoProviderError, TransferError, one_line
from jackfield.files import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Literal

    from jackfield.dataflow.engine import Engine
    from jackfield.files import File
    from jackfield.futures import AppFuture

    Provider = Callable[[Transfer], Transferred | None]

STAGE_IN: Final = AppSpec("stage_in", kind="transfer", executors=(INTERNAL,))
STAGE_OUT: Final = AppSpec("stage_out", kind="transfer", executors=(INTERNAL,))


class Staging:
    """Moves a kernel's files."""

    def __init__(self, engine: Engine, run_dir: Path) -> None:
        self._engine: Engine = engine
        self._directory: Path = run_dir / "files"
        self._lock: threading.Lock = threading.Lock()
        self._fetched: dict[File, AppFuture[File]] = {}
        self.cancelled: threading.Event = threading.Event()

    def fetch(self, file: File) -> AppFuture[File]:
        """Return the future of a remote file's local copy; equal files share one.

        Raises:
            NoProviderError: No plugin serves the scheme.
        """
        providers = self._providers(file, "in")
        with self._lock:
            future = self._fetched.get(file)
            if future is None or _failed(future):
                action = partial(self._stage_in, providers, file)
                future = self._engine.submit_internal(STAGE_IN, action)
                self._fetched[file] = future
            return future

    def send(self, file: File) -> AppFuture[File]:
        """Return the future of an output's way to its remote place."""
        action = partial(self._stage_out, self._providers(file, "out"), file)
        return self._engine.submit_internal(STAGE_OUT, action)

    def place_output(self, file: File, task: int) -> File:
        """Return a remote output with the local path that the app shall write."""
        self._providers(file, "out")  # a scheme nobody serves is an error at submit
        directory = self._directory / f"out-{task}"
        directory.mkdir(parents=True, exist_ok=True)
        return file.at(directory / _safe_name(file))

    def _providers(self, file: File, way: Literal["in", "out"]) -> Sequence[Provider]:
        providers = self._engine.manager.staging(file.scheme, way)
        if not providers:
            raise self._unserved(file)
        return providers

    def _unserved(self, file: File) -> NoProviderError:
        installed = self._engine.manager.installed("staging")
        return NoProviderError(file.scheme, redact(file.url), installed)

    def _stage_in(self, providers: Sequence[Provider], file: File) -> File:
        self._directory.mkdir(parents=True, exist_ok=True)
        directory = Path(mkdtemp(prefix="in-", dir=self._directory))
        target = directory / _safe_name(file)
        part = directory / f".part-{os.urandom(8).hex()}"
        try:
            moved = self._ask(providers, file, part)
            _verify(file, part, moved)
            part.replace(target)
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        return file.at(target)

    def _stage_out(self, providers: Sequence[Provider], file: File) -> File:
        self._ask(providers, file, Path(file.filepath))
        return file

    def _ask(
        self, providers: Sequence[Provider], file: File, path: Path
    ) -> Transferred:
        options: dict[str, Any] = dict(self._engine.config.staging.get(file.scheme, {}))
        transfer = Transfer(file.url, path, options, self.cancelled)
        try:
            checked = partial(_checked, file)
            moved = ask(self._engine.manager, providers, checked, transfer)
        except BaseException as error:
            harmless = _without_secrets(file.url, error)
            if harmless is None and isinstance(error, Exception):
                raise
            if harmless is None:
                notes = getattr(error, "__notes__", ())
                reason = " ".join([one_line(error), *notes])
                raise TransferError(redact(file.url), reason) from error
        else:
            if moved is None:
                raise self._unserved(file)
            return moved
        raise harmless  # outside, so that the other is not its context


def _checked(file: File, moved: object) -> Transferred:
    if not isinstance(moved, Transferred):
        kind = type(moved).__name__
        reason = f"a staging plugin answered {kind}, not a jackfield.Transferred"
        raise TransferError(redact(file.url), reason)
    return moved


def _without_secrets(url: str, error: BaseException) -> TransferError | None:
    """Return what stands for an error that gives a URL's secrets away, if it does."""
    secrets = _secrets(url)
    if not any(secret in text for text in _texts(error) for secret in secrets):
        return None
    reason = one_line(error)
    for secret in secrets:
        reason = reason.replace(secret, "***")
    return TransferError(redact(url), reason)


def _secrets(url: str) -> list[str]:
    """List what ``redact`` hides of a URL, longest first."""
    if redact(url) == url:
        return []
    parts = urlsplit(url)
    password = parts.password or ""
    return sorted({parts.query, password, unquote(password)} - {""}, key=len)[::-1]


def _texts(error: BaseException | None) -> Iterator[str]:
    """Give what a traceback would show of an error and of those behind it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield from (str(error), repr(error), *getattr(error, "__notes__", ()))
        error = error.__cause__ or error.__context__


def _failed(future: AppFuture[File]) -> bool:
    return future.done() and (future.cancelled() or future.exception() is not None)


def _verify(file: File, path: Path, moved: Transferred) -> None:
    """Compare what arrived with what was declared.

    Raises:
        TransferError: The file is missing, or of another size or digest.
    """
    url = redact(file.url)
    if path.is_symlink() or not path.is_file():
        raise TransferError(url, "the staging plugin wrote no file")
    size = path.stat().st_size
    for declared, who in ((moved.size, "the server"), (file.size, "size=")):
        if declared is not None and declared != size:
            raise TransferError(url, f"{size} bytes arrived, {who} declares {declared}")
    if file.sha256 is not None:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != file.sha256.lower():
            raise TransferError(url, f"its sha256 is {digest}, expected {file.sha256}")


def _safe_name(file: File) -> str:
    """Return a file's last part, fit to be a name in a directory of its own."""
    name = re.sub(r"[\x00-\x1f/\\]", "_", file.filename)[-100:]
    return name if name.strip(". ") else "file"
