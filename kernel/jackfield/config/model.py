"""Everything that can be configured."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from jackfield.config.check import (
    PYTHON,
    SPELLED,
    Dependencies,
    ExitMode,
    LogLevel,
    check_names,
    checked,
    is_kernels_own,
)
from jackfield.messages import redacted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Executor as FuturesExecutor
    from pathlib import Path

    from jackfield.abc import Executor

    ExecutorChoice: TypeAlias = Mapping[str, Any] | Executor | FuturesExecutor


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Config:
    """What a kernel is to be like. Checked when it is made, and constant.

    docs/configuration.md explains each key, and gives the spelling in files and in the
    environment: there ``plugins.allow`` is ``allow_plugins``, ``plugins.block`` is
    ``block_plugins``, and tables ``plugins.NAME`` are ``use_plugins``. Relative paths
    start at the current directory.

    Attributes:
        executors: Label, as apps and messages use it, to a table with ``plugin`` and
            that plugin's options, or to an executor object, which serves one kernel.
            Empty where ``add_executors`` is to come.
        run_dir: Directory in which each run makes a numbered one.
        shared_run_dir: Whether others may reach, as the umask says, what is in a run's
            directory, and may write to the one where it is made.
        retries: What a task's failures may cost, 1 each unless a plugin's
            ``jackfield_retry`` says otherwise, before it fails.
        retry_delay: Seconds before the first retry.
        retry_backoff: Factor by which each further delay grows.
        retry_max_delay: Seconds beyond which no delay grows.
        max_pending: Unfinished tasks at which ``submit`` blocks; ``None``: no limit.
        lazy_errors: Whether the run goes on after a failure, or takes no new work.
        app_cache: Whether ``cache=True`` of apps counts.
        dependencies: ``"deep"`` finds futures in lists, dicts, dataclasses, ...;
            ``"shallow"`` among arguments and in ``inputs`` only.
        exit_mode: What leaving ``with load():`` does: ``"wait"`` for all tasks,
            ``"cancel"`` what is unfinished, or ``"skip"``: leave the kernel running.
        exit_grace: Seconds that running tasks get when a run is cut short.
        internal_threads: Threads for join apps' bodies.
        scale_period: Seconds between two looks at how many workers elastic executors
            are to have.
        checkpoint: The store, as a URL, when it is written, and the store's options.
            Empty: SQLite in ``run_dir``, opened at the first cached call.
        staging: URL scheme to the options of its provider, and to those of
            ``transfers`` that are other for it or, in its ``hosts``, for one host.
        transfers: How files are moved.
        monitors: Label, as messages use it, to a table with ``plugin``, the name of
            what follows the run, and its options; ``resources`` and ``complete`` are
            the kernel's own.
        plugins: Plugin objects or modules to register, from Python only.
        allow_plugins: Names of the only plugins that load unasked; ``None``: all.
        block_plugins: Names of plugins that are not used at all.
        use_plugins: Optional plugins to use: name to a table of its options.
        log_level: Least severity of messages in the run's log file; ``"OFF"``: no file.

    Raises:
        ConfigurationError: A key is unknown, or its value is wrong.
    """

    executors: Mapping[str, ExecutorChoice] = field(
        default_factory=lambda: {"threads": {"plugin": "threads"}}
    )
    run_dir: str | Path = "runs"
    shared_run_dir: bool = False
    retries: float = 0
    retry_delay: float = 0.0
    retry_backoff: float = 2.0
    retry_max_delay: float = 60.0
    max_pending: int | None = None
    lazy_errors: bool = True
    app_cache: bool = True
    dependencies: Dependencies = "deep"
    exit_mode: ExitMode = "wait"
    exit_grace: float = 5.0
    internal_threads: int = 10
    scale_period: float = 1.0
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    staging: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    transfers: Mapping[str, Any] = field(default_factory=dict)
    monitors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    plugins: Sequence[object] = ()
    allow_plugins: tuple[str, ...] | None = None
    block_plugins: tuple[str, ...] = ()
    use_plugins: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    log_level: LogLevel = "INFO"

    if not TYPE_CHECKING:  # type checkers know the keywords from the fields

        def __new__(cls, **values: object) -> Self:
            """Refuse unknown keywords as a file's unknown keys are refused."""
            check_names(values, field_names(), PYTHON)
            return object.__new__(cls)

    def __repr__(self) -> str:
        """Show what differs from the defaults; what is for plugins is hidden."""
        changed = changed_values(self).items()
        shown = (f"{k}={redacted((k,), v, is_kernels_own)!r}" for k, v in changed)
        return f"Config({', '.join(shown)})"

    def __post_init__(self) -> None:
        for name, value in checked(field_values(self)).items():
            object.__setattr__(self, name, value)


def field_names() -> tuple[str, ...]:
    """Return the names of all fields of ``Config``, in order."""
    return tuple(one.name for one in fields(Config))


KEYS: Final = tuple(name for name in field_names() if name not in SPELLED)
"""Top-level keys of files, of the environment and of the command line."""


def field_values(config: Config) -> dict[str, Any]:
    """Return the fields of a configuration by name."""
    return {name: getattr(config, name) for name in field_names()}


def changed_values(config: Config) -> dict[str, Any]:
    """Return the fields of a configuration that differ from the defaults."""
    default = Config()
    return {
        name: value
        for name, value in field_values(config).items()
        if value != getattr(default, name)
    }
