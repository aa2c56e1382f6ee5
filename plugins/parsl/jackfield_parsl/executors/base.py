"""What the executors have in common, and those of the user's own."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jackfield import Capabilities
from jackfield_parsl.errors import refused
from jackfield_parsl.utils import RepresentationMixin

if TYPE_CHECKING:
    from jackfield_parsl.data_provider.staging import Staging


class ParslExecutor(RepresentationMixin):
    """Base of executors, also of the user's own, which Jackfield then adapts."""

    label: str = "undefined"
    storage_access: Sequence[Staging] | None = None
    working_dir: Any = None

    def start(self) -> None:
        """Begin to take tasks."""

    def submit(
        self,
        func: Callable[..., Any],
        resource_specification: Any,
        *args: Any,
        **kw: Any,
    ) -> concurrent.futures.Future[Any]:
        """Run a call. For executors of the user's own."""
        raise NotImplementedError

    def shutdown(self) -> None:
        """Take no more tasks."""

    def as_jackfield(self) -> Any:
        """Return the executor's table, or an executor."""
        return _Adapter(self)

    def staging(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the tables ``[staging.SCHEME]`` that ``storage_access`` stands for."""
        tables: dict[str, Mapping[str, Any]] = {}
        for provider in self.storage_access or ():
            schemes = getattr(provider, "in_task_schemes", None)
            if schemes is None:
                raise refused(
                    f"{type(provider).__name__}, a Staging class of one's own",
                    "write a plugin with jackfield_stage_in, ten lines as "
                    "docs/writing-a-staging-provider.md shows",
                )
            tables.update({scheme: {"in_task": True} for scheme in schemes})
        return tables


class _Adapter(concurrent.futures.Executor):
    jackfield_capabilities = Capabilities()

    def __init__(self, executor: ParslExecutor) -> None:
        self._executor = executor
        executor.start()

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> concurrent.futures.Future[Any]:
        return self._executor.submit(fn, {}, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        del wait, cancel_futures
        self._executor.shutdown()
