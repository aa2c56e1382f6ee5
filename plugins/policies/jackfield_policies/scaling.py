"""How many workers elastic executors are to have: strategies, by name.

The kernel loads this for the first elastic executor, with or without a table
``[plugins.scaling]``, and asks it where no other plugin has an answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from jackfield import ConfigurationError, hookimpl
from jackfield.clock import monotonic
from jackfield.errors import suggest

if TYPE_CHECKING:
    from jackfield.events import Load

JACKFIELD_API = ">=1,<2"
JACKFIELD_SHOWN = ("strategy", "idle", "horizon")

_PARSL: Final = {
    "max_idletime": "write idle",
    "min_blocks": "write least in the executor's table",
    "max_blocks": "write most in the executor's table",
    "init_blocks": "write init in the executor's table",
    "strategy_period": "write scale_period, outside of plugins",
    "parallelism": "the strategy 'expected' counts seconds of work; see horizon",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """How executors are scaled.

    Attributes:
        strategy: One of ``STRATEGIES``.
        idle: Seconds for which there have to be too many workers before some go.
        horizon: Seconds within which what there is to do should be done, if there may
            be workers enough; more, if a worker takes longer to start.
    """

    strategy: str = "expected"
    idle: float = 60.0
    horizon: float = 0.5


class Scaling:
    """Answers ``jackfield_scale`` by a strategy.

    Args:
        executors: Label to a table of settings that differ for that executor.
        settings: Those of all others; see ``Settings``.

    Raises:
        ConfigurationError: A setting is unknown, or its value is wrong.
    """

    def __init__(
        self,
        *,
        executors: Mapping[str, Mapping[str, Any]] | None = None,
        **settings: Any,
    ) -> None:
        self._all = _settings("plugins.scaling", settings)
        self._of: dict[str, Settings] = {}
        for label, table in _table(executors).items():
            where = f"plugins.scaling.executors.{label}"
            self._of[label] = _settings(where, {**settings, **_table(table, where)})
        # Label to when it began to have too many workers, and the most that it has
        # needed since then.
        self._falling: dict[str, tuple[float, int]] = {}

    @hookimpl(trylast=True)
    def jackfield_scale(self, loads: Mapping[str, Load]) -> Mapping[str, int]:
        """Say how many workers each executor is to have."""
        return {label: self._answer(label, load) for label, load in loads.items()}

    def _answer(self, label: str, load: Load) -> int:
        settings = self._of.get(label, self._all)
        need = STRATEGIES[settings.strategy](load, settings)
        if need >= load.wanted:
            self._falling.pop(label, None)
            return need
        now = monotonic()
        since, most = self._falling.get(label, (now, 0))
        if now - since < settings.idle:
            self._falling[label] = since, max(most, need)
            return load.wanted
        self._falling.pop(label, None)
        return max(most, need)


def none(load: Load, settings: Settings) -> int:
    """As many as in the beginning."""
    del settings
    return load.wanted


def simple(load: Load, settings: Settings) -> int:
    """One for each task; fewer only when there is nothing to do, and then the least."""
    del settings
    return max(load.unfinished, load.wanted) if load.unfinished else load.least


def expected(load: Load, settings: Settings) -> int:
    """Enough for what there is to do to take ``horizon`` seconds.

    A task of which nobody knows how long it takes gets a worker of its own.
    """
    horizon = max(settings.horizon, load.start_s)
    need = load.unknown + math.ceil(load.seconds / horizon)
    return min(load.unfinished, need)


Strategy: TypeAlias = Callable[["Load", Settings], int]

STRATEGIES: Final[Mapping[str, Strategy]] = {
    "none": none,
    "simple": simple,
    "expected": expected,
}


def _table(value: Any, where: str = "plugins.scaling.executors") -> Mapping[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise ConfigurationError(
            f"{where} must be a table, not {type(value).__name__}."
        )
    return value or {}


def _settings(where: str, table: Mapping[str, Any]) -> Settings:
    for name, value in table.items():
        if name not in Settings.__dataclass_fields__:
            ours = _PARSL.get(name)
            hint = (
                f": {ours}." if ours else suggest(name, Settings.__dataclass_fields__)
            )
            raise ConfigurationError(f"{where} has no option {name!r}{hint}")
        if name == "strategy":
            if value not in STRATEGIES:
                raise ConfigurationError(
                    f"{where}.strategy must be one of {', '.join(STRATEGIES)}, not "
                    f"{value!r}{suggest(str(value), STRATEGIES)}"
                )
        elif not _is_number(value) or value < 0 or (name == "horizon" and not value):
            least = "above 0" if name == "horizon" else "from 0 on"
            raise ConfigurationError(
                f"{where}.{name} must be a number of seconds {least}, not {value!r}."
            )
    return Settings(**table)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
