"""What the kernel itself reads out of a call of an app: streams, outputs, limits."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import BadStdStreamFile, ConfigurationError
from jackfield.files import File, as_file
from jackfield.graph.calls import KEPT_STDERR
from jackfield.graph.task import AppSpec, Extras

if TYPE_CHECKING:
    from pathlib import Path

    from jackfield.transfers.shared import SharedTransfers

TASKS_PER_DIRECTORY: Final = 10_000
"""Entries in one directory of task logs; many more make file systems slow."""

READ_BY_KERNEL: Final = frozenset({"label", "outputs", "stderr", "stdout", "walltime"})
"""Arguments of a call that the kernel reads; the app gets those that it accepts."""


class AutoLogName:
    """The type of ``AUTO_LOGNAME``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "AUTO_LOGNAME"

    def __reduce__(self) -> str:
        return "AUTO_LOGNAME"


AUTO_LOGNAME: Final = AutoLogName()
"""For ``stdout=`` and ``stderr=``: a path of its own in the run directory."""


class CallReader:
    """Reads calls of apps.

    With ``copies``, outputs with a ``file:`` URL are staged like remote ones.
    ``transfers`` gives who knows where a remote output is to be written first.
    """

    def __init__(
        self, run_dir: Path, transfers: Callable[[], SharedTransfers], *, copies: bool
    ) -> None:
        self._run_dir = run_dir
        self._transfers = transfers
        self._copies = copies

    def read(
        self, spec: AppSpec, task_id: int, kwargs: dict[str, Any]
    ) -> tuple[Extras, dict[str, Any]]:
        """Take what the kernel reads out of a call's keyword arguments.

        Returns:
            What was found, and the arguments for the function: paths resolved, and
            without those that it does not accept.

        Raises:
            ConfigurationError: One of them cannot be.
            BadStdStreamFile: A stream is no path, ``(path, mode)`` or file.
            NoProviderError: No plugin serves the scheme of a remote output.
        """
        extras = Extras()
        extras.walltime = spec.walltime
        if not spec.defaults and READ_BY_KERNEL.isdisjoint(kwargs):
            return extras, self._keeping_stderr(spec, task_id, extras, kwargs)
        values = dict(spec.defaults)
        values.update({name: kwargs[name] for name in READ_BY_KERNEL & kwargs.keys()})
        if values.get("label") is not None:
            extras.label = str(values["label"])
        if values.get("walltime") is not None:
            values["walltime"] = checked_walltime(spec.name, values["walltime"])
            if spec.kind != "bash":  # there, who started the command also kills it
                extras.walltime = values["walltime"]
        self._read_streams(spec, task_id, extras, values)
        if values.get("outputs"):
            outputs = [self._output(task_id, as_file(one)) for one in values["outputs"]]
            extras.outputs = values["outputs"] = outputs
        rest = {name: kwargs[name] for name in kwargs if name not in READ_BY_KERNEL}
        accepted = {name: values[name] for name in values if name in spec.accepts}
        kwargs = self._keeping_stderr(spec, task_id, extras, {**rest, **accepted})
        return extras, kwargs

    def _keeping_stderr(
        self, spec: AppSpec, task_id: int, extras: Extras, kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        """Tell a bash app where to keep its standard error, if the call does not."""
        if spec.kind != "bash" or "stderr" in extras.streams:
            return kwargs
        extras.ignored = (*extras.ignored, KEPT_STDERR)
        path = stream_path(self._run_dir, task_id, spec.name, extras.label, "stderr")
        return {**kwargs, KEPT_STDERR: path}

    def _read_streams(
        self, spec: AppSpec, task_id: int, extras: Extras, values: dict[str, Any]
    ) -> None:
        streams: dict[str, Any] = {}
        for name in ("stdout", "stderr"):
            if values.get(name) is None:
                continue
            if values[name] is AUTO_LOGNAME:
                extras.ignored = (*extras.ignored, name)
            streams[name] = self._stream(
                spec, task_id, extras.label, name, values[name]
            )
        if streams:
            values.update(streams)
            extras.streams = streams

    def _output(self, task_id: int, file: File) -> File:
        copied = self._copies and file.url.startswith("file:")
        if not (file.remote or copied):
            return file
        return self._transfers().place_output(file, task_id)

    def _stream(
        self, spec: AppSpec, task_id: int, label: str, name: str, value: Any
    ) -> Any:
        """Return where a standard stream goes: a path or ``(path, mode)``."""
        if name not in spec.accepts:
            raise ConfigurationError(
                f"App {spec.name!r} is a {spec.kind} app, whose output is not "
                f"captured; {name}= is for bash apps, or for functions with a "
                f"parameter of that name."
            )
        if isinstance(value, AutoLogName):
            return stream_path(self._run_dir, task_id, spec.name, label, name)
        path, mode = value, "a"
        if isinstance(value, tuple) and len(value) == 2:
            path, mode = value
        if isinstance(path, File) and path.remote:
            placed = self._transfers().place_output(path, task_id)
            return (placed, mode) if isinstance(value, tuple) else placed
        if not isinstance(path, str | os.PathLike) or not isinstance(mode, str):
            raise BadStdStreamFile(
                f"{name}= of {spec.name!r} is {value!r}; expected a path, "
                f"(path, mode), a File or AUTO_LOGNAME."
            )
        return value


def stream_path(run_dir: Path, task: int, app: str, label: str, stream: str) -> str:
    """Return the path that ``AUTO_LOGNAME`` stands for; makes its directory."""
    directory = run_dir / "task_logs" / f"{task // TASKS_PER_DIRECTORY:04}"
    directory.mkdir(parents=True, exist_ok=True)
    safe = re.sub(r"[^\w.+-]", "_", f"_{label}" if label else "")[:100]
    name = re.sub(r"[^\w.+-]", "_", app)[:100]
    return str(directory / f"task_{task:04}_{name}{safe}.{stream}")


def checked_walltime(app: str, value: Any) -> float:
    """Return a walltime in seconds.

    Raises:
        ConfigurationError: It is no number above 0.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not value > 0:
        raise ConfigurationError(
            f"walltime= of {app!r} is {value!r}; expected seconds, a number above 0."
        )
    return float(value)


def read_signature(
    function: Callable[..., Any],
) -> tuple[frozenset[str], dict[str, Any]]:
    """Return which of the kernel's arguments a function takes, and their defaults."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a C function that does not tell
        return frozenset(), {}
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        accepts = READ_BY_KERNEL
    else:
        accepts = frozenset(p.name for p in parameters) & READ_BY_KERNEL
    defaults = {
        p.name: p.default
        for p in parameters
        if p.name in READ_BY_KERNEL and p.default not in (p.empty, None, (), [])
    }
    return accepts, defaults
