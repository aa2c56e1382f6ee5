"""Has notebooks show kernels, futures, summaries and explanations as small tables.

The classes themselves know nothing of notebooks. When a kernel starts in IPython, its
formatter is told how to show them. Every kernel asks this module, and few are in
IPython: what makes the tables is imported only there.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from jackfield import hookimpl

if TYPE_CHECKING:
    from jackfield import DataFlowKernel


@hookimpl
def jackfield_kernel_started(kernel: DataFlowKernel) -> None:
    """Tell IPython, where this is one, how to show what belongs to kernels."""
    python: Any = sys.modules.get("IPython")
    shell = None if python is None else python.get_ipython()
    if shell is not None:
        from jackfield_monitoring.notebook_tables import KINDS, shown

        formatter = shell.display_formatter.formatters["text/html"]
        for kind in (type(kernel), *KINDS):
            formatter.for_type(kind, shown)
