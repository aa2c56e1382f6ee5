"""Whether a configuration is right, as far as that shows without starting anything."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jackfield.config.check import KEEPERS_OWN
from jackfield.config.transfers import HOSTS, RULES
from jackfield.errors import ConfigurationError, JackfieldError, suggest
from jackfield.plugins import PluginManager
from jackfield.plugins.manager import USUAL, monitor_options

if TYPE_CHECKING:
    from jackfield.config import Config, Resolved


def problems(resolved: Resolved) -> Iterator[str]:
    """Give a line for each problem: the key, where it was set, what is wrong."""
    return _Check(resolved).problems()


class _Check:
    def __init__(self, resolved: Resolved) -> None:
        self._config: Config = resolved.config
        self._origins = resolved.origins
        self._told: list[str] = []
        self._manager = PluginManager().configured(self._config)

    def problems(self) -> Iterator[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self._plugins()
            self._executors()
            self._stores()
            self._staging()
            self._monitors()
        for warning in caught:
            text = str(warning.message)
            blocks = text.startswith("A blocked plugin")
            self._tell("plugins.block" if blocks else "plugins", {}, text)
        yield from self._told

    def _plugins(self) -> None:
        for name, options in self._config.use_plugins.items():
            if name not in self._config.block_plugins:
                with self._telling(f"plugins.{name}", options):
                    self._manager.load("optional", name, options)
        with self._telling("plugins", {}):
            self._manager.load_general()

    def _executors(self) -> None:
        for label, table in self._config.executors.items():
            if isinstance(table, Mapping):  # else an object, which has no options
                options = dict(table)
                plugin = options.pop("plugin")
                key = f"executors.{label}"
                self._ask("executor", plugin, label, key, options, table)

    def _stores(self) -> None:
        table = self._config.checkpoint
        options = {k: v for k, v in table.items() if k not in KEEPERS_OWN}
        if table:
            self._ask(
                "keeper", USUAL["keeper"], "checkpoint", "checkpoint", table, table
            )
        urls = [table["store"]] if "store" in table else []
        for url in (*urls, *table.get("read", ())):
            if url != "memory":
                scheme = str(url).partition(":")[0].lower()
                own = options if url in urls else {}
                self._ask("checkpoint", scheme, url, "checkpoint", own, table)

    def _staging(self) -> None:
        for scheme, table in self._config.staging.items():
            key = f"staging.{scheme}"
            known = self._manager.installed("staging")
            if not self._manager.serves(scheme):
                text = f"no installed plugin serves {scheme!r}{suggest(scheme, known)}"
                self._tell(key, table, text)
                continue
            for host in ("", *table.get(HOSTS, ())):
                at = f"{key}.{HOSTS}.{host}" if host else key
                own = table[HOSTS][host] if host else table
                options = {k: v for k, v in own.items() if k not in {*RULES, HOSTS}}
                self._ask("staging", scheme, scheme, at, options, own)

    def _monitors(self) -> None:
        for label, table in self._config.monitors.items():
            key, own = f"monitors.{label}", monitor_options(table)
            self._ask("monitor", table["plugin"], label, key, own, table)

    def _ask(
        self,
        kind: Any,
        plugin: str,
        name: str,
        key: str,
        options: Mapping[str, Any],
        table: Mapping[str, Any],
    ) -> None:
        """Have a plugin check its options; tell what it says of them."""
        with self._telling(key, table):
            if not self._manager.check_options(kind, plugin, name, options) and options:
                raise ConfigurationError(
                    f"plugin {plugin!r} cannot check its options before it is started."
                )

    @contextmanager
    def _telling(self, key: str, table: Mapping[str, Any]) -> Iterator[None]:
        try:
            yield
        except JackfieldError as error:
            self._tell(key, table, str(error))

    def _tell(self, key: str, table: Mapping[str, Any], text: str) -> None:
        """Note a problem, with the option that its text names, if it is one."""
        for option in table:
            if f"{option!r}" in text or f".{option} " in text:
                key = f"{key}.{option}"
                break
        origins = (
            source
            for known, source in self._origins.items()
            if known == key or known.startswith(f"{key}.")
        )
        source = next(origins, None)
        told = f"{key}{f' (from {source})' if source else ''}: {text}"
        if not any(one.endswith(text) for one in self._told):
            self._told.append(told)
