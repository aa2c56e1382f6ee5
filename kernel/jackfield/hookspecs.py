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
    from collections.abc import Callable, Mapping, Sequence

    import click

    from jackfield.abc import CheckpointStore, Executor, Kernel, Retry
    from jackfield.memo_keys import FilesBy, FunctionHook, KeyMaker, ValueHook
    from jackfield.staging.mover import Mover
    from jackfield.staging.remote import Remote, RemoteInfo
    from jackfield.staging.transfer import Transfer
    from jackfield.states import TaskEvent, TaskView, TransferEvent

hookspec: Final[HookspecMarker] = HookspecMarker("jackfield")
hookimpl: Final[HookimplMarker] = HookimplMarker("jackfield")


# -- Options


@hookspec(firstresult=True)
def jackfield_check_options(
    kind: str, name: str, options: Mapping[str, Any]
) -> bool | None:
    """Refuse options that cannot be, and start nothing.

    ``jackfield config check`` asks, in a process of its own that runs no task. An entry
    point is asked about the tables that are for it.

    Args:
        kind: ``"executor"``, ``"checkpoint"`` or ``"staging"``.
        name: The executor's label, the store's URL, or the URL scheme.
        options: The table, without what the kernel reads itself: what the hook gets
            that makes the executor or the store, or ``Remote.options``.

    Returns:
        True if they can be, ``None`` if they are not yours. A bad option is a
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
def jackfield_create_mover(
    transfers: Mapping[str, Any],
    staging: Mapping[str, Mapping[str, Any]],
    credentials: tuple[Callable[[str], Any], ...],
    warn: Callable[[str], None],
) -> Mover | None:
    """Make what turns the bytes that providers move into transfers.

    That is verification, retries, resumption, a cache, cancellation, progress. Called
    for the first remote file of a kernel, or the first local one whose size or digest
    is declared, on the thread that calls the app; a kernel without one never calls it.
    Among entry points only the one of the group ``jackfield.movers`` that is named
    ``files`` is asked, after all registered plugins.

    Args:
        transfers: The table ``[transfers]``, checked.
        staging: The tables ``[staging.SCHEME]``, checked.
        credentials: The functions to ask what a name stands for
            (``jackfield_credentials``).
        warn: Writes a sentence to the log of the run, once however often it is called.

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
def jackfield_open_checkpoint(
    url: str, options: Mapping[str, Any]
) -> CheckpointStore | None:
    """Open the store of results that a configuration names.

    Called once for each store: on the thread that loads the kernel, or, for the store
    that is used where none is configured, at the first cached call.

    Args:
        url: As configured, such as ``"sqlite:///results.db"``. An entry point is asked
            only if the scheme is its name; a plugin of the program is asked about every
            URL, and returns ``None`` for one that is not its own.
        options: The ``[checkpoint]`` table without what the kernel reads itself
            (``store``, ``read``, ``mode``, ``period``, ``key_file``, ``files``,
            ``on_failure``). ``read_only = true`` may be among them. Check it: an
            unknown or bad option is a ``ConfigurationError`` that names it.

    Returns:
        The store, opened in a time that does not depend on how much is in it.

    Raises:
        CheckpointError: The store cannot be opened.
    """


# -- Being told


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
    """


@hookspec
def jackfield_kernel_closing(kernel: Kernel) -> None:
    """All tasks have ended and all events are delivered.

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
