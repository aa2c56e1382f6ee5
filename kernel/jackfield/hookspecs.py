"""Every point at which a plugin can change what the kernel does.

Hooks run in the driver's process, those of staging also in workers that share no
file system with it. A hook named with a verb answers; the first
answer that is not ``None`` wins, asked in pluggy's order: last registered first,
``tryfirst`` before, ``trylast`` after. An exception from it ends the operation it
was called for: a start-up error for what is made once, a failed future for what is
asked per task. A hook named with a past participle is told; its result is ignored,
and an exception is logged with the plugin's name, counted, and goes no further.

A spec may gain arguments, which then have a default: an implementation names only
those that it uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pluggy import HookimplMarker, HookspecMarker

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Mapping, Sequence

    import click

    from jackfield.abc import (
        CheckpointStore,
        Executor,
        Retry,
    )
    from jackfield.kernel.dfk import DataFlowKernel
    from jackfield.memo_keys import FilesBy, FunctionHook, KeyMaker, ValueHook
    from jackfield.staging.remote import Remote, RemoteInfo
    from jackfield.staging.transfer import Transfer
    from jackfield.states import TaskEvent, TaskView, TransferEvent

hookspec: Final[HookspecMarker] = HookspecMarker("jackfield")
hookimpl: Final[HookimplMarker] = HookimplMarker("jackfield")


# -- Executors


@hookspec(firstresult=True)
def jackfield_create_executor(
    kind: str, label: str, options: Mapping[str, Any]
) -> Executor | concurrent.futures.Executor | None:
    """Make the executor of one label.

    Called once per configured executor, on the thread that loads the kernel or
    calls ``add_executors``, before any task.

    Args:
        kind: What the configuration names as ``plugin``: an entry-point name.
            Return ``None`` for one that is not yours.
        label: What apps and messages call the executor.
        options: The rest of the executor's table. Check it: an unknown or bad
            option is a ``ConfigurationError`` that names it.

    Returns:
        A ``jackfield.abc.Executor``, not started; or any
        ``concurrent.futures.Executor``, which the kernel adapts and shuts down. A
        foreign executor may tell its ``Capabilities`` in an attribute
        ``jackfield_capabilities``; without, it is taken to pickle.
    """


@hookspec(firstresult=True)
def jackfield_select_executor(
    task: TaskView, executors: Mapping[str, int]
) -> str | None:
    """Choose where a task runs.

    Called per attempt when the task is ready, on a thread of the kernel; compiled,
    and free when nobody implements it. The kernel's own choice is the executor
    with the least unfinished work for each of its workers.

    Args:
        task: The task.
        executors: Label to number of unfinished tasks there, of those executors
            that the app allows and that can do what it asks for.

    Returns:
        One of the labels, or ``None`` to leave the choice to others. Any other
        answer fails the task.
    """


# -- Failures


@hookspec(firstresult=True)
def jackfield_retry(task: TaskView, error: BaseException, attempt: int) -> Retry | None:
    """Say what a failure costs and how to go on.

    Called per failed attempt, on a thread of the kernel; not for dependency
    failures, which are never retried. The kernel's own answer is ``Retry(1.0)``.

    Args:
        task: The task; ``task.executor`` is where it failed.
        error: What it raised.
        attempt: 1 for the first try.

    Returns:
        A ``Retry``, or ``None``. An exception from here ends the retries and
        becomes the task's failure, with ``error`` as its cause.
    """


# -- Files


@hookspec(firstresult=True)
def jackfield_stage_in(transfer: Transfer) -> RemoteInfo | None:
    """Bring one remote file to local disk before the task that wants it.

    Called for each attempt at a file, on one of the kernel's transfer threads, or
    in the task's worker where that shares no file system with the driver. Entry-point
    plugins are asked only for URLs of the scheme that is their name (one named
    ``any``: for those that nobody else's name is), registered ones for all.

    All that a provider does is move bytes, best through ``transfer.receive``. The
    kernel verifies the file, renames it when you return and removes it when you
    raise, tries again, and lets tasks that want the same file share it.

    Args:
        transfer: ``transfer.url`` is to be written to ``transfer.path``.

    Returns:
        What the other side told of the file (``RemoteInfo()`` if nothing), or
        ``None`` if the URL is not yours and nothing was written.

    Raises:
        TransferError: Or any other exception: the file did not arrive. A transient
            one, a ``ConnectionError`` or a ``TimeoutError`` leads to another attempt;
            the tasks that want the file fail with any other.
    """


@hookspec(firstresult=True)
def jackfield_stage_out(transfer: Transfer) -> RemoteInfo | None:
    """Take one output file to its remote place after the task that made it.

    Called for each attempt at a remote output of a task that succeeded, on the same
    threads as ``jackfield_stage_in``. The other side shall show the whole file or
    what was there before: send to another name and rename where it is not so by
    itself.

    Args:
        transfer: ``transfer.path`` is to be sent to ``transfer.url``, best through
            ``transfer.open()``.

    Returns:
        What the other side tells of what it has now, which the kernel compares with
        the file; or ``None`` if the URL is not yours.

    Raises:
        TransferError: Or any other exception, as in ``jackfield_stage_in``: the task
            fails with it.
    """


@hookspec(firstresult=True)
def jackfield_stat_file(remote: Remote) -> RemoteInfo | None:
    """Tell of a remote file without moving it. Optional.

    Called on the same threads as ``jackfield_stage_in``: before a transfer if there
    is a cache, and after one whose answer was not ``settled``, to see whether the
    file was changed meanwhile.

    Args:
        remote: ``remote.url`` is what to look at.

    Returns:
        What is known, with the same fields as ``jackfield_stage_in`` gives; or
        ``None`` if the URL is not yours.

    Raises:
        RemoteNotFoundError: There is no such file.
        TransferError: Or any other exception: it cannot be told.
    """


@hookspec(firstresult=True)
def jackfield_list_files(remote: Remote) -> Mapping[str, RemoteInfo] | None:
    """List the files below a remote directory, to any depth. Optional.

    Called on the same threads as ``jackfield_stage_in``, for a ``File`` whose URL
    ends with ``/`` or has a ``*`` in it.

    Args:
        remote: ``remote.url`` is a directory; it ends with ``/``.

    Returns:
        The URL of each file, which begins with ``remote.url``, to what is known of
        it; or ``None`` if the URL is not yours.

    Raises:
        RemoteNotFoundError: There is no such directory.
        TransferError: Or any other exception: it cannot be listed.
    """


@hookspec(firstresult=True)
def jackfield_serves_scheme(scheme: str) -> bool | None:
    """Tell whether URLs of a scheme are served. Optional.

    Asked of the entry-point plugin named ``any``, on the thread that submits a task
    with a file of a scheme that no plugin is named like, once per scheme. Without
    it, that plugin is asked for every file, and a misspelt scheme is found when the
    task is to run.

    Returns:
        False if it will not serve such a URL; then the call of the app raises
        ``NoProviderError``.
    """


@hookspec(firstresult=True)
def jackfield_credentials(name: str) -> Mapping[str, str] | None:
    """Give what ``credentials = "name"`` in the configuration stands for.

    Called once per name and process, on a transfer thread, before environment and
    files are looked at. For keyrings and vaults.

    Returns:
        Such as ``{"user": ..., "password": ...}``, which is never logged, stored or
        sent; or ``None`` for a name that you do not know.
    """


@hookspec
def jackfield_transfer_events(events: Sequence[TransferEvent]) -> None:
    """Learn how transfers go.

    Called on the thread of ``jackfield_task_events``, with batches, in order for
    each transfer; not called in workers.
    """


# -- Memo and checkpoints


@hookspec(firstresult=True)
def jackfield_create_key_maker(
    value_hooks: Callable[[type], tuple[ValueHook, ...]],
    function_hooks: Callable[[], tuple[FunctionHook, ...]],
    files: FilesBy,
) -> KeyMaker | None:
    """Make what decides which calls of cached apps are the same call.

    Called for the first cached call of a kernel, on a thread of the kernel; a kernel
    without one never calls it. If two first calls come at the same moment, it may be
    called for both; one of the answers is kept. Among entry points only the one of
    the group ``jackfield.memo`` that is named ``python`` is asked, after all
    registered plugins and those of the group ``jackfield.plugins``.

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
    """Give the identity of an argument for memo keys.

    Asked, by the key maker, for values of types that it does not know itself.
    Entry-point plugins of the group ``jackfield.memo`` are asked for types whose root
    module is their name. Called on a thread of the kernel; compiled.

    Returns:
        Bytes that are equal if and only if the values may stand for each other,
        the same in every process; or ``None`` for a value that is not yours.
    """


@hookspec(firstresult=True)
def jackfield_hash_function(function: Callable[..., Any]) -> bytes | None:
    """Give the identity of an app's function for memo keys.

    Asked, by the key maker, once per function, on a thread of the kernel, before it
    looks at the function itself.

    Returns:
        Bytes that change whenever the function could return something else; or
        ``None``.
    """


@hookspec(firstresult=True)
def jackfield_open_checkpoint(
    url: str, options: Mapping[str, Any]
) -> CheckpointStore | None:
    """Open the store of results that a configuration names.

    Called once per store, on the thread that loads the kernel.

    Args:
        url: As configured: ``"sqlite:///results.db"``. Its scheme is the
            entry-point name; return ``None`` for one that is not yours.
        options: The ``[checkpoint]`` table without ``store``, ``read``, ``mode``,
            ``period``, ``key_file``, ``files`` and ``on_failure``. ``read_only =
            true`` may be among them.
    """


# -- Being told


@hookspec
def jackfield_kernel_started(kernel: DataFlowKernel) -> None:
    """A kernel has its executors and takes tasks. On the loading thread."""


@hookspec
def jackfield_task_events(events: Sequence[TaskEvent]) -> None:
    """Tasks have changed their states.

    Called with batches, in order, from one thread of the kernel that does nothing
    else. The queue behind it is bounded: an observer that is slower than the tasks
    loses the oldest events, and the log says how many.
    """


@hookspec
def jackfield_kernel_closing(kernel: DataFlowKernel) -> None:
    """All tasks have ended and all events are delivered. On the closing thread."""


@hookspec
def jackfield_register_commands(cli: click.Group) -> None:
    """Add commands to the ``jackfield`` command line, when it starts."""
