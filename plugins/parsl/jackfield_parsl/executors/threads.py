"""Threads of this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jackfield_parsl.executors.base import ParslExecutor

if TYPE_CHECKING:
    from jackfield_parsl.data_provider.staging import Staging


class ThreadPoolExecutor(ParslExecutor):
    """Jackfield's executor ``threads``.

    ``thread_name_prefix``, ``working_dir`` and ``remote_monitoring_radio`` have no
    effect.
    """

    def __init__(
        self,
        label: str = "threads",
        max_threads: int = 2,
        thread_name_prefix: str | None = None,
        storage_access: Sequence[Staging] | None = None,
        working_dir: str | None = None,
        remote_monitoring_radio: Any = None,
    ) -> None:
        self.label = label
        self.max_threads = max_threads
        self.thread_name_prefix = thread_name_prefix
        self.storage_access = storage_access
        self.working_dir = working_dir
        self.remote_monitoring_radio = remote_monitoring_radio

    def as_jackfield(self) -> dict[str, Any]:
        """Return the executor's table."""
        return {"plugin": "threads", "workers": self.max_threads}
