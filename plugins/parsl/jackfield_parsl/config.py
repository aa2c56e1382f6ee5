"""Parsl's ``Config``, and what it is for Jackfield."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import jackfield as jf
from jackfield_parsl._plugins import plugins_for
from jackfield_parsl.dataflow.dependency_resolvers import (
    SHALLOW_DEPENDENCY_RESOLVER,
    DependencyResolver,
)
from jackfield_parsl.dataflow.memoization import BasicMemoizer
from jackfield_parsl.executors.threads import ThreadPoolExecutor
from jackfield_parsl.utils import RepresentationMixin

if TYPE_CHECKING:
    from jackfield_parsl.dataflow.taskrecord import TaskRecord
    from jackfield_parsl.executors.base import ParslExecutor
    from jackfield_parsl.logconfigs.base import LogConfig
    from jackfield_parsl.monitoring import MonitoringHub

_STRATEGIES = {None: "none", "none": "none", "htex_auto_scale": "expected"}
_MEMO = {"app_cache", "checkpoint_files", "checkpoint_mode", "checkpoint_period"}
"""What Parsl's ``Config`` was told before there were memoizers."""

_EXIT_MODES = {"cleanup": "cancel", "skip": "skip", "wait": "wait"}


class Config(RepresentationMixin):
    """A configuration as Parsl's scripts make it.

    ``garbage_collect`` and ``project_name`` are taken and have no effect.
    """

    def __init__(
        self,
        executors: Iterable[ParslExecutor] | None = None,
        memoizer: BasicMemoizer | None = None,
        dependency_resolver: DependencyResolver | None = None,
        exit_mode: str = "cleanup",
        garbage_collect: bool = True,
        internal_tasks_max_threads: int = 10,
        retries: float = 0,
        retry_handler: Callable[[Exception, TaskRecord], float] | None = None,
        run_dir: str | os.PathLike[str] = "runinfo",
        std_autopath: Callable[[TaskRecord, str], Any] | None = None,
        strategy: str | None = "simple",
        strategy_period: float = 5,
        max_idletime: float = 120.0,
        monitoring: MonitoringHub | None = None,
        usage_tracking: int = 0,
        project_name: str | None = None,
        initialize_logging: bool | LogConfig = True,
        **others: Any,
    ) -> None:
        for name in others:
            hint = "; write memoizer=BasicMemoizer(...)" if name in _MEMO else ""
            raise TypeError(f"Config has no option {name!r}{hint}")
        if exit_mode not in _EXIT_MODES:
            valid = ", ".join(_EXIT_MODES)
            raise TypeError(f"exit_mode is {exit_mode!r}; expected one of {valid}")
        self.executors: tuple[ParslExecutor, ...] = tuple(
            executors or [ThreadPoolExecutor()]
        )
        self.memoizer: BasicMemoizer = memoizer or BasicMemoizer()
        self.dependency_resolver = dependency_resolver
        self.exit_mode = exit_mode
        self.garbage_collect = garbage_collect
        self.internal_tasks_max_threads = internal_tasks_max_threads
        self.retries = retries
        self.retry_handler = retry_handler
        self.run_dir = run_dir
        self.std_autopath = std_autopath
        self.strategy = strategy
        self.strategy_period = strategy_period
        self.max_idletime = max_idletime
        self.monitoring = monitoring
        self.usage_tracking = usage_tracking
        self.project_name = project_name
        self.initialize_logging = initialize_logging

    def as_jackfield(self) -> jf.Config:
        """Return the configuration of Jackfield that stands for this one.

        Raises:
            ConfigurationError: Something in it cannot be translated.
        """
        resolver = self.dependency_resolver or SHALLOW_DEPENDENCY_RESOLVER
        shallow = resolver is SHALLOW_DEPENDENCY_RESOLVER
        tables = {one.label: one.as_jackfield() for one in self.executors}
        staging: dict[str, Any] = {}
        for executor in self.executors:
            staging.update(executor.staging())
        usage: dict[str, Any] = {"usage": {}} if self.usage_tracking else {}
        return jf.Config(
            executors=tables,
            run_dir=os.fspath(self.run_dir),
            retries=self.retries,
            exit_mode=_EXIT_MODES[self.exit_mode],  # type: ignore[arg-type]  # checked
            internal_threads=self.internal_tasks_max_threads,
            dependencies="shallow" if shallow else "deep",
            app_cache=self.memoizer.memoize,
            checkpoint=self.memoizer.as_jackfield(os.fspath(self.run_dir)),
            staging=staging,
            monitors=self.monitoring.as_jackfield() if self.monitoring else {},
            use_plugins={**self._scaling(tables), **usage},
            scale_period=self.strategy_period,
            log_level="INFO" if self.initialize_logging else "OFF",
            plugins=plugins_for(
                resolver,
                self.retry_handler,
                self.std_autopath,
                log=bool(self.initialize_logging),
            ),
        )

    def _scaling(self, tables: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return the table ``[plugins.scaling]``, if an executor can be scaled."""
        if not any("most" in one for one in tables.values() if isinstance(one, dict)):
            return {}
        strategy = _STRATEGIES.get(self.strategy, self.strategy)
        return {"scaling": {"strategy": strategy, "idle": float(self.max_idletime)}}
