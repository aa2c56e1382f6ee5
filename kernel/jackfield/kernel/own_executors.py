"""The executors for the kernel's own tasks, made when there is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from jackfield.executors.pool import INTERNAL, TRANSFERS

if TYPE_CHECKING:
    from jackfield.config import Config
    from jackfield.transfers.executor import TransferExecutor

TRANSFER_THREADS: Final = 16
"""Files moved at a time, over all hosts; twice what one host gets."""


def own_executors(config: Config) -> Mapping[str, Callable[[], Any]]:
    """Return label to what makes the executor, or its configuration table."""

    def transfers() -> TransferExecutor:
        from jackfield.transfers.executor import TransferExecutor  # few runs need it

        return TransferExecutor(config.transfers.get("threads", TRANSFER_THREADS))

    return {
        INTERNAL: lambda: {"plugin": "threads", "workers": config.internal_threads},
        TRANSFERS: transfers,
    }
