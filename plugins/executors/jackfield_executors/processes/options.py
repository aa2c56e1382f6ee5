"""The options of a process executor, checked."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from jackfield.errors import ConfigurationError
from jackfield_executors.checking import Check, checked_values
from jackfield_executors.elastic import bounds_of, known_elsewhere
from jackfield_executors.processes import resources
from jackfield_executors.processes.shared import default_most
from jackfield_executors.shares import Shares, checked_amounts, parse_size

Initializer = Callable[..., object]

THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
"""Variables that numeric libraries read when they are loaded.

They say how many threads the library may start."""


class Options(NamedTuple):
    """Options of one executor; see ``docs/executors-processes.md``.

    Attributes:
        label: The executor's label.
        workers: Number of worker processes, at most.
        least: With how many it is never without, if their number is elastic.
        init: How many there may be until it is asked for another number.
        elastic: Whether there may be more or fewer, between ``least`` and ``workers``.
        max_tasks_per_worker: Tasks after which a worker is replaced, or ``None``.
        max_memory_per_worker: Bytes above which a worker is replaced between tasks.
        memory_limit_per_worker: Bytes above which a worker is killed.
        initializer: Called in each worker before its first task, or its
            ``"module:function"``.
        initargs: Arguments of the initializer.
        preload: Modules that the fork server imports before the first worker; ``None``
            for what the first functions need.
        env: Environment variables that workers have beyond the driver's.
        threads_per_worker: How many threads BLAS, OpenMP and the like may start in a
            worker; with 0 the libraries decide.
        resources: How much there is of what tasks may ask for.
        nice: Added to the driver's niceness: 0 to 19.
        max_shared: Bytes of memory that the data may take which the driver and the
            workers share; 0 to share none.
        spill: Directory for what would be more; the run's, not an option.
    """

    label: str
    workers: int
    least: int = 0
    init: int = 0
    elastic: bool = False
    max_tasks_per_worker: int | None = None
    max_memory_per_worker: int | None = None
    memory_limit_per_worker: int | None = None
    initializer: Initializer | str | None = None
    initargs: tuple[Any, ...] = ()
    preload: tuple[str, ...] | None = None
    env: Mapping[str, str] = MappingProxyType({})
    threads_per_worker: int = 1
    resources: Mapping[str, float] = MappingProxyType({})
    nice: int = 0
    max_shared: int = 0
    spill: str = ""

    def shares(self) -> Shares:
        """Return what works share."""
        return Shares(self.resources, self.workers)

    def environment(self) -> dict[str, str]:
        """Return the environment that workers start with."""
        merged = {**os.environ, **self.env}
        if self.threads_per_worker:
            for name in THREAD_VARIABLES:
                merged.setdefault(name, str(self.threads_per_worker))
        return merged


def parse_options(label: str, options: Mapping[str, Any]) -> Options:
    """Check an executor's table.

    Raises:
        ConfigurationError: Names the executor, the option and what it takes.
    """
    if os.name != "posix":
        raise ConfigurationError(
            f"Executor {label!r}: 'processes' needs a POSIX system."
        )
    checked = checked_values(
        "processes",
        label,
        options,
        _CHECKS,
        elsewhere=known_elsewhere,
        private=_PRIVATE,
    )
    _check_memory(label, checked)
    cores = resources.available_cores()
    bounds = bounds_of(label, checked, fixed="workers", most=cores)
    checked |= {"least": bounds.least, "init": bounds.init, "elastic": bounds.elastic}
    checked.pop("most", None)
    workers = checked["workers"] = bounds.most
    checked["resources"] = resources.available() | checked.get("resources", {})
    checked.setdefault("threads_per_worker", max(1, cores // workers))
    checked.setdefault("max_shared", default_most())
    return Options(label, **checked)


def _check_memory(label: str, checked: Mapping[str, Any]) -> None:
    wanted = [name for name in checked if "memory" in name and checked[name]]
    if wanted and not resources.measures_memory():
        raise ConfigurationError(
            f"Executor {label!r}: option {wanted[0]!r} needs /proc, "
            "which this system does not have."
        )


def _count(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError("an integer above 0")
    return value


def _from_zero(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("an integer from 0 on")
    return value


def _optional_count(value: Any) -> int | None:
    return None if value is None else _count(value)


def _threads(value: Any) -> int:
    if value is None:
        return 0
    if type(value) is not int or value < 0:
        raise ValueError("an integer, 0 for no limit")
    return value


def _nice(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= 19:
        raise ValueError("an integer from 0 to 19")
    return value


def _shared(value: Any) -> int:
    if value == 0 and type(value) is int:
        return 0
    return parse_size(value) or default_most()


def _env(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise TypeError("a table of texts")
    for name, text in value.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise TypeError("a table of texts")
        if not name or "=" in name or "\0" in name + text:
            raise ValueError("a table of texts without NUL, whose names have no '='")
    return dict(value)


def _initializer(value: Any) -> Initializer | str | None:
    if value is None or callable(value):
        return value  # type: ignore[no-any-return]  # `callable` narrows Any to Any
    if isinstance(value, str) and re.fullmatch(r"[\w.]+:[\w.]+", value):
        return value
    raise TypeError("a function, or its name as 'module:function'")


def _arguments(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError("a list of arguments")
    return tuple(value)


def _modules(value: Any) -> tuple[str, ...]:
    if isinstance(value, list | tuple) and all(
        isinstance(one, str) and all(map(str.isidentifier, one.split(".")))
        for one in value
    ):
        return tuple(dict.fromkeys(value))
    raise TypeError("a list of modules' names")


_PRIVATE: Final = frozenset({"env", "initargs", "initializer"})
"""Options that may hold a secret."""

_CHECKS: Final[Mapping[str, Check]] = {
    "workers": _count,
    "least": _from_zero,
    "most": _count,
    "init": _from_zero,
    "max_tasks_per_worker": _optional_count,
    "max_memory_per_worker": parse_size,
    "memory_limit_per_worker": parse_size,
    "initializer": _initializer,
    "initargs": _arguments,
    "preload": _modules,
    "env": _env,
    "threads_per_worker": _threads,
    "resources": checked_amounts,
    "nice": _nice,
    "max_shared": _shared,
}
