"""The small tables in which notebooks show what belongs to kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jackfield import AppFuture, DataFuture, Explanation, Summary
from jackfield.futures.future import error_of, task_of
from jackfield_monitoring import html

if TYPE_CHECKING:
    from jackfield import DataFlowKernel
    from jackfield.futures import KernelFuture

KINDS: Final = (AppFuture, DataFuture, Explanation, Summary)
"""The classes, besides that of kernels, whose objects are shown."""


def shown(value: Any) -> str:
    """Return a kernel, future, summary or explanation as HTML; waits for nothing."""
    if isinstance(value, AppFuture | DataFuture):
        return _future(value)
    if isinstance(value, Summary):
        return _summary(value)
    if isinstance(value, Explanation):
        return _explanation(value)
    return _kernel(value)


def _kernel(kernel: DataFlowKernel) -> str:
    title = f"DataFlowKernel, {'closed' if kernel.closed else 'open'}"
    executors = html.table([("executors", ", ".join(kernel.executors))])
    return html.box(title, executors, _summary(kernel.summary()))


def _summary(summary: Summary) -> str:
    known = {"run": summary.run_dir, "seconds": f"{summary.elapsed:.1f}"}
    counts = {state.value: number for state, number in summary.counts.items()}
    return html.tasks("Summary", known, counts, summary.failures, summary.failed)


def _future(future: KernelFuture[Any]) -> str:
    task = task_of(future)
    known = {"task": task.title}
    if isinstance(future, DataFuture):
        known["file"] = future.file_obj
    known["state"] = "cancelled" if future.cancelled() else task.status
    known["call"] = task.call_text()
    return html.future(type(future).__name__, known, error_of(future))


def _explanation(told: Explanation) -> str:
    title, _, rest = str(told).partition("\n")
    return html.box(title, html.lines(rest.split("\n")))
