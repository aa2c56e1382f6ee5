"""What the kernel itself reads out of a call of an app: streams, outputs, limits."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import BadStdStreamFile, ConfigurationError
from jackfield.files import CALLED_IN, KEPT_STDERR, NO_NAME, File, as_file, here
from jackfield.graph.task import Extras, stream_file
from jackfield.messages import LONGEST, cut
from jackfield.states import TaskView

if TYPE_CHECKING:
    from pathlib import Path

    from jackfield.graph.task import AppSpec
    from jackfield.staging.mover import Mover

TASKS_PER_DIRECTORY: Final = 10_000
"""Entries in one directory of task logs; many more make file systems slow."""

GIVEN_ON: Final = frozenset({"label", "outputs", "stderr", "stdout", "walltime"})
READ_BY_KERNEL: Final = GIVEN_ON | {"priority"}
"""Arguments of a call that the kernel reads. The app gets those of ``GIVEN_ON`` that it
accepts; a parameter of its own that is named ``priority`` is left alone."""

_PATHS: Final = (str, os.PathLike, File)
_LISTS: Final = (list, tuple, set, frozenset)
_NO_STREAMS: Final[Mapping[str, Any]] = MappingProxyType({})
"""One for all calls: the garbage collector looks at whatever a task has of its own."""


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
    ``transfers`` gives who knows where a remote output is to be written first;
    ``name_stream`` asks plugins where ``AUTO_LOGNAME`` sends a stream.
    """

    def __init__(
        self,
        run_dir: Path,
        transfers: Callable[[], Mover],
        name_stream: Callable[[TaskView, str], Any],
        *,
        copies: bool,
    ) -> None:
        self._name_stream = name_stream
        self._run_dir = run_dir
        self._began_in = "/"
        with suppress(FileNotFoundError):
            self._began_in = here("")
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
            ConfigurationError: One of them is wrong.
            BadStdStreamFile: A stream is no path, ``(path, mode)`` or file.
            NoProviderError: No plugin serves the scheme of a remote output.
        """
        extras = Extras("", spec.walltime, spec.priority, streams=_NO_STREAMS)
        if spec.kind == "bash":
            kwargs = {**kwargs, CALLED_IN: here("")}
        elif not spec.defaults and READ_BY_KERNEL.isdisjoint(kwargs):
            return extras, kwargs
        values = dict(spec.defaults)
        for name in READ_BY_KERNEL & kwargs.keys():
            values[name] = kwargs[name]
            # A parameter of the app's own may have a name that the kernel reads.
            own = name in spec.accepts and (spec.kind != "bash" or name == "priority")
            if own and kwargs[name] is not None and not is_read(name, kwargs[name]):
                del values[name]
        if values.get("label") is not None:
            extras.label = str(values["label"])
        if values.get("walltime") is not None:
            values["walltime"] = checked_walltime(spec.name, values["walltime"])
            if spec.kind != "bash":  # there, who started the command also kills it
                extras.walltime = values["walltime"]
        if values.get("priority") is not None:
            extras.priority = checked_priority(spec.name, values["priority"])
        self._read_streams(spec, task_id, extras, values)
        outputs = values.get("outputs")
        fits = outputs is None or isinstance(outputs, _LISTS)
        expect("a list of files", spec.name, "outputs", outputs, fits=fits)
        if outputs:
            outputs = [self._output(task_id, as_file(one)) for one in outputs]
            extras.outputs = values["outputs"] = outputs
        extras.place = self._place(spec, extras)
        rest = {name: kwargs[name] for name in kwargs if name not in values}
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
            given, auto = values[name], values[name] is AUTO_LOGNAME
            if auto or name in spec.not_in_key:  # then nobody asks a hit for the file
                extras.ignored = (*extras.ignored, name)
            streams[name] = self._stream(spec, task_id, extras.label, name, given)
            # A bash app gets a path as it was given, with the directory of the call,
            # because the memo key has the path: a project may move with its results.
            if auto or spec.kind != "bash" or stream_file(given) is not None:
                values[name] = streams[name]
        if streams:
            extras.streams = streams

    def _place(self, spec: AppSpec, extras: Extras) -> str:
        """Return what tells a cached call that makes files from one made elsewhere.

        It is the way there from the directory in which the run began, so that a project
        may move with its results; ``""`` where it does not matter.
        """
        relative = any(file.relative for file in extras.files())
        if not spec.cache or not (relative or spec.kind == "bash"):
            return ""
        place = os.path.relpath(here(""), self._began_in)
        return "" if place == "." else place

    def _output(self, task_id: int, file: File) -> File:
        copied = self._copies and file.url.startswith("file:")
        if not (file.remote or copied):
            return file.located()
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
            view = TaskView(
                task_id, spec.name, label, 1, (), None, spec.resources, None
            )
            value = self._name_stream(view, name)
            if value is None:
                return stream_path(self._run_dir, task_id, spec.name, label, name)
        path, mode = value, "a"
        if isinstance(value, tuple) and len(value) == 2:
            path, mode = value
        bad = not isinstance(path, File) and NO_NAME.search(str(path))
        if bad or not isinstance(path, _PATHS) or not isinstance(mode, str):
            raise BadStdStreamFile(
                f"{name}= of {spec.name!r} is {value!r}; expected a path, "
                f"(path, mode), a File or AUTO_LOGNAME. The kernel reads it: a "
                f"parameter that means something else needs another name."
            )
        if not set(mode) & set("awx+"):
            raise BadStdStreamFile(
                f"{name}= of {spec.name!r} has the mode {mode!r}, which only reads; "
                f"use 'a' to append, 'w' to write anew or 'x' for a new file."
            )
        if isinstance(path, File):
            place: Any = self._output(task_id, path)
        else:
            place = here(os.fsdecode(path))
            if place == os.fsdecode(path):
                return value
        return (place, mode) if isinstance(value, tuple) else place


def stream_path(run_dir: Path, task: int, app: str, label: str, stream: str) -> str:
    """Return the path that ``AUTO_LOGNAME`` stands for; makes its directory."""
    directory = run_dir / "task_logs" / f"{task // TASKS_PER_DIRECTORY:04}"
    for one in (directory.parent, directory):  # the umask may let others write
        one.mkdir(mode=0o755, exist_ok=True)
    # File systems count bytes: 255 at most, of which a letter may have four.
    texts = [re.sub(r"[^\w.+-]", "_", one).encode()[:100] for one in (app, label)]
    name = b"_".join(filter(None, texts)).decode(errors="ignore")
    return str(directory / f"task_{task:04}_{name}.{stream}")


def expect(what: str, app: str, option: str, value: Any, *, fits: bool) -> None:
    """Refuse an option's value that does not fit, saying what is expected.

    Raises:
        ConfigurationError: It does not.
    """
    if not fits:
        given = f"{option}= of {app!r} is {cut(repr(value), LONGEST)}"
        raise ConfigurationError(f"{given}; expected {what}.")


def is_number(value: Any) -> bool:
    """Tell whether a value is a number that a float holds, which no bool is."""
    return isinstance(value, float) or (type(value) is int and abs(value) < 2**1023)


def checked_walltime(app: str, value: Any, option: str = "walltime") -> float:
    """Return a walltime in seconds, a number above 0; see ``expect``."""
    fits = is_number(value) and value > 0
    expect("seconds, a number above 0", app, option, value, fits=fits)
    return float(value)


def checked_priority(app: str, value: Any) -> int | None:
    """Return a priority, a whole number or ``None``; see ``expect``."""
    fits = isinstance(value, int | None) and not isinstance(value, bool)
    expect("a whole number, higher for sooner", app, "priority", value, fits=fits)
    return None if value is None else int(value)


def checked_resources(app: str, value: Any) -> dict[str, float]:
    """Return amounts by the names of resources; see ``expect``."""
    amounts = value.values() if isinstance(value, Mapping) else [value]
    fits = all(is_number(one) and one >= 0 for one in amounts)
    fits = value is None or (fits and isinstance(value, Mapping))
    expect("a dict of name to amount", app, "resources", value, fits=fits)
    return dict(value or {})


def is_read(name: str, value: Any) -> bool:
    """Tell whether an argument of this name is what the kernel reads under it."""
    kind = type(value)
    if name == "outputs":
        files = issubclass(kind, _LISTS)
        return files and all(isinstance(one, _PATHS) for one in value)
    if name == "walltime":
        return issubclass(kind, int | float) and kind is not bool and bool(value > 0)
    text = name != "label" or issubclass(kind, str | int | float)
    return text and name != "priority"
