"""Parsl's general errors, and the one with which a translation is refused."""

from __future__ import annotations

from collections.abc import Iterable

from jackfield import ConfigurationError, JackfieldError
from jackfield import NoDataFlowKernelError as _NoKernel

__all__ = [
    "ConfigurationError",
    "InternalConsistencyError",
    "NoDataFlowKernelError",
    "OptionalModuleMissing",
    "ParslError",
    "refused",
]

ParslError = JackfieldError


class NoDataFlowKernelError(_NoKernel):
    """No kernel is loaded."""

    def __str__(self) -> str:
        return "Must first load config"


class OptionalModuleMissing(JackfieldError):  # noqa: N818  (Parsl's name)
    """An executor of Parsl has no counterpart here."""

    def __init__(self, module_names: Iterable[str], reason: str) -> None:
        self.module_names: tuple[str, ...] = tuple(module_names)
        self.reason: str = reason
        super().__init__(self.module_names, reason)

    def __str__(self) -> str:
        return self.reason


class InternalConsistencyError(JackfieldError):
    """Never raised here."""


def refused(what: str, instead: str) -> ConfigurationError:
    """Return the error for what cannot be translated: what it is, what to do."""
    return ConfigurationError(
        f"jackfield_parsl cannot translate {what}: {instead}. "
        f"See docs/coming-from-parsl.md."
    )
