"""Loads a kernel, and returns the one that is loaded."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from jackfield.abc import current_work
from jackfield.errors import ConfigurationError, NoDataFlowKernelError
from jackfield.kernel import current
from jackfield.steps.call import checked_walltime
from jackfield.steps.functions import name_of

if TYPE_CHECKING:
    from jackfield.abc import LimitedCall
    from jackfield.config import Config
    from jackfield.kernel.dfk import DataFlowKernel

_loading: bool = False
"""Whether ``load`` is at work; read and written with ``current.lock`` held."""


def load(
    config: Config | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    *,
    progress: bool = False,
    **options: Any,
) -> DataFlowKernel:
    """Start a kernel, and make it the one that apps use.

    Best used as ``with jackfield.load():``, which waits for every task and ends the
    kernel; after an exception or Ctrl-C it cancels what has not begun instead.

    Args:
        config: A ``Config``; a mapping as in ``jackfield.toml``; the name of a
            profile; the path of a TOML file. ``None`` searches for ``jackfield.toml``
            and ``[tool.jackfield]``, and takes the defaults if there is neither.
        progress: Whether to show, in standard error or in the notebook, how the tasks
            get on: the monitor ``progress``.
        options: Single options of ``Config``, which override all other sources.
            ``profile=`` names a profile to use as well; ``plugins=`` adds plugins to
            those of other sources.

    Raises:
        ConfigurationError: Something in the configuration is wrong, or a kernel is
            loaded already.
        PluginError: A plugin that it names is missing or broken.
        ExecutorError: An executor does not start.
    """
    global _loading  # noqa: PLW0603  (the one kernel of this process)
    with current.lock:
        if current.loaded is not None:
            raise ConfigurationError(
                f"A kernel is loaded already ({current.loaded.run_dir}): end it with "
                f"jackfield.dfk().cleanup() before loading another."
            )
        if _loading:
            raise ConfigurationError(
                "A kernel is being loaded, and a plugin that is told of it cannot load "
                "another."
            )
        _loading = True
        try:
            kernel = make(config, progress=progress, **options)
            if not kernel.closed:  # a plugin may have ended it when it was started
                current.loaded = kernel
        finally:
            _loading = False
        return kernel


def make(
    config: Config | Mapping[str, Any] | str | os.PathLike[str] | None,
    *,
    progress: bool = False,
    **options: Any,
) -> DataFlowKernel:
    """Start a kernel as ``load`` does, and do not load it."""
    from jackfield.config.finding import make_request
    from jackfield.kernel.dfk import DataFlowKernel
    from jackfield.plugins.manager import PluginManager

    manager = PluginManager()
    found = manager.find_configuration(make_request(config, **options))
    chosen = found.config
    if progress:
        monitors = {"progress": {"plugin": "progress"}, **chosen.monitors}
        chosen = replace(chosen, monitors=monitors)
    return DataFlowKernel(chosen, files=found.files, finder=manager)


def dfk() -> DataFlowKernel:
    """Return the loaded kernel; in a task that runs in this process, the task's.

    Raises:
        NoDataFlowKernelError: None is loaded.
    """
    kernel: DataFlowKernel | None = current.loaded  # type: ignore[assignment]  # ``load`` sets no other
    if len(current.running) > (kernel is not None):  # others are running besides it
        kernel = _kernel_of_task() or kernel
    if kernel is None:
        raise NoDataFlowKernelError
    return kernel


def _kernel_of_task() -> DataFlowKernel | None:
    """Return the kernel of the task that this thread runs, if it runs one."""
    work = current_work()
    kernels = cast("list[DataFlowKernel]", list(current.running))
    return next((one for one in kernels if work and one.runs(work)), None)


def clear() -> None:
    """Forget the loaded kernel, without ending it."""
    current.forget(current.loaded)


def wait_for_current_tasks(timeout: float | None = None) -> None:
    """Wait for all tasks of the loaded kernel; see ``DataFlowKernel``."""
    dfk().wait_for_current_tasks(timeout)


def timeout(function: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    """Return a function that raises ``AppTimeout`` when it takes longer.

    It is what the walltime of a Python app on threads is, for a part of a task. The
    exception arrives between two instructions of Python, so that a long call into C
    goes on until it returns. Seconds that are no number above 0 are refused at once.
    """
    from jackfield.plugins.manager import PluginManager

    limited: type[LimitedCall] = PluginManager().usual("walltime", (type,))
    name = name_of(function)
    return limited(function, name, checked_walltime(name, seconds, "seconds"))
