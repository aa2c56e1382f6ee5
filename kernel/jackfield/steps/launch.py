"""From ready to submitted: values put in, memo looked up, executor chosen.

Runs without the scheduler's role, on whichever thread found the tasks ready. A
task is here once per attempt and nowhere else meanwhile, so its fields are ours.
"""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import ExecutorError, TaskExitError, one_line
from jackfield.executors.pool import ExecutorEntry, select
from jackfield.executors.walltime import soft_walltime, without_walltime
from jackfield.files import File
from jackfield.futures import KernelFuture
from jackfield.futures.claims import mark_submitted
from jackfield.graph import direct
from jackfield.graph.arguments import Found, find, substitute
from jackfield.graph.task import Extras
from jackfield.states import TaskState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jackfield.abc import Work
    from jackfield.executors.pool import Route
    from jackfield.graph.effects import Effects
    from jackfield.graph.task import Task
    from jackfield.steps.engine import Engine

_LISTS: Final = (list, tuple)


def launch(engine: Engine, tasks: Sequence[Task]) -> None:
    """Give ready tasks to their executors, one ``submit`` for each executor."""
    groups: dict[ExecutorEntry, list[Task]] = {}
    for task in tasks:
        try:
            if not _is_plain(task) and not _prepare(engine, task):
                continue
            entry = _choose(engine, task, groups)
        except BaseException as error:
            fail(engine, task, error)
            continue
        if entry in groups:
            groups[entry].append(task)
        else:
            groups[entry] = [task]
    for entry, group in groups.items():
        try:
            _hand_over(engine, entry, group)
        except BaseException as error:
            for task in group:
                fail(engine, task, error)


def fail(engine: Engine, task: Task, error: BaseException) -> None:
    """End a task with an error that a retry would only meet again.

    One that would end the program of who asks for the result, such as a plugin's
    ``SystemExit``, is wrapped.
    """
    # The notes name the plugin, where one is to blame.
    task.reason = " ".join([one_line(error), *getattr(error, "__notes__", ())])
    if not isinstance(error, Exception):
        wrapped = TaskExitError(task.spec.name, task.reason)
        wrapped.__cause__ = error
        error, task.reason = wrapped, str(wrapped)

    def end(effects: Effects) -> None:
        engine.end(task, TaskState.FAILED, error, None, effects)

    engine.control(end)


def _is_plain(task: Task) -> bool:
    return task.parents is None and task.found is None and task.extras is None


def _prepare(engine: Engine, task: Task) -> bool:
    """Put values in and look the memo up; tell whether the task is still to run."""
    work = task.work
    if work is None:
        return False
    late = _put_values_in(engine, task, work)
    if late and not moves_itself(engine, task, late):
        _await_files(engine, task, late)
        return False
    if task.spec.cache and engine.config.app_cache:
        return engine.memo.begin(task)
    return True


def _put_values_in(engine: Engine, task: Task, work: Work) -> list[File]:
    """Replace futures and files; return remote files that results have brought."""
    late: list[File] = []
    if task.parents is not None:
        task.parents = None
        work.args, work.kwargs = direct.put_in(work.args, work.kwargs)
        for value in direct.candidates(work.args, work.kwargs):
            _note_files(value, late)
    elif task.found is not None:
        replace = partial(_value, task.found.files, late)
        work.args, work.kwargs = substitute(
            work.args, dict(work.kwargs), replace, deep=engine.deep
        )
        task.found = None
    return late


def moves_itself(engine: Engine, task: Task, files: Iterable[File]) -> bool:
    """Tell whether a task with these remote files moves them itself, and note it."""
    route = engine.pool.route(task.spec, _walltime(task))
    if not engine.staging.in_task(files, route):
        return False
    if task.extras is None:
        task.extras = Extras()
        task.extras.walltime = task.spec.walltime
    task.extras.in_task = True
    return True


def _await_files(engine: Engine, task: Task, late: list[File]) -> None:
    """Have the remote files staged that results of other tasks have brought."""
    found = Found()
    for file in dict.fromkeys(late):
        fetched = engine.staging.fetch(file)
        found.files[file] = fetched
        found.futures[fetched] = None
    task.found = found
    engine.control(partial(engine.wait_again, task))


def _value(files: dict[Any, Any], late: list[File], placeholder: Any) -> Any:
    """Return what stands for a future or a remote file; note files in results."""
    future = placeholder
    if not isinstance(placeholder, Future):
        future = files.get(placeholder)
        if future is None:  # a file that is here, or that the task brings itself
            return placeholder
    if isinstance(future, KernelFuture) and future._succeeded():
        _note_files(future._result, late)
        return future._result
    if not future.done():
        raise ValueError(
            f"{future!r} was put into an argument after the call: a task waits for "
            f"the futures that are there when it is submitted."
        )
    return future.result(0)


def _note_files(value: Any, late: list[File]) -> None:
    """Note the remote files in a result.

    They are looked for where a result is a file, or a list that begins with one: a
    walk through every result would cost more than it finds.
    """
    listed = value if type(value) in _LISTS else (value,)
    if listed and isinstance(listed[0], File):
        late += [one for one in listed if _unstaged(one)]


def _unstaged(value: Any) -> bool:
    return isinstance(value, File) and value.remote and value.local_path is None


def route_of(engine: Engine, task: Task) -> Route:
    """Return the executors that a task may run on.

    Raises:
        ConfigurationError: There is none; see ``ExecutorPool.route``.
    """
    return engine.pool.route(task.spec, _walltime(task))


def _choose(
    engine: Engine, task: Task, groups: Mapping[ExecutorEntry, Sequence[Task]]
) -> ExecutorEntry:
    extras = task.extras
    route = route_of(engine, task)
    if extras is not None and extras.forced is not None:
        for entry in route.entries:
            if entry.label == extras.forced:
                return entry
        raise ExecutorError(
            extras.forced,
            f"asked for by a retry of {task.title}, "
            f"is none of those that fit: {', '.join(route.labels)}",
        )
    if len(route.entries) == 1 and not engine.manager.hooks.select_executor:
        return route.entries[0]
    return select(task, route, engine.manager, groups)


def _hand_over(engine: Engine, entry: ExecutorEntry, tasks: Sequence[Task]) -> None:
    submitted = mark_submitted(tasks, entry)
    if len(submitted) < len(tasks):
        _drop_cancelled(engine, tasks)
    works = []
    for task in submitted:
        work = task.work
        if work is None:  # the kernel is being closed, and has given it up
            continue
        if task.extras is not None or task.spec.walltime is not None:
            _stage(engine, task)
            _limit(task, entry)
        works.append(work)
    if engine.events is not None:
        engine.events.note(submitted)
    try:
        entry.submit(works)
    except BaseException as error:
        if engine.stopped.is_set():  # it was shut down while they were on their way
            for task in submitted:
                engine.control(partial(engine.end_cancelled, task))
            return
        reason = ExecutorError(entry.label, f"submit raised {one_line(error)}")
        reason.__cause__ = error
        engine.report(entry, [(work, reason, None) for work in works])


def _drop_cancelled(engine: Engine, tasks: Sequence[Task]) -> None:
    """End those whose future was cancelled on the way here."""
    for task in tasks:
        if task.state is not TaskState.SUBMITTED:
            if task.extras is not None and task.extras.key is not None:
                engine.memo.free(task)
            engine.control(partial(engine.on_cancelled, task))


def _walltime(task: Task) -> float | None:
    return task.spec.walltime if task.extras is None else task.extras.walltime


def _stage(engine: Engine, task: Task) -> None:
    """Have a task move its files itself, if it is to."""
    work, extras = task.work, task.extras
    if work is None or extras is None or not extras.in_task:
        return
    from jackfield.transfers.in_task import StagedCall  # few tasks need it

    if isinstance(without_walltime(work.function), StagedCall):  # a retry
        return
    outputs = extras.remote_outputs()
    found = find(work.args, dict(work.kwargs))
    files = [*outputs, *(found.files if found is not None else ())]
    sites = {file.url: engine.staging.site(file) for file in files}
    work.function = StagedCall(task.spec.name, work.function, sites, outputs)


def _limit(task: Task, entry: ExecutorEntry) -> None:
    """Arrange for the attempt's walltime in the way the executor can."""
    work = task.work
    if work is None:
        return
    seconds = _walltime(task)
    work.function = without_walltime(work.function)
    work.walltime = None
    if seconds is None:
        return
    if entry.capabilities.walltime == "kill":
        work.walltime = seconds
    else:
        work.function = soft_walltime(work.function, work.name, seconds)
