"""The hooks: every point at which a plugin can change what the kernel does.

Each function here is the specification of one hook: its arguments, and in its text the
contract. It is never called itself.

**Two kinds of hooks.** A hook whose name begins with a verb (``jackfield_retry``) is
*asked*: the implementations are called one after the other, and the first answer that
is not ``None`` counts; the others are not called. A hook whose name says that something
has happened or is happening (``jackfield_task_events``, ``jackfield_kernel_closing``)
is *told*: all implementations are called, and what they return is ignored. One has a
verb and is told all the same: ``jackfield_register_commands``.

**In which order.** Of a hook that is asked, what the program registered comes before
what is installed, and of each the last registered comes first; ``tryfirst`` and
``trylast`` stand above that. A hook that is told is called in the order of
registration.

**What an exception does.** From a hook that is asked, it ends what it was asked for: a
kernel does not start, or one task fails; a note on the exception names the plugin. From
a hook that is told, it goes nowhere: it is logged with the plugin's name and counted.

**Where.** Hooks run in the process of the script. Those that move files also run in
workers, where tasks fetch their files themselves. "A thread of the kernel" in the texts
below means: any thread but the user's. Often it is the kernel's dispatcher; it may be
the thread of an executor that has just reported a result, and then the worker behind it
waits for the hook. So a hook must not wait for a task, and should not take long. Two
threads may be in the same hook at the same time, for different tasks.

**Later versions.** A specification may gain arguments, which then have a default. An
implementation names only the arguments that it uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pluggy import HookimplMarker, HookspecMarker

if TYPE_CHECKING:
    import concurrent.futures
    import logging
    import os
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import click

    from jackfield.abc import (
        CheckpointStore,
        Command,
        Executor,
        Kernel,
        LimitedCall,
        Retry,
    )
    from jackfield.config.finding import Request, Resolved
    from jackfield.events import Batch, Load
    from jackfield.files import File
    from jackfield.keeping import ResultKeeper, Surroundings
    from jackfield.memo_keys import FilesBy, FunctionHook, KeyMaker, ValueHook
    from jackfield.staging.mover import Mover, MoverContext
    from jackfield.staging.remote import Remote, RemoteInfo
    from jackfield.staging.transfer import Transfer
    from jackfield.states import TaskEvent, TaskView, TransferEvent
    from jackfield.stream import EventStream, StreamContext

hookspec: Final[HookspecMarker] = HookspecMarker("jackfield")
hookimpl: Final[HookimplMarker] = HookimplMarker("jackfield")


# -- Configuration


@hookspec(firstresult=True)
def jackfield_find_configuration(
    request: Request, profiles: Callable[[str], object]
) -> Resolved | None:
    """Find the configuration of a kernel that is to be made.

    Called on the thread that calls ``load``, and by the command line. All entry points
    of the group ``jackfield.configuration`` are asked. No plugin of the configuration
    itself is there yet.

    Args:
        request: What the program named and gave, the environment, and where a search
            for files is to begin.
        profiles: Returns what the entry point of a profile names; raises a
            ``PluginError`` where there is none or it is broken.

    Returns:
        A ``jackfield.config.Resolved``, with the options and plugins of the request in
        it; or ``None`` to leave it to others. What is wrong is a ``ConfigurationError``
        that names key and source.
    """


# -- The log


@hookspec(firstresult=True)
def jackfield_open_log(run_dir: Path, level: str) -> logging.Handler | None:
    """Open the log of a run.

    Called first of all that a kernel asks, on the thread that loads it. Among entry
    points only the one of the group ``jackfield.logs`` that is named ``plain`` is
    asked, after all registered plugins.

    The kernel's records are named ``jackfield.kernel``; one with a true attribute
    ``told`` is to be seen on a terminal. They go to the logger ``jackfield`` as well,
    and what plugins log goes to that one only.

    Args:
        run_dir: The directory of the run; the end of the run names the file
            ``jackfield.log`` in it, if there is one.
        level: ``log_level`` of the configuration, in capitals: ``"OFF"`` for no log.

    Returns:
        A handler for the kernel's records from its level on, which the kernel closes at
        its end; or ``None`` to leave it to others. An exception ends the start of the
        kernel. Those of the handler go to standard error.
    """


# -- Options


@hookspec(firstresult=True)
def jackfield_check_options(
    kind: str, name: str, options: Mapping[str, Any]
) -> bool | None:
    """Refuse unknown options and wrong values, and start nothing.

    ``jackfield config check`` asks, in a process of its own that runs no task. An entry
    point is asked about the tables that are for it.

    Args:
        kind: ``"executor"``, ``"keeper"``, ``"checkpoint"``, ``"monitor"`` or
            ``"staging"``.
        name: The executor's or monitor's label, ``"checkpoint"`` for the whole of that
            table, the store's URL, or the URL scheme.
        options: The table, without what the kernel reads itself: what the hook gets
            that makes the executor, store or monitor, or ``Remote.options``.

    Returns:
        True if they are right, ``None`` if they are not yours. A bad option is a
        ``ConfigurationError`` that names it in quotes.
    """


# -- Executors


@hookspec(firstresult=True)
def jackfield_create_executor(
    kind: str, label: str, options: Mapping[str, Any]
) -> Executor | concurrent.futures.Executor | None:
    """Make the executor of one label.

    Called once for each configured executor, on the thread that loads the kernel or
    calls ``add_executors``, before the executor gets its first task.

    Args:
        kind: What the configuration names as ``plugin``. An entry point is asked only
            if this is its name; a plugin of the program is asked about every name, and
            returns ``None`` for one that is not its own.
        label: What apps and messages call the executor.
        options: The rest of the executor's table. Check it: an unknown or bad
            option is a ``ConfigurationError`` that names it.

    Returns:
        A ``jackfield.abc.Executor`` that is not started; or any
        ``concurrent.futures.Executor``, which the kernel adapts and shuts down. The
        latter may have its ``Capabilities`` in an attribute
        ``jackfield_capabilities``. Without it, a ``ThreadPoolExecutor`` is taken to run
        in this process, and any other to pickle what it is given.
    """


@hookspec(firstresult=True)
def jackfield_create_walltime() -> type[LimitedCall] | None:
    """Give what enforces walltimes where an executor does not.

    That is where its capability ``walltime`` is ``"soft"``. Called at the first task
    with a walltime for such an executor, on a thread of the kernel. Among entry points
    only the one of the group ``jackfield.walltimes`` that is named ``soft`` is asked,
    after all registered plugins.

    Returns:
        A subclass of ``jackfield.abc.LimitedCall``; or ``None`` to leave it to others.
        An exception fails the task.
    """


@hookspec(firstresult=True)
def jackfield_create_command(function: Callable[..., Any], name: str) -> Command | None:
    """Make what runs the command lines of a bash app.

    Called once for each bash app and kernel, on the thread that first calls the app.
    Among entry points only the one of the group ``jackfield.shells`` that is named
    ``bash`` is asked, after all registered plugins.

    Args:
        function: The app's function, which returns the command line.
        name: The app's name, for messages.

    Returns:
        A ``jackfield.abc.Command``, which executors call; or ``None`` to leave it to
        others. An exception comes out of the call of the app.
    """


# -- Calls


@hookspec(firstresult=True)
def jackfield_find_futures(
    value: object,
) -> tuple[Sequence[Any], Callable[[Sequence[Any]], Any]] | None:
    """Open an argument of a class that the kernel does not look into.

    Asked about each argument, and each part of one, that is neither a plain value nor a
    container or dataclass: on the thread that calls the app, and once more, on a thread
    of the kernel, when what the task waits for has ended. It must answer alike.

    Returns:
        What may be, or hold, a future or a file; and a function that is given what
        takes the place of each of these, in the same order, and returns the value with
        them. It is called only if one of them is replaced, and must not change the old
        value. ``None`` for a value that is not yours. An exception comes out of the
        call, or fails the task.
    """


@hookspec(firstresult=True)
def jackfield_stream_path(
    task: TaskView, stream: str
) -> str | os.PathLike[str] | tuple[str | os.PathLike[str], str] | File | None:
    """Say where ``AUTO_LOGNAME`` sends a stream of a call.

    Asked on the thread that calls the app, before there is a task.

    Args:
        task: What the task will be: number, app and label.
        stream: ``"stdout"`` or ``"stderr"``.

    Returns:
        What the call could have said: a path, ``(path, mode)`` or a ``File``. ``None``
        leaves it to others, and at last to the kernel, which has a name in the run's
        directory. An exception comes out of the call.
    """


# -- Where tasks run


@hookspec(firstresult=True)
def jackfield_select_executor(
    task: TaskView, executors: Mapping[str, int]
) -> str | None:
    """Choose where a task runs.

    Called for each attempt at a task, when all that it waits for is there; on a
    thread of the kernel. Without an answer the kernel takes the executor that has the
    least unfinished work for each of its workers.

    Args:
        task: The task.
        executors: Label to number of unfinished tasks there. It has the executors that
            the app allows and that can do what it asks for.

    Returns:
        One of these labels, or ``None`` to leave the choice to others. Any other
        answer fails the task, as an exception does.
    """


@hookspec(firstresult=True)
def jackfield_scale(loads: Mapping[str, Load]) -> Mapping[str, int] | None:
    """Say how many workers elastic executors are to have.

    Called on a thread of the kernel, each ``scale_period`` seconds, and at once when
    an executor without workers gets tasks or the number of its workers has changed; one
    call at a time. Not called in a kernel that has no elastic executor. Without an
    answer of others, the optional plugin ``scaling`` gives one: docs/scaling.md.

    Args:
        loads: Label to what there is to do, of all executors that are elastic.

    Returns:
        Label to number of workers. The number is brought between ``least`` and ``most``
        of the load; executors that are not named keep what they have. ``None`` leaves
        it to others. An exception is logged, and nothing changes.
    """


# -- Failures


@hookspec(firstresult=True)
def jackfield_retry(task: TaskView, error: BaseException, attempt: int) -> Retry | None:
    """Say what a failure costs and how to go on.

    Called for each failed attempt, on a thread of the kernel. Not called for a task
    whose input failed: that is never retried. Without an answer it is ``Retry(1.0)``.

    Args:
        task: The task. ``task.executor`` is where it failed, and ``task.executors`` has
            the labels that the answer may name.
        error: What the attempt raised.
        attempt: 1 for the first try.

    Returns:
        A ``Retry``, or ``None``. An exception from here ends the retries: the task
        fails with it, and it has ``error`` as its cause.
    """


# -- Files
#
# Which plugin is asked about a URL follows from the URL's scheme, the part before the
# colon. The entry point that is named like the scheme is asked: ``s3`` about s3://...
# If no entry point has that name, the one that is named ``any`` is asked instead, if
# there is one: it is for all schemes that have no plugin of their own. Plugins that the
# program has registered are asked first, and about URLs of every scheme.


@hookspec(firstresult=True)
def jackfield_stage_in(transfer: Transfer) -> RemoteInfo | None:
    """Bring one remote file to local disk before the task that wants it.

    Called for each attempt at a file, on one of the kernel's transfer threads, which
    may wait for the network; or in the task's worker, if that does not share a file
    system with the script or the configuration says ``in_task``.

    All that a provider does is move bytes, best by ``transfer.receive``. The kernel
    does the rest: it verifies the file, gives it its final name when you return and
    removes it when you raise, tries again, and lets all tasks that want the same file
    share it.

    Args:
        transfer: What is at ``transfer.url`` is to be written to ``transfer.path``.

    Returns:
        What the other side told of the file (``RemoteInfo()`` if it told nothing), or
        ``None`` if the URL is not yours; then nothing may have been written.

    Raises:
        TransferError: The file did not arrive. If it is ``transient``, the kernel tries
            again; if not, the tasks that want the file fail with it. Any other
            exception does the same: a ``ConnectionError`` or a ``TimeoutError`` counts
            as transient, the rest does not.
    """


@hookspec(firstresult=True)
def jackfield_stage_out(transfer: Transfer) -> RemoteInfo | None:
    """Take one output file to its remote place after the task that made it.

    Called for each attempt at a remote output of a task whose function has returned,
    on the same threads as ``jackfield_stage_in``.

    At no moment may others see half a file there: they see what was there before, or
    the whole new file. Where the other side does not see to that itself, send to
    another name and rename.

    Args:
        transfer: The file at ``transfer.path`` is to be sent to ``transfer.url``, best
            by reading ``transfer.open()``.

    Returns:
        What the other side tells of the file that it has now, which the kernel compares
        with the one that was sent; or ``None`` if the URL is not yours.

    Raises:
        TransferError: The file was not sent. It, and any other exception, is taken as
            in ``jackfield_stage_in``; in the end the task fails with it.
    """


@hookspec(firstresult=True)
def jackfield_stat_file(remote: Remote) -> RemoteInfo | None:
    """Tell what is known of the file at ``remote.url``, without moving it. Optional.

    Called on the same threads as ``jackfield_stage_in``, at two moments. Before a
    transfer, if files of earlier runs are kept: to see whether the one that is there
    is still right. And after a transfer whose answer was not ``settled``: to see
    whether the file was replaced while it was being moved.

    Returns:
        What is known, in the same fields of ``RemoteInfo`` that this plugin's
        ``jackfield_stage_in`` fills; or ``None`` if the URL is not yours.

    Raises:
        RemoteNotFoundError: There is no such file.
        TransferError: The other side does not tell. Any other exception means the same.
            After a transfer, that is no failure: less is known of the file.
    """


@hookspec(firstresult=True)
def jackfield_list_files(remote: Remote) -> Mapping[str, RemoteInfo] | None:
    """List the files below the directory ``remote.url``, to any depth. Optional.

    Called on the same threads as ``jackfield_stage_in``, for a ``File`` whose URL
    ends with ``/`` or has a ``*`` in it. Without an implementation such a file is
    refused.

    Returns:
        The URL of each file, which begins with ``remote.url``, to what is known of
        it; or ``None`` if the URL is not yours.

    Raises:
        RemoteNotFoundError: There is no such directory.
        TransferError: It cannot be listed. Any other exception means the same.
    """


@hookspec(firstresult=True)
def jackfield_create_mover(around: MoverContext) -> Mover | None:
    """Make what turns the bytes that providers move into transfers.

    That is verification, retries, resumption, a cache, cancellation, progress, and one
    transfer for all tasks that want one file. Called
    for the first remote file of a kernel, or the first local one whose size or digest
    is declared, on the thread that calls the app; a kernel without one never calls it.
    Among entry points only the one of the group ``jackfield.movers`` that is named
    ``files`` is asked, after all registered plugins.

    Args:
        around: The configuration, the plugins that move bytes, and how to start a task
            that moves a file.

    Returns:
        A ``jackfield.staging.mover.Mover``; or ``None`` to leave it to others. An
        exception comes out of the call of the app.
    """


@hookspec(firstresult=True)
def jackfield_serves_scheme(scheme: str) -> bool | None:
    """Tell whether URLs of a scheme can be served at all. Optional.

    For the entry point that is named ``any``; no other is asked. It is there so that a
    misspelt scheme (``htpp://``) is an error where the app is called. Without it, the
    plugin is taken to serve everything, and the mistake is found only when the file is
    to be moved. Called once for each scheme that has no plugin of its own, on the
    thread that calls the app, and therefore quick. The scheme is in lower case.

    Returns:
        ``False`` if no URL of this scheme can be served: the call of the app then
        raises ``NoProviderError``. ``True`` and ``None`` mean that it may be.
    """


@hookspec(firstresult=True)
def jackfield_credentials(name: str) -> Mapping[str, str] | None:
    """Give what ``credentials = "name"`` in the configuration stands for.

    For keyrings and vaults. Called once for each name in each process that moves
    files, on a thread that may wait, before the environment and the credentials file
    are looked at. The function is pickled for workers that fetch files themselves.

    Returns:
        Text by part, such as ``{"user": ..., "password": ...}``. The kernel hands it
        to the plugin that moves the file, and logs, stores and sends it nowhere else.
        ``None`` for a name that you do not know. An exception fails the transfer.
    """


@hookspec
def jackfield_transfer_events(events: Sequence[TransferEvent]) -> None:
    """Transfers have begun, moved on or ended.

    Called on the thread of ``jackfield_task_events``, about ten times a second while
    something happens, with all that has happened since; in order for each transfer.
    Transfers that tasks do themselves in a worker are not told.
    """


# -- Memo and checkpoints


@hookspec(firstresult=True)
def jackfield_create_key_maker(
    value_hooks: Callable[[type], tuple[ValueHook, ...]],
    function_hooks: Callable[[], tuple[FunctionHook, ...]],
    files: FilesBy,
) -> KeyMaker | None:
    """Make what decides which calls of cached apps are the same call.

    Called once, for the first cached call of a kernel or its first task on an isolated
    executor, on a thread of the kernel. Among entry points only the one of the group
    ``jackfield.memo`` that is named ``python`` is asked, after all registered plugins
    and those of the group ``jackfield.plugins``.

    Runs that are to find each other's results need the same answer: another key maker
    makes other keys, under which nothing is stored yet.

    Args:
        value_hooks: Gives the plugins to ask about values of a type, in order
            (``jackfield_hash_value``).
        function_hooks: Gives the plugins to ask about functions
            (``jackfield_hash_function``). Both change when plugins come or go.
        files: What a ``File`` counts by: ``"content"`` or ``"stat"``, as configured
            in ``checkpoint.files``.

    Returns:
        A ``jackfield.memo_keys.KeyMaker``; or ``None`` to leave it to others. An
        exception fails the task that the key was to be made for.
    """


@hookspec(firstresult=True)
def jackfield_hash_value(value: object) -> bytes | None:
    """Give the identity of an argument of a cached app: a part of its memo key.

    Asked, by the key maker, for values of types that it does not know itself, on a
    thread of the kernel. An entry point of the group ``jackfield.memo`` is asked about
    types that come from the package of its name, ``numpy`` about ``numpy.ndarray``; a
    plugin of the program is asked about all.

    Args:
        value: The argument, or a part of it.

    Returns:
        Bytes that are equal for two values if and only if a result for one of them may
        be used for the other, and that are the same in every process; ``None`` for a
        value that is not yours. An exception fails the task.
    """


@hookspec(firstresult=True)
def jackfield_hash_function(function: Callable[..., Any]) -> bytes | None:
    """Give the identity of an app's decorated function: a part of its memo key.

    Asked, by the key maker, once for each function, on a thread of the kernel. Without
    an answer the key maker looks at the function's code and at all that it uses.

    Returns:
        Bytes that change whenever the function could return something else, or
        ``None``. An exception fails the task.
    """


@hookspec(firstresult=True)
def jackfield_use_result(task: TaskView) -> bool | None:
    """Forbid that an earlier result is used for a call.

    Asked for each call of a cached app when its key is known, on a thread of the
    kernel, whether or not there is a result.

    Args:
        task: The task; ``task.key`` is its memo key, ``task.call`` shows its arguments.

    Returns:
        ``False``: the function is called, and what it returns takes the place of the
        earlier result. Calls that are equal and run at the same moment still share one
        execution. ``True`` or ``None`` lets the result be used; the first of them that
        is not ``None`` counts. An exception fails the task.
    """


@hookspec(firstresult=True)
def jackfield_create_keeper(
    table: Mapping[str, Any], around: Surroundings
) -> ResultKeeper | None:
    """Make what keeps results of cached calls for later runs.

    Called once for a kernel: on the thread that loads it if ``[checkpoint]`` names a
    store, else at the first cached call, on a thread of the kernel. Among entry points
    only the one of the group ``jackfield.keepers`` that is named ``signed`` is asked,
    after all registered plugins and those of the group ``jackfield.plugins``.

    Args:
        table: The table ``[checkpoint]``, checked as far as the kernel knows it; empty
            if nothing is configured.
        around: What the keeper may use of the kernel.

    Returns:
        A ``jackfield.keeping.ResultKeeper``; or ``None`` to leave it to others. An
        exception ends the start of the kernel, or fails the task.
    """


@hookspec(firstresult=True)
def jackfield_open_checkpoint(
    url: str, options: Mapping[str, Any]
) -> CheckpointStore | None:
    """Open the store of results that a configuration names.

    Called once for each store, when the keeper of results is made
    (``jackfield_create_keeper``), on the same thread.

    Args:
        url: As configured, such as ``"sqlite:///results.db"``. An entry point is asked
            only if the scheme is its name; a plugin of the program is asked about every
            URL, and returns ``None`` for one that is not its own.
        options: The ``[checkpoint]`` table without what others read
            (``store``, ``read``, ``mode``, ``period``, ``key_file``, ``files``,
            ``on_failure``). ``read_only = true`` may be among them. Check it: an
            unknown or bad option is a ``ConfigurationError`` that names it.

    Returns:
        The store, opened in a time that does not depend on how much is in it.

    Raises:
        CheckpointError: The store cannot be opened.
    """


# -- Being told


@hookspec(firstresult=True)
def jackfield_create_monitor(
    kind: str, label: str, options: Mapping[str, Any]
) -> object | None:
    """Make what a table ``[monitors.LABEL]`` of a configuration asks for.

    Called once for each table, on the thread that loads the kernel, before anything of
    the run is there but its directory.

    Args:
        kind: What the table names as ``plugin``. An entry point is asked only if this
            is its name; a plugin of the program is asked about every name, and returns
            ``None`` for one that is not its own.
        label: What messages call it. Several tables may name the same plugin.
        options: The rest of the table, without what the kernel reads itself
            (``resources``, ``complete``). Check it: an unknown or bad option is a
            ``ConfigurationError`` that names it.

    Returns:
        A plugin object of its own, with hooks such as ``jackfield_kernel_started``,
        ``jackfield_run_events`` and ``jackfield_kernel_closing``. The kernel registers
        it, and then starts its executors.
    """


@hookspec(firstresult=True)
def jackfield_create_stream(around: StreamContext) -> EventStream | None:
    """Make what tells observers, out of what the kernel notes.

    Called when the first plugin is there that has ``jackfield_run_events``,
    ``jackfield_task_events`` or ``jackfield_transfer_events``: on the thread that loads
    the kernel, or that registers the plugin. A kernel without one never calls it. Among
    entry points only the one of the group ``jackfield.streams`` that is named
    ``records`` is asked, after all registered plugins.

    Args:
        around: What the stream may use of the kernel.

    Returns:
        A ``jackfield.stream.EventStream`` that is not started; or ``None`` to leave it
        to others. An exception ends the start of the kernel, or the registration.
    """


@hookspec
def jackfield_kernel_started(kernel: Kernel) -> None:
    """A kernel has its executors and takes tasks.

    Called on the thread that loads the kernel, before ``load`` returns. A plugin that
    is registered later does not hear of it.
    """


@hookspec
def jackfield_task_events(events: Sequence[TaskEvent]) -> None:
    """Tasks have changed their states.

    Called on one thread of the kernel that does nothing else, so no task waits for it:
    about ten times a second while something happens, with all that has happened since,
    the earliest first. The queue behind it is bounded: an observer that is slower than
    the tasks loses the oldest events, and the log says how many. One that raises ten
    times in a row is told no more.

    All states are told, but those that a task only passes through. ``READY`` is told of
    tasks that had something to wait for, or that have a result to look up;
    ``FINISHING`` of those that have something left to do when their function has
    returned. A failure that is tried again is told as ``WAITING``, with the error, and
    the number and the executor of the attempt that has failed.
    """


@hookspec
def jackfield_run_events(batch: Batch) -> None:
    """Tasks, attempts, workers and transfers have come, changed or ended.

    Called on the thread of ``jackfield_task_events``, about ten times a second while
    something happens, and a last time before ``jackfield_kernel_closing``, with all
    that has happened since. ``jackfield.events`` has the records. Those of tasks and
    attempts are made when they are first looked at: an observer that only counts
    workers costs little. Executors measure attempts only while somebody has this hook.

    An observer that is too slow loses the oldest records, and ``batch.lost`` counts
    them, unless a monitor has the option ``complete``: then submitters wait.
    """


@hookspec
def jackfield_kernel_closing(kernel: Kernel) -> None:
    """All tasks have ended and all events are delivered, the last batch included.

    Called on the thread that ends the kernel, which takes no more tasks, before its run
    directory's log is closed.
    """


@hookspec
def jackfield_register_commands(cli: click.Group) -> None:
    """Add commands to the ``jackfield`` command line.

    Called in the process of the command line, on its main thread. An entry point of
    the group ``jackfield.commands`` is asked when the command is wanted that it is
    named for, and adds that one. A plugin of the group ``jackfield.plugins`` may add
    any; it is asked for ``--help`` and for a name that no entry point has. What is
    returned is ignored. An exception is logged with the plugin's name, and the command
    line goes on without the commands that were to be added.

    Args:
        cli: A group of this plugin's own: ``@cli.command()`` adds to it. A name that
            another plugin has is told and left out.
    """
