"""From a call to a task in the inbox. Runs on the caller's thread.

Only the last step, one ``append``, makes the task known to the kernel; an exception
or a Ctrl-C before it leaves nothing behind.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from jackfield.abc import Work
from jackfield.errors import BadStdStreamFile, ConfigurationError, KernelClosedError
from jackfield.files import File, as_file
from jackfield.futures import AppFuture, DataFuture, KernelFuture
from jackfield.graph import direct
from jackfield.graph.arguments import find
from jackfield.graph.task import AppSpec, Extras, Task
from jackfield.kernel.rundir import stream_path
from jackfield.steps.foreign import watch
from jackfield.steps.launch import moves_itself
from jackfield.steps.throttle import throttle

if TYPE_CHECKING:
    from jackfield.graph.arguments import Found
    from jackfield.steps.engine import Engine


class AutoLogName:
    """The type of ``AUTO_LOGNAME``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "AUTO_LOGNAME"

    def __reduce__(self) -> str:
        return "AUTO_LOGNAME"


AUTO_LOGNAME: Final = AutoLogName()
"""For ``stdout=`` and ``stderr=``: a path of its own in the run directory."""

READ_BY_KERNEL: Final = frozenset({"label", "outputs", "stderr", "stdout", "walltime"})
"""Arguments of a call that the kernel reads; the app gets those that it accepts."""

_NO_KWARGS: Final[dict[str, Any]] = {}


def submit(
    engine: Engine,
    spec: AppSpec,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> AppFuture[Any]:
    """Make a task of a call and hand it to the dispatcher.

    Raises:
        KernelClosedError: The kernel takes no more tasks.
        ConfigurationError: An executor that is asked for is unknown or cannot do
            what is asked for; or an argument that the kernel reads is bad.
        NoProviderError: No plugin serves the scheme of a remote file.
    """
    if engine.closed is not None and spec.kind != "transfer":
        raise KernelClosedError(f"cannot submit {spec.name!r}: {engine.closed}")
    task_id = next(engine.ids)
    extras: Extras | None = None
    if spec.special or (kwargs and not READ_BY_KERNEL.isdisjoint(kwargs)):
        extras, kwargs = _read(engine, spec, task_id, kwargs)
    engine.pool.route(spec, extras.walltime if extras is not None else None)
    parents: Sequence[Task] | None = None
    found: Found | None = None
    values = direct.candidates(args, kwargs)
    if values:
        parents = direct.parents(engine, values)
        if parents is None:
            found = find(args, kwargs, deep=engine.deep, copies=engine.copies)
    if engine.config.max_pending is not None and spec.kind != "transfer":
        throttle(engine, engine.config.max_pending)
    kwargs = kwargs or _NO_KWARGS  # one for all, instead of one a task that waits
    work = Work(task_id, 1, spec.name, function, args, kwargs, None, spec.resources)
    task = Task(task_id, spec, engine, work)
    task.parents = parents
    future = task.future = AppFuture(task)
    if extras is not None:
        task.extras = extras
        if extras.outputs or extras.streams:
            task.data_futures = _data_futures(engine, task, future, extras)
    if found is not None:
        _post_with_dependencies(engine, task, future, found)
    elif parents is None and extras is None and _is_alone(engine, spec):
        engine.scheduler.run_or_post(task)
    else:
        engine.scheduler.post(task)
    return future


def _is_alone(engine: Engine, spec: AppSpec) -> bool:
    """Tell whether a plain task is the only one, and where it goes is settled."""
    if engine.live or engine.manager.hooks.select_executor or spec.route is None:
        return False
    entries = spec.route.entries
    return len(entries) == 1 and entries[0].capabilities.prompt


def _data_futures(
    engine: Engine, task: Task, future: AppFuture[Any], extras: Extras
) -> tuple[DataFuture, ...]:
    made = extras.files()
    remote = extras.remote_outputs()
    if remote and moves_itself(engine, task, remote):
        made = [file.cleancopy() for file in made]  # their copies are elsewhere
    return tuple([DataFuture(task, future, file) for file in made])


def _post_with_dependencies(
    engine: Engine, task: Task, future: AppFuture[Any], found: Found
) -> None:
    if found.files and not moves_itself(engine, task, found.files):
        for file in found.files:
            fetched = engine.staging.fetch(file)
            found.files[file] = fetched
            found.futures[fetched] = None
    foreign = [
        dependency
        for dependency in found.futures
        if not isinstance(dependency, KernelFuture)
        or dependency._task.kernel is not engine
    ]
    task.found = found
    task.waiting = len(foreign)
    try:
        engine.scheduler.post(task)
        watch(engine, task, foreign)
    except BaseException:  # else it would wait for what nobody watches
        engine.cancel(task, future)
        raise


def _read(
    engine: Engine, spec: AppSpec, task_id: int, kwargs: dict[str, Any]
) -> tuple[Extras, dict[str, Any]]:
    """Take what the kernel reads out of a call's arguments.

    Returns:
        What was found, and the arguments for the function: paths resolved, and
        without those that it does not accept.
    """
    extras = Extras()
    extras.walltime = spec.walltime
    if not spec.defaults and READ_BY_KERNEL.isdisjoint(kwargs):
        return extras, kwargs
    values = dict(spec.defaults)
    values.update({name: kwargs[name] for name in READ_BY_KERNEL & kwargs.keys()})
    if values.get("label") is not None:
        extras.label = str(values["label"])
    if values.get("walltime") is not None:
        values["walltime"] = checked_walltime(spec.name, values["walltime"])
        if spec.kind != "bash":  # there, who started the command also kills it
            extras.walltime = values["walltime"]
    streams: dict[str, Any] = {}
    for name in ("stdout", "stderr"):
        if values.get(name) is not None:
            if values[name] is AUTO_LOGNAME:
                extras.ignored = (*extras.ignored, name)
            values[name] = _stream(
                engine, spec, task_id, extras.label, name, values[name]
            )
            streams[name] = values[name]
    if streams:
        extras.streams = streams
    if values.get("outputs"):
        values["outputs"] = [
            _output(engine, task_id, as_file(item)) for item in values["outputs"]
        ]
        extras.outputs = values["outputs"]
    rest = {name: kwargs[name] for name in kwargs if name not in READ_BY_KERNEL}
    accepted = {name: values[name] for name in values if name in spec.accepts}
    return extras, {**rest, **accepted}


def _output(engine: Engine, task_id: int, file: File) -> File:
    copied = engine.copies and file.url.startswith("file:")
    if not (file.remote or copied):
        return file
    return engine.staging.place_output(file, task_id)


def _stream(
    engine: Engine, spec: AppSpec, task_id: int, label: str, name: str, value: Any
) -> Any:
    """Return where a standard stream goes: a path or ``(path, mode)``."""
    if name not in spec.accepts:
        raise ConfigurationError(
            f"App {spec.name!r} is a {spec.kind} app, whose output is not captured; "
            f"{name}= is for bash apps, or for functions with a parameter of that name."
        )
    if isinstance(value, AutoLogName):
        return stream_path(engine.run_dir, task_id, spec.name, label, name)
    path, mode = value if isinstance(value, tuple) and len(value) == 2 else (value, "a")
    if isinstance(path, File) and path.remote:
        placed = engine.staging.place_output(path, task_id)
        return (placed, mode) if isinstance(value, tuple) else placed
    if not isinstance(path, str | os.PathLike) or not isinstance(mode, str):
        raise BadStdStreamFile(
            f"{name}= of {spec.name!r} is {value!r}; expected a path, (path, mode), a "
            f"File or AUTO_LOGNAME."
        )
    return value


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
