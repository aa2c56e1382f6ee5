"""The kernel that apps use when they are not told another: one for each process."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jackfield.errors import ConfigurationError, NoDataFlowKernelError

if TYPE_CHECKING:
    from jackfield.config import Config
    from jackfield.kernel.dfk import DataFlowKernel

_lock = threading.RLock()
_loaded: DataFlowKernel | None = None
_loading: bool = False


def load(
    config: Config | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    /,
    **options: Any,
) -> DataFlowKernel:
    """Start a kernel, and make it the one that apps use.

    Best used as ``with jackfield.load():``, which waits for every task and ends the
    kernel; after an exception or Ctrl-C it cancels what has not begun instead.

    Args:
        config: A ``Config``; a mapping as in ``jackfield.toml``; the name of a
            profile; the path of a TOML file. ``None`` searches for
            ``jackfield.toml`` and ``[tool.jackfield]``, then takes the defaults.
        options: Single options of ``Config``, over all other sources; ``profile=``
            names a profile to use besides; ``plugins=`` adds to the others' plugins.

    Raises:
        ConfigurationError: Something in the configuration cannot be, or a kernel is
            loaded already.
        PluginError: A plugin that it names is missing or broken.
        ExecutorError: An executor does not start.
    """
    global _loaded, _loading  # noqa: PLW0603  (the one kernel of this process)
    from jackfield.config import resolve
    from jackfield.kernel.dfk import DataFlowKernel
    from jackfield.plugins.manager import PluginManager

    with _lock:
        if _loaded is not None:
            raise ConfigurationError(
                f"A kernel is loaded already ({_loaded.run_dir}): end it with "
                f"jackfield.dfk().cleanup() before loading another."
            )
        if _loading:
            raise ConfigurationError(
                "A kernel is being loaded, and a plugin that is told of it cannot load "
                "another."
            )
        _loading = True
        try:
            resolved = resolve(config, profiles=PluginManager().profile, **options)
            kernel = DataFlowKernel(resolved.config)
            _loaded = None if kernel.closed else kernel  # a plugin may have ended it
        finally:
            _loading = False
        return kernel


def dfk() -> DataFlowKernel:
    """Return the loaded kernel.

    Raises:
        NoDataFlowKernelError: None is loaded.
    """
    kernel = _loaded
    if kernel is None:
        raise NoDataFlowKernelError
    return kernel


def clear() -> None:
    """Forget the loaded kernel, without ending it."""
    forget(_loaded)


def wait_for_current_tasks(timeout: float | None = None) -> None:
    """Wait for all tasks of the loaded kernel; see ``DataFlowKernel``."""
    dfk().wait_for_current_tasks(timeout)


def forget(kernel: DataFlowKernel | None) -> None:
    """Forget a kernel if it is the loaded one; ``None``: in a fork, whichever."""
    global _loaded  # noqa: PLW0603  (the one kernel of this process)
    if kernel is None or _loaded is kernel:
        _loaded = None
